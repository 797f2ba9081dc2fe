//! Whole lines of a file that still grows, and where its last lines begin.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

const BLOCK: usize = 64 << 10;

/// The longest line that is kept: a record is at most 16 KiB of output, each byte of which may
/// be escaped to six, and its attributes.
const LONGEST: usize = 1 << 20;

/// Reads whole lines; a line without its end is kept until the rest comes.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Option<File>,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
}

impl Lines {
    pub(crate) fn new(file: Option<File>, offset: u64) -> io::Result<Self> {
        let mut lines = Self { file, buffer: Vec::new(), start: 0 };
        if let Some(file) = &mut lines.file {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(lines)
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Goes on with another file; what was left of a line in the old one was cut.
    pub(crate) fn replace(&mut self, file: File) {
        *self = Self { file: Some(file), buffer: std::mem::take(&mut self.buffer), start: 0 };
        self.buffer.clear();
    }

    /// The next whole line without its end; `None` if there is none yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            if let Some(length) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.start..searched + length;
                self.start = line.end + 1;
                return Ok(Some(&self.buffer[line]));
            }
            searched = self.buffer.len() - self.start;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK, 0);
        let count = file.read(&mut self.buffer[filled..])?;
        self.buffer.truncate(filled + count);
        Ok(count > 0)
    }
}

/// Where the last `wanted` lines begin, and how many there are (fewer if the file is shorter).
pub(crate) fn tail_start(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
    if wanted == 0 {
        return Ok((end, 0));
    }
    let mut block = vec![0; BLOCK];
    let mut ends = 0;
    while end > 0 {
        let count = BLOCK.min(usize::try_from(end).unwrap_or(BLOCK));
        let offset = end - u64::try_from(count).unwrap_or(0);
        file.read_exact_at(&mut block[..count], offset)?;
        for (index, _) in
            block[..count].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n')
        {
            if ends == wanted {
                return Ok((offset + u64::try_from(index).unwrap_or(0) + 1, wanted));
            }
            ends += 1;
        }
        end = offset;
    }
    Ok((0, ends))
}
