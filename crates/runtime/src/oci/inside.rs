//! The way into a container that is there: for more processes, and for hooks that are run as its own.

use std::os::fd::{AsFd, OwnedFd};

use cgroup::Cgroup;
use oci_spec::runtime::{Process, Spec};
use sys::userns::IdMap;

use super::fault::Fault;
use super::filter;
use super::record::Record;
use super::state;
use crate::plan::{Keyring, Orphan};
use crate::seccomp::Program;
use crate::{CgroupEntry, Enter, FilterRef, HostFacts, LaunchError, Running, Stdio};

/// All that is needed to enter.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    id: &'a str,
    container: &'a OwnedFd,
    facts: HostFacts,
    filter: Option<Program>,
    users: Option<IdMap>,
    cgroup: Cgroup,
}

/// What becomes of a process besides what its specification says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) orphan: Orphan,
    pub(super) preserved: u32,
}

impl<'a> Inside<'a> {
    pub(super) fn of(
        record: &'a Record,
        spec: &Spec,
        container: &'a OwnedFd,
    ) -> Result<Self, Fault> {
        let facts = HostFacts::detect()?;
        let users = spec.linux().as_ref().map(crate::plan::id_map).transpose();
        Ok(Self {
            id: &record.id,
            container,
            filter: filter::of(spec, &facts)?,
            facts,
            users: users.map_err(LaunchError::from)?.flatten(),
            cgroup: state::cgroup(&record.cgroup)?,
        })
    }

    /// Starts a process in the container.
    pub(super) fn enter(
        &self,
        process: &Process,
        stdio: Stdio,
        terms: Terms,
    ) -> Result<Running, Fault> {
        let entry = self.cgroup.entry()?;
        Ok(crate::enter(Enter {
            process,
            facts: &self.facts,
            id: self.id,
            users: self.users,
            container: self.container.as_fd(),
            stdio,
            cgroup: CgroupEntry { into: self.cgroup.clone_into(), procs: entry.into_files() },
            filter: self.filter.as_ref().map(|filter| FilterRef {
                instructions: &filter.instructions,
                flags: filter.flags,
            }),
            orphan: terms.orphan,
            keyring: Keyring::New,
            preserved: terms.preserved,
        })?)
    }
}
