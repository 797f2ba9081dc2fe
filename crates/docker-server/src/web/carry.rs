//! Carries requests to the API and what it answers back, over a connection that is kept for the next one.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use docker_api::Transport;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::error::HttpError;
use crate::reply::{JSON, Reply};

type Sender = SendRequest<Full<Bytes>>;

/// The path and the parameters of a request as one text.
pub(super) fn target(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// A request to the API. Headers of the page's are no business of it.
pub(super) fn request(
    method: Method,
    target: &str,
    content: Bytes,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut request = Request::builder().method(method).uri(target).header(HOST, "docker");
    if !content.is_empty() {
        request = request.header(CONTENT_TYPE, JSON);
    }
    let bad = |error| HttpError::bad_request(format!("{target}: {error}"));
    request.body(Full::new(content)).map_err(bad)
}

/// The way to the API.
pub(super) struct Carrier {
    transport: Transport,
    kept: Mutex<Option<Sender>>,
}

impl Carrier {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, kept: Mutex::default() }
    }

    /// Carries a request there and the reply back.
    pub(super) async fn carry(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, HttpError> {
        let (response, sender) = self.ask(request).await?;
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        let status = response.status();
        let body = Carried {
            body: response.into_body(),
            sender: Some(sender),
            carrier: self.clone(),
            ended: false,
        };
        let mut reply = Response::new(body.boxed_unsync());
        *reply.status_mut() = status;
        if let Some(kind) = kind {
            reply.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Ok(reply)
    }

    /// Asks, over the connection that was kept or else over a new one.
    pub(super) async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Sender), HttpError> {
        let kept = self.kept().take().filter(|sender| !sender.is_closed());
        if let Some(mut sender) = kept {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                // The server had closed it; the request was not sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.lost(&error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(|error| self.lost(&error))?;
        Ok((response, sender))
    }

    async fn connect(&self) -> Result<Sender, HttpError> {
        let io = self.transport.connect().await.map_err(|error| self.lost(&error))?;
        let (sender, connection) =
            handshake(TokioIo::new(io)).await.map_err(|error| self.lost(&error))?;
        // What goes wrong on a connection is told to the request that uses it.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn lost(&self, error: &dyn std::error::Error) -> HttpError {
        let text = format!("{} does not answer: {error}", self.transport);
        HttpError::new(StatusCode::BAD_GATEWAY, text)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Sender>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way back. When all of it was read, its connection can be used again.
struct Carried {
    body: Incoming,
    sender: Option<Sender>,
    carrier: Arc<Carrier>,
    ended: bool,
}

impl hyper::body::Body for Carried {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.ended = frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if self.ended || self.body.is_end_stream() {
            *self.carrier.kept() = self.sender.take();
        }
    }
}
