//! `events`: reads the journal of events, from some time on, and follows it.

use std::fs::File;
use std::path::PathBuf;

use jiff::Timestamp;
use model::Event;
use shim::Journal;

use crate::follow::{End, Follow, Next, open_all};
use crate::lines::Lines;
use crate::view::EventQuery;
use crate::{Engine, EngineError};

/// Reads events one by one.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    lines: Lines,
    /// Younger files still to be read, the next one last.
    newer: Vec<File>,
    since: Timestamp,
    until: Option<Timestamp>,
    follow: Option<Follow>,
    ended: bool,
}

impl Engine {
    /// Opens the journal. Without any limit only what happens from now on is told.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn events(&self, query: EventQuery) -> Result<EventReader, EngineError> {
        let journal = Journal::of(self.paths().run());
        let path = journal.path().to_owned();
        journal.make_dir().map_err(EngineError::file("make", self.paths().run()))?;
        let now = Timestamp::now();
        let earliest = if query.until.is_some() { Timestamp::UNIX_EPOCH } else { now };
        let end = match query.until {
            Some(until) if until <= now => None,
            Some(until) => Some(End::At(until)),
            None => Some(End::Never),
        };
        // Whoever is watched for first misses nothing that is written while the files are opened.
        let follow = end.map(|end| Follow::new(&path, query.gone, end)).transpose()?;
        let mut newer = open_all(&path).map_err(EngineError::file("open", &path))?;
        let first = newer.pop();
        let lines = Lines::new(first, 0).map_err(EngineError::file("read", &path))?;
        let since = query.since.unwrap_or(earliest);
        Ok(EventReader { path, lines, newer, since, until: query.until, follow, ended: false })
    }
}

impl EventReader {
    /// The next event; `None` when the time is up or nobody wants more.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(&mut self) -> Result<Option<Event>, EngineError> {
        while !self.ended {
            let line = self.lines.next().map_err(EngineError::file("read", &self.path))?;
            let Some(line) = line else {
                self.advance()?;
                continue;
            };
            // A line that is no event was cut by a full disk.
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            let is_wanted =
                event.at >= self.since && self.until.is_none_or(|until| event.at <= until);
            if is_wanted {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// At the end of a file: the next one, or what comes.
    fn advance(&mut self) -> Result<(), EngineError> {
        if let Some(file) = self.newer.pop() {
            self.lines.replace(file);
            return Ok(());
        }
        let Some(follow) = &mut self.follow else {
            self.ended = true;
            return Ok(());
        };
        match follow.wait(self.lines.file()).map_err(EngineError::file("follow", &self.path))? {
            Next::More => {}
            Next::Rotated(files) => self.newer = files,
            // What was written before the end is read once more; then nothing more comes.
            Next::Ended => self.follow = None,
            Next::Unwanted => self.ended = true,
        }
        Ok(())
    }
}
