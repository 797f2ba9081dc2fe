//! HTTP requests and their answers, as blocking calls.
//!
//! Owns connections: names, TCP, TLS, HTTP/1.1, their reuse and their time limits. Knows neither
//! registries nor credentials; what it is given it sends, to the one origin that it is given.
//! Each [`Http`] belongs to one thread, which drives its connections while it waits for them.

mod body;
mod connect;
mod dns;
mod outgoing;
mod redirect;
mod unverified;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::body::Body as _;
use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Runtime;

use crate::url::{BadUrl, Origin, Url};

pub(crate) use body::Body;
pub(crate) use connect::Net;
pub(crate) use outgoing::FilePart;
use outgoing::Outgoing;
pub use unverified::Unverified;

/// How dhow names itself.
const USER_AGENT: &str = concat!("dhow/", env!("CARGO_PKG_VERSION"));

/// What went wrong between here and a host.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No runtime for this thread.
    #[error("start the network runtime: {0}")]
    Runtime(io::Error),
    /// The trusted authorities.
    #[error("set up TLS: {0}")]
    TlsSetup(String),
    /// Its name has no address.
    #[error("look up {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// It takes no connection.
    #[error("connect to {}: {}", named(.host, .address), .cause.kind())]
    Connect {
        /// The host.
        host: String,
        /// The address tried last.
        address: SocketAddr,
        /// What the kernel says; its own text would only repeat the kind.
        cause: io::Error,
    },
    /// No trust, or no TLS.
    #[error("TLS with {host}: {source}")]
    Tls {
        /// The host.
        host: String,
        /// What TLS says.
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection to {host} broke: {}", chain(.source))]
    Broken {
        /// The host.
        host: String,
        /// How.
        source: hyper::Error,
    },
    /// Nothing came.
    #[error("{host} sent nothing for {} s", .after.as_secs_f32())]
    Silent {
        /// The host.
        host: String,
        /// For how long.
        after: Duration,
    },
    /// Something came, too slowly.
    #[error("{host} did not finish its answer within {} s", .within.as_secs_f32())]
    Slow {
        /// The host.
        host: String,
        /// The limit.
        within: Duration,
    },
    /// More came than a document may have.
    #[error("{host} sent more than {max} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        max: u64,
    },
    /// A request that cannot be sent.
    #[error("request to {host}: {source}")]
    Request {
        /// The host.
        host: String,
        /// What is wrong with it.
        source: http::Error,
    },
    /// Too many of them.
    #[error("{0} redirects further than is followed")]
    Redirects(Origin),
    /// From TLS to none.
    #[error("redirect from {from} to plain {to} is refused")]
    Downgrade {
        /// Who redirects.
        from: Origin,
        /// To where.
        to: Origin,
    },
    /// To nowhere.
    #[error("{from} redirects to a bad address: {source}")]
    Location {
        /// Who redirects.
        from: Origin,
        /// What is wrong with the address.
        source: BadUrl,
    },
}

impl TransportError {
    /// Whether the next attempt may fare better after this one had a connection.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Silent { .. })
    }

    /// Whether a later attempt may fare better.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_interruption() || matches!(self, Self::Connect { .. } | Self::Lookup { .. })
    }
}

/// A host, with its address if that is not its name.
fn named(host: &str, address: &SocketAddr) -> String {
    let address = address.to_string();
    if host == address { address } else { format!("{host} at {address}") }
}

/// An error with its causes, for one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What is asked, of which address.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) method: Method,
}

/// How it is asked.
#[derive(Clone)]
pub(crate) enum Method {
    Get,
    /// The head of what there is to get.
    Head,
    /// A form: its encoded fields; or nothing, to begin something.
    Post(Bytes),
    /// A document.
    Put(Bytes),
    /// The bytes of a file.
    Upload(FilePart),
    /// What was begun is given up.
    Delete,
}

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, after redirects.
    pub(crate) origin: Origin,
}

type Sender = SendRequest<Outgoing>;

