//! The file of a blob that comes in: written from a thread beside the reader, past the page cache.
//!
//! A blob is written once and hardly ever read again; what a container reads is the tree. So its
//! bytes need no page cache, and the copy into it, the pages and the writeback cost several times
//! the CPU time of a direct write, on which the disk works from the first megabyte on. Where the
//! file system takes no direct writes, they are plain ones. Errors come at the next append or at
//! [`OutFile::settle`], never later; whether the bytes are on disk, a flush must say.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::OFlags;

/// Bytes of one write.
const PIECE: usize = 1 << 20;
/// Pieces that are filled, wait or are written.
const PIECES: usize = 4;
/// What direct writes ask of address, offset and length on every file system with blocks of up to
/// a page; where more is asked the write is refused, and made a plain one.
const ALIGN: usize = 4096;

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct OutFile {
    file: File,
    /// Bytes in the file and on their way to it, without those in `gathered`.
    handed: u64,
    /// What comes next; memory only while something comes.
    gathered: Option<Piece>,
    way: Way,
}

/// How full pieces get into the file.
#[derive(Debug)]
enum Way {
    /// Nothing has been written yet.
    Undecided,
    /// By a thread, directly.
    Beside(Writer),
    /// At once, through the page cache.
    Plain,
    /// Not any more: behind a piece that is missing nothing may stand.
    Failed,
}

/// A thread that writes pieces.
#[derive(Debug)]
struct Writer {
    full: SyncSender<(Piece, u64)>,
    empty: Receiver<Piece>,
    thread: JoinHandle<io::Result<()>>,
}

/// Memory whose bytes begin where a direct write may begin.
#[derive(Debug)]
struct Piece {
    memory: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Piece {
    fn new() -> Self {
        let memory = vec![0; PIECE + ALIGN].into_boxed_slice();
        // Unaligned memory, which this may give by its contract, makes writes plain.
        let start = Some(memory.as_ptr().align_offset(ALIGN)).filter(|start| *start <= ALIGN);
        Self { memory, start: start.unwrap_or(0), len: 0 }
    }

    /// Takes as much as fits; returns how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PIECE - self.len);
        let at = self.start + self.len;
        self.memory[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl OutFile {
    /// Appends to a file that has `len` bytes.
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, handed: len, gathered: None, way: Way::Undecided }
    }

    /// The file; it has all bytes once it is settled.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends. `path` is the file's, which nobody else writes.
    pub(super) fn append(&mut self, mut bytes: &[u8], path: &Path) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut piece = self.gathered.take().unwrap_or_else(Piece::new);
            let taken = piece.take(bytes);
            bytes = &bytes[taken..];
            self.gathered =
                if piece.len == PIECE { Some(self.hand_over(piece, path)?) } else { Some(piece) };
        }
        Ok(())
    }

    /// Gives a full piece on its way; returns an empty one.
    fn hand_over(&mut self, piece: Piece, path: &Path) -> io::Result<Piece> {
        if matches!(self.way, Way::Undecided) {
            self.way = self.decide(path);
        }
        match &self.way {
            Way::Beside(writer) => {
                let at = self.handed;
                self.handed += piece.len as u64;
                let sent = writer.full.send((piece, at));
                match (sent, writer.empty.recv()) {
                    (Ok(()), Ok(empty)) => Ok(Piece { len: 0, ..empty }),
                    // The thread has ended early and knows why.
                    _ => Err(self.settle().err().unwrap_or_else(failed_before)),
                }
            }
            Way::Undecided | Way::Plain => {
                self.write(&piece)?;
                Ok(Piece { len: 0, ..piece })
            }
            Way::Failed => Err(failed_before()),
        }
    }

    /// A file that is taken up in the middle of a page goes on as it began.
    fn decide(&self, path: &Path) -> Way {
        let is_aligned = self.handed.is_multiple_of(ALIGN as u64);
        let direct = || {
            let mut options = File::options();
            options.write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path)
        };
        let writer = match is_aligned.then(direct) {
            Some(Ok(direct)) => {
                self.file.try_clone().and_then(|plain| Writer::start(direct, plain))
            }
            Some(Err(_)) | None => return Way::Plain,
        };
        writer.map_or(Way::Plain, Way::Beside)
    }

    fn write(&mut self, piece: &Piece) -> io::Result<()> {
        let written = self.file.write_all_at(piece.bytes(), self.handed);
        if written.is_err() {
            self.way = Way::Failed;
        }
        self.handed += piece.len as u64;
        written
    }

    /// Sees all bytes into the file.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let rest = self.gathered.take();
        match std::mem::replace(&mut self.way, Way::Failed) {
            Way::Beside(Writer { full, empty, thread }) => {
                drop(full);
                // A panic aborts the program, so that there is always an outcome.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                drop(empty);
                self.way = Way::Plain;
            }
            Way::Failed => return Err(failed_before()),
            way @ (Way::Undecided | Way::Plain) => self.way = way,
        }
        rest.map_or(Ok(()), |rest| self.write(&rest))
    }

    /// Forgets all bytes.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // What failed is forgotten with the rest.
        let _ = self.settle();
        self.file.set_len(0)?;
        (self.handed, self.way) = (0, Way::Undecided);
        Ok(())
    }
}

