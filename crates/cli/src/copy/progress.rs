//! What is said of a copy while it runs, and when it is done.

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::Talk;
use super::stream::Count;
use crate::cx;
use crate::human;

/// How often the line is written anew.
const TICK: Duration = Duration::from_millis(250);

/// A copy that runs.
#[derive(Debug)]
pub(super) struct Progress {
    talk: Talk,
    way: &'static str,
    count: Count,
    shown: Cell<Option<Instant>>,
    began: Instant,
}

impl Progress {
    /// `way` is `to` or `from` a container.
    pub(super) fn begin(talk: Talk, way: &'static str) -> Self {
        let began = Instant::now();
        Self { talk, way, count: Count::default(), shown: Cell::new(None), began }
    }

    pub(super) fn count(&self) -> Count {
        self.count.clone()
    }

    /// Writes the line, if it is time and somebody looks.
    pub(super) fn show(&self) {
        let last = self.shown.get().unwrap_or(self.began);
        if self.talk == Talk::Quiet || last.elapsed() < TICK || !cx::stderr_is_terminal() {
            return;
        }
        self.shown.set(Some(Instant::now()));
        self.say(&format!("\r\x1b[KCopying {} container - {}", self.way, self.size()));
    }

    /// Waits for something and shows meanwhile how far it is.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(TICK, &mut work).await {
                Ok(done) => return done,
                Err(_) => self.show(),
            }
        }
    }

    /// Says that all is done.
    pub(super) fn end(&self, target: &str) {
        if self.talk == Talk::Quiet {
            return;
        }
        let clear = if self.shown.get().is_some() { "\r\x1b[K" } else { "" };
        self.say(&format!("{clear}Successfully copied {} to {target}\n", self.size()));
    }

    fn size(&self) -> String {
        human::size(human::float(i64::try_from(self.count.get()).unwrap_or(i64::MAX)))
    }

    fn say(&self, text: &str) {
        // Whether anybody reads it does not matter.
        let mut stderr = std::io::stderr();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}
