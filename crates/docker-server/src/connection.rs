//! One connection: HTTP/1.1 requests one after the other, until a container takes it over.
//!
//! Taking over is done here rather than by HTTP's upgrade, since Docker also gives the raw
//! connection to clients that did not ask for an upgrade, and names its 101 `UPGRADED`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::Engine;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::call::{Call, Company, blocking};
use crate::error::{HttpError, version_reply};
use crate::handle;
use crate::linger::Linger;
use crate::pages::Pages;
use crate::params::Query;
use crate::quirks::{ApiVersion, MAX};
use crate::reply::{self, Reply};
use crate::route::{self, Route};
use crate::service::Shared;
use crate::splice::{Frames, Parted, splice};
use crate::turn::{Behind, Turn, Turns};
use crate::websocket::{self, Agreed};
use model::detach::DetachKeys;

/// Of all the headers of a request together.
const HEAD_MAX: usize = 64 << 10;

/// Why a connection ended badly. Clients that leave early are no reason for worry.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What came was no HTTP, or the connection broke.
    #[error("serving a connection")]
    Http(#[from] hyper::Error),
    /// The connection broke while it was given to a container.
    #[error("giving a connection to a container")]
    Hijack(#[source] io::Error),
}

/// What all requests of a connection are given.
#[derive(Debug, Clone)]
struct Server {
    company: Company,
    engine: Engine,
    /// As [`Call::service`].
    service: Option<Arc<Shared>>,
    /// Which pages may ask; none where whoever asks has shown who it is.
    pages: Option<Arc<Pages>>,
}

impl Server {
    /// Whether whoever asks is told what is measured.
    fn shows_metrics(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.shows_metrics())
    }
}

/// The keys by which a client leaves, and what is to be told then.
pub(crate) struct Leaving {
    pub(crate) keys: DetachKeys,
    pub(crate) tell: Box<dyn FnOnce() + Send>,
}

/// How a connection is given away.
pub(crate) enum Form {
    /// As it is.
    Stream {
        /// Whether the client asked for it in HTTP's way.
        upgrade: bool,
        content_type: &'static str,
        frames: Frames,
    },
    /// As a websocket.
    Socket(Agreed),
}

/// A connection's next owner.
pub(crate) struct Hijack {
    pub(crate) form: Form,
    pub(crate) container: UnixStream,
    pub(crate) leaving: Option<Leaving>,
    /// Whether the client is known to keep what comes right behind the head.
    pub(crate) keeps_early: bool,
}

/// How long a client may take to read the head of a connection that is given to a container.
const HEAD_PATIENCE: Duration = Duration::from_millis(200);

/// How soon it is looked again whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Serves a connection of the one client of this process, which shares the thread and waits for each
/// reply: what is brief is done on the spot. There are no timeouts: clients wait for containers for weeks.
///
/// # Errors
/// What came was no HTTP, or the connection broke.
pub async fn serve_own<I>(io: I, engine: Engine) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Server { company: Company::Alone, engine, service: None, pages: None };
    let answer = |request, hijack| answer(server.clone(), request, hijack);
    serve(io, None, (std::future::pending(), |_| 0), answer).await
}

/// Serves one of a service's connections. When `stop` is done, the request that is under way is its
/// last.
pub(crate) async fn serve_for<I>(
    io: I,
    (engine, shared): (Engine, Arc<Shared>),
    unread: impl Fn(&I) -> u32,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server =
        Server { company: Company::Others, engine, service: Some(shared.clone()), pages: None };
    serve_shared(io, (server, shared), (stop, unread)).await
}

/// The same for a client on another machine, of which nobody need know who it is.
pub(crate) async fn serve_from_afar<I>(
    io: I,
    (engine, shared): (Engine, Arc<Shared>),
    pages: Option<Arc<Pages>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Server { company: Company::Others, engine, service: Some(shared.clone()), pages };
    // What it has read nobody can see from here: it is given all of the time that there is to read a head in.
    serve_shared(io, (server, shared), (stop, |_: &I| 1)).await
}

async fn serve_shared<I>(
    io: I,
    (server, shared): (Server, Arc<Shared>),
    (stop, unread): (impl Future<Output = ()>, impl Fn(&I) -> u32),
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::new(Turn::default());
    serve(io, Some(turn.clone()), (stop, unread), move |request, hijack| {
        let task = shared.begin(&request, turn.clone());
        let reply = answer(server.clone(), request, hijack);
        async move { task.replied(reply.await) }
    })
    .await
}

/// Serves a connection of somebody who may ask for figures and for nothing else.
pub(crate) async fn serve_metrics<I>(
    io: I,
    (engine, shared): (Engine, Arc<Shared>),
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::new(Turn::default());
    serve(io, Some(turn.clone()), (stop, |_: &I| 0), move |request, _| {
        turn.answering(Behind::of(&request));
        let turn = turn.clone();
        let is_asked = *request.method() == Method::GET && request.uri().path() == "/metrics";
        let (engine, shared) = (engine.clone(), shared.clone());
        async move {
            let reply = if is_asked {
                let told = handle::system::measured(engine, &shared).await;
                told.unwrap_or_else(HttpError::into_reply)
            } else {
                reply::nowhere()
            };
            turn.said(None);
            // One connection is one request: none is kept by somebody who asks for nothing.
            reply::last(reply)
        }
    })
    .await
}

