//! Stopping all processes of a cgroup where they are, and letting them go on.

use std::time::Duration;

use crate::detect::{Controller, Version};
use crate::error::CgroupError;
use crate::file::{self, Deadline};
use crate::group::Cgroup;

/// A process that hangs in the kernel cannot be frozen. Nobody waits longer for that.
const PATIENCE: Duration = Duration::from_secs(5);

const STATE: &str = "freezer.state";
const HOME_V1: (Version, Option<Controller>) = (Version::V1, Some(Controller::Freezer));
const HOME_V2: (Version, Option<Controller>) = (Version::V2, None);

impl Cgroup {
    /// Freezes all processes, and returns when the kernel says that they are. If they do not freeze in
    /// five seconds, they are let go again.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let deadline = Deadline::after(PATIENCE);
        let frozen = if let Some(dir) = self.clone_into() {
            self.write(HOME_V2, "cgroup.freeze", "1")?;
            file::wait_for_line(dir, "cgroup.events", "frozen 1", deadline).map_err(|source| {
                CgroupError::Wait {
                    path: self.file_path(Version::V2, None, "cgroup.events"),
                    source,
                }
            })?
        } else if self.hierarchies.legacy_of(Controller::Freezer).is_some() {
            self.freeze_v1(deadline)?
        } else {
            return Err(self.no_freezer());
        };
        if frozen {
            return Ok(());
        }
        self.thaw()?;
        Err(CgroupError::NotFrozen(self.place()))
    }

    fn no_freezer(&self) -> CgroupError {
        if self.hierarchies.is_none() { CgroupError::Nowhere } else { CgroupError::NoFreezer }
    }

    /// v1 tells nobody when it has frozen all: its state is worked out when it is read. So it is read
    /// again, after pauses that grow from a tenth of a millisecond, the usual time, to ten. Each time
    /// the wish is repeated, which catches processes that were born meanwhile.
    fn freeze_v1(&self, deadline: Deadline) -> Result<bool, CgroupError> {
        const LONGEST: Duration = Duration::from_millis(10);
        let mut pause = Duration::from_micros(100);
        loop {
            self.write(HOME_V1, STATE, "FROZEN")?;
            if self.read(HOME_V1.0, HOME_V1.1, STATE)?.trim() == "FROZEN" {
                return Ok(true);
            }
            if deadline.is_over() {
                return Ok(false);
            }
            deadline.poll(&mut [], pause).map_err(|source| CgroupError::Wait {
                path: self.file_path(HOME_V1.0, HOME_V1.1, STATE),
                source,
            })?;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Lets frozen processes go on; no error if they are not frozen.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        if self.clone_into().is_some() {
            return self.write(HOME_V2, "cgroup.freeze", "0");
        }
        if self.hierarchies.legacy_of(Controller::Freezer).is_some() {
            return self.write(HOME_V1, STATE, "THAWED");
        }
        Err(self.no_freezer())
    }

    /// Whether its processes are frozen, or are being frozen.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        if self.clone_into().is_some() {
            return Ok(self.read(HOME_V2.0, HOME_V2.1, "cgroup.freeze")?.trim() == "1");
        }
        if self.hierarchies.legacy_of(Controller::Freezer).is_some() {
            return Ok(self.read(HOME_V1.0, HOME_V1.1, STATE)?.trim() != "THAWED");
        }
        Ok(false)
    }
}
