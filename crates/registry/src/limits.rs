//! How long and how often things may be tried. Sizes and counts of documents are the store's.

use std::time::Duration;

/// The limits of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Each for a name to be looked up, for one address to accept a connection, and for the TLS
    /// handshake.
    pub connect: Duration,
    /// For the next bytes of an answer to come.
    pub idle: Duration,
    /// For a registry to answer when it has got all of a blob.
    pub settle: Duration,
    /// For a manifest, a configuration or a token to come whole.
    pub document: Duration,
    /// How often what failed on the way is tried again. A layer that has made progress since
    /// starts to count anew.
    pub retries: u32,
    /// The pause before the first new attempt; it doubles with each.
    pub first_pause: Duration,
    /// The longest of these pauses.
    pub longest_pause: Duration,
    /// The longest pause that a registry may ask for (`Retry-After`).
    pub longest_retry_after: Duration,
    /// How many redirects are followed.
    pub redirects: u32,
    /// How many layers come at once.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            settle: Duration::from_mins(15),
            document: Duration::from_mins(2),
            retries: 5,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(3),
            longest_retry_after: Duration::from_secs(30),
            redirects: 10,
            parallel: 3,
        }
    }
}

/// Counts attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts {
    failed: u32,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { failed: 0 }
    }

    /// There was progress: the count starts anew.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// An attempt has failed: how long to pause before the next, `None` if that was the last.
    pub(crate) fn fail(&mut self, limits: &Limits) -> Option<Duration> {
        let pause = limits.first_pause.saturating_mul(1 << self.failed.min(16));
        self.failed += 1;
        (self.failed <= limits.retries).then(|| pause.min(limits.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let limits = Limits::default();
        let mut attempts = Attempts::new();
        let pauses: Vec<u128> =
            std::iter::from_fn(|| attempts.fail(&limits)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3000]);
        attempts.reset();
        assert_eq!(attempts.fail(&limits), Some(limits.first_pause));
    }
}
