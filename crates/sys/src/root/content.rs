//! What files, directories and symlinks in a root hold.
//!
//! Owns the reading of files that nobody vouches for (I13): never blocking, regular, bounded.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Final, Result, Root, RootError, os};

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
        let nofollow = if last == Final::NoFollow { OFlags::NOFOLLOW } else { OFlags::empty() };
        let file = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK | nofollow)?;
        let size = regular_size(&file, path)?;
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
        // Truncation waits until the file is known to be regular.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let file =
            match self.at("open", path, |dir, name| rustix::fs::openat(dir, name, flags, mode)) {
                // A fifo without a reader.
                Err(error) if error.errno() == Some(Errno::NXIO) => {
                    return Err(RootError::NotRegular(path.to_owned()));
                }
                file => file?,
            };
        if regular_size(&file, path)? > 0 {
            rustix::fs::ftruncate(&file, 0).map_err(os("truncate", path))?;
        }
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

fn regular_size(file: &OwnedFd, path: &Path) -> Result<u64> {
    let stat = rustix::fs::fstat(file).map_err(os("stat", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(RootError::NotRegular(path.to_owned()));
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
