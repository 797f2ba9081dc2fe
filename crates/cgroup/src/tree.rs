//! Walking the cgroups below a cgroup.
//!
//! A container that may write to its cgroups can nest them deeper than any path or any number of
//! descriptors reaches. So walks go step by step through one descriptor, down by name and up by
//! `..`, which cannot lead elsewhere: cgroupfs has no symlinks.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, openat, unlinkat};
use sys::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The names of the directories in a directory, one after the other; none if it has been removed.
fn directories(dir: impl AsFd) -> Result<impl Iterator<Item = Result<CString, Errno>>, Errno> {
    let is_there = |entry: &Result<DirEntry, Errno>| !matches!(entry, Err(Errno::NOENT));
    let named = |entry: Result<DirEntry, Errno>| match entry {
        Ok(entry) => {
            let name = entry.file_name();
            let is_below = entry.file_type() == FileType::Directory;
            (is_below && name != c"." && name != c"..").then(|| Ok(name.to_owned()))
        }
        Err(errno) => Some(Err(errno)),
    };
    Ok(Dir::read_from(dir)?.take_while(is_there).filter_map(named))
}

/// The names of the directories in a directory; none if it has been removed.
pub(crate) fn children(dir: impl AsFd) -> Result<Vec<CString>, Errno> {
    directories(dir)?.collect()
}

/// Calls `visit` for a cgroup and all below it. Those that vanish meanwhile are left out.
pub(crate) fn walk(
    at: BorrowedFd<'_>,
    path: &str,
    mut visit: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut here = openat(at, path, DIRECTORY, Mode::empty())?;
    visit(here.as_fd())?;
    let mut open = vec![children(&here)?];
    while let Some(siblings) = open.last_mut() {
        let Some(name) = siblings.pop() else {
            open.pop();
            if !open.is_empty() {
                here = up(&here)?;
            }
            continue;
        };
        match openat(&here, &name, DIRECTORY, Mode::empty()) {
            Ok(child) => here = child,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        }
        // A cgroup that is removed while it is open has no files any more.
        match visit(here.as_fd()) {
            Ok(()) | Err(Errno::NODEV | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        open.push(children(&here)?);
    }
    Ok(())
}

/// The name of one directory in a directory, if there is any.
fn child(dir: impl AsFd) -> Result<Option<CString>, Errno> {
    directories(dir)?.next().transpose()
}

/// How far a removal goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// To the end: nobody makes more meanwhile.
    Whole,
    /// For so many steps down or up: somebody may make as many as are removed.
    Steps(usize),
}

impl Reach {
    /// Whether there is one more step, which is taken.
    const fn step(&mut self) -> bool {
        match self {
            Self::Whole => true,
            Self::Steps(0) => false,
            Self::Steps(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// Removes a cgroup and all below it, the deepest first. `EBUSY` if one has processes, or if there are
/// more than it reaches; it is no error if there is nothing.
pub(crate) fn remove(at: BorrowedFd<'_>, path: &str, mut reach: Reach) -> Result<(), Errno> {
    match unlink(at, path) {
        Ok(()) => return Ok(()),
        // Either children or processes.
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(errno),
    }
    let mut here = openat(at, path, DIRECTORY, Mode::empty())?;
    let mut names: Vec<CString> = Vec::new();
    while reach.step() {
        if let Some(child) = child(&here)? {
            match openat(&here, &child, DIRECTORY, Mode::empty()) {
                Ok(fd) => here = fd,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            }
            names.push(child);
            continue;
        }
        let Some(name) = names.pop() else { return unlink(at, path) };
        here = up(&here)?;
        unlink(here.as_fd(), &name)?;
    }
    Err(Errno::BUSY)
}

fn unlink(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<(), Errno> {
    match unlinkat(at, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn up(here: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(here, c"..", DIRECTORY, Mode::empty())
}
