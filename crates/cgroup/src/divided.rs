//! Cgroups that their container divides among cgroups of its own, as systemd does: handing one to the
//! root of its user namespace, and the way in for whoever comes later.
//!
//! Only what delegation takes changes hands (cgroups(7)): the directory and the lists of its members.
//! The files of its limits stay where they are. Of version 1 only a hierarchy without controllers is
//! handed on.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, openat};
use rustix::process::Pid;
use sys::Errno;

use crate::error::CgroupError;
use crate::group::Cgroup;

/// What is handed on beside the directory; not every version has all of them.
const FILES: [&str; 5] =
    ["", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control", "/tasks"];

/// Where a process is in the hierarchy of version 2.
fn unified_path(table: &str) -> Option<&str> {
    table.lines().find_map(|line| line.strip_prefix("0::/"))
}

impl Cgroup {
    /// The directory on v2 that this process of the cgroup is in, to be born in as well: once the
    /// controllers of a cgroup are given to those below it, it takes no processes of its own (`EBUSY`).
    ///
    /// # Errors
    /// The process has ended, or is elsewhere.
    pub fn beside(&self, pid: Pid) -> Result<OwnedFd, CgroupError> {
        let table = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
        let failed = |source| CgroupError::Read { path: table.clone().into(), source };
        let unified = self.hierarchies.unified().ok_or_else(|| failed(Errno::OPNOTSUPP))?;
        let text = std::fs::read_to_string(&table)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let own = unified_path(&text).ok_or_else(|| failed(Errno::NOENT))?;
        let below = own.strip_prefix(self.path.as_str());
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(failed(Errno::XDEV));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(unified.root(), own, flags, Mode::empty())
            .map_err(|source| CgroupError::Read { path: unified.mount.join(own), source })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_where_the_line_of_version_2_says() {
        assert_eq!(unified_path("5:pids:/a\n0::/dhow/x/init.scope\n"), Some("dhow/x/init.scope"));
        assert_eq!(unified_path("5:pids:/a\n"), None);
    }
}
