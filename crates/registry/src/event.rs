//! What a pull tells while it runs, and how often.

use std::time::{Duration, Instant};

use model::Digest;

/// Shortest time between two counts of one layer's bytes.
const BETWEEN_COUNTS: Duration = Duration::from_millis(100);

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The registry knows the image.
    Found,
    /// Something happened to one layer.
    Layer(Digest, LayerStep),
    /// What the name stands for: the digest of a manifest or an index.
    Resolved(Digest),
    /// The image is in the store.
    Ended(Freshness),
}

/// Whether a pull changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Something was fetched, or the name meant another image before.
    Downloaded,
    /// It was all here already.
    UpToDate,
}

/// How far one layer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerStep {
    /// It was here already.
    Exists,
    /// It will be fetched.
    Pulling,
    /// It waits for its turn, or for another operation that fetches it.
    Waiting,
    /// Bytes have come; they are unpacked as they come.
    Downloading {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// All bytes are here; their digest is being checked.
    Verifying,
    /// The download has ended.
    Downloaded,
    /// The last of it is being unpacked.
    Extracting {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// It can be used.
    Done,
}

/// Tells when the next count is due.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    /// True for the first call, and then about ten times a second.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= BETWEEN_COUNTS);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}
