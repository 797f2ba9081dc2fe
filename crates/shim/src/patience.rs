//! How long one waits for a shim that says nothing.
//!
//! Deciding only: `client` waits, `silent` looks.

use std::time::Duration;

use crate::silent::Why;

/// How often one looks at a shim that cannot be asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one may be stopped: somebody may look at it for a moment.
const STOPPED: Duration = Duration::from_secs(2);
/// How long the start of a process may take that runs no hooks: it may be on a disk that is slow.
const LONGEST: Duration = Duration::from_mins(2);

/// Who waits, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) how: How,
    /// How long one waits at a time.
    pub(crate) slice: Duration,
    /// For one that is stopped.
    stopped: Duration,
    /// For one of which nobody knows why.
    unknown: Duration,
}

/// What one does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Asks whether it answers to anything.
    Asking,
    /// Looks at its process alone.
    Looking,
}

impl Patience {
    /// Of one who asks after so long, and gives up after the same time again.
    pub(crate) const fn asking(slice: Duration) -> Self {
        Self { how: How::Asking, slice, stopped: slice, unknown: slice }
    }

    /// Of one who asks as soon, and gives up after so long.
    #[cfg(test)]
    pub(crate) const fn giving_up_after(self, unknown: Duration) -> Self {
        Self { stopped: unknown, unknown, ..self }
    }

    /// Of one who must not ask, or waits for what is all that a shim does meanwhile.
    pub(crate) const fn looking() -> Self {
        Self { how: How::Looking, slice: LOOK_EVERY, stopped: STOPPED, unknown: LONGEST }
    }
}

/// For how long a shim has said nothing without a reason.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    stopped: Duration,
    unknown: Duration,
    /// It was at work a moment ago, and may be about to answer.
    has_worked: bool,
}

impl Quiet {
    /// Whether one waits for another slice.
    pub(crate) fn goes_on(&mut self, why: Why, patience: &Patience) -> bool {
        match why {
            Why::AtWork => {
                *self = Self { has_worked: true, ..Self::default() };
                true
            }
            Why::Stopped => {
                self.stopped += patience.slice;
                self.stopped < patience.stopped
            }
            Why::Unknown => {
                self.stopped = Duration::ZERO;
                if std::mem::take(&mut self.has_worked) {
                    return true;
                }
                self.unknown += patience.slice;
                self.unknown < patience.unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many slices one gives up.
    fn slices(patience: Patience, whys: &[Why]) -> Option<usize> {
        let mut quiet = Quiet::default();
        whys.iter().position(|why| !quiet.goes_on(*why, &patience)).map(|at| at + 1)
    }

    #[test]
    fn who_asks_waits_once_more() {
        let patience = Patience::asking(Duration::from_secs(1));
        assert_eq!(slices(patience, &[Why::Unknown]), Some(1));
        assert_eq!(slices(patience, &[Why::Stopped]), Some(1));
        // It is done, and about to answer.
        let works = [Why::AtWork, Why::AtWork, Why::Unknown, Why::Unknown];
        assert_eq!(slices(patience, &works), Some(4));
        assert_eq!(slices(patience, &[Why::AtWork; 1000]), None);
    }

    #[test]
    fn who_looks_gives_up_one_that_is_stopped_before_one_that_starts_something() {
        let patience = Patience::looking();
        assert_eq!(slices(patience, &[Why::Stopped, Why::Stopped]), Some(2));
        assert_eq!(slices(patience, &[Why::Stopped, Why::Unknown, Why::Stopped]), None);
        assert_eq!(slices(patience, &[Why::Unknown; 200]), Some(120));
    }
}
