//! What goes on, by websocket: bodies without an end, and the terminal of an exec.
//!
//! Data are binary messages, as they come. Messages of text are in JSON: the first says that the API has answered, or
//! why there is nothing. A page that has more to draw than it can says `stop` and then `go`, in text.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use docker_api::types::ErrorResponse;
use futures_util::task::AtomicWaker;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::gate::PROTOCOL;
use super::{Connection, carry, wanted};
use crate::error::HttpError;
use crate::params::Query;
use crate::reply::{self, Reply};
use crate::splice::Parted;
use crate::websocket::{self, Agreed, Messages, Output};

/// The longest message that a page sends: keys, and what somebody pastes.
const LONGEST: usize = 1 << 20;

/// What a page is told before the data.
const BEGUN: &str = r#"{"begun":true}"#;

/// The longest reason that is passed on.
const REASON: usize = 16 << 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Follows `asked` for the page.
pub(super) fn stream(
    connection: &Arc<Connection>,
    request: &mut Request<Incoming>,
    asked: &str,
) -> Result<Reply, HttpError> {
    if !wanted::is_followed(asked) {
        let text = format!("the dashboard does not follow {asked}");
        return Err(HttpError::new(StatusCode::FORBIDDEN, text));
    }
    let target = carry::target(asked, request.uri().query());
    let ask = carry::request(Method::GET, &target, Bytes::new())?;
    let connection = connection.clone();
    begin(request, move |socket| async move { follow(&connection, ask, socket).await })
}

/// Starts the exec of this id, whose terminal is the page's. The size is in the parameters `h` and `w`.
pub(super) fn terminal(
    connection: &Arc<Connection>,
    request: &mut Request<Incoming>,
    id: &str,
) -> Result<Reply, HttpError> {
    if !wanted::is_plain(id) {
        return Err(HttpError::not_found(format!("No such exec instance: {id}")));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let side = |name| query.get(name).and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
    let start = serde_json::json!({"Tty": true, "ConsoleSize": [side("h"), side("w")]});
    let path = format!("/exec/{id}/start");
    let mut ask = carry::request(Method::POST, &path, start.to_string().into())?;
    ask.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    ask.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    let connection = connection.clone();
    let hangup = format!("/dhow/exec/{id}/kill?signal=HUP");
    let hangup = carry::request(Method::POST, &hangup, Bytes::new())?;
    begin(request, move |socket| async move {
        if join(&connection, ask, socket).await == Parted::ClientLost {
            // A terminal that is closed hangs up. One who stays silent would not notice that nobody listens any
            // more; a Docker Engine, which knows no such request, lets it be.
            let _ = connection.carrier.ask(hangup).await;
        }
    })
}

/// Agrees on a websocket, with which `work` goes on.
fn begin<F>(
    request: &mut Request<Incoming>,
    work: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Reply, HttpError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let accept = websocket::accept(request.headers())?;
    let accept = HeaderValue::try_from(accept).map_err(|e| HttpError::internal(e.to_string()))?;
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        // A page that has left meanwhile wants nothing.
        let Ok(io) = upgraded.await else { return };
        let longest = Some(LONGEST);
        let config = WebSocketConfig::default().max_message_size(longest).max_frame_size(longest);
        let io = TokioIo::new(io);
        work(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
    });
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok(reply)
}

/// Passes a body on until it ends or nobody listens.
async fn follow(connection: &Connection, ask: Request<Full<Bytes>>, mut socket: Socket) {
    let (mut body, _sender) = match connection.carrier.ask(ask).await {
        Ok((response, sender)) if response.status() == StatusCode::OK => {
            (response.into_body(), sender)
        }
        Ok((response, _)) => return end(socket, &refusal(response).await).await,
        Err(error) => return end(socket, &error).await,
    };
    if socket.send(Message::text(BEGUN)).await.is_err() {
        return;
    }
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            heard = socket.next() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => continue,
            },
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else { continue };
        if socket.send(Message::Binary(data)).await.is_err() {
            return;
        }
    }
    // Whoever has left needs no goodbye.
    let _ = socket.close(None).await;
}

/// Joins a page and a process until one of them ends.
async fn join(connection: &Connection, ask: Request<Full<Bytes>>, socket: Socket) -> Parted {
    let response = match connection.carrier.ask(ask).await {
        Ok((response, _)) => response,
        Err(error) => return ended(socket, &error).await,
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return ended(socket, &refusal(response).await).await;
    }
    let process = match hyper::upgrade::on(response).await {
        Ok(process) => TokioIo::new(process),
        Err(error) => return ended(socket, &HttpError::internal(error.to_string())).await,
    };
    let (mut to_client, from_client) = socket.split();
    if to_client.send(Message::text(BEGUN)).await.is_err() {
        return Parted::ClientLost;
    }
    let (from_process, to_process) = tokio::io::split(process);
    let raw = Agreed { accept: String::new(), output: Output::Raw, messages: Messages::Binary };
    let flow = Flow::default();
    let from_process = Dammed { from: from_process, flow: &flow };
    let from_client = from_client.filter_map(|heard| {
        std::future::ready(match heard {
            Ok(Message::Text(word)) => {
                flow.hear(&word);
                None
            }
            heard => Some(heard),
        })
    });
    tokio::select! {
        parted = websocket::speak(from_process, to_client, &raw) => parted,
        () = websocket::hear(from_client, to_process) => Parted::ClientLost,
    }
}

/// Whether a page takes more at this moment: a browser takes whatever is sent, and keeps what was not drawn yet.
#[derive(Debug, Default)]
struct Flow {
    is_stopped: AtomicBool,
    waiting: AtomicWaker,
}

impl Flow {
    fn hear(&self, word: &str) {
        match word {
            "stop" => self.is_stopped.store(true, Ordering::Relaxed),
            "go" => {
                self.is_stopped.store(false, Ordering::Relaxed);
                self.waiting.wake();
            }
            _ => {}
        }
    }
}

/// What is said, for as long as the page takes more. A process that says more than that waits.
struct Dammed<'f, R> {
    from: R,
    flow: &'f Flow,
}

impl<R: AsyncRead + Unpin> AsyncRead for Dammed<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.flow.waiting.register(cx.waker());
        if self.flow.is_stopped.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.from).poll_read(cx, buffer)
    }
}

/// Why the API says no.
async fn refusal(response: Response<Incoming>) -> HttpError {
    let status = response.status();
    let body = Limited::new(response.into_body(), REASON).collect().await;
    let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let said = serde_json::from_slice::<ErrorResponse>(&text).map(|error| error.message);
    HttpError::new(status, said.unwrap_or_else(|_| String::from_utf8_lossy(&text).into_owned()))
}

/// Says why there is nothing.
async fn end(mut socket: Socket, error: &HttpError) {
    let why = serde_json::json!({"status": error.status.as_u16(), "message": error.message});
    let _ = socket.send(Message::text(why.to_string())).await;
    let _ = socket.close(None).await;
}

/// The same for a process that has not begun.
async fn ended(socket: Socket, error: &HttpError) -> Parted {
    end(socket, error).await;
    Parted::OutputEnded
}
