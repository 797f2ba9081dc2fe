//! The walk through a tree that is to be packed.
//!
//! Owns the order: sorted by bytes, directories right before what is in them, whiteouts in front of
//! their siblings. Follows no symlink; holds a bounded number of directories open at any depth.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use sys::root::{Entry, Root};

use super::error::PackError;
use super::law::MAX_PATH;

/// How many directories on the way down stay open; those above are opened again on the way back.
const OPEN: usize = 64;

/// One directory on the way down.
#[derive(Debug)]
struct Level {
    /// Length of its path.
    len: usize,
    dir: Option<OwnedFd>,
    /// What is left to visit, the next one last.
    todo: Vec<Entry>,
}

/// A walk through a tree.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    root: &'a Root,
    levels: Vec<Level>,
    /// Path of the current entry; a directory's children get a slash behind it.
    path: Vec<u8>,
    name: CString,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(root: &'a Root) -> Result<Self, PackError> {
        let mut walk = Self::none(root);
        walk.push()?;
        Ok(walk)
    }

    /// A walk that goes nowhere. Before the first step of any, its entry is the root itself.
    pub(crate) fn none(root: &'a Root) -> Self {
        Self { root, levels: Vec::new(), path: Vec::new(), name: c".".to_owned() }
    }

    /// A walk to one entry, and to what is in it if it is a directory.
    pub(crate) fn one(root: &'a Root, name: &CStr) -> Self {
        let entry = Entry { name: name.to_owned(), kind: FileType::Unknown, ino: 0 };
        let level = Level { len: 0, dir: None, todo: vec![entry] };
        Self { levels: vec![level], ..Self::none(root) }
    }

    /// Goes to the next entry; false at the end of the tree.
    pub(crate) fn advance(&mut self) -> Result<bool, PackError> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.len);
            let Some(next) = level.todo.pop() else {
                self.levels.pop();
                continue;
            };
            self.name = next.name;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(self.name.to_bytes());
            if self.path.len() > MAX_PATH {
                let shown = OsStr::from_bytes(&self.path[..256]);
                return Err(PackError::TooLong(PathBuf::from(shown)));
            }
            self.reopen()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Has the children of the current entry, a directory, visited next. False if it has become
    /// something else or is gone.
    pub(crate) fn enter(&mut self) -> Result<bool, PackError> {
        match self.push() {
            Ok(()) => Ok(true),
            Err(PackError::Root(error)) if vanished(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn push(&mut self) -> Result<(), PackError> {
        let dir: OwnedFd = self.root.open_dir(self.path())?.into();
        let entries = self.root.read_dir(self.path())?;
        let (mut first, mut todo): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| is_whiteout(&dir, entry));
        // The next one is taken from the end.
        first.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        todo.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        todo.append(&mut first);
        if let Some(above) = self.levels.len().checked_sub(OPEN) {
            self.levels[above].dir = None;
        }
        self.levels.push(Level { len: self.path.len(), dir: Some(dir), todo });
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), PackError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        if level.dir.is_none() {
            let path = Path::new(OsStr::from_bytes(&self.path[..level.len]));
            level.dir = Some(self.root.open_dir(path)?.into());
        }
        Ok(())
    }

    /// The directory that holds the current entry.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        let dir = self.levels.last().and_then(|level| level.dir.as_ref());
        dir.map_or(self.root.as_fd(), OwnedFd::as_fd)
    }

    /// The current entry's name.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The current entry's path in the tree.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// overlayfs's whiteout: a character device 0:0.
fn is_whiteout(dir: &OwnedFd, entry: &Entry) -> bool {
    entry.kind == FileType::CharacterDevice
        && rustix::fs::statat(dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_rdev == 0)
}

fn vanished(error: &sys::root::RootError) -> bool {
    use rustix::io::Errno;
    matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
