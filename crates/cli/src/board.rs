//! What is known of the use of each of several containers, kept current by a stream for each.

use crate::format::stats::Reading;
use docker_api::types::stats::Stats;
use docker_api::{ApiError, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What is known of one container.
#[derive(Clone, Debug)]
enum Entry {
    /// Nothing yet.
    Waiting,
    /// Its last reading.
    Read(Box<Stats>),
    /// There are no more readings, and what the last one was.
    Gone(Option<Box<Stats>>),
    /// It could not be read at all.
    Failed(Arc<ApiError>),
}

/// What is known of each container, by the name that it was asked for by.
#[derive(Clone, Default)]
pub(crate) struct Board {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    /// Somebody is not waiting any more.
    first: Arc<Notify>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &str, entry: Entry) {
        self.lock().insert(name.to_owned(), entry);
        self.first.notify_one();
    }

    /// Begins to read those that are new, and forgets those that are not asked for any more.
    pub(crate) fn follow(&self, client: &Client, names: &[String]) {
        let mut entries = self.lock();
        entries.retain(|name, _| names.contains(name));
        for name in names {
            if entries.contains_key(name) {
                continue;
            }
            entries.insert(name.clone(), Entry::Waiting);
            tokio::spawn(follow(client.clone(), name.clone(), self.clone()));
        }
    }

    /// Waits until each has been read once, or cannot be.
    pub(crate) async fn wait_for_first(&self) {
        while self.lock().values().any(|entry| matches!(entry, Entry::Waiting)) {
            self.first.notified().await;
        }
    }

    pub(crate) fn readings(&self, names: &[String]) -> Vec<Reading> {
        let entries = self.lock();
        let reading = |name: &String| {
            let known = entries.get(name).cloned().unwrap_or(Entry::Waiting);
            let (stats, is_live) = match known {
                Entry::Read(stats) => (Some(*stats), true),
                Entry::Gone(stats) => (stats.map(|stats| *stats), false),
                Entry::Waiting | Entry::Failed(_) => (None, false),
            };
            // Of one that is gone, who it was is known and nothing else.
            let of_the_dead =
                |stats: Stats| Stats { id: stats.id, name: stats.name, ..Stats::default() };
            let stats = if is_live { stats } else { stats.map(of_the_dead) };
            Reading { asked: name.clone(), stats, is_live }
        };
        names.iter().map(reading).collect()
    }

    /// The first of those that could not be read at all.
    pub(crate) fn failure(&self) -> Option<Arc<ApiError>> {
        self.lock().values().find_map(|entry| match entry {
            Entry::Failed(error) => Some(Arc::clone(error)),
            Entry::Waiting | Entry::Read(_) | Entry::Gone(_) => None,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().values().all(|entry| matches!(entry, Entry::Gone(_)))
    }
}

/// Keeps one entry of the board current until the readings end.
async fn follow(client: Client, name: String, board: Board) {
    let mut last = None;
    let read = read(&client, &name, &board, &mut last).await;
    board.set(
        &name,
        match (read, last) {
            (Err(error), None) => Entry::Failed(Arc::new(error)),
            (_, last) => Entry::Gone(last),
        },
    );
}

async fn read(
    client: &Client,
    name: &str,
    board: &Board,
    last: &mut Option<Box<Stats>>,
) -> Result<(), ApiError> {
    let mut stream = client.container_stats(name).await?;
    while let Some(stats) = stream.next().await? {
        let stats = Box::new(stats);
        *last = Some(stats.clone());
        board.set(name, Entry::Read(stats));
    }
    Ok(())
}
