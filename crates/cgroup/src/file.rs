//! Reading and writing the small files of cgroupfs, and waiting for them to change.
//!
//! Paths are relative to a hierarchy's root and made of names that `name` has checked, or of the
//! kernel's own.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use sys::Errno;

/// No file of cgroupfs is longer, but for lists of processes; those are read in pieces.
const PIECE: usize = 4096;

pub(crate) fn write(at: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Errno> {
    let fd = openat(at, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map(drop)
}

/// Writes several values to one file, each by itself. Fails with the value that was not taken.
pub(crate) fn write_each<'a>(
    at: BorrowedFd<'_>,
    path: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<(), (&'a str, Errno)> {
    let fd = openat(at, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| ("", errno))?;
    for value in values {
        rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes()))
            .map_err(|errno| (value, errno))?;
    }
    Ok(())
}

pub(crate) fn read(at: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let fd = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_all(&fd)
}

/// From where the descriptor stands to the end.
pub(crate) fn read_all(fd: &OwnedFd) -> Result<String, Errno> {
    let mut content = Vec::new();
    loop {
        let length = content.len();
        content.resize(length + PIECE, 0);
        let count = rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut content[length..]))?;
        content.truncate(length + count);
        if count == 0 {
            return String::from_utf8(content).map_err(|_| Errno::ILSEQ);
        }
    }
}

/// A point in time after which nobody waits any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits until one of the descriptors is ready, at most for `slice` and never beyond the deadline.
    pub(crate) fn poll(self, fds: &mut [PollFd<'_>], slice: Duration) -> Result<(), Errno> {
        let timeout = Timespec::try_from(self.left().min(slice)).map_err(|_| Errno::INVAL)?;
        match poll(fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Waits until a line of a v2 event file (`cgroup.events`) reads as wished. `false` if it never did
/// in time.
pub(crate) fn wait_for_line(
    at: BorrowedFd<'_>,
    path: &str,
    line: &str,
    deadline: Deadline,
) -> Result<bool, Errno> {
    let fd = openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
        if read_all(&fd)?.lines().any(|found| found == line) {
            return Ok(true);
        }
        if deadline.is_over() {
            return Ok(false);
        }
        // The kernel reports a change of such a file as an exceptional condition.
        let mut fds = [PollFd::new(&fd, PollFlags::PRI)];
        deadline.poll(&mut fds, Duration::MAX)?;
    }
}
