//! What a pull tells while it runs, and how often.

use std::time::{Duration, Instant};

use model::Digest;
pub use model::pull::{Freshness, LayerStep};

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
