//! What can go wrong between a client and its server.

use std::io;

use crate::json::JsonError;

/// Bytes of a path and its query that fit into a request: the `http` crate's limit, on both sides.
/// Docker's is 1 MiB.
pub(crate) const LONGEST_URI: usize = 65_534;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered, and said no. Its words are meant for the user.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
    },
    /// There is no server to talk to.
    #[error("cannot connect to {target}")]
    Connect {
        /// The address.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("{method} {path}")]
    Http {
        /// The request's method.
        method: &'static str,
        /// The request's path.
        path: String,
        /// Why.
        source: hyper::Error,
    },
    /// Nothing was named. A path without a name would mean something else: the list of all.
    #[error("invalid {0} name or ID: value is empty")]
    NoName(&'static str),
    /// The request cannot be sent as HTTP: an id with a control character, say.
    #[error("{method} {path} is no valid request")]
    Request {
        /// The request's method.
        method: &'static str,
        /// The request's path.
        path: String,
        /// Why.
        source: http::Error,
    },
    /// What is asked does not fit into a request: `import` with very long changes, say.
    #[error(
        "{method} {path}: the options are {length} bytes long as they are sent, and at most {LONGEST_URI} can be"
    )]
    TooLong {
        /// The request's method.
        method: &'static str,
        /// The request's path.
        path: String,
        /// Bytes of path and query.
        length: usize,
    },
    /// The server answered something else than its API promises.
    #[error("unexpected answer to {method} {path}")]
    Answer {
        /// The request's method.
        method: &'static str,
        /// The request's path.
        path: String,
        /// What is wrong with it.
        source: JsonError,
    },
    /// The server did not hand over the connection that attach and exec need.
    #[error("{method} {path}: the server answered {status} instead of giving the connection away")]
    NotUpgraded {
        /// The request's method.
        method: &'static str,
        /// The request's path.
        path: String,
        /// What it answered.
        status: u16,
    },
    /// A stream broke off in the middle.
    #[error("reading the stream")]
    Stream(#[source] io::Error),
    /// A stream held something that is not what it should hold.
    #[error("reading the stream")]
    StreamJson(#[source] JsonError),
}

impl ApiError {
    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Connect { .. }
            | Self::Http { .. }
            | Self::NoName(_)
            | Self::Request { .. }
            | Self::TooLong { .. }
            | Self::Answer { .. }
            | Self::NotUpgraded { .. }
            | Self::Stream(_)
            | Self::StreamJson(_) => None,
        }
    }

    /// Whether the server said that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }
}
