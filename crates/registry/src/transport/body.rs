//! The body of an answer, as something to read.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::runtime::Runtime;

use super::TransportError;

/// What is read on only to keep a connection, in bytes.
const DISCARD_MAX: u64 = 16 << 10;

/// What is left of an answer. Dropped unread, it takes its connection with it.
pub(crate) struct Body {
    incoming: Incoming,
    buffer: Bytes,
    host: String,
    idle: Duration,
    runtime: Rc<Runtime>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body from {}", self.host)
    }
}

impl Body {
    pub(super) fn new(
        runtime: Rc<Runtime>,
        incoming: Incoming,
        host: String,
        idle: Duration,
    ) -> Self {
        Self { incoming, buffer: Bytes::new(), host, idle, runtime }
    }

    /// How many bytes the server has announced, if it has.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Some of the next bytes; 0 at the end.
    pub(crate) fn some(&mut self, out: &mut [u8]) -> Result<usize, TransportError> {
        while self.buffer.is_empty() {
            let Some(next) = self.next()? else { return Ok(0) };
            self.buffer = next;
        }
        let len = out.len().min(self.buffer.len());
        self.buffer.copy_to_slice(&mut out[..len]);
        Ok(len)
    }

    fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Self { incoming, runtime, idle, .. } = self;
        let frame = runtime
            .block_on(async { tokio::time::timeout(*idle, incoming.frame()).await })
            .map_err(|_| TransportError::Silent { host: self.host.clone(), after: self.idle })?;
        match frame {
            None => Ok(None),
            // Trailers say nothing that is needed here.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(source)) => Err(TransportError::Broken { host: self.host.clone(), source }),
        }
    }

    /// Reads what is left of an answer that does not matter, so that its connection can be used
    /// again; a long one costs more than a new connection.
    pub(crate) fn discard(self) {
        if self.announced().is_some_and(|size| size <= DISCARD_MAX) {
            let limit = self.idle;
            drop(self.document(DISCARD_MAX, limit));
        }
    }

    /// The whole of it, if it is not larger than `max` bytes and comes within `limit`.
    pub(crate) fn document(mut self, max: u64, limit: Duration) -> Result<Vec<u8>, TransportError> {
        if self.announced().is_some_and(|size| size > max) {
            return Err(TransportError::TooLarge { host: self.host, max });
        }
        let deadline = std::time::Instant::now() + limit;
        let mut bytes = Vec::new();
        while let Some(next) = self.next()? {
            bytes.extend_from_slice(&next);
            if bytes.len() as u64 > max {
                return Err(TransportError::TooLarge { host: self.host, max });
            }
            if std::time::Instant::now() > deadline {
                return Err(TransportError::Slow { host: self.host, within: limit });
            }
        }
        Ok(bytes)
    }
}
