//! The seccomp filter of a specification: compiled, or as it was compiled before.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxSchedulerPolicy, Process, Scheduler, Spec};
use serde_json::json;

use super::fault::Fault;
use super::record::{Place, Record};
use crate::capabilities::CapSet;
use crate::seccomp::{self, Arch, Foreign, KernelVersion, Program, SeccompError, Target};
use crate::{FilterRef, HostFacts, Listener};

/// What this binary, and so the kernel below it, is built for.
const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

/// A filter, and who decides on what it asks about.
#[derive(Debug)]
pub(super) struct Filter {
    program: Program,
    listener: Option<Listener>,
}

impl Filter {
    pub(super) fn as_ref(&self) -> FilterRef<'_> {
        let Program { instructions, flags, .. } = &self.program;
        FilterRef { instructions, flags: *flags, listener: self.listener.as_ref() }
    }
}

/// The filter, if the specification has one. `state` is what a listener is told of the container.
pub(super) fn of(
    spec: &Spec,
    facts: &HostFacts,
    place: &Place,
    state: serde_json::Value,
) -> Result<Option<Filter>, Fault> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let Some(seccomp) = seccomp else { return Ok(None) };
    let text = seccomp::oci_text(seccomp).map_err(SeccompError::from)?;
    let kernel = kernel()?;
    // Rules that depend on capabilities are Docker's and have been resolved by whoever wrote this.
    let caps = CapSet::from_bits(facts.capabilities.bits());
    let target = Target { arch: ARCH, caps, kernel, foreign: Foreign::AsProfile };
    let program = match cache(&place.filters()) {
        Some(directory) => seccomp::cached(&directory, &text, &target)?,
        None => seccomp::compile_json(&text, &target)?,
    };
    let listener = program.listener.as_ref().map(|asked| Listener {
        path: PathBuf::from(&asked.path),
        metadata: asked.metadata.clone(),
        state,
    });
    Ok(Some(Filter { program, listener }))
}

/// The kernel's version, which says what a filter may have.
pub(super) fn kernel() -> Result<KernelVersion, Fault> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    KernelVersion::from_release(&release)
        .ok_or_else(|| Fault::Config(format!("the kernel's release {release:?} has no version")))
}

/// Refuses a process that would wait for ever: the thread that passes its filter's descriptor on has its policy,
/// and a first-in-first-out one never gives a processor to another of its own priority.
pub(super) fn check_turns(filter: Option<&Filter>, process: Option<&Process>) -> Result<(), Fault> {
    let asks = filter.is_some_and(|filter| filter.listener.is_some());
    let scheduler = process.and_then(|process| process.scheduler().as_ref());
    let is_first_in =
        |scheduler: &Scheduler| *scheduler.policy() == LinuxSchedulerPolicy::SchedFifo;
    if asks && scheduler.is_some_and(is_first_in) {
        return Err(Fault::config("SCHED_FIFO with a filter that asks an agent is not supported"));
    }
    Ok(())
}

/// The directory of compiled filters, if nobody but this user can put something there: what is in it is
/// loaded without being compiled again.
fn cache(path: &Path) -> Option<PathBuf> {
    let _ = fs::DirBuilder::new().mode(0o700).create(path);
    let found = fs::symlink_metadata(path).ok()?;
    let is_ours = found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o022 == 0;
    is_ours.then(|| path.to_owned())
}

/// Whether somebody is to be asked.
pub(super) fn asks(spec: &Spec) -> bool {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    seccomp.is_some_and(|seccomp| seccomp.listener_path().is_some())
}

/// Who decides, if anybody is to be asked, of a container that is there.
pub(super) fn listener(spec: &Spec, record: &Record, status: &str) -> Option<Listener> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref())?;
    Some(Listener {
        path: seccomp.listener_path().clone()?,
        metadata: seccomp.listener_metadata().clone().unwrap_or_default(),
        state: told(record, status),
    })
}

/// The state of a container as a listener is told.
pub(super) fn told(record: &Record, status: &str) -> serde_json::Value {
    json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "status": status,
        "pid": record.pid,
        "bundle": record.bundle,
        "annotations": record.annotations,
    })
}
