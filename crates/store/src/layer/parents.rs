//! Open directories of a tree, by path, the last used first.
//!
//! Owns a bounded set of descriptors, so that a file costs no walk through the directories above
//! it. A path is resolved by the kernel in the root; symlinks on it are followed there. Whoever
//! replaces a directory or a symlink has to [`Parents::forget`] all.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use sys::kernel_fs::is_kernel_fs;
use sys::root::{Root, RootError};

/// How many directories stay open. Archives stay in one directory for long, and come back to those
/// just above it.
const SLOTS: usize = 32;

#[derive(Debug)]
struct Slot {
    path: Vec<u8>,
    dir: OwnedFd,
}

/// Whether the way may lead into the kernel's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// There are none in the tree.
    Open,
    /// There may be some, and links to them.
    Guarded,
}

/// Open directories below a root.
#[derive(Debug)]
pub(crate) struct Parents<'a> {
    root: &'a Root,
    way: Way,
    slots: Vec<Slot>,
}

impl<'a> Parents<'a> {
    pub(crate) fn new(root: &'a Root, way: Way) -> Self {
        Self { root, way, slots: Vec::with_capacity(SLOTS) }
    }

    /// The directory at a plain path; the root if it is empty.
    pub(crate) fn get(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, RootError> {
        self.load(path)?;
        self.find(path)
    }

    /// Two directories at once, for a hard link.
    pub(crate) fn pair(
        &mut self,
        first: &[u8],
        second: &[u8],
    ) -> Result<(BorrowedFd<'_>, BorrowedFd<'_>), RootError> {
        self.load(first)?;
        self.load(second)?;
        Ok((self.find(first)?, self.find(second)?))
    }

    /// Opens a directory, if it is not among the open ones, and puts it first.
    fn load(&mut self, path: &[u8]) -> Result<(), RootError> {
        if path.is_empty() {
            return Ok(());
        }
        if let Some(at) = self.slots.iter().position(|slot| slot.path == path) {
            self.slots[..=at].rotate_right(1);
            return Ok(());
        }
        let shown = Path::new(OsStr::from_bytes(path));
        let dir: OwnedFd = self.root.open_dir(shown)?.into();
        if self.way == Way::Guarded && is_kernel_fs(&dir).unwrap_or(true) {
            let (op, path) = ("open directory", shown.to_owned());
            return Err(RootError::Os { op, path, source: rustix::io::Errno::XDEV });
        }
        let mut buf = Vec::new();
        if self.slots.len() == SLOTS {
            buf = self.slots.pop().map(|slot| slot.path).unwrap_or_default();
        }
        buf.clear();
        buf.extend_from_slice(path);
        self.slots.insert(0, Slot { path: buf, dir });
        Ok(())
    }

    fn find(&self, path: &[u8]) -> Result<BorrowedFd<'_>, RootError> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        match self.slots.iter().find(|slot| slot.path == path) {
            Some(slot) => Ok(slot.dir.as_fd()),
            // Cannot be: it has just been loaded. Never the root instead.
            None => Err(RootError::BadPath(OsStr::from_bytes(path).into())),
        }
    }

    /// Closes all of them, since what their paths lead to may have changed.
    pub(crate) fn forget(&mut self) {
        self.slots.clear();
    }
}
