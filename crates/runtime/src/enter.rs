//! Starts one more process in a running container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::Process;
use sys::process::Namespaces;

use crate::error::LaunchError;
use crate::facts::HostFacts;
use crate::plan::{self, Entrance, Extras, Filter, Keyring, Orphan, Starter, Surroundings};
use crate::start::{CgroupEntry, FilterRef, Running, Start, Stdio};

/// A process to be started in a container.
#[derive(Debug)]
pub struct Enter<'a> {
    /// What is to be. Its capabilities may exceed those of the container (`exec --privileged`).
    pub process: &'a Process,
    /// The file that it executes, if its first argument is only what it is called.
    pub program: Option<&'a Path>,
    /// What there is.
    pub facts: &'a HostFacts,
    /// The container's id.
    pub id: &'a str,
    /// What its specification says of all its processes.
    pub around: &'a Surroundings,
    /// The pidfd of the container's first process, whose namespaces it joins.
    pub container: BorrowedFd<'a>,
    /// Its standard streams.
    pub stdio: Stdio,
    /// The container's control groups.
    pub cgroup: CgroupEntry<'a>,
    /// What is done with the master of its terminal before its program runs.
    pub on_terminal: Option<fn(BorrowedFd<'_>)>,
    /// Its seccomp filter.
    pub filter: Option<FilterRef<'a>>,
    /// What happens to it when this process dies.
    pub orphan: Orphan,
    /// Whose session keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on its program inherits.
    pub preserved: u32,
}

/// Starts a process in a container. It is a child of the calling process, which must reap it: the
/// kernel does not let the container's first process end before all others have been reaped.
///
/// # Errors
/// As [`crate::launch`]; `ESRCH` if the container has ended.
pub fn enter(enter: Enter<'_>) -> Result<Running, LaunchError> {
    let extras = Extras {
        id: enter.id.to_owned(),
        given: Namespaces::NONE,
        filter: if enter.filter.is_some() { Filter::Given } else { Filter::None },
        orphan: enter.orphan,
        hooks_at: None,
        keyring: enter.keyring,
        preserved: enter.preserved,
        starter: Starter::Parent,
        entrance: Entrance::Pivot,
        program: enter.program.map(Path::to_owned),
    };
    let listener = enter.filter.and_then(|filter| filter.listener);
    let plan = plan::plan_exec(enter.process, enter.facts, enter.around, &extras)?;
    let start = Start {
        steps: plan.steps,
        program: plan.program,
        namespaces: Namespaces::NONE,
        born_into: Some(enter.container.as_fd()),
        cgroup: enter.cgroup,
        root: None,
        container: Some(enter.container),
        trees: &[],
        joins: &[],
        filter: enter.filter,
        stdio: enter.stdio,
        terminal: plan.terminal,
        hooks: None,
        door: None,
    };
    let ready = start.run()?;
    if let (Some(act), Some(master)) = (enter.on_terminal, ready.terminal()) {
        act(master);
    }
    ready.go_with(listener)
}
