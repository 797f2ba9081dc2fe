//! Where the extractor stands: the current entry's path, and the directories that are open.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::root::{Root, RootError};

use crate::layer::law::{self, BadPath};
use crate::layer::parents::{Parents, Way};

use super::stop::{During as _, Stop};

/// The current entry's place in the tree.
#[derive(Debug)]
pub(super) struct At<'a> {
    parents: Parents<'a>,
    /// The plain path with a NUL behind it, so that its last component is a C string.
    path: Vec<u8>,
}

impl<'a> At<'a> {
    pub(super) fn new(dest: &'a Root, way: Way) -> Self {
        Self { parents: Parents::new(dest, way), path: vec![0] }
    }

    /// Goes to an entry by its name in the archive.
    pub(super) fn go(&mut self, name: &[u8]) -> Result<(), BadPath> {
        let result = law::plain_path(name, &mut self.path);
        self.path.push(0);
        result
    }

    /// Goes to a path that is plain already.
    pub(super) fn go_back(&mut self, path: &[u8]) {
        self.path.clear();
        self.path.extend_from_slice(path);
        self.path.push(0);
    }

    /// Goes to the directory that holds the entry.
    pub(super) fn go_up(&mut self) {
        let (dir, _) = law::split(self.path());
        self.path.truncate(dir.len());
        self.path.push(0);
    }

    /// Takes the first bytes off the last component.
    pub(super) fn cut_name(&mut self, len: usize) {
        let (_, name) = law::split(self.path());
        let start = self.path().len() - name.len();
        self.path.drain(start..start + len);
    }

    /// The plain path; empty for the root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path[..self.path.len() - 1]
    }

    /// The directory that holds the entry, and the entry's name in it: `.` for the root.
    pub(super) fn place(&mut self) -> Result<(BorrowedFd<'_>, &CStr), Stop> {
        let path = &self.path[..self.path.len() - 1];
        let (dir, name) = law::split(path);
        let dir = self.parents.get(dir).during("open the directory")?;
        if name.is_empty() {
            return Ok((dir, c"."));
        }
        let name = CStr::from_bytes_with_nul(&self.path[path.len() - name.len()..]);
        // The reader lets no name with a NUL pass.
        Ok((dir, name.map_err(|_| Stop::Os("name", Errno::INVAL))?))
    }

    /// Opens the directory that holds the entry.
    pub(super) fn open_parent(&mut self) -> Result<(), RootError> {
        let (dir, _) = law::split(&self.path[..self.path.len() - 1]);
        self.parents.get(dir).map(drop)
    }

    /// Another directory by its plain path.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, RootError> {
        self.parents.get(path)
    }

    /// Another directory, the one that holds the entry, and the entry's name in it.
    pub(super) fn pair(
        &mut self,
        other: &[u8],
    ) -> Result<(BorrowedFd<'_>, BorrowedFd<'_>, &[u8]), Stop> {
        let (dir, name) = law::split(&self.path[..self.path.len() - 1]);
        let (other, dir) = self.parents.pair(other, dir).during("open the directory")?;
        Ok((other, dir, name))
    }

    /// To be called when a directory or a symlink is gone, since paths lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.parents.forget();
    }
}