impl Drop for OutFile {
    /// A download that was broken off is taken up where its file ends, and no thread writes to a
    /// file whose lock is free.
    fn drop(&mut self) {
        let _ = self.settle();
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write failed")
}

impl Writer {
    fn start(direct: File, plain: File) -> io::Result<Self> {
        // Room for all pieces: only the wait for an empty one blocks.
        let (full, filled) = sync_channel::<(Piece, u64)>(PIECES);
        let (give_back, empty) = sync_channel(PIECES);
        for _ in 1..PIECES {
            // The receiver is alive in this function.
            let _ = give_back.send(Piece::new());
        }
        let write = move || write_pieces(direct, &plain, filled, &give_back);
        let thread = std::thread::Builder::new().name("blob".to_owned()).spawn(write)?;
        Ok(Self { full, empty, thread })
    }
}

/// Writes pieces until no more come, and gives them back.
fn write_pieces(
    mut file: File,
    plain: &File,
    filled: Receiver<(Piece, u64)>,
    give_back: &SyncSender<Piece>,
) -> io::Result<()> {
    for (piece, at) in filled {
        let mut written = file.write_all_at(piece.bytes(), at);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput) {
            // The file system asks for more than alignment to a page.
            file = plain.try_clone()?;
            written = file.write_all_at(piece.bytes(), at);
        }
        written?;
        // After the last one nobody wants it back.
        let _ = give_back.send(piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: usize, chunk: usize, total: usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let byte = |at: usize| u8::try_from(at % 251).unwrap();
        let content: Vec<u8> = (0..start + total).map(byte).collect();
        std::fs::write(&path, &content[..start]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut out = OutFile::new(file, start as u64);
        for bytes in content[start..].chunks(chunk) {
            out.append(bytes, &path).unwrap();
        }
        out.settle().unwrap();
        assert!(std::fs::read(&path).unwrap() == content, "{start}, {total} by {chunk}");
    }

    #[test]
    fn what_was_appended_is_in_the_file() {
        check(0, 100, 1000);
        check(0, 70_001, 3 * PIECE);
        check(0, 70_001, 11 * PIECE + 4097);
        check(3, 70_001, 3 * PIECE + 1);
        check(PIECE, 70_001, 9 * PIECE + 1);
        check(0, 3 * PIECE + 5, 9 * PIECE + 5);
    }

    #[test]
    fn a_dropped_file_has_all_that_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let mut out = OutFile::new(File::create(&path).unwrap(), 0);
        out.append(&vec![7; 6 * PIECE + 5], &path).unwrap();
        drop(out);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6 * PIECE as u64 + 5);
    }

    #[test]
    fn a_cleared_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let mut out = OutFile::new(File::create(&path).unwrap(), 0);
        out.append(&vec![7; 2 * PIECE + 5], &path).unwrap();
        out.clear().unwrap();
        out.append(b"anew", &path).unwrap();
        out.settle().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"anew");
    }

    #[test]
    fn a_write_that_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, b"").unwrap();
        // A descriptor that cannot be written stands for a disk that is full.
        let mut out = OutFile::new(File::open(&path).unwrap(), 1);
        let appended = out.append(&vec![7; 2 * PIECE], &path);
        assert!(appended.and_then(|()| out.settle()).is_err());
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut out = OutFile::new(full, 0);
        let appended = out.append(&vec![7; 20 * PIECE], Path::new("/dev/full"));
        assert!(appended.and_then(|()| out.settle()).is_err());
    }
}
