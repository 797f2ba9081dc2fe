//! The log's files: appending, rotation, and a full disk. `pack` compresses those that are full.
//!
//! What the records say is `record`'s business; here are only batches of whole records.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::log::{Compression, LogDelivery, LogFiles};
use rustix::fs::OFlags;
use rustix::process::Pid;
use sys::failpoint::{Point, pass};
use sys::process::Exit;

use super::pack::{Ended, Packer, numbered, packed, remove};

/// Docker's mode of log files.
pub(super) const MODE: u32 = 0o640;

/// The current file and the rules of its rotation.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    files: LogFiles,
    packer: Packer,
    /// `None` when a rotation could not make the new file.
    file: Option<File>,
    size: u64,
    health: Health,
    /// Lines lost since the log was opened.
    lost: u64,
    /// How many bytes may wait for room; 0 where the container is to lose what has none.
    patience: usize,
    /// Whole records that wait.
    held: Vec<u8>,
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
        files: LogFiles,
        delivery: LogDelivery,
    ) -> std::io::Result<Self> {
        let (file, size) = open_append(path)?;
        let mut packer = Packer::new(path);
        if files.compression == Compression::Gzip {
            packer.clean(files.max_file);
            packer.go_on(files.max_file);
        }
        let patience = match delivery {
            LogDelivery::Blocking => 0,
            LogDelivery::NonBlocking { buffer } => usize::try_from(buffer).unwrap_or(usize::MAX),
        };
        Ok(Self {
            path: path.to_owned(),
            files,
            packer,
            file: Some(file),
            size,
            health: Health::Good,
            lost: 0,
            patience,
            held: Vec::new(),
        })
    }

    /// Bytes until the file has to be rotated. Rotates if that is due, so never 0.
    pub(super) fn room(&mut self) -> usize {
        let Some(max_size) = self.files.max_size else { return usize::MAX };
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
    pub(super) fn owed_note(&mut self) -> Option<String> {
        self.write_held();
        if !self.held.is_empty() {
            return None;
        }
        let Health::Owing { untold, why } = self.health else { return None };
        Some(format!("[dhow: {untold} lines were not logged: {why}]\n"))
    }

    /// Writes whole records. If that fails, none of them is in the file: they wait, or they are
    /// counted.
    pub(super) fn append(&mut self, batch: &[u8]) {
        if batch.is_empty() {
            return;
        }
        if self.held.is_empty() {
            match self.try_append(batch) {
                Ok(()) => self.health = Health::Good,
                Err(error) => self.hold_or_lose(batch, error.kind()),
            }
        } else {
            self.hold_or_lose(batch, ErrorKind::StorageFull);
        }
    }

    /// Tries once more to write what waits.
    pub(super) fn write_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        if self.try_append(&held).is_err() {
            self.held = held;
        }
    }

    /// The process that compresses a file, while there is one.
    #[cfg(test)]
    pub(super) const fn compressor(&self) -> Option<&sys::process::Child> {
        self.packer.child()
    }

    /// A process has ended that may have compressed a file.
    pub(super) fn process_ended(&mut self, pid: Pid, exit: Exit) {
        if self.packer.ended(pid, exit) == Ended::Packed {
            self.packer.go_on(self.files.max_file);
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
        } else {
            self.size += batch.len() as u64;
        }
        written
    }

    fn hold_or_lose(&mut self, batch: &[u8], why: ErrorKind) {
        // What comes after lines that were lost waits until that can be told in its place.
        let is_in_order = self.held.is_empty() || matches!(self.health, Health::Good);
        if is_in_order && self.held.len() + batch.len() <= self.patience {
            self.held.extend_from_slice(batch);
            self.health = Health::Good;
        } else {
            self.count_lost(batch, why);
        }
    }

    fn count_lost(&mut self, batch: &[u8], why: ErrorKind) {
        let (before, notes) = match self.health {
            Health::Good => (0, 0),
            // The note at the head of this batch is no line of the container's.
            Health::Owing { untold, .. } => (untold, u64::from(self.held.is_empty())),
        };
        let lines = lines_of(batch).saturating_sub(notes);
        self.lost += lines;
        self.health = Health::Owing { untold: before + lines, why };
    }

    /// Moves the files on by one and begins a new one. A rename that fails costs an old file,
    /// never the new one, as in Docker. Older files move first, so that whoever is killed in
    /// between leaves a number out and no file twice.
    fn rotate(&mut self) {
        let generations = self.files.max_file;
        for number in (1..generations).rev() {
            self.move_to(number);
        }
        if generations < 2 {
            remove(&self.path);
        }
        self.packer.rotated(generations);
        pass(Point::LogMoved);
        // Cut to nothing, should the file still be there after all. If it cannot be made, the
        // next batch tries again.
        let made = open_append(&self.path).and_then(|(file, _)| file.set_len(0).map(|()| file));
        self.file = made.ok();
        self.size = 0;
        if self.files.compression == Compression::Gzip {
            self.packer.go_on(generations);
        }
    }

    /// Gives a file the next number. What has it is the oldest one, if there is any.
    fn move_to(&self, number: u32) {
        let to = numbered(&self.path, number);
        if number + 1 == self.files.max_file {
            remove(&to);
            remove(&packed(&to));
        }
        if number == 1 {
            let _ = std::fs::rename(&self.path, to);
        } else {
            let from = numbered(&self.path, number - 1);
            // It has one of the two forms.
            let _ = std::fs::rename(packed(&from), packed(&to));
            let _ = std::fs::rename(from, to);
        }
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
