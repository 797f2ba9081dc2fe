//! [`Client`]: one method per operation, over connections that are kept and used again.
//!
//! This file owns connections and the sending of requests; the operations are in its modules.

mod checkpoints;
pub mod containers;
mod exec;
pub mod images;
mod networks;
mod system;
pub mod volumes;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::request::Builder;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::{self, BoxBody};
use crate::error::{ApiError, LONGEST_URI};
use crate::frame::MULTIPLEXED;
use crate::json;
use crate::query::Query;
use crate::stream::{Attached, Framing};
use crate::transport::Transport;
use crate::types::ErrorResponse;

/// A reply, and the text that it was read from: what `inspect` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw<T> {
    /// As our types see it.
    pub value: T,
    /// As the server said it.
    pub text: Bytes,
}

/// A client of one server. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    version: String,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    idle: Mutex<Vec<SendRequest<BoxBody>>>,
}

/// A request before it is sent.
struct Call {
    method: Method,
    path: String,
    query: Query,
    headers: Vec<(&'static str, String)>,
    body: BoxBody,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, headers, body) = (Query::default(), Vec::new(), body::empty());
        Self { method, path: path.into(), query, headers, body }
    }

    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(mut self, value: &impl Serialize) -> Self {
        // Our types have string keys only and no fallible impls, so this cannot fail.
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.body = body::full(text);
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    fn upload(mut self, content_type: &str, upload: body::Upload) -> Self {
        self.body = upload.into_body();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }
}

/// What an error needs to name a request.
#[derive(Debug, Clone)]
struct Named {
    method: &'static str,
    path: String,
}

impl Named {
    fn of(call: &Call) -> Self {
        let method = match call.method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            _ => "POST",
        };
        Self { method, path: call.path.clone() }
    }

    fn http(&self, source: hyper::Error) -> ApiError {
        ApiError::Http { method: self.method, path: self.path.clone(), source }
    }

    fn answer(&self, source: json::JsonError) -> ApiError {
        ApiError::Answer { method: self.method, path: self.path.clone(), source }
    }
}

/// A reply whose head is here and whose body is not.
struct Reply {
    named: Named,
    response: Response<Incoming>,
    connection: SendRequest<BoxBody>,
}

impl Client {
    /// A client that speaks [`crate::API_VERSION`]. Nothing is sent before the first call.
    pub fn new(transport: Transport) -> Self {
        Self {
            shared: Arc::new(Shared { transport, idle: Mutex::default() }),
            version: crate::API_VERSION.to_owned(),
        }
    }

    /// The same server, asked for another version of its API, such as `1.44`.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The version that is asked for.
    pub fn version_asked(&self) -> &str {
        &self.version
    }

    /// Whether the version that is asked for is 1.`minor` or newer.
    fn speaks(&self, minor: u32) -> bool {
        let asked = self.version.strip_prefix("1.").and_then(|text| text.parse::<u32>().ok());
        asked.is_some_and(|asked| asked >= minor)
    }

