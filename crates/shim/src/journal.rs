//! The journal of events of one runtime root: a file that every process of dhow appends to and
//! that whoever looks on reads along.
//!
//! There is no daemon to keep the events in memory, and the end of a container is seen by its
//! shim alone: so each process writes down what it did or saw. Owns the writing and the moving
//! aside of a full file; reading is the engine's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Event;
use rustix::fs::{FlockOperation, flock};

/// Bytes after which the file is moved aside: some three thousand events. Docker remembers 256.
const FULL: u64 = 1 << 20;
/// Bytes of an action as it is written; the command of an exec is in it, which may be longer.
const LONGEST_ACTION: usize = 4 << 10;
/// Bytes of an event's attributes as they are written. So no line has much more than these.
const LONGEST_ATTRIBUTES: usize = 60 << 10;

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

    /// Appends events, a line each, in one write: readers see them together. What a line has no
    /// room for is left out: the end of a long action, and the longest attributes.
    ///
    /// # Errors
    /// The file cannot be written. No verb fails for that: those who look on have no say in what
    /// they see.
    pub fn append(&self, events: &[Event]) -> io::Result<()> {
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, &*fitted(event))?;
            text.push(b'\n');
        }
        let mut file = self.open_locked()?;
        let before = file.metadata()?.len();
        if is_cut(&file, before)? {
            text.insert(0, b'\n');
        }
        file.write_all(&text)?;
        if before + text.len() as u64 >= FULL {
            self.move_aside(&file)?;
        }
        Ok(())
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        for path in [&self.path, &self.aside()] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn aside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
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
        File::options().read(true).append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Renames a full file, unless others still write to it: one of them will.
    fn move_aside(&self, file: &File) -> io::Result<()> {
        // The shared lock is let go before the exclusive one is there, so all is looked at again.
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            other => other?,
        }
        if self.is_current(file)? && file.metadata()?.len() >= FULL {
            std::fs::rename(&self.path, self.aside())?;
            // Whoever looks on goes on with the next file, so there is one.
            self.open()?;
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

/// Whether the last line has no end: a full disk, or a process that was killed as it wrote. What is
/// appended to such a line would be lost with it. Another process that is writing right now looks
/// the same; then an empty line follows its own, which readers pass over.
fn is_cut(file: &File, len: u64) -> io::Result<bool> {
    let Some(last) = len.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    let count = file.read_at(&mut byte, last)?;
    Ok(count == 1 && byte != *b"\n")
}

/// The event without what a line has no room for.
fn fitted(event: &Event) -> Cow<'_, Event> {
    let mut fitted = Cow::Borrowed(event);
    if quoted(&event.action) > LONGEST_ACTION {
        fitted.to_mut().action = cut(&event.action);
    }
    let length: usize = event.attributes.iter().map(entry).sum();
    if length > LONGEST_ATTRIBUTES {
        fit(&mut fitted.to_mut().attributes);
    }
    fitted
}

/// The beginning of a text, so much of it that an action may have.
fn cut(text: &str) -> String {
    let mut room = LONGEST_ACTION;
    let fits = |char: &char| {
        let needed = quoted(char.encode_utf8(&mut [0; 4]));
        room.checked_sub(needed).map(|left| room = left).is_some()
    };
    text.chars().take_while(fits).collect()
}

/// Takes the longest attributes away until the rest is short enough for an event.
pub(crate) fn fit(attributes: &mut BTreeMap<String, String>) {
    let mut entries: Vec<(usize, String)> =
        attributes.iter().map(|both| (entry(both), both.0.clone())).collect();
    entries.sort_unstable();
    let mut room = LONGEST_ATTRIBUTES;
    for (length, key) in entries {
        match room.checked_sub(length) {
            Some(left) => room = left,
            None => drop(attributes.remove(&key)),
        }
    }
}

/// Bytes of an attribute in JSON, with its colon and comma.
fn entry((key, value): (&String, &String)) -> usize {
    quoted(key) + quoted(value) + 2
}

/// Bytes of a text in JSON.
fn quoted(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // One who writes while another does may leave an empty line between.
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| parse(line).actor.parse().unwrap()).collect()
    }

    #[test]
    fn a_file_that_is_moved_aside_has_a_next_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        std::fs::write(journal.path(), vec![b'\n'; usize::try_from(FULL).unwrap()]).unwrap();
        journal.append(&[event(1)]).unwrap();
        assert!(std::fs::metadata(dir.path().join("events.1")).unwrap().len() > FULL);
        assert_eq!(std::fs::metadata(journal.path()).unwrap().len(), 0);
        journal.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        journal.remove().unwrap();
    }

    #[test]
    fn an_event_after_one_that_was_cut_has_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        std::fs::write(journal.path(), r#"{"kind":"cont"#).unwrap();
        journal.append(&[event(1)]).unwrap();
        journal.append(&[event(2)]).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        let (cut, rest) = text.split_once('\n').unwrap();
        assert_eq!(cut, r#"{"kind":"cont"#);
        let actor = |line| serde_json::from_str::<Event>(line).unwrap().actor;
        assert_eq!(rest.lines().map(actor).collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn what_a_line_has_no_room_for_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        let mut long = event(1);
        long.action = format!("exec_create: {}", "\u{1}\"ä".repeat(100_000));
        long.attributes = (0..7).map(|n| (n.to_string(), "\n".repeat(10 * n * n * n))).collect();
        long.attributes.insert("big".to_owned(), "x".repeat(1 << 20));
        long.attributes.extend((0..60).map(|n| (format!("k{n}"), "x".repeat(1000))));
        journal.append(&[long.clone()]).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        assert!(text.len() < 64 << 10 && text.len() > 60 << 10, "{}", text.len());
        let read: Event = serde_json::from_str(text.trim_end()).unwrap();
        assert!(long.action.starts_with(&read.action) && read.action.len() > 1000);
        assert!(!read.attributes.contains_key("big") && read.attributes.contains_key("3"));
        assert!(read.attributes.iter().all(|(key, value)| long.attributes[key] == *value));
    }

    #[test]
    fn the_length_of_a_text_is_that_of_its_json() {
        let text: String = (0..0x100).filter_map(char::from_u32).collect();
        assert_eq!(quoted(&text), serde_json::to_string(&text).unwrap().len());
    }

    #[test]
    fn writers_at_once_lose_nothing_when_a_file_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        // Together a little more than one file takes.
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let journal = &journal;
                let append = move |n: usize| journal.append(&[event(writer * 300 + n)]).unwrap();
                scope.spawn(move || (0..300).for_each(append));
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
