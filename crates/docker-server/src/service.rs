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

pub use bind::{BindError, Listener, Owner};
pub use log::{Form, Level, Log};
pub(crate) use task::Shared;
pub use tls::{Guard, TlsError, TlsFiles};

/// How long what is under way may take when the service ends: as Docker's daemon, whose requests
/// have fifteen seconds. What lasts by its nature (events, logs that are followed, waits, streams)
/// is not waited for.
const LAST_REQUESTS: Duration = Duration::from_secs(15);

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

/// Serves `listeners` until `stop` is done; then takes no more connections, finishes the requests
/// that are under way, and returns. Containers do not notice.
pub async fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    wiring: Wiring,
    stop: impl Future<Output = ()>,
) {
    let shared = Arc::new(Shared::new(wiring));
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
    stop.await;
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
