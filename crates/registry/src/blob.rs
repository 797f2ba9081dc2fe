//! A blob's bytes from a place on, over as many connections as it takes.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::Digest;
use store::oci::LayerSpec;

use crate::event::{Event, LayerStep, Throttle};
use crate::limits::Attempts;
use crate::session::{Caller, RequestError};
use crate::transport::{Body, TransportError};

/// A connection that brought so much was worth it: attempts are counted anew.
const PROGRESS: u64 = 1 << 20;

/// Why a blob did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum BlobFailure {
    /// The registry does not give it.
    #[error(transparent)]
    Request(RequestError),
    /// It broke off too often.
    #[error("given up after {attempts} attempts, with {got} of {size} bytes: {source}")]
    Interrupted {
        /// How many.
        attempts: u32,
        /// What is here; the next pull goes on there.
        got: u64,
        /// What should be.
        size: u64,
        /// What went wrong last.
        source: Interruption,
    },
    /// It is not as long as the manifest says.
    #[error("it has {actual} bytes there, the manifest says {expected}")]
    WrongSize {
        /// From the manifest.
        expected: u64,
        /// From the registry.
        actual: u64,
    },
    /// Another layer has failed.
    #[error("stopped")]
    Stopped,
}

impl BlobFailure {
    /// Whether the registry wants to be asked less often.
    pub(crate) fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_rate_limit())
    }
}

/// What can break a download off.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// On the way.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer ended early.
    #[error("the answer ended early")]
    Short,
    /// Another part came than was asked for.
    #[error("the registry sent another range than asked for")]
    WrongRange,
}

/// Who hears of events.
pub(crate) type Tell<'t> = dyn Fn(Event) + Sync + 't;

/// Reads a layer's blob from a place on.
pub(crate) struct BlobReader<'r, 's> {
    caller: &'r mut Caller<'s>,
    layer: &'r LayerSpec,
    tell: &'r Tell<'r>,
    stop: &'r AtomicBool,
    position: u64,
    open: Option<Open>,
    ranges: Ranges,
    attempts: Attempts,
    failed: u32,
    since_failure: u64,
    throttle: Throttle,
    failure: Option<BlobFailure>,
    has_told_end: Told,
}

/// An answer that is being read.
struct Open {
    body: Body,
    /// What comes again, since the server sends the whole.
    skip: u64,
}

/// Whether the server can send a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Expected,
    Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    NotYet,
    Done,
}

impl<'r, 's> BlobReader<'r, 's> {
    pub(crate) fn new(
        caller: &'r mut Caller<'s>,
        layer: &'r LayerSpec,
        tell: &'r Tell<'r>,
        stop: &'r AtomicBool,
        position: u64,
    ) -> Self {
        Self {
            caller,
            layer,
            tell,
            stop,
            position,
            open: None,
            ranges: Ranges::Expected,
            attempts: Attempts::new(),
            failed: 0,
            since_failure: 0,
            throttle: Throttle::default(),
            failure: None,
            has_told_end: Told::NotYet,
        }
    }

    /// Why reading failed, if it did.
    pub(crate) fn into_failure(self) -> Option<BlobFailure> {
        self.failure
    }

    fn digest(&self) -> &Digest {
        &self.layer.blob
    }

    fn left(&self) -> u64 {
        self.layer.size - self.position
    }

