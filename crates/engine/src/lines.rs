//! Whole lines of a file that still grows, and where its last lines begin.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::segment::{Identity, Segment};

const BLOCK: usize = 64 << 10;

/// The longest line that is kept: a record is at most 16 KiB of output, each byte of which may
/// be escaped to six, and its attributes.
const LONGEST: usize = 1 << 20;

/// Reads whole lines; a line without its end is kept until the rest comes. One that is longer than
/// [`LONGEST`] is passed over.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Option<Segment>,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    line: Line,
}

/// What becomes of the line that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Kept,
    /// It was too long, and its beginning is gone.
    PassedOver,
}

impl Lines {
    pub(crate) fn new(file: Option<Segment>, offset: u64) -> io::Result<Self> {
        let mut lines = Self { file, buffer: Vec::new(), start: 0, line: Line::Kept };
        if let Some(file) = &mut lines.file {
            file.go_to(offset)?;
        }
        Ok(lines)
    }

    /// Which file is read; it stays itself while it is.
    pub(crate) fn file(&self) -> Option<Identity> {
        self.file.as_ref().map(Segment::identity)
    }

    /// Goes on with another file; what was left of a line in the old one was cut.
    pub(crate) fn replace(&mut self, file: Segment) {
        self.file = Some(file);
        self.forget(Line::Kept);
    }

    /// The next whole line without its end; `None` if there is none yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            if let Some(length) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.start..searched + length;
                self.start = line.end + 1;
                searched = self.start;
                match std::mem::replace(&mut self.line, Line::Kept) {
                    Line::Kept => return Ok(Some(&self.buffer[line])),
                    Line::PassedOver => continue,
                }
            }
            if self.line == Line::PassedOver || self.buffer.len() - self.start > LONGEST {
                self.forget(Line::PassedOver);
            }
            searched = self.buffer.len() - self.start;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn forget(&mut self, line: Line) {
        self.buffer.clear();
        (self.start, self.line) = (0, line);
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let Some(file) = &mut self.file else { return Ok(false) };
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK, 0);
        let count = file.read(&mut self.buffer[filled..])?;
        self.buffer.truncate(filled + count);
        Ok(count > 0)
    }
}

/// Where the last `wanted` lines begin, and how many there are (fewer if the file is shorter).
pub(crate) fn tail_start(segment: &mut Segment, wanted: u64) -> io::Result<(u64, u64)> {
    match segment.as_plain() {
        Some(file) => plain_tail_start(file, wanted),
        None => packed_tail_start(segment, wanted),
    }
}

/// A compressed file can only be read from its beginning: once to count, once to find the place.
fn packed_tail_start(segment: &mut Segment, wanted: u64) -> io::Result<(u64, u64)> {
    let (mut ends, mut length) = (0, 0);
    each_end(segment, |at| (ends, length) = (ends + 1, at))?;
    if wanted == 0 || ends <= wanted {
        return Ok(if wanted == 0 { (length, 0) } else { (0, ends) });
    }
    let (mut left, mut start) = (ends - wanted, 0);
    segment.go_to(0)?;
    each_end(segment, |at| {
        if left > 0 {
            (left, start) = (left - 1, at);
        }
    })?;
    Ok((start, wanted))
}

/// Calls `seen` with the place behind each line.
fn each_end(segment: &mut Segment, mut seen: impl FnMut(u64)) -> io::Result<()> {
    let (mut block, mut before) = (vec![0; BLOCK], 0);
    loop {
        let count = segment.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        for (index, _) in block[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            seen(before + u64::try_from(index).unwrap_or(0) + 1);
        }
        before += u64::try_from(count).unwrap_or(0);
    }
}

fn plain_tail_start(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_nothing_else() {
        let mut file = tempfile::tempfile().unwrap();
        for length in [1, 3 * LONGEST, 2, LONGEST + 2 * BLOCK, 3] {
            file.write_all(&vec![b'x'; length]).unwrap();
            file.write_all(b"\n").unwrap();
        }
        let mut lines = Lines::new(Some(Segment::plain(file).unwrap()), 0).unwrap();
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [1, 2, 3]);
    }

    #[test]
    fn a_line_that_is_too_long_may_come_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let mut writer = File::create(&path).unwrap();
        let mut lines = Lines::new(Some(Segment::open(&path).unwrap()), 0).unwrap();
        for _ in 0..4 {
            writer.write_all(&vec![b'x'; LONGEST]).unwrap();
            assert_eq!(lines.next().unwrap(), None);
        }
        writer.write_all(b"x\nshort\n").unwrap();
        assert_eq!(lines.next().unwrap(), Some(&b"short"[..]));
    }
}
