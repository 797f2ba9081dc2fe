//! The log's files: appending, rotation, and a full disk.
//!
//! What the records say is `record`'s business; here are only batches of whole records.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Docker's mode of log files.
const MODE: u32 = 0o640;

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open log {}", path.display())]
pub struct OpenError {
    /// Which file.
    path: PathBuf,
    source: std::io::Error,
}

/// The current file and the rules of its rotation.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    max_size: Option<u64>,
    max_file: u32,
    /// `None` when a rotation could not make the new file.
    file: Option<File>,
    size: u64,
    health: Health,
    /// Lines lost since the log was opened.
    lost: u64,
}

#[derive(Debug, Clone, Copy)]
enum Health {
    /// Everything so far was written, or the reader knows what was not.
    Good,
    /// The last write failed; so many lines are not told of yet.
    Owing { untold: u64, why: ErrorKind },
}

impl LogFile {
    pub(super) fn open(
        path: &Path,
        max_size: Option<u64>,
        max_file: u32,
    ) -> Result<Self, OpenError> {
        let opened = open_append(path);
        let (file, size) = opened.map_err(|source| OpenError { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            max_size,
            max_file,
            file: Some(file),
            size,
            health: Health::Good,
            lost: 0,
        })
    }

    /// Bytes until the file has to be rotated. Rotates if that is due, so never 0.
    pub(super) fn room(&mut self) -> usize {
        let Some(max_size) = self.max_size else { return usize::MAX };
        if self.size >= max_size {
            self.rotate();
        }
        let room = max_size.saturating_sub(self.size).max(1);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    pub(super) const fn lines_lost(&self) -> u64 {
        self.lost
    }

    /// A line to log in front of the next batch, while lines were lost that nobody was told of.
    pub(super) fn owed_note(&self) -> Option<String> {
        let Health::Owing { untold, why } = self.health else { return None };
        Some(format!("[dhow: {untold} lines were not logged: {why}]\n"))
    }

    /// Writes whole records. If that fails, none of them is in the file, and they are counted.
    pub(super) fn append(&mut self, batch: &[u8]) {
        if batch.is_empty() {
            return;
        }
        match self.try_append(batch) {
            Ok(()) => {
                self.size += batch.len() as u64;
                self.health = Health::Good;
            }
            Err(error) => self.count_lost(batch, error.kind()),
        }
    }

    fn try_append(&mut self, batch: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let (file, size) = open_append(&self.path)?;
                self.size = size;
                self.file.insert(file)
            }
        };
        let written = file.write_all(batch);
        if written.is_err() {
            // A part of a record would make the rest of the file unreadable. If even this
            // fails, a reader has to skip one broken line.
            let _ = file.set_len(self.size);
        }
        written
    }

    fn count_lost(&mut self, batch: &[u8], why: ErrorKind) {
        let (before, notes) = match self.health {
            Health::Good => (0, 0),
            // The note at the head of this batch is no line of the container's.
            Health::Owing { untold, .. } => (untold, 1),
        };
        let lines = lines_of(batch).saturating_sub(notes);
        self.lost += lines;
        self.health = Health::Owing { untold: before + lines, why };
    }

    /// Moves the files on by one and begins a new one. A rename that fails costs an old file,
    /// never the new one, as in Docker.
    fn rotate(&mut self) {
        for number in (1..self.max_file).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            let _ = std::fs::rename(from, self.numbered(number));
        }
        if self.max_file < 2 {
            let _ = std::fs::remove_file(&self.path);
        }
        // Cut to nothing, should the file still be there after all. If it cannot be made, the
        // next batch tries again.
        let made = open_append(&self.path).and_then(|(file, _)| file.set_len(0).map(|()| file));
        self.file = made.ok();
        self.size = 0;
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// The file and its size.
fn open_append(path: &Path) -> std::io::Result<(File, u64)> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file =
        OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Each record ends with a line feed and has none inside.
fn lines_of(batch: &[u8]) -> u64 {
    batch.iter().filter(|byte| **byte == b'\n').count() as u64
}