    /// Where the server is.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// Sends a request and expects success; a refusal becomes [`ApiError::Refused`].
    async fn send(&self, call: Call) -> Result<Reply, ApiError> {
        let reply = self.exchange(call, Expect::Body).await?;
        let status = reply.response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            Ok(reply)
        } else {
            Err(self.refusal(reply).await)
        }
    }

    /// Sends, and reads the whole reply.
    async fn bytes(&self, call: Call) -> Result<(Bytes, Named), ApiError> {
        let reply = self.send(call).await?;
        let named = reply.named.clone();
        Ok((self.finish(reply).await?, named))
    }

    /// Sends, and reads a JSON reply.
    async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        Ok(self.fetch_raw(call).await?.value)
    }

    /// Sends, and reads a JSON reply, keeping its text.
    async fn fetch_raw<T: DeserializeOwned>(&self, call: Call) -> Result<Raw<T>, ApiError> {
        let (text, named) = self.bytes(call).await?;
        let value = json::parse_reply(&text).map_err(|e| named.answer(e))?;
        Ok(Raw { value, text })
    }

    /// Sends, and waits for a success that says nothing more.
    async fn done(&self, call: Call) -> Result<StatusCode, ApiError> {
        let reply = self.send(call).await?;
        let status = reply.response.status();
        self.finish(reply).await?;
        Ok(status)
    }

    /// Sends, and hands the body over as it comes. Its connection is not used again.
    async fn stream(&self, call: Call) -> Result<Response<Incoming>, ApiError> {
        Ok(self.send(call).await?.response)
    }

    /// Sends, and takes the connection over.
    async fn hijack(&self, call: Call) -> Result<Attached, ApiError> {
        let reply = self.exchange(call, Expect::Upgrade).await?;
        let status = reply.response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            if !status.is_success() {
                return Err(self.refusal(reply).await);
            }
            let Named { method, path } = reply.named;
            return Err(ApiError::NotUpgraded { method, path, status: status.as_u16() });
        }
        let framing = framing(&reply.response);
        let upgraded = hyper::upgrade::on(reply.response).await;
        Ok(Attached::new(upgraded.map_err(|e| reply.named.http(e))?, framing))
    }

    /// Reads the rest of a reply, and keeps its connection.
    async fn finish(&self, reply: Reply) -> Result<Bytes, ApiError> {
        let Reply { named, response, connection } = reply;
        let body = response.into_body().collect().await.map_err(|e| named.http(e))?;
        self.shared.keep(connection);
        Ok(body.to_bytes())
    }

    async fn refusal(&self, reply: Reply) -> ApiError {
        let status = reply.response.status().as_u16();
        let text = match self.finish(reply).await {
            Ok(text) => text,
            Err(e) => return e,
        };
        let message = match json::parse_reply::<ErrorResponse>(&text) {
            Ok(ErrorResponse { message }) if !message.is_empty() => message,
            Ok(_) | Err(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        };
        ApiError::Refused { status, message }
    }

    /// Sends over a kept connection, or over a new one if there is none or it went away meanwhile.
    async fn exchange(&self, call: Call, expect: Expect) -> Result<Reply, ApiError> {
        if let Some(kind) = nameless(&call.path) {
            return Err(ApiError::NoName(kind));
        }
        let named = Named::of(&call);
        let uri = format!("/v{}{}{}", self.version, call.path, call.query.as_str());
        if uri.len() > LONGEST_URI {
            let Named { method, path } = named;
            return Err(ApiError::TooLong { method, path, length: uri.len() });
        }
        let mut request = request(call, &uri, expect).map_err(|source| ApiError::Request {
            method: named.method,
            path: named.path.clone(),
            source,
        })?;
        while let Some(mut kept) = self.shared.take() {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok(Reply { named, response, connection: kept }),
                Err(mut error) => match error.take_message() {
                    // The server had closed it; the request was not sent.
                    Some(unsent) => request = unsent,
                    None => return Err(named.http(error.into_error())),
                },
            }
        }
        let mut connection = self.connect(&named).await?;
        let response = connection.send_request(request).await.map_err(|e| named.http(e))?;
        Ok(Reply { named, response, connection })
    }

    async fn connect(&self, named: &Named) -> Result<SendRequest<BoxBody>, ApiError> {
        let transport = &self.shared.transport;
        let io = transport
            .connect()
            .await
            .map_err(|source| ApiError::Connect { target: transport.to_string(), source })?;
        let (sender, connection) = handshake(TokioIo::new(io)).await.map_err(|e| named.http(e))?;
        // What goes wrong on a connection is told to the request that uses it.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Body,
    Upgrade,
}

impl Shared {
    fn take(&self) -> Option<SendRequest<BoxBody>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    fn keep(&self, connection: SendRequest<BoxBody>) {
        if !connection.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

fn request(call: Call, uri: &str, expect: Expect) -> Result<Request<BoxBody>, http::Error> {
    let mut request = Builder::new().method(call.method).uri(uri).header(HOST, "docker");
    if expect == Expect::Upgrade {
        request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
    }
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    request.body(call.body)
}

/// The kind of object that a path should name and does not.
fn nameless(path: &str) -> Option<&'static str> {
    let mut segments = path.split('/').skip(1);
    let kind = match segments.next()? {
        "containers" => "container",
        "exec" => "exec",
        "images" => "image",
        "networks" => "network",
        "volumes" => "volume",
        _ => return None,
    };
    (segments.next() == Some("")).then_some(kind)
}

fn framing(response: &Response<Incoming>) -> Framing {
    match response.headers().get(CONTENT_TYPE) {
        Some(kind) if kind == MULTIPLEXED => Framing::Multiplexed,
        Some(_) | None => Framing::Raw,
    }
}

#[cfg(test)]
mod tests;