/// The addresses of a host, the preferred first; at least one. Looked for as a registry's are.
///
/// # Errors
/// Nobody knows the host.
pub fn addresses(host: &str) -> Result<Vec<std::net::IpAddr>, TransportError> {
    runtime()?.block_on(dns::addresses(host))
}

fn runtime() -> Result<Runtime, TransportError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TransportError::Runtime)
}

/// One thread's connections.
#[derive(Debug)]
pub(crate) struct Http<'n> {
    net: &'n Net,
    idle: Vec<(Origin, Sender)>,
    // Dropped last: it drives the connections.
    runtime: Rc<Runtime>,
}

impl<'n> Http<'n> {
    pub(crate) fn new(net: &'n Net) -> Result<Self, TransportError> {
        Ok(Self { net, idle: Vec::new(), runtime: Rc::new(runtime()?) })
    }

    pub(crate) fn net(&self) -> &'n Net {
        self.net
    }

    /// Sends one request and waits for the head of its answer.
    pub(crate) fn send(&mut self, ask: &Ask) -> Result<Answer, TransportError> {
        let origin = &ask.url.origin;
        if let Some(sender) = self.take_idle(origin) {
            // A server may close an idle connection at any moment; that says nothing about it. What has begun to go
            // on it is begun anew by whoever knows where.
            match self.send_on(sender, ask) {
                Err(TransportError::Broken { .. }) if !ask.method.has_begun() => {}
                outcome => return outcome,
            }
        }
        let sender = self.runtime.block_on(connect::connect(self.net, origin))?;
        self.send_on(sender, ask)
    }

    /// Whether a host speaks TLS; one that takes no connection does not.
    pub(crate) fn speaks_tls(&mut self, origin: &Origin) -> Result<bool, TransportError> {
        match self.runtime.block_on(connect::connect(self.net, origin)) {
            Ok(_) => Ok(true),
            Err(TransportError::Tls { .. } | TransportError::Connect { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn take_idle(&mut self, origin: &Origin) -> Option<Sender> {
        let place = self.idle.iter().position(|(other, _)| other == origin)?;
        Some(self.idle.swap_remove(place).1)
    }

    fn send_on(&mut self, mut sender: Sender, ask: &Ask) -> Result<Answer, TransportError> {
        let origin = ask.url.origin.clone();
        let request = build(ask)?;
        let limits = &self.net.limits;
        let idle = limits.idle;
        let sent = self.runtime.block_on(ask.method.watch(limits, async {
            sender.ready().await?;
            sender.send_request(request).await
        }));
        let host = || origin.authority();
        let response = sent
            .ok_or_else(|| TransportError::Silent { host: host(), after: idle })?
            .map_err(|source| TransportError::Broken { host: host(), source })?;
        let (parts, incoming) = response.into_parts();
        let body = Body::new(Rc::clone(&self.runtime), incoming, host(), idle);
        self.idle.push((origin.clone(), sender));
        Ok(Answer { status: parts.status, headers: parts.headers, body, origin })
    }
}

fn build(ask: &Ask) -> Result<http::Request<Outgoing>, TransportError> {
    let origin = &ask.url.origin;
    let (method, body) = match &ask.method {
        Method::Get => (http::Method::GET, Outgoing::default()),
        Method::Head => (http::Method::HEAD, Outgoing::default()),
        Method::Post(form) => (http::Method::POST, Outgoing::from(form.clone())),
        Method::Put(document) => (http::Method::PUT, Outgoing::from(document.clone())),
        Method::Upload(file) => (http::Method::PUT, Outgoing::from(file.clone())),
        Method::Delete => (http::Method::DELETE, Outgoing::default()),
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(ask.url.target.as_str())
        .header(header::HOST, origin.authority())
        .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))
        .body(body)
        .map_err(|source| TransportError::Request { host: origin.authority(), source })?;
    request.headers_mut().extend(ask.headers.clone());
    // The HTTP library leaves the length of nothing out, and some registries insist on it (411).
    let says_length = matches!(ask.method, Method::Post(_) | Method::Put(_) | Method::Upload(_));
    if says_length && request.body().is_end_stream() {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}
