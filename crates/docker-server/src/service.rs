//! The service: listeners, the connections that come in by them, and how it ends.
//!
//! One thread accepts and speaks HTTP; the engine's verbs run on others. Nothing is kept here that
//! somebody would miss: whoever is killed in the middle of it is started again, and goes on.

mod accept;
mod bind;
mod log;
pub(crate) mod metrics;
mod task;
mod tcp;
mod tls;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use tokio::sync::watch;

pub use crate::pages::Pages;
pub use bind::{BindError, Listener, Owner};
pub use log::{Form, Level, Log};
pub(crate) use task::Shared;
pub use tls::{Guard, TlsError, TlsFiles};

/// How long what is under way may take when the service ends: as Docker's daemon, whose requests
/// have fifteen seconds. What lasts by its nature (events, logs that are followed, waits, streams)
/// is not waited for.
const LAST_REQUESTS: Duration = Duration::from_secs(15);

/// What is kept for the next list is let go when there was no request for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Whether `GET /metrics` is answered beside Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metrics {
    /// It is no such path.
    Hidden,
    /// To everybody who may ask at all.
    Shown,
}

/// What the service is given by the program that it is a part of.
#[derive(Debug, Clone, Copy)]
pub struct Wiring {
    /// Where it tells what happens.
    pub log: Log,
    /// How much of what was sent over a Unix socket its peer has not read yet.
    pub unread: fn(BorrowedFd<'_>) -> u32,
    /// Gives memory back that is free.
    pub trim: fn(),
    /// Whether whoever asks is told what is measured.
    pub metrics: Metrics,
}

/// Counts what happens for whoever measures. A journal that cannot be read keeps no client from being served.
async fn count_events(engine: Engine, shared: Arc<Shared>) -> Option<std::io::PipeWriter> {
    let log = shared.log();
    let follow = move || metrics::told::Told::follow(&engine, &shared);
    let why = match tokio::task::spawn_blocking(follow).await {
        Ok(Ok(counting)) => return Some(counting),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    log.warn("events are not counted", &[("error", why)]);
    None
}

/// Serves `listeners` until `stop` is done; then takes no more connections, finishes the requests
/// that are under way, and returns. Containers do not notice.
pub async fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    wiring: Wiring,
    stop: impl Future<Output = ()>,
) {
    let shared = Arc::new(Shared::new(wiring));
    // Before anybody can do anything. Its thread ends with this.
    let _counting = match wiring.metrics {
        Metrics::Shown => count_events(engine.clone(), shared.clone()).await,
        Metrics::Hidden => None,
    };
    let (stopping, stopped) = watch::channel(false);
    let mut doors = Vec::new();
    for listener in listeners {
        let door = accept::Door {
            shared: shared.clone(),
            engine: engine.clone(),
            stopped: stopped.clone(),
        };
        doors.push(tokio::spawn(door.keep(listener)));
    }
    let resting = {
        let (shared, engine) = (shared.clone(), engine.clone());
        let requests = shared.requests_under_way();
        tokio::spawn(when_quiet(requests, move || {
            engine.forget_lists();
            shared.lines().forget();
            (wiring.trim)();
        }))
    };
    stop.await;
    resting.abort();
    stopping.send_replace(true);
    for door in doors {
        // A door does nothing that could panic, and nobody aborts it.
        let _ = door.await;
    }
    if tokio::time::timeout(LAST_REQUESTS, shared.idle()).await.is_err() {
        let left = shared.under_way();
        shared.log().warn("requests were cut off", &[("requests", left.to_string())]);
    }
}

/// Runs `forget` each time no request has come or gone for a while.
async fn when_quiet(mut requests: watch::Receiver<usize>, forget: impl Fn()) {
    while requests.changed().await.is_ok() {
        while let Ok(change) = tokio::time::timeout(REMEMBERED, requests.changed()).await {
            if change.is_err() {
                return;
            }
        }
        forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_let_go_once_in_each_quiet_time() {
        let (requests, receiver) = watch::channel(0);
        let forgotten = Arc::new(AtomicU32::new(0));
        let count = forgotten.clone();
        let task = tokio::spawn(when_quiet(receiver, move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let wait = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            forgotten.load(Ordering::SeqCst)
        };
        assert_eq!(wait(1000).await, 0, "there was nothing yet");
        for _ in 0..3 {
            requests.send_modify(|count| *count += 1);
            assert_eq!(wait(59).await, 0);
        }
        assert_eq!((wait(2).await, wait(1000).await), (1, 1));
        requests.send_modify(|count| *count -= 1);
        assert_eq!((wait(59).await, wait(2).await), (1, 2));
        drop(requests);
        task.await.unwrap();
    }
}
