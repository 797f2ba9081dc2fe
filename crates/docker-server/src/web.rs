//! The dashboard: a page for a browser, and the API behind it, at a loopback address and for whoever has the token.
//!
//! What stands here is a door in front of a door. It knows no engine: what the page asks is carried to Docker's API
//! by any [`Transport`], so the same code is a part of the service and, for `dhow ui`, of a command beside any server.
//! Live things come by websocket, since a browser has six connections of HTTP/1.1 to a server and no more.

mod carry;
mod files;
mod gate;
mod place;
mod relay;
mod wanted;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use docker_api::Transport;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use crate::error::HttpError;
use crate::linger::Linger;
use crate::reply::{self, Reply};
use carry::Carrier;
use gate::Gate;
pub use gate::Token;
use place::{Place, Places};

/// How long a head may take, and how long a connection may be idle: browsers come again.
const HEAD: Duration = Duration::from_secs(30);

/// Of all the headers of a request together.
const HEAD_MAX: usize = 64 << 10;

/// The longest body that the page has to send, and how long it may take.
const BODY_MAX: usize = 64 << 10;
const BODY: Duration = Duration::from_secs(10);

/// How long to wait when there can be no connection: to ask again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(50);

/// Nothing but what comes with the page itself is loaded, run, framed or connected to.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Others than this machine would reach it.
    #[error(
        "the dashboard is for this machine alone, and {0} is no loopback address: name one such as 127.0.0.1, and come from elsewhere by ssh -L"
    )]
    NotLoopback(SocketAddr),
    /// The system says no.
    #[error("show the dashboard at {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A dashboard that listens.
#[derive(Debug)]
pub struct Dashboard {
    socket: TcpListener,
    gate: Arc<Gate>,
    places: Arc<Places>,
    at: SocketAddr,
    token: Token,
}

/// Somebody who has come.
pub(crate) struct Guest {
    stream: TcpStream,
    gate: Arc<Gate>,
    place: Place,
}

impl Dashboard {
    /// Listens at an address of this machine; port 0 is a free one. It has to be called in a runtime of tokio's.
    ///
    /// # Errors
    /// It is no loopback address, or the system says no.
    pub fn bind(address: SocketAddr, token: Token) -> Result<Self, WebError> {
        if !address.ip().is_loopback() {
            return Err(WebError::NotLoopback(address));
        }
        let failed = |source| WebError::Bind { address, source };
        let socket = std::net::TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = TcpListener::from_std(socket).map_err(failed)?;
        let at = socket.local_addr().map_err(failed)?;
        let gate = Arc::new(Gate::new(at, &token));
        Ok(Self { socket, gate, places: Places::new(), at, token })
    }

    /// Where it is, for everybody to read.
    #[must_use]
    pub fn place(&self) -> String {
        format!("http://{}/", self.at)
    }

    /// Where it is, for who may use it: the token is in what a browser keeps to itself.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}/#token={}", self.at, self.token.text())
    }

    /// Takes a connection.
    pub(crate) async fn accept(&self) -> io::Result<Guest> {
        let (stream, _) = self.socket.accept().await?;
        Ok(Guest { stream, gate: self.gate.clone(), place: self.places.take() })
    }

    /// Shows what the server behind `transport` has, until `stop` is done.
    pub async fn serve(self, transport: Transport, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut stop => return,
            };
            match accepted {
                Ok(accepted) => {
                    tokio::spawn(welcome(accepted, transport.clone(), std::future::pending()));
                }
                // It is about one client that left again, or about descriptors, which others have to close.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// What the requests of one connection share.
struct Connection {
    gate: Arc<Gate>,
    carrier: Arc<Carrier>,
    /// Kept by what outlives HTTP on it as well.
    place: Place,
}

impl Connection {
    /// Whoever is at its other end has signed in.
    fn keep(&self) -> Result<(), HttpError> {
        if self.place.keep() {
            return Ok(());
        }
        let text = "the dashboard has as many connections as it can have: close some of its pages";
        Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, text))
    }
}

/// Serves a connection. When `stop` is done, the request that is under way is its last.
pub(crate) async fn welcome(
    Guest { stream, gate, place }: Guest,
    transport: Transport,
    stop: impl Future<Output = ()>,
) {
    // Without it what is small comes late.
    let _ = stream.set_nodelay(true);
    let carrier = Arc::new(Carrier::new(transport));
    let connection = Arc::new(Connection { gate, carrier, place });
    let service = service_fn(|request| {
        let connection = connection.clone();
        async move { Ok::<_, Infallible>(answer(connection, request).await) }
    });
    let mut http = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Linger::new(stream)), service)
            .with_upgrades()
    );
    let place = connection.clone();
    let served = async {
        // How it ended matters to the browser alone, which knows.
        tokio::select! {
            _ = http.as_mut() => return,
            () = stop => http.as_mut().graceful_shutdown(),
        }
        let _ = http.await;
    };
    tokio::select! {
        () = served => {}
        () = place.place.lost() => {}
    }
}

