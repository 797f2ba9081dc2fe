//! The lines of a file that is rotated and may still grow: those of the older files first, then
//! what comes.

use std::path::PathBuf;

use crate::EngineError;
use crate::follow::{Follow, Next};
use crate::lines::Lines;
use crate::segment::Segment;

/// What a line is to its reader.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    /// It is wanted.
    Wanted(T),
    /// It is passed over.
    Passed,
    /// Neither it nor any behind it is wanted.
    TooLate,
}

/// A place in such a file.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    lines: Lines,
    /// Younger files still to be read, the next one last.
    newer: Vec<Segment>,
    follow: Option<Follow>,
    ended: bool,
}

impl Tail {
    /// Reads `files`, the oldest of which is the last, from `start` in that one on. Without
    /// `follow` it ends with them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn new(
        path: PathBuf,
        mut files: Vec<Segment>,
        start: u64,
        follow: Option<Follow>,
    ) -> Result<Self, EngineError> {
        let first = files.pop();
        let lines = Lines::new(first, start).map_err(EngineError::file("read", &path))?;
        Ok(Self { path, lines, newer: files, follow, ended: false })
    }

    /// The next line that is wanted; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn find<T>(
        &mut self,
        mut look: impl FnMut(&[u8]) -> Seen<T>,
    ) -> Result<Option<T>, EngineError> {
        while !self.ended {
            let line = self.lines.next().map_err(EngineError::file("read", &self.path))?;
            match line.map(&mut look) {
                Some(Seen::Wanted(found)) => return Ok(Some(found)),
                Some(Seen::Passed) => {}
                Some(Seen::TooLate) => self.ended = true,
                None => self.advance()?,
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
            // What was written before the move is read once more, then the newer files.
            Next::Rotated(files) => self.newer = files,
            // What was written before the end is read once more; then nothing more comes.
            Next::Ended => self.follow = None,
            Next::Unwanted => self.ended = true,
        }
        Ok(())
    }
}
