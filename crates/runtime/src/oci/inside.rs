//! The way into a container that is there: for more processes, and for hooks that are run as its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroup::{Cgroup, CgroupError};
use oci_spec::runtime::{Process, Spec};

use super::below::Below;
use super::environment;
use super::fault::Fault;
use super::filter::{self, Filter};
use super::record::{Group, Place, Record};
use super::{rdt, state};
use crate::plan::{Keyring, Orphan, Surroundings};
use crate::{CgroupEntry, Enter, HostFacts, LaunchError, Running, Stdio};

/// All that is needed to enter.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    id: &'a str,
    container: &'a OwnedFd,
    facts: HostFacts,
    filter: Option<Filter>,
    around: Surroundings,
    cgroup: Cgroup,
    group: &'a Group,
    shares: Option<&'a rdt::Groups>,
}

/// What becomes of a process besides what its specification says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) orphan: Orphan,
    pub(super) preserved: u32,
    /// Where below the container's control group it is, if it is not in that itself.
    pub(super) below: &'a [String],
    /// The file that it executes, if its first argument is only what it is called.
    pub(super) program: Option<&'a Path>,
    /// What is done with the master of its terminal before its program runs.
    pub(super) on_terminal: Option<fn(BorrowedFd<'_>)>,
}

impl<'a> Inside<'a> {
    pub(super) fn of(
        place: &Place,
        record: &'a Record,
        spec: &Spec,
        container: &'a OwnedFd,
    ) -> Result<Self, Fault> {
        let facts = HostFacts::detect()?;
        let around = spec.linux().as_ref().map(Surroundings::of).transpose();
        let around = around.map_err(LaunchError::from)?.unwrap_or_default();
        Ok(Self {
            id: &record.id,
            container,
            filter: filter::of(spec, &facts, place, filter::told(record, "running"))?,
            facts,
            around: around.with_groups(environment::groups(spec)),
            cgroup: state::cgroup(&record.cgroup)?,
            group: &record.cgroup,
            shares: record.shares.as_ref(),
        })
    }

    /// A part for one process; an earlier command of this number may have left some.
    fn part(&self) -> Result<Cgroup, Fault> {
        let parts = self.cgroup.parts()?;
        let own = std::process::id();
        let mut n = 0_u32;
        loop {
            match parts.make(&format!("exec-{own}-{n}")) {
                Err(CgroupError::Exists(_)) => n += 1,
                made => return Ok(made?),
            }
        }
    }

    /// Starts a process in the container.
    pub(super) fn enter(
        &self,
        process: &Process,
        stdio: Stdio,
        terms: Terms<'_>,
    ) -> Result<Running, Fault> {
        filter::check_turns(self.filter.as_ref(), Some(process))?;
        // What this process starts is where it is. It waits for that from here on, or ends.
        self.shares.iter().try_for_each(|groups| groups.enter(0))?;
        // One whose program has divided its control group takes processes in a part of it alone. The part
        // goes with the container.
        let below = Below::of(terms.below, self.group)?;
        let divided = below.is_none() && self.cgroup.is_divided()?;
        let part = if divided { Some(self.part()?) } else { None };
        let entry = match (&part, &below) {
            (Some(part), _) => self.cgroup.entry_of(part)?,
            (None, Some(below)) => below.entry(&self.cgroup)?,
            (None, None) => self.cgroup.entry()?,
        };
        let below = below.as_ref().and_then(Below::group);
        let into = part.as_ref().or(below).and_then(Cgroup::clone_into);
        let into = into.or(self.cgroup.clone_into());
        Ok(crate::enter(Enter {
            process,
            program: terms.program,
            facts: &self.facts,
            id: self.id,
            around: &self.around,
            container: self.container.as_fd(),
            stdio,
            cgroup: CgroupEntry { into, procs: entry.into_files() },
            filter: self.filter.as_ref().map(Filter::as_ref),
            on_terminal: terms.on_terminal,
            orphan: terms.orphan,
            keyring: Keyring::New,
            preserved: terms.preserved,
        })?)
    }
}