async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Reply {
    let asks_for_data = ["/api/", "/session", "/stream/", "/terminal/"]
        .iter()
        .any(|prefix| request.uri().path().starts_with(prefix));
    let told = admitted(&connection, request).await;
    let mut reply = told.unwrap_or_else(HttpError::into_reply);
    protect(&mut reply);
    let keep = if asks_for_data { "no-store" } else { "no-cache" };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    reply
}

/// What keeps other pages out of this one, and this one from loading anything of theirs.
fn protect(reply: &mut Reply) {
    let same_origin = HeaderValue::from_static("same-origin");
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), same_origin.clone());
    }
}

/// Answers a request of a page that is this dashboard's.
async fn admitted(
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Reply, HttpError> {
    let gate = &connection.gate;
    let path = request.uri().path().to_owned();
    if path == "/"
        && let Some(place) = gate.moved(request.headers())
    {
        let mut reply = reply::empty(StatusCode::TEMPORARY_REDIRECT);
        reply.headers_mut().insert(LOCATION, place);
        return Ok(reply);
    }
    let is_live = path.starts_with("/stream/") || path.starts_with("/terminal/");
    let is_safe = [Method::GET, Method::HEAD].contains(request.method()) && !is_live;
    gate.check_site(request.headers(), is_safe)?;
    if path == "/session" && *request.method() == Method::POST {
        return sign_in(connection, request).await;
    }
    if path.starts_with("/api/") {
        gate.check_session(request.headers())?;
        connection.keep()?;
        return api(connection, request).await;
    }
    if let Some(asked) = path.strip_prefix("/stream") {
        gate.check_live(request.headers())?;
        connection.keep()?;
        return relay::stream(connection, &mut request, asked);
    }
    if let Some(id) = path.strip_prefix("/terminal/") {
        gate.check_live(request.headers())?;
        connection.keep()?;
        return relay::terminal(connection, &mut request, id);
    }
    file(&request, &path)
}

/// What a page keeps of its session.
#[derive(Serialize)]
struct Session {
    key: String,
}

/// Gives a cookie and a key for a token.
async fn sign_in(connection: &Connection, request: Request<Incoming>) -> Result<Reply, HttpError> {
    let token = body(request.into_body()).await?;
    let (cookie, key) = connection.gate.sign_in(&token)?;
    connection.keep()?;
    let mut reply = reply::json(&Session { key });
    reply.headers_mut().insert(SET_COOKIE, cookie);
    Ok(reply)
}

/// The whole of a body, which is short.
async fn body<B>(body: B) -> Result<Bytes, HttpError>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = tokio::time::timeout(BODY, Limited::new(body, BODY_MAX).collect()).await;
    let late = |_| HttpError::new(StatusCode::REQUEST_TIMEOUT, "the request's body does not come");
    let refused = |error| HttpError::bad_request(format!("reading request body: {error}"));
    Ok(whole.map_err(late)?.map_err(refused)?.to_bytes())
}

/// Carries a request to the API, if it is one of those that the page has.
async fn api(connection: &Connection, request: Request<Incoming>) -> Result<Reply, HttpError> {
    let (head, content) = request.into_parts();
    let asked = head.uri.path().strip_prefix("/api").unwrap_or_default();
    if !wanted::is_wanted(&head.method, asked) {
        return Err(HttpError::new(
            StatusCode::FORBIDDEN,
            format!("the dashboard does not ask for {} {asked}", head.method),
        ));
    }
    let target = carry::target(asked, head.uri.query());
    let content = body(content).await?;
    let content = wanted::shell(&head.method, asked).unwrap_or(content);
    connection.carrier.carry(carry::request(head.method, &target, content)?).await
}

/// A file of the page.
fn file(request: &Request<Incoming>, path: &str) -> Result<Reply, HttpError> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let text = format!("nothing of the dashboard takes {} {path}", request.method());
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let file = files::find(path)
        .ok_or_else(|| HttpError::not_found(format!("the dashboard has no {path}")))?;
    let tag = file.tag();
    let has = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let mut reply = if has { reply::empty(StatusCode::NOT_MODIFIED) } else { file.reply() };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        reply.headers_mut().insert(ETAG, tag);
    }
    Ok(reply)
}

#[cfg(test)]
mod tests;
