//! How many connections there are. Everybody on this machine may connect, so who has not signed in is in nobody's way:
//! of those there are few, and the oldest of them goes when one more comes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections of pages that have signed in: a page has one for each thing that it follows.
const KNOWN: usize = 256;

/// Connections on which nobody has signed in yet.
pub(super) const STRANGERS: usize = 64;

/// All places of one dashboard.
#[derive(Debug)]
pub(super) struct Places {
    known: Arc<Semaphore>,
    /// The oldest first; each is told when it has to go.
    strangers: Mutex<VecDeque<Arc<Notify>>>,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { known: Arc::new(Semaphore::new(KNOWN)), strangers: Mutex::default() })
    }

    /// A stranger's place, for which another one may have to go.
    pub(super) fn take(self: &Arc<Self>) -> Place {
        let notice = Arc::new(Notify::new());
        let mut strangers = self.strangers();
        if strangers.len() >= STRANGERS
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.notify_one();
        }
        strangers.push_back(notice.clone());
        Place { places: self.clone(), notice, known: OnceLock::new() }
    }

    fn strangers(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    notice: Arc<Notify>,
    known: OnceLock<OwnedSemaphorePermit>,
}

impl Place {
    /// Whoever has it has signed in, and stays. False if too many do.
    pub(super) fn keep(&self) -> bool {
        if self.known.get().is_some() {
            return true;
        }
        let Ok(permit) = self.places.known.clone().try_acquire_owned() else { return false };
        // A connection has one request at a time, so nobody else has set it meanwhile.
        let _ = self.known.set(permit);
        self.leave();
        true
    }

    /// Done when it has to go.
    pub(super) async fn lost(&self) {
        self.notice.notified().await;
    }

    fn leave(&self) {
        self.places.strangers().retain(|other| !Arc::ptr_eq(other, &self.notice));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn who_has_signed_in_stays_and_gives_the_place_back() {
        let places = Places::new();
        let known: Vec<Place> = std::iter::repeat_with(|| places.take()).take(KNOWN).collect();
        assert!(known.iter().skip(KNOWN - STRANGERS).all(Place::keep));
        let strangers: Vec<Place> =
            std::iter::repeat_with(|| places.take()).take(STRANGERS + 1).collect();
        assert_eq!(known[KNOWN - 1].lost().now_or_never(), None);
        assert_eq!(strangers[0].lost().now_or_never(), Some(()));
        assert_eq!(strangers[1].lost().now_or_never(), None);
        assert!(known.iter().all(Place::keep));
        assert!(!strangers[1].keep(), "there is an end");
        drop(known);
        assert!(strangers[1].keep());
        drop(strangers);
        assert!(places.strangers().is_empty());
    }
}
