//! Cgroups that their container divides among cgroups of its own, as systemd does: handing one to the
//! root of its user namespace.
//!
//! Only what delegation takes changes hands (cgroups(7)): the directory and the lists of its members.
//! The files of its limits stay where they are. Of version 1 only a hierarchy without controllers is
//! handed on.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Uid, chownat};
use sys::Errno;

use crate::error::CgroupError;
use crate::group::Cgroup;

/// What is handed on beside the directory; not every version has all of them.
const FILES: [&str; 5] =
    ["", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control", "/tasks"];

impl Cgroup {
    /// Gives it to the user and the group of this number.
    ///
    /// # Errors
    /// A file of it cannot be given away.
    pub fn give(&self, id: u32) -> Result<(), CgroupError> {
        let named =
            self.hierarchies.legacy().iter().filter(|legacy| legacy.options.starts_with("name="));
        let named = named.map(|legacy| (legacy.root(), &legacy.mount));
        let unified = self.hierarchies.unified().map(|unified| (unified.root(), &unified.mount));
        for (root, mount) in named.chain(unified) {
            for file in FILES {
                let path = format!("{}{file}", self.path);
                give(root, &path, id).map_err(|source| CgroupError::Write {
                    path: mount.join(&path),
                    value: format!("owner {id}"),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// One that a kernel does not have is in nobody's way.
fn give(root: BorrowedFd<'_>, path: &str, id: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    match chownat(root, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        given => given,
    }
}
