//! Compresses log files that are full, in a process of its own: the shim has one thread, and the
//! container does not wait for it.
//!
//! The process writes beside the file; putting the result in its place is the shim's, which alone
//! moves files. What was the newest uncompressed file is another generation once the log has been
//! rotated again, and gone once it was the oldest.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use rustix::process::Pid;
use sys::process::{Child, Exit, filter};

use super::file::MODE;

/// What a compressed file has at the end of its name.
pub const PACKED: &str = ".gz";
/// The field of a gzip header in which the device and inode of the plain file stand, so that a
/// follower who reads that one knows which it has become.
const FIELD: [u8; 2] = *b"dh";
/// Bytes of it: two letters, a length, two numbers.
const FIELD_LENGTH: usize = 20;

/// The compressor of one log.
#[derive(Debug)]
pub(super) struct Packer {
    path: PathBuf,
    work: Option<Work>,
}

/// A process that compresses.
#[derive(Debug)]
struct Work {
    child: Child,
    /// Which file it reads, under the number that it has now.
    generation: u32,
}

impl Packer {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), work: None }
    }

    /// Takes away what a shim that was killed has left: a part of a compressed file, and what is
    /// there in both forms.
    pub(super) fn clean(&self, generations: u32) {
        remove(&self.scratch());
        for number in 1..generations {
            let plain = numbered(&self.path, number);
            if plain.exists() && packed(&plain).exists() {
                remove(&plain);
            }
        }
    }

    /// All files have moved on by one; there are `generations`, the current one among them.
    pub(super) fn rotated(&mut self, generations: u32) {
        let Some(work) = &mut self.work else { return };
        work.generation += 1;
        if work.generation >= generations {
            self.stop();
        }
    }

    /// Begins to compress the newest file that is not, if there is one and nothing is under way.
    pub(super) fn go_on(&mut self, generations: u32) {
        if self.work.is_some() {
            return;
        }
        let is_plain = |number: &u32| numbered(&self.path, *number).exists();
        let Some(generation) = (1..generations).find(is_plain) else { return };
        // A file that cannot be compressed, for want of memory or room, stays as it is.
        if let Ok(child) = start(&numbered(&self.path, generation), &self.scratch()) {
            self.work = Some(Work { child, generation });
        }
    }

    /// A process has ended; whether it was ours.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit) -> Ended {
        let Some(work) = self.work.take_if(|work| work.child.pid == pid) else {
            return Ended::Other;
        };
        let plain = numbered(&self.path, work.generation);
        if exit.shell_code() != 0 {
            remove(&self.scratch());
            return Ended::Failed;
        }
        match std::fs::rename(self.scratch(), packed(&plain)) {
            Ok(()) => {
                remove(&plain);
                Ended::Packed
            }
            Err(_) => Ended::Failed,
        }
    }

    #[cfg(test)]
    pub(super) const fn child(&self) -> Option<&Child> {
        match &self.work {
            Some(work) => Some(&work.child),
            None => None,
        }
    }

    fn stop(&mut self) {
        if let Some(work) = self.work.take() {
            // It is our child, and reaped with the others.
            let _ = sys::process::pidfd_send_signal(&work.child.pidfd, sys::signal::Signal::KILL);
            remove(&self.scratch());
        }
    }

    fn scratch(&self) -> PathBuf {
        with_suffix(&self.path, ".gz~")
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the end of a process means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was not ours.
    Other,
    /// A file has been compressed.
    Packed,
    /// A file stays as it is.
    Failed,
}

/// `c.log.2`
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

/// `c.log.2.gz`
pub(super) fn packed(plain: &Path) -> PathBuf {
    with_suffix(plain, PACKED)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

pub(super) fn remove(path: &Path) {
    // It is not there, or nothing can be removed here; then it takes up room.
    let _ = std::fs::remove_file(path);
}

fn start(plain: &Path, scratch: &Path) -> io::Result<Child> {
    remove(scratch);
    let from = File::open(plain)?;
    let to = OpenOptions::new().write(true).create_new(true).mode(MODE).open(scratch)?;
    Ok(filter(from.into(), to.into(), |from, to| i32::from(pack(from, to).is_err()))?)
}

/// In the process: lets everybody else have the processor first.
fn pack(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let _ = rustix::process::nice(19);
    let mut from = File::from(from.try_clone_to_owned()?);
    let to = File::from(to.try_clone_to_owned()?);
    let header = GzBuilder::new().extra(field(&from)?.to_vec());
    let mut to = header.write(to, Compression::fast());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            count => to.write_all(&buffer[..count])?,
        }
    }
    to.finish().map(drop)
}

fn field(plain: &File) -> io::Result<[u8; FIELD_LENGTH]> {
    let metadata = plain.metadata()?;
    let mut field = [0; FIELD_LENGTH];
    field[..2].copy_from_slice(&FIELD);
    field[2..4].copy_from_slice(&16_u16.to_le_bytes());
    field[4..12].copy_from_slice(&metadata.dev().to_le_bytes());
    field[12..].copy_from_slice(&metadata.ino().to_le_bytes());
    Ok(field)
}

/// Device and inode of the plain file that was compressed, from the header's extra field.
#[must_use]
pub fn packed_from(extra: &[u8]) -> Option<(u64, u64)> {
    let field: &[u8; FIELD_LENGTH] = extra.first_chunk()?;
    let (head, numbers) = field.split_at(4);
    let (dev, ino) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    if !head.starts_with(&FIELD) {
        return None;
    }
    Some((number(dev)?, number(ino)?))
}
