//! Removal of a whole tree by file descriptors.
//!
//! Owns `Root::remove_tree`. Works at any depth with two open descriptors, since a container can
//! nest directories deeper than a path is long or a process may have files open. Never follows a
//! symlink and never leaves the tree: the way back up is checked against the inode that the way
//! down passed.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How often a directory that fills up again while it is emptied is emptied again.
const ATTEMPTS: u32 = 8;

/// One directory on the way down.
struct Frame {
    /// Its name in its parent.
    name: CString,
    id: (Dev, u64),
    /// Directories in it that are not removed yet.
    todo: Vec<CString>,
    attempts: u32,
}

/// Removes `name` in `parent`, whatever it is. That it does not exist is success.
pub(super) fn remove_tree_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX answers EPERM and Linux EISDIR for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    empty_dir_at(parent, name)?;
    remove_dir(parent, name)
}

/// Removes all that is in the directory `name` of `parent`, but not the directory.
pub(super) fn empty_dir_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut buf = Vec::with_capacity(32 * 1024);
    let mut cur = rustix::fs::openat(parent, name, OPEN, Mode::empty())?;
    let mut stack = vec![enter(&cur, name, &mut buf)?];
    while let Some(frame) = stack.last_mut() {
        if let Some(child) = frame.todo.pop() {
            match rustix::fs::unlinkat(&cur, &child, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let dir = match rustix::fs::openat(&cur, &child, OPEN, Mode::empty()) {
                // Somebody else removes the same tree and was faster here.
                Err(Errno::NOENT) => continue,
                opened => opened?,
            };
            stack.push(enter(&dir, &child, &mut buf)?);
            cur = dir;
        } else if let Some(up) = leave(&cur, &mut stack, &mut buf)? {
            cur = up;
        }
    }
    Ok(())
}

/// Deletes what is not a directory and notes what is.
fn enter(dir: &OwnedFd, name: &CStr, buf: &mut Vec<u8>) -> Result<Frame, Errno> {
    let stat = rustix::fs::fstat(dir)?;
    let todo = unlink_files(dir, buf.spare_capacity_mut())?;
    Ok(Frame { name: name.to_owned(), id: (stat.st_dev, stat.st_ino), todo, attempts: 0 })
}

/// Goes to the parent and removes the directory left, or stays and looks again if something has
/// come into it.
fn leave(
    cur: &OwnedFd,
    stack: &mut Vec<Frame>,
    buf: &mut Vec<u8>,
) -> Result<Option<OwnedFd>, Errno> {
    let Some(done) = stack.pop() else { return Ok(None) };
    let Some(above) = stack.last() else { return Ok(None) };
    let up = rustix::fs::openat(cur, c"..", OPEN, Mode::empty())?;
    let stat = rustix::fs::fstat(&up)?;
    if (stat.st_dev, stat.st_ino) != above.id {
        // Somebody has moved the directory elsewhere while it was emptied; its parent there is not
        // ours to touch.
        return Err(Errno::XDEV);
    }
    match rustix::fs::unlinkat(&up, &done.name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Some(up)),
        Err(Errno::NOTEMPTY | Errno::EXIST) if done.attempts < ATTEMPTS => {
            let again = rustix::fs::openat(&up, &done.name, OPEN, Mode::empty())?;
            let frame = enter(&again, &done.name, buf)?;
            stack.push(Frame { attempts: done.attempts + 1, ..frame });
            Ok(Some(again))
        }
        Err(errno) => Err(errno),
    }
}

fn unlink_files(dir: &OwnedFd, buf: &mut [MaybeUninit<u8>]) -> Result<Vec<CString>, Errno> {
    let mut dirs = Vec::new();
    let mut entries = RawDir::new(dir, buf);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            dirs.push(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // File systems without d_type, or a name that became a directory since.
            Err(Errno::ISDIR) => dirs.push(name.to_owned()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(dirs)
}

fn remove_dir(parent: impl AsFd, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
