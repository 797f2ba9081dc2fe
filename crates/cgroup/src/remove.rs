//! Removing a cgroup, and parents that nobody needs.
//!
//! A cgroup goes when its last process is gone, which is a little after that process has been killed
//! or even reaped. v2 tells when; on v1 the processes that are left are waited for themselves.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, unlinkat};
use sys::Errno;

use crate::detect::Hierarchies;
use crate::error::CgroupError;
use crate::file::{self, Deadline};
use crate::group::{Cgroup, roots};
use crate::kill::{hold, wait_for};
use crate::name;
use crate::tree::{self, Reach};

/// How long processes that are on their way out are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Removes the cgroup and all below it from every hierarchy. Processes that are still alive after
    /// two seconds keep it, which is an error with `EBUSY`: [`Cgroup::kill`] comes first. What is gone
    /// already is no error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let deadline = Deadline::after(PATIENCE);
        let mut first_error = Ok(());
        for (root, mount) in roots(&self.hierarchies) {
            // One that stays must not keep the others.
            let removed = self.remove_from(root, mount, deadline);
            first_error = first_error.and(removed);
        }
        first_error
    }

    fn remove_from(
        &self,
        root: BorrowedFd<'_>,
        mount: &Path,
        deadline: Deadline,
    ) -> Result<(), CgroupError> {
        loop {
            let source = match tree::remove(root, &self.path, Reach::Whole) {
                Ok(()) => return Ok(()),
                Err(errno) => errno,
            };
            if source != Errno::BUSY || deadline.is_over() {
                return Err(CgroupError::Remove { path: mount.join(&self.path), source });
            }
            self.wait_until_left(root, mount, deadline)?;
        }
    }

    fn wait_until_left(
        &self,
        root: BorrowedFd<'_>,
        mount: &Path,
        deadline: Deadline,
    ) -> Result<(), CgroupError> {
        let wait = |source| CgroupError::Wait { path: mount.join(&self.path), source };
        if let Some(dir) = self.clone_into() {
            let gone = file::wait_for_line(dir, "cgroup.events", "populated 0", deadline);
            // `ENODEV`: someone else has removed it.
            match gone {
                Ok(true) if self.is_unified(mount) => return Ok(()),
                Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(wait(errno)),
            }
        }
        let held = hold(&self.pids_in(root, mount)?);
        if held.is_empty() {
            // The last one has left the list and not yet the cgroup: a matter of microseconds, and v1
            // has no event for it.
            return deadline.poll(&mut [], Duration::from_micros(200)).map_err(wait);
        }
        wait_for(&held, deadline).map_err(wait)
    }

    fn is_unified(&self, mount: &Path) -> bool {
        self.hierarchies.unified().is_some_and(|unified| unified.mount == mount)
    }

    /// Removes a parent from every hierarchy, and those above it, as far as they are empty.
    pub fn prune(hierarchies: &Hierarchies, parent: &str) -> Result<(), CgroupError> {
        let parent = name::parent(parent)?;
        for (root, mount) in roots(hierarchies) {
            prune_in(root, parent)
                .map_err(|source| CgroupError::Remove { path: mount.join(parent), source })?;
        }
        Ok(())
    }
}

fn prune_in(root: BorrowedFd<'_>, parent: &str) -> Result<(), Errno> {
    let mut path = parent;
    while !path.is_empty() {
        match unlinkat(root, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => break,
            Err(errno) => return Err(errno),
        }
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    Ok(())
}