/// Serves requests with `answer` until the connection ends or is taken over.
async fn serve<I, A, F>(
    io: I,
    turn: Option<Arc<Turn>>,
    (stop, unread): (impl Future<Output = ()>, impl Fn(&I) -> u32),
    answer: A,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, mpsc::Sender<Hijack>) -> F,
    F: Future<Output = Reply>,
{
    let (send, mut hijacks) = mpsc::channel(1);
    let service = service_fn(|request| {
        let reply = answer(request, send.clone());
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Turns::new(Linger::new(io), turn)), service);
    let mut stop = pin!(stop);
    let mut stopping = false;
    let hijack = loop {
        tokio::select! {
            Some(hijack) = hijacks.recv() => break hijack,
            ended = &mut http => return Ok(ended?),
            () = &mut stop, if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut http).graceful_shutdown();
            }
        }
    };
    let parts = http.into_parts();
    let io = parts.io.into_inner().into_inner();
    hijack.run(io, parts.read_buf, unread).await.map_err(ServeError::Hijack)
}

impl Hijack {
    pub(crate) async fn send(self, connection: &mpsc::Sender<Self>) {
        // A connection that is gone drops the container's stream, which is all there is to do.
        let _ = connection.send(self).await;
    }

    /// `early` are the bytes that came right behind the request: input already.
    async fn run<I>(self, mut io: I, early: Bytes, unread: impl Fn(&I) -> u32) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        io.write_all(self.head().as_bytes()).await?;
        io.flush().await?;
        if !self.keeps_early {
            // A client that does not read on is no better off with nothing at all.
            let _ = tokio::time::timeout(HEAD_PATIENCE, head_is_read(&io, unread)).await;
        }
        let (keys, tell) = self.leaving.map(|leaving| (leaving.keys, leaving.tell)).unzip();
        // The container's side sees nobody leave before it is told why.
        let held = self.container.as_fd().try_clone_to_owned();
        // The client sees its end when all is done: it may be this very process.
        let parted = match &self.form {
            Form::Stream { frames, .. } => {
                splice(&mut io, (self.container, *frames), keys, early).await
            }
            Form::Socket(agreed) => {
                websocket::join(&mut io, early, (self.container, keys), agreed).await
            }
        };
        if let (Parted::Detached, Some(tell)) = (parted, tell) {
            // Whether it is told or not, the client has gone.
            let _ = blocking(tell).await;
        }
        drop(held);
        // Who still sends has what was said last before the connection goes: to close a socket of TCP with input
        // that was not read takes back what has not been sent.
        let _ = Linger::new(io).shutdown().await;
        Ok(())
    }

    fn head(&self) -> String {
        let mut head = match &self.form {
            Form::Stream { upgrade: true, content_type, .. } => format!(
                "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: {content_type}\r\n"
            ),
            Form::Stream { upgrade: false, content_type, .. } => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n")
            }
            Form::Socket(agreed) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n",
                agreed.accept
            ),
        };
        let mut headers = HeaderMap::new();
        reply::add_headers(&mut headers);
        // Writing to a string cannot fail.
        for (name, value) in &headers {
            let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        }
        head.push_str("\r\n");
        head
    }
}

/// Returns when the client has read the head, if the system can tell.
///
/// Clients written in Python and for Node read the head with a buffer, and what follows without it: bytes
/// that came with the head are lost to them. Docker takes tens of milliseconds from the one to the other,
/// which hides it; here the output of a short command is there at once.
async fn head_is_read<I>(io: &I, unread: impl Fn(&I) -> u32) {
    while unread(io) > 0 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn answer(server: Server, request: Request<Incoming>, hijack: mpsc::Sender<Hijack>) -> Reply {
    let is_head = *request.method() == Method::HEAD;
    if let Some(Err(refused)) = server.pages.as_ref().map(|pages| pages.check(request.headers())) {
        return with_headers(refused.into_reply());
    }
    let target = route::target(request.method(), request.uri().path());
    let (api, route) = match (target.version.map_or(Ok(MAX), ApiVersion::check), target.route) {
        (_, None) => return reply::nowhere(),
        (_, Some(Route::Metrics)) if !server.shows_metrics() => return reply::nowhere(),
        (Err(error), Some(_)) => return with_headers(version_reply(error)),
        (Ok(api), Some(route)) => (api, route),
    };
    let is_ping = route == Route::Ping;
    let reply = handle_call(server, request, hijack, (api, route)).await;
    let mut reply = with_headers(reply.unwrap_or_else(HttpError::into_reply));
    if is_head {
        if is_ping {
            // Clients want to see this in it.
            reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        *reply.body_mut() = reply::empty(StatusCode::OK).into_body();
    }
    reply
}

async fn handle_call(
    Server { company, engine, service, .. }: Server,
    request: Request<Incoming>,
    hijack: mpsc::Sender<Hijack>,
    (api, route): (ApiVersion, Route),
) -> Result<Reply, HttpError> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let (head, body) = request.into_parts();
    let call = Call { company, api, query, headers: head.headers, engine, body, hijack, service };
    handle::dispatch(call, route).await
}

fn with_headers(mut reply: Reply) -> Reply {
    reply::add_headers(reply.headers_mut());
    reply
}

#[cfg(test)]
mod tests;
