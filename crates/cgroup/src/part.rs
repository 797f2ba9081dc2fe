//! Parts of a cgroup: some of its processes that can be told from the others and killed without
//! them.
//!
//! A part is a cgroup below it that limits nothing, in one hierarchy alone: on version 2, also beside
//! version 1, since that kills all at once and tells when the last has gone; else in the one of
//! version 1 that is asked who is in a cgroup. Its processes are in it from their birth, so what
//! they start is as well. On version 2 it takes processes also where the cgroup above no longer does
//! (`EBUSY`), once somebody has given controllers to those below it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use sys::Errno;

use crate::detect::Hierarchies;
use crate::error::CgroupError;
use crate::file;
use crate::group::{Cgroup, roots};
use crate::tree::{self, Reach};

/// How many steps are taken to remove a part: its container may go on making cgroups below it. What
/// that leaves goes the next time, or with the container.
const STEPS: usize = 512;

/// Where the parts of a cgroup are.
#[derive(Debug)]
pub struct Parts {
    /// One.
    hierarchies: Hierarchies,
    whole: String,
}

/// Whether a part has been removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It has, now or before.
    Yes,
    /// Somebody is in it, or it has more below it than are removed at a time.
    InUse,
}

/// Whether the cgroup of a watch still is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The watch waits for the next change.
    Waits,
    /// It has been removed: the watch tells of nothing any more, and never rests.
    Gone,
}

impl Cgroup {
    /// Where its parts are made.
    ///
    /// # Errors
    /// The hierarchy cannot be opened once more.
    pub fn parts(&self) -> Result<Parts, CgroupError> {
        let hierarchies = self.hierarchies.tracking();
        let hierarchies =
            hierarchies.map_err(|source| CgroupError::Read { path: self.place(), source })?;
        Ok(Parts { hierarchies, whole: self.path.clone() })
    }

    /// Whether somebody has given controllers to those below it: version 2 lets no process enter it then
    /// (`EBUSY`), but a part of it.
    ///
    /// # Errors
    /// It is not there.
    pub fn is_divided(&self) -> Result<bool, CgroupError> {
        let Some(dir) = self.clone_into() else { return Ok(false) };
        let enabled = file::read(dir, "cgroup.subtree_control")
            .map_err(|source| CgroupError::Read { path: self.place(), source })?;
        Ok(!enabled.trim().is_empty())
    }

    /// Removes a part that nobody is in, and what was made below it, without waiting.
    ///
    /// # Errors
    /// The kernel refuses for another reason than that somebody is.
    pub fn remove_part(&self) -> Result<Removed, CgroupError> {
        for (root, mount) in roots(&self.hierarchies) {
            match tree::remove(root, &self.path, Reach::Steps(STEPS)) {
                Ok(()) => {}
                Err(Errno::BUSY | Errno::NOTEMPTY) => return Ok(Removed::InUse),
                Err(source) => {
                    return Err(CgroupError::Remove { path: mount.join(&self.path), source });
                }
            }
        }
        Ok(Removed::Yes)
    }

    /// A descriptor that has an exceptional condition when the first process comes or the last one goes,
    /// until it is given to [`Cgroup::settle`]. `None` on version 1, which tells nobody.
    #[must_use]
    pub fn watch_members(&self) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let watch = openat(self.clone_into()?, c"cgroup.events", flags, Mode::empty()).ok()?;
        (Self::settle(&watch) == Settled::Waits).then_some(watch)
    }

    /// Makes such a descriptor wait for the next time.
    pub fn settle(watch: &OwnedFd) -> Settled {
        let start = rustix::fs::seek(watch, rustix::fs::SeekFrom::Start(0));
        match start.and_then(|_| file::read_all(watch)) {
            Ok(_) => Settled::Waits,
            Err(_) => Settled::Gone,
        }
    }
}

impl Parts {
    /// Makes a part.
    ///
    /// # Errors
    /// There is one of this name; the kernel refuses.
    pub fn make(&self, name: &str) -> Result<Cgroup, CgroupError> {
        let path = crate::name::join(&self.whole, name)?;
        for (root, mount) in roots(&self.hierarchies) {
            match mkdirat(root, path.as_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Err(CgroupError::Exists(mount.join(path))),
                Err(source) => return Err(CgroupError::Create { path: mount.join(path), source }),
            }
        }
        Cgroup::open(&self.hierarchies, &self.whole, name)
    }
}