    /// Some of the next bytes, however many connections that takes.
    fn some(&mut self, out: &mut [u8]) -> Result<usize, BlobFailure> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(BlobFailure::Stopped);
            }
            match self.attempt(out) {
                Ok(0) => {}
                Ok(len) => return Ok(len),
                Err(Attempt::Broken(why)) => self.interrupted(why)?,
                Err(Attempt::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// Some of the next bytes from the open answer; 0 for bytes that were here already.
    fn attempt(&mut self, out: &mut [u8]) -> Result<usize, Attempt> {
        let left = self.left();
        let open = match &mut self.open {
            Some(open) => open,
            empty @ None => {
                let answer = ask(self.caller, self.layer, self.position, &mut self.ranges)?;
                empty.insert(answer)
            }
        };
        let most = usize::try_from(left.saturating_add(open.skip)).unwrap_or(usize::MAX);
        let most = most.min(out.len());
        let len = open.body.some(&mut out[..most])?;
        if len == 0 {
            return Err(Interruption::Short.into());
        }
        let known = usize::try_from(open.skip).unwrap_or(usize::MAX).min(len);
        open.skip -= known as u64;
        out.copy_within(known..len, 0);
        Ok(len - known)
    }

    /// Pauses before the next attempt, if there is to be one.
    fn interrupted(&mut self, source: Interruption) -> Result<(), BlobFailure> {
        self.open = None;
        if self.since_failure >= PROGRESS {
            self.attempts.reset();
            self.failed = 0;
        }
        self.since_failure = 0;
        self.failed += 1;
        if let Some(pause) = self.attempts.fail(self.caller.session.limits()) {
            std::thread::sleep(pause);
            return Ok(());
        }
        let (attempts, got, size) = (self.failed, self.position, self.layer.size);
        Err(BlobFailure::Interrupted { attempts, got, size, source })
    }

    fn advance(&mut self, len: usize) {
        self.position += len as u64;
        self.since_failure += len as u64;
        let is_last = self.position == self.layer.size;
        if self.throttle.is_due() || is_last {
            let (current, total) = (self.position, self.layer.size);
            self.told(LayerStep::Downloading { current, total });
        }
    }

    fn told(&self, step: LayerStep) {
        (self.tell)(Event::Layer(*self.digest(), step));
    }

    fn end(&mut self) {
        if self.has_told_end == Told::NotYet {
            self.has_told_end = Told::Done;
            self.told(LayerStep::Verifying);
            self.told(LayerStep::Downloaded);
        }
    }
}

/// Why an attempt brought nothing.
enum Attempt {
    /// Another may.
    Broken(Interruption),
    /// Another would not.
    Failed(BlobFailure),
}

impl From<Interruption> for Attempt {
    fn from(why: Interruption) -> Self {
        Self::Broken(why)
    }
}

impl From<TransportError> for Attempt {
    fn from(error: TransportError) -> Self {
        if error.is_passing() {
            Self::Broken(error.into())
        } else {
            Self::Failed(BlobFailure::Request(error.into()))
        }
    }
}

impl Read for BlobReader<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left() == 0 {
            self.end();
            return Ok(0);
        }
        if out.is_empty() {
            return Ok(0);
        }
        match self.some(out) {
            Ok(len) => {
                self.advance(len);
                Ok(len)
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::Error::other("the download failed"))
            }
        }
    }
}

/// Asks for a blob from `position` on.
fn ask(
    caller: &mut Caller<'_>,
    layer: &LayerSpec,
    position: u64,
    ranges: &mut Ranges,
) -> Result<Open, Attempt> {
    let mut headers = HeaderMap::new();
    if position > 0 && *ranges == Ranges::Expected {
        let range = HeaderValue::from_str(&format!("bytes={position}-"));
        headers.extend(range.map(|range| (header::RANGE, range)));
    }
    let answer = match caller.get(&format!("blobs/{}", layer.blob), headers) {
        Ok(answer) => answer,
        Err(RequestError::Transport(error)) => return Err(error.into()),
        Err(RequestError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. })
            if *ranges == Ranges::Expected =>
        {
            *ranges = Ranges::Broken;
            return Err(Interruption::WrongRange.into());
        }
        Err(error) => return Err(Attempt::Failed(BlobFailure::Request(error))),
    };
    let begin = match answer.status {
        StatusCode::PARTIAL_CONTENT => match content_range(&answer.headers) {
            Some((begin, total)) if begin == position => {
                check_size(layer, total)?;
                begin
            }
            _ => {
                *ranges = Ranges::Broken;
                return Err(Interruption::WrongRange.into());
            }
        },
        // The whole, whatever was asked for.
        _ => 0,
    };
    check_size(layer, answer.body.announced().map(|rest| rest.saturating_add(begin)))?;
    Ok(Open { body: answer.body, skip: position - begin })
}

fn check_size(layer: &LayerSpec, actual: Option<u64>) -> Result<(), Attempt> {
    let expected = layer.size;
    match actual {
        Some(actual) if actual != expected => {
            Err(Attempt::Failed(BlobFailure::WrongSize { expected, actual }))
        }
        Some(_) | None => Ok(()),
    }
}

/// Where a part begins, and how long the whole is if that is known (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (begin, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((begin.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        for (text, range) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -1-9/10", None),
            ("bytes 99999999999999999999-/1", None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_RANGE, HeaderValue::from_static(text))]);
            assert_eq!(content_range(&headers), range, "{text}");
        }
    }
}
