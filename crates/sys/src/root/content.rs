//! What files, directories and symlinks in a root hold.
//!
//! Owns the reading of files that nobody vouches for (I13): never blocking, regular, bounded.

use std::ffi::{CStr, CString};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::{Final, Result, Root, RootError, os};
use crate::kernel_fs::or_no_procfs;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, never `.` or `..`.
    pub name: CString,
    /// Its type; `Unknown` on file systems that do not say.
    pub kind: FileType,
    /// Its inode number.
    pub ino: u64,
}

impl Root {
    /// The text of a symlink.
    ///
    /// # Errors
    /// `EINVAL` if it is not one.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let text = self.at("read link", path.as_ref(), |dir, name| {
            rustix::fs::readlinkat(dir, name, Vec::new())
        })?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes())))
    }

    /// The entries of a directory, in the file system's order, without `.` and `..`.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.open2(path, flags, Mode::empty()).map_err(os("open directory", path))?;
        entries(&dir).map_err(os("read directory", path))
    }

    /// Reads a file that an image or a container made: never blocks, must be regular, at most `max`
    /// bytes (I13).
    ///
    /// # Errors
    /// [`RootError::NotRegular`], [`RootError::TooLarge`], and what the kernel gives.
    pub fn read_untrusted(&self, path: impl AsRef<Path>, max: u64, last: Final) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let pinned = self.resolve(path, last)?;
        let file = regular(&pinned, OFlags::RDONLY).map_err(os("open", path))?;
        let (file, stat) = file.ok_or_else(|| RootError::NotRegular(path.to_owned()))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > max {
            return Err(RootError::TooLarge { path: path.to_owned(), max });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        // One byte more than allowed shows a file that has grown since it was measured.
        let read = std::fs::File::from(file).take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| os("read", path)(errno_of(&error)))?;
        if bytes.len() as u64 > max {
            return Err(RootError::TooLarge { path: path.to_owned(), max });
        }
        Ok(bytes)
    }

    /// Makes a regular file hold exactly `bytes`, creating it with `mode` if it is missing. A
    /// symlink at the end is not followed, and a fifo or a device there is never written to. Not
    /// atomic, not synced.
    ///
    /// # Errors
    /// `ELOOP` for a symlink, [`RootError::NotRegular`], and what the kernel gives.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8], mode: Mode) -> Result<()> {
        let path = path.as_ref();
        let opened = self.at("open", path, |dir, name| open_or_create(dir, name, mode))?;
        let file = opened.ok_or_else(|| RootError::NotRegular(path.to_owned()))?;
        std::fs::File::from(file)
            .write_all(bytes)
            .map_err(|error| os("write", path)(errno_of(&error)))
    }
}

/// The entries of an open directory from where it was last read.
fn entries(dir: &OwnedFd) -> std::result::Result<Vec<Entry>, Errno> {
    let mut buf = Vec::with_capacity(32 * 1024);
    let mut found = Vec::new();
    let mut raw = RawDir::new(dir, buf.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(Entry { name: name.to_owned(), kind: entry.file_type(), ino: entry.ino() });
        }
    }
    Ok(found)
}

/// Opens a file that others may put something else in the place of, at any moment: `None` if it is not
/// regular. A symlink is not followed, and a device or a fifo is never opened: that alone can act on
/// what is behind it, a tape drive or a watchdog.
///
/// # Errors
/// `ELOOP` for a symlink, `ENOSYS` without procfs, and what `openat(2)` gives.
pub fn open_regular(
    dir: impl AsFd,
    name: &CStr,
) -> std::result::Result<Option<(OwnedFd, Stat)>, Errno> {
    regular(&pin(dir.as_fd(), name)?, OFlags::RDONLY)
}

fn pin(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Looks at what is pinned, and opens that very thing if it is a regular file.
fn regular(pinned: &OwnedFd, flags: OFlags) -> std::result::Result<Option<(OwnedFd, Stat)>, Errno> {
    let stat = rustix::fs::fstat(pinned)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(Errno::LOOP),
        FileType::Directory
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => return Ok(None),
    }
    let path = format!("/proc/thread-self/fd/{}", pinned.as_raw_fd());
    // A lease of somebody else's on the file is not waited for.
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(or_no_procfs)?;
    Ok(Some((file, stat)))
}

/// An empty regular file of a name, open for writing: a new one, or what is there. `None` if that is
/// something else.
fn open_or_create(
    dir: BorrowedFd<'_>,
    name: &CStr,
    mode: Mode,
) -> std::result::Result<Option<OwnedFd>, Errno> {
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        match rustix::fs::openat(dir, name, new, mode) {
            Err(Errno::EXIST) => {}
            made => return made.map(Some),
        }
        match pin(dir, name) {
            // It has gone between the two.
            Err(Errno::NOENT) if tries < 128 => tries += 1,
            pinned => {
                // Truncated only now that it is known to be regular.
                let there = regular(&pinned?, OFlags::WRONLY | OFlags::TRUNC)?;
                return Ok(there.map(|(file, _)| file));
            }
        }
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
