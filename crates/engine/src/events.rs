//! `events`: reads the journal of events, from some time on, and follows it.

use jiff::Timestamp;
use model::Event;
use shim::Journal;

use crate::follow::{End, Follow, open_all};
use crate::tail::{Seen, Tail};
use crate::view::EventQuery;
use crate::{Engine, EngineError};

/// Reads events one by one.
#[derive(Debug)]
pub struct EventReader {
    tail: Tail,
    since: Timestamp,
    until: Option<Timestamp>,
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
            at => Some(End { at, exit: None }),
        };
        // Whoever is watched for first misses nothing that is written while the files are opened.
        let follow = end.map(|end| Follow::new(&path, query.gone, end)).transpose()?;
        let files = open_all(&path).map_err(EngineError::file("open", &path))?;
        let since = query.since.unwrap_or(earliest);
        let tail = Tail::new(path, files, 0, follow)?;
        Ok(EventReader { tail, since, until: query.until })
    }

    /// Everything that the journal still has.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn past_events(&self) -> Result<EventReader, EngineError> {
        let path = Journal::of(self.paths().run()).path().to_owned();
        let files = open_all(&path).map_err(EngineError::file("open", &path))?;
        let tail = Tail::new(path, files, 0, None)?;
        Ok(EventReader { tail, since: Timestamp::UNIX_EPOCH, until: None })
    }
}

impl EventReader {
    /// The next event; `None` when the time is up or nobody wants more.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(&mut self) -> Result<Option<Event>, EngineError> {
        let (since, until) = (self.since, self.until);
        self.tail.find(|line| match serde_json::from_slice::<Event>(line) {
            Ok(event) if event.at >= since && until.is_none_or(|until| event.at <= until) => {
                Seen::Wanted(event)
            }
            // A line that is no event was cut by a full disk.
            Ok(_) | Err(_) => Seen::Passed,
        })
    }
}
