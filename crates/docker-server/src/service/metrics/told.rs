//! What happens whoever does it: the events in the journal, and what each container counts of its health checks.
//!
//! Other processes start containers, and a container's own shim checks its health. So the journal is read along for
//! as long as there is somebody who measures, and the counts of the containers are asked for when he asks.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::view::{EventQuery, ListQuery, Listed};
use engine::{Engine, EngineError};
use model::{ContainerId, Event};

use super::Text;

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By what it was about and what it was; `None` as long as nobody reads the journal.
    events: Mutex<Option<BTreeMap<(&'static str, String), u64>>>,
    /// Held while all containers are asked, so on threads that may wait alone.
    known: Mutex<BTreeMap<ContainerId, Counted>>,
    checks: AtomicU64,
    failed_checks: AtomicU64,
    /// Clients that events are sent to.
    subscribers: AtomicU64,
}

/// What a container has counted in all its lives, all checks of its health and those that failed; `None` of one that
/// has none, or could not be read.
type Counted = Option<(u64, u64)>;

/// What has come since the last time, in the place of what was known. Who has gone meanwhile takes what came then
/// with it; of whom nothing is known now, what was known stays.
fn take(
    known: &mut BTreeMap<ContainerId, Counted>,
    now: BTreeMap<ContainerId, Counted>,
) -> (u64, u64) {
    let (mut all, mut failed) = (0, 0);
    let before = std::mem::take(known);
    for (id, now) in now {
        let before = before.get(&id).copied().flatten();
        if let Some((now_all, now_failed)) = now {
            let (before_all, before_failed) = before.unwrap_or_default();
            all += now_all.saturating_sub(before_all);
            failed += now_failed.saturating_sub(before_failed);
        }
        known.insert(id, now.or(before));
    }
    (all, failed)
}

/// A client that events are sent to, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Subscriber(Arc<crate::service::Shared>);

impl Subscriber {
    pub(crate) fn new(shared: Arc<crate::service::Shared>) -> Self {
        shared.counts().told.subscribers.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.counts().told.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Told {
    /// Reads the journal along on a thread of its own, until what this returns is gone. What the containers have
    /// counted so far is none of this service's time.
    ///
    /// # Errors
    /// The journal or the containers cannot be read, or there is no thread.
    pub(crate) fn follow(
        engine: &Engine,
        shared: &Arc<crate::service::Shared>,
    ) -> Result<PipeWriter, FollowError> {
        let (gone, hangup) = io::pipe()?;
        let query = EventQuery { since: None, until: None, gone: gone.into() };
        let mut reader = engine.events(query)?;
        let told = &shared.counts().told;
        let known = counted(engine)?;
        *told.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        *told.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(BTreeMap::new());
        let shared = shared.clone();
        let work = move || {
            let told = &shared.counts().told;
            let failed = loop {
                match reader.read() {
                    Ok(Some(event)) => told.add(&event),
                    Ok(None) => return,
                    Err(error) => break error,
                }
            };
            // A figure that stands still would say that nothing happens.
            *told.events.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let why = [("error", failed.to_string())];
            shared.log().warn("events are not counted any more", &why);
        };
        std::thread::Builder::new().name("events".to_owned()).spawn(work)?;
        Ok(hangup)
    }

    fn add(&self, event: &Event) {
        // What an exec runs, and how healthy something is, stands behind it.
        let action = event.action.split(':').next().unwrap_or_default();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(events) = &mut *events {
            *events.entry((event.kind.word(), action.to_owned())).or_default() += 1;
        }
    }

    /// Asks the containers how often their health was checked.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) fn ask(&self, engine: &Engine) -> Result<(), EngineError> {
        // Two at once must not take the older counts for the newer ones.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, failed) = take(&mut known, counted(engine)?);
        self.checks.fetch_add(all, Ordering::Relaxed);
        self.failed_checks.fetch_add(failed, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn render(&self, text: &mut Text) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(events) = events {
            text.only(
                "engine_daemon_events_total",
                "counter",
                "The number of events logged",
                events.values().sum::<u64>(),
            );
            let name = "dhow_events_total";
            text.head(name, "counter", "Events by what they are about, whoever did it");
            for ((kind, action), count) in &events {
                text.value(name, &[("action", action), ("type", kind)], *count);
            }
        }
        text.only(
            "engine_daemon_events_subscribers_total",
            "gauge",
            "The number of current subscribers to events",
            self.subscribers.load(Ordering::Relaxed),
        );
        let [all, failed] =
            [&self.checks, &self.failed_checks].map(|count| count.load(Ordering::Relaxed));
        let name = "engine_daemon_health_checks_failed_total";
        text.only(name, "counter", "The total number of failed health checks", failed);
        let name = "engine_daemon_health_checks_total";
        text.only(name, "counter", "The total number of health checks", all);
    }
}

/// Why nothing is counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The journal, or the containers.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A pipe, or a thread.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What each container counts.
fn counted(engine: &Engine) -> Result<BTreeMap<ContainerId, Counted>, EngineError> {
    let mut counts = BTreeMap::new();
    engine.list(ListQuery::All, |listed| {
        match listed {
            Listed::Whole(view) => {
                let health = view.health.as_ref();
                counts.insert(view.id, health.map(|health| (health.checks, health.failed)));
            }
            Listed::Unread(unread) => {
                counts.insert(unread.id, None);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_only_grow() {
        let id = |byte| ContainerId::from_random([byte; 32]);
        let mut known = BTreeMap::from([(id(1), Some((5, 2)))]);
        let mut come = |now: &[(u8, Counted)]| {
            take(&mut known, now.iter().map(|(byte, counted)| (id(*byte), *counted)).collect())
        };
        assert_eq!(come(&[(1, Some((7, 2))), (2, Some((3, 3)))]), (5, 3));
        // One has gone, and one counts anew.
        assert_eq!(come(&[(2, Some((1, 0))), (3, Some((1, 1)))]), (1, 1));
        // One cannot be read for a while.
        assert_eq!(come(&[(2, None), (3, Some((1, 1)))]), (0, 0));
        assert_eq!(come(&[(2, Some((2, 0)))]), (1, 0));
    }
}
