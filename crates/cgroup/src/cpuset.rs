//! What the host's cgroups may be given of its processors and memory nodes.

use sys::Errno;

use crate::file;
use crate::{CgroupError, Controller, Hierarchies};

/// Processors and memory nodes, as lists (`0-3,5`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpuset {
    /// Processors.
    pub cpus: String,
    /// Memory nodes.
    pub mems: String,
}

impl Hierarchies {
    /// What a cgroup may be given; `None` if nothing on this host limits it.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub fn cpuset(&self) -> Result<Option<Cpuset>, CgroupError> {
        let (root, mount, names) = if let Some(legacy) = self.legacy_of(Controller::Cpuset) {
            (legacy.root(), &legacy.mount, ["cpuset.cpus", "cpuset.mems"])
        } else if let Some(unified) = self.unified() {
            let names = ["cpuset.cpus.effective", "cpuset.mems.effective"];
            (unified.root(), &unified.mount, names)
        } else {
            return Ok(None);
        };
        let read = |name: &str| match file::read(root, name) {
            // The controller is off, or was not handed down to here.
            Err(Errno::NOENT) => Ok(None),
            Ok(list) => Ok(Some(list.trim().to_owned())),
            Err(source) => Err(CgroupError::Read { path: mount.join(name), source }),
        };
        let (cpus, mems) = (read(names[0])?, read(names[1])?);
        Ok(cpus.zip(mems).map(|(cpus, mems)| Cpuset { cpus, mems }))
    }
}
