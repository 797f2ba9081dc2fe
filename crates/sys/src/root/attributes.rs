//! Owner, mode, times and extended attributes of what a path names; of a symlink itself.

use std::ffi::{CStr, CString};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid};

use super::{Result, Root};

impl Root {
    /// Type, mode, owner, size and times; of a symlink itself.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Stat> {
        self.at("stat", path.as_ref(), |dir, name| {
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// True if there is something at a path, be it a symlink that leads nowhere.
    ///
    /// # Errors
    /// What is not the mere absence of the path.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes the owner; of a symlink itself. The kernel clears set-user-id bits, so set the mode
    /// afterwards.
    ///
    /// # Errors
    /// What `fchownat(2)` gives.
    pub fn set_owner(&self, path: impl AsRef<Path>, uid: Uid, gid: Gid) -> Result<()> {
        self.at("change owner of", path.as_ref(), |dir, name| {
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a symlink, which has none.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: Mode) -> Result<()> {
        self.at("change mode of", path.as_ref(), |dir, name| {
            crate::xattr::chmod_at(dir, name, mode)
        })
    }

    /// Changes the times of access and modification; of a symlink itself.
    ///
    /// # Errors
    /// What `utimensat(2)` gives.
    pub fn set_times(
        &self,
        path: impl AsRef<Path>,
        accessed: Timespec,
        modified: Timespec,
    ) -> Result<()> {
        let times = Timestamps { last_access: accessed, last_modification: modified };
        self.at("change times of", path.as_ref(), |dir, name| {
            rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets an extended attribute; of a symlink itself.
    ///
    /// # Errors
    /// What `lsetxattr(2)` gives.
    pub fn set_xattr(&self, path: impl AsRef<Path>, attr: &CStr, value: &[u8]) -> Result<()> {
        self.at("set attribute of", path.as_ref(), |dir, name| {
            crate::xattr::set_at(dir, name, attr, value)
        })
    }

    /// Reads an extended attribute; of a symlink itself.
    ///
    /// # Errors
    /// What `lgetxattr(2)` gives, but that there is no such attribute is `None`.
    pub fn get_xattr(&self, path: impl AsRef<Path>, attr: &CStr) -> Result<Option<Vec<u8>>> {
        self.at("read attribute of", path.as_ref(), |dir, name| {
            crate::xattr::get_at(dir, name, attr)
        })
    }

    /// The names of the extended attributes; of a symlink itself.
    ///
    /// # Errors
    /// What `llistxattr(2)` gives.
    pub fn list_xattr(&self, path: impl AsRef<Path>) -> Result<Vec<CString>> {
        self.at("list attributes of", path.as_ref(), |dir, name| crate::xattr::list_at(dir, name))
    }

    /// Removes an extended attribute; of a symlink itself. That there is none is success.
    ///
    /// # Errors
    /// What `lremovexattr(2)` gives.
    pub fn remove_xattr(&self, path: impl AsRef<Path>, attr: &CStr) -> Result<()> {
        self.at("remove attribute of", path.as_ref(), |dir, name| {
            crate::xattr::remove_at(dir, name, attr)
        })
    }
}
