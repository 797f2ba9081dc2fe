//! `kill` and `delete`: how containers end.

use std::time::Duration;

use cgroup::{Cgroup, CgroupError};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use regex_lite::Regex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use sys::Errno;
use sys::process::pidfd_send_signal;
use sys::signal::Signal;

use super::arguments::{Delete, Kill};
use super::fault::{self, Fault, Level};
use super::in_place::Attached;
use super::record::{Group, Home, Place, Process, Record, Status};
use super::{environment, rdt, scope, state};
use crate::hooks::Hooks;

/// How long a killed process may take to end. One that hangs in the kernel takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// No signal: the question whether there is somebody who could be signalled.
const PROBE: &str = "0";

/// Signals its process, or all of its processes.
pub(super) fn kill(home: &Home<'_>, args: &Kill) -> Result<(), Fault> {
    if args.signal == PROBE {
        let place = home.find(&args.id.id)?;
        return match Process::find(&place.record()?)? {
            None if !args.all => Err(Fault::NotRunning),
            _ => Ok(()),
        };
    }
    let number: model::Signal =
        args.signal.parse().map_err(|error| Fault::Config(format!("{error}")))?;
    let signal = Signal::from_number(number.into())
        .ok_or_else(|| Fault::Config(format!("{number} is no signal")))?;
    let place = home.find(&args.id.id)?;
    let record = place.record()?;
    if args.all {
        return signal_all(&record, signal);
    }
    // Nobody's end is that of the others, who may be there without the first.
    if signal == Signal::KILL && !has_own_pids(&place.spec()?) {
        return kill_all(&record);
    }
    let Some(process) = Process::find(&record)? else { return Err(Fault::NotRunning) };
    match pidfd_send_signal(&process.pidfd, signal) {
        Err(Errno::SRCH) => return Err(Fault::NotRunning),
        sent => sent.map_err(|errno| Fault::Call("signal the container's process", errno))?,
    }
    if signal == Signal::KILL { let_die(&record) } else { Ok(()) }
}

/// Whether all of its processes end with the first.
fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let is_new =
        |one: &LinuxNamespace| one.path().as_ref().is_none_or(|path| path.as_os_str().is_empty());
    namespaces.into_iter().flatten().any(|one| one.typ() == LinuxNamespaceType::Pid && is_new(one))
}

/// Kills whoever is in its control group.
fn kill_all(record: &Record) -> Result<(), Fault> {
    let cgroup = match state::cgroup(&record.cgroup) {
        Err(Fault::Cgroup(CgroupError::NotFound(_))) => return Err(Fault::NotRunning),
        cgroup => cgroup?,
    };
    if cgroup.pids()?.is_empty() {
        return Err(Fault::NotRunning);
    }
    Ok(cgroup.kill()?)
}

/// What version 1 has frozen dies once it is thawed.
fn let_die(record: &Record) -> Result<(), Fault> {
    let thawed = state::cgroup(&record.cgroup)
        .and_then(|cgroup| if cgroup.is_frozen()? { Ok(cgroup.thaw()?) } else { Ok(()) });
    match thawed {
        // It has ended, and somebody has removed it.
        Err(Fault::Cgroup(CgroupError::NotFound(_))) => Ok(()),
        thawed => thawed,
    }
}

fn signal_all(record: &Record, signal: Signal) -> Result<(), Fault> {
    let cgroup = match state::cgroup(&record.cgroup) {
        Err(Fault::Cgroup(CgroupError::NotFound(_))) => return Err(Fault::NotRunning),
        cgroup => cgroup?,
    };
    Ok(cgroup.signal(signal)?)
}

/// Removes what is left of it, or of all that an expression is found in, as with crun. One that cannot be removed keeps
/// none of the others.
pub(super) fn delete(home: &Home<'_>, args: &Delete) -> Result<(), Fault> {
    if !args.regex {
        return delete_one(home, &args.id.id, args);
    }
    let expression = Regex::new(&args.id.id).map_err(|error| {
        Fault::Config(format!("invalid regular expression {}: {error}", args.id.id))
    })?;
    let mut first = Ok(());
    for id in home.ids()?.iter().filter(|id| expression.is_match(id)) {
        match (delete_one(home, id, args), &first) {
            // Somebody else has removed it meanwhile.
            (Ok(()) | Err(Fault::NoContainer), _) => {}
            (Err(fault), Ok(())) => first = Err(fault),
            (Err(fault), Err(_)) => fault::tell(home.globals, Level::Error, &fault),
        }
    }
    first
}

