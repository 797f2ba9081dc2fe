//! The log of a container: Docker's `json-file`, byte for byte.
//!
//! `record` makes the records, `escape` writes JSON strings, `stamp` writes times, `file` writes
//! and rotates the file; here they are joined. A log that cannot be written never stops the
//! container: what is lost is counted and told once, when there is room again.

mod escape;
mod file;
mod record;
mod stamp;

use std::path::Path;

use crate::protocol::{LogConfig, StreamKind};

use file::LogFile;
pub use file::OpenError;
use record::Recorder;

/// Bytes of records that are collected before they are written.
const BATCH: usize = 192 << 10;

/// One open log.
#[derive(Debug)]
pub struct Log {
    recorder: Recorder,
    file: LogFile,
}

impl Log {
    /// Opens what the configuration asks for; `None` if it asks for no log.
    ///
    /// # Errors
    /// The file cannot be opened or made.
    pub fn open(config: &LogConfig) -> Result<Option<Self>, OpenError> {
        let LogConfig::JsonFile { path, max_size, max_file, attrs } = config else {
            return Ok(None);
        };
        let file = LogFile::open(Path::new(path), *max_size, *max_file)?;
        Ok(Some(Self { recorder: Recorder::new(attrs), file }))
    }

    /// Takes one read's worth of output. `now` is nanoseconds since 1970.
    pub fn write(&mut self, stream: StreamKind, data: &[u8], now: i64) {
        self.recorder.at(now);
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.file.room().min(BATCH);
            rest = self.recorder.take(stream, rest, room);
            self.flush();
        }
    }

    /// No more comes on this stream: a line without its end is written as it is.
    pub fn finish(&mut self, stream: StreamKind, now: i64) {
        self.recorder.at(now);
        self.recorder.finish(stream);
        self.flush();
    }

    /// How many lines could not be written so far.
    #[must_use]
    pub fn lines_lost(&self) -> u64 {
        self.file.lines_lost()
    }

    /// Gives back memory that a past burst needed.
    pub fn trim(&mut self) {
        self.recorder.trim();
    }

    fn flush(&mut self) {
        if let Some(note) = self.file.owed_note() {
            self.recorder.note(&note);
        }
        self.file.append(self.recorder.batch());
        self.recorder.clear();
    }
}

#[cfg(test)]
mod tests;
