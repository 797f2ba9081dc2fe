//! The journal of events of one runtime root: a file that every process of dhow appends to and
//! that whoever looks on reads along.
//!
//! There is no daemon to keep the events in memory, and the end of a container is seen by its
//! shim alone: so each process writes down what it did or saw. Owns the writing and the moving
//! aside of a full file; reading is the engine's.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Event;
use rustix::fs::{FlockOperation, flock};

/// Bytes after which the file is moved aside: some three thousand events. Docker remembers 256.
const FULL: u64 = 1 << 20;

/// The journal of a runtime root.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal below `run`; it need not exist.
    #[must_use]
    pub fn of(run: &Path) -> Self {
        Self { path: run.join("events") }
    }

    /// The file that is written now. The one before it has `.1` at its end; there are no more.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends events, a line each, in one write: readers see them together.
    ///
    /// # Errors
    /// The file cannot be written. No verb fails for that: those who look on have no say in what
    /// they see.
    pub fn append(&self, events: &[Event]) -> io::Result<()> {
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, event)?;
            text.push(b'\n');
        }
        let mut file = self.open_locked()?;
        file.write_all(&text)?;
        if file.metadata()?.len() >= FULL {
            self.move_aside(&file)?;
        }
        Ok(())
    }

    /// The current file with a shared lock, under which it stays the current one.
    fn open_locked(&self) -> io::Result<File> {
        loop {
            let file = match self.open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make_dir()?;
                    self.open()?
                }
                opened => opened?,
            };
            flock(&file, FlockOperation::LockShared)?;
            if self.is_current(&file)? {
                return Ok(file);
            }
        }
    }

    /// Makes the directory that the journal is in, for whoever wants to watch it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_dir(&self) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(&self.path);
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn open(&self) -> io::Result<File> {
        File::options().append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Renames a full file, unless others still write to it: one of them will.
    fn move_aside(&self, file: &File) -> io::Result<()> {
        // The shared lock is let go before the exclusive one is there, so all is looked at again.
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            other => other?,
        }
        if self.is_current(file)? && file.metadata()?.len() >= FULL {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
        }
        Ok(())
    }

    fn is_current(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use model::EventKind;

    fn event(number: usize) -> Event {
        Event {
            kind: EventKind::Container,
            action: "start".to_owned(),
            actor: number.to_string(),
            attributes: BTreeMap::from([("pad".to_owned(), "x".repeat(1000))]),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn actors(path: &Path) -> Vec<usize> {
        let text = std::fs::read_to_string(path).unwrap();
        let parse = |line| serde_json::from_str::<Event>(line).unwrap();
        text.lines().map(|line| parse(line).actor.parse().unwrap()).collect()
    }

    #[test]
    fn writers_at_once_lose_nothing_when_a_file_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        // Together a little more than one file takes.
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let journal = &journal;
                scope.spawn(move || {
                    (0..300).for_each(|n| journal.append(&[event(writer * 300 + n)]).unwrap());
                });
            }
        });
        let aside = dir.path().join("events.1");
        assert!(std::fs::metadata(&aside).unwrap().len() >= FULL);
        let mut all = actors(&aside);
        all.extend(actors(journal.path()));
        all.sort_unstable();
        assert_eq!(all, (0..1200).collect::<Vec<_>>());
    }

    #[test]
    fn events_of_one_call_stand_together() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        journal.append(&[event(1), event(2)]).unwrap();
        journal.append(&[event(3)]).unwrap();
        assert_eq!(actors(journal.path()), [1, 2, 3]);
    }
}