fn delete_one(home: &Home<'_>, id: &str, args: &Delete) -> Result<(), Fault> {
    let place = match home.take(id) {
        Err(Fault::NoContainer) if args.force => return Ok(()),
        place => place?,
    };
    let record = match place.record() {
        // Its creation was killed, and its process with it.
        Err(Fault::NoContainer) if args.force => return abandon(place),
        record => record?,
    };
    match state::status(&place, &record)? {
        Status::Stopped => {}
        // runc deletes one that was never started without being forced to.
        Status::Created => end(&record)?,
        Status::Running | Status::Paused if args.force => end(&record)?,
        status @ (Status::Running | Status::Paused) => {
            return Err(Fault::NotStopped { id: record.id, status });
        }
    }
    remove(home, place, &record)
}

/// Removes a container whose process has ended. Its last hooks are run; what they fail in is told and
/// stops nothing.
pub(super) fn remove(home: &Home<'_>, place: Place, record: &Record) -> Result<(), Fault> {
    remove_group(&record.cgroup)?;
    record.attached.iter().try_for_each(Attached::detach)?;
    record.shares.iter().try_for_each(rdt::Groups::remove)?;
    let mut spec = place.spec_to_do(record)?;
    if let Some(spec) = &mut spec {
        environment::hand_to_hooks(spec);
    }
    place.remove()?;
    let Some(spec) = spec else { return Ok(()) };
    let hooks = Hooks { spec: &spec, id: &record.id, bundle: &record.bundle };
    for error in hooks.poststop() {
        fault::tell(home.globals, Level::Warning, &error);
    }
    Ok(())
}

/// Removes what there is of a container that was never made.
fn abandon(place: Place) -> Result<(), Fault> {
    match place.claimed() {
        Err(Fault::NoContainer) => {}
        Ok(group) if group.number.is_none() => remove_empty(&group)?,
        group => remove_group(&group?)?,
    }
    place.noted()?.iter().try_for_each(Attached::detach)?;
    place.noted_shares()?.iter().try_for_each(rdt::Groups::remove)?;
    place.remove()
}

/// Removes a control group that may be anybody's, if nobody is in it.
fn remove_empty(group: &Group) -> Result<(), Fault> {
    match Cgroup::open(state::hierarchies()?, &group.parent, &group.name) {
        Err(CgroupError::NotFound(_)) => Ok(()),
        Ok(cgroup) if !cgroup.pids()?.is_empty() => Ok(()),
        cgroup => Ok(cgroup?.remove()?),
    }
}

/// Removes a control group with all that is in it, if it is this one and not another of its path.
fn remove_group(group: &Group) -> Result<(), Fault> {
    let removed = state::cgroup(group).and_then(|cgroup| scope::end(&cgroup, group));
    match removed {
        // Somebody else has removed it already.
        Err(Fault::Cgroup(CgroupError::NotFound(_))) => Ok(()),
        removed => removed,
    }
}

/// Kills its process and waits until it has ended.
fn end(record: &Record) -> Result<(), Fault> {
    let Some(process) = Process::find(record)? else { return Ok(()) };
    match pidfd_send_signal(&process.pidfd, Signal::KILL) {
        Err(Errno::SRCH) => return Ok(()),
        sent => sent.map_err(|errno| Fault::Call("kill the container's process", errno))?,
    }
    let_die(record)?;
    let mut ready = [PollFd::new(&process.pidfd, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).ok();
    let ended = retry_on_intr(|| poll(&mut ready, patience.as_ref()));
    match ended.map_err(|errno| Fault::Call("wait for the container's process", errno))? {
        0 => Err(Fault::config("the container's process does not end though it was killed")),
        _ => Ok(()),
    }
}
