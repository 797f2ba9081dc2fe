//! Starts one more process in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};
use sys::Errno;
use sys::process::Namespaces;

use crate::error::LaunchError;
use crate::facts::HostFacts;
use crate::plan::{
    self, Customs, Entrance, Extras, Filter, Keyring, Orphan, Starter, Surroundings,
};
use crate::start::{self, CgroupEntry, FilterRef, Running, Start, Stdio};

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
        customs: Customs::default(),
        program: enter.program.map(Path::to_owned),
    };
    let root = enter.around.shares_mounts.then(|| root_of(enter.container)).transpose()?;
    let listener = enter.filter.and_then(|filter| filter.listener);
    let plan = plan::plan_exec(enter.process, enter.facts, enter.around, &extras)?;
    let start = Start {
        steps: plan.steps,
        program: plan.program,
        namespaces: Namespaces::NONE,
        born_into: Some(enter.container.as_fd()),
        cgroup: enter.cgroup,
        root: root.as_ref().map(AsFd::as_fd),
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

/// The root directory of a container's process. It is not that of its mount namespace if others share that.
fn root_of(container: BorrowedFd<'_>) -> Result<OwnedFd, LaunchError> {
    let failed = || LaunchError::prepare("find the root of", "the container");
    let number = || start::number_of(container).ok_or(Errno::SRCH).map_err(failed());
    let pid = number()?;
    let path = format!("/proc/{}/root", pid.as_raw_nonzero());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).map_err(failed())?;
    // Until it is reaped the number is nobody else's.
    number()?;
    Ok(root)
}
