//! `exec`: one more process in a running container.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::{Capability, Process, Spec};
use serde_json::{Value, json};
use sys::process::{Exit, pidfd_send_signal};
use sys::signal::Signal;

use super::arguments::{Exec, Globals};
use super::bundle;
use super::console::{self, Sockets};
use super::create::Company;
use super::environment;
use super::fault::{self, Fault};
use super::foreground;
use super::inside::{Inside, Terms};
use super::record::{self, Home, Status};
use super::state;
use crate::plan::{Affinity, Orphan};
use crate::{LaunchError, Running};

/// Runs it. Returns its exit code, or 0 at once if it is not waited for.
pub(super) fn exec(home: &Home<'_>, args: &Exec) -> Result<u8, Fault> {
    let place = home.find(&args.id.id)?;
    let record = place.record()?;
    match state::status(&place, &record)? {
        // One that waits to be started is set up, and can be entered, as in runc.
        Status::Running | Status::Created => {}
        Status::Paused if args.ignore_paused => {}
        status @ (Status::Paused | Status::Stopped) => return Err(Fault::NoExec(status)),
    }
    let Some(container) = record::Process::find(&record)? else {
        return Err(Fault::NoExec(Status::Stopped));
    };
    let spec = place.spec()?;
    let mut process = process(home.globals, args, &spec)?;
    environment::complete(&mut process, environment::root(&record.rootfs)?.as_fd());
    let terminal = process.terminal().unwrap_or(false);
    let company = if args.detach { Company::Detached } else { Company::Foreground };
    let sockets = Sockets::connect(&args.handles, terminal, company)?;
    let signals = match company {
        Company::Foreground => Some(foreground::listen()?),
        Company::Detached => None,
    };
    let orphan = if args.detach { Orphan::Lives } else { Orphan::Dies };
    let plain: fn(BorrowedFd<'_>) = foreground::pass_lines_as_they_are;
    let terms = Terms {
        orphan,
        preserved: args.handles.preserve_fds,
        below: &args.cgroup,
        program: None,
        on_terminal: (!sockets.takes_terminal()).then_some(plain),
    };
    begin_on(home.globals, &process)?;
    let inside = Inside::of(&place, &record, &spec, &container.pidfd)?;
    let running = inside.enter(&process, console::streams(terminal)?, terms)?;
    if let Err(fault) = tell(args, &sockets, &running) {
        // Nobody would know of it.
        let _ = pidfd_send_signal(&running.pidfd, Signal::KILL);
        let _ = sys::process::wait(&running.pidfd);
        return Err(fault);
    }
    let pid = running.pid;
    fault::debug(home.globals, || {
        format!("container {}: process {pid} runs its program", args.id.id)
    });
    let Some(signals) = signals else { return Ok(0) };
    let master = running.terminal.filter(|_| !sockets.takes_terminal());
    foreground::stay(&running.pidfd, master, &signals).map(Exit::shell_code)
}

/// Goes to the processors that the process shall begin on, which it gets from here: it is in the
/// container's control group from its first moment.
fn begin_on(globals: &Globals, process: &Process) -> Result<(), Fault> {
    let Some(processors) = Affinity::of(process).map_err(LaunchError::from)?.first else {
        return Ok(());
    };
    fault::debug(globals, || format!("execCPUAffinity: begins on {processors:?}"));
    crate::init::stay_on(&processors).map_err(|errno| Fault::Call("set execCPUAffinity", errno))
}

/// Tells whoever asked which process it is.
fn tell(args: &Exec, sockets: &Sockets, running: &Running) -> Result<(), Fault> {
    sockets.hand_over(running.terminal.as_ref().map(AsFd::as_fd), running.pidfd.as_fd())?;
    console::write_pid(args.handles.pid_file.as_deref(), running.pid.as_raw_nonzero().get())
}

/// The process that is asked for: a file, or the container's own with another command.
fn process(globals: &Globals, args: &Exec, spec: &Spec) -> Result<Process, Fault> {
    if let Some(path) = &args.process {
        let (process, unknown) = read_process(path)?;
        fault::warn_of_capabilities(globals, &unknown, Some(&process));
        return Ok(process);
    }
    let mut process =
        spec.process().clone().ok_or_else(|| Fault::config("config.json has no process"))?;
    if args.command.is_empty() {
        return Err(Fault::config("process args cannot be empty"));
    }
    process.set_args(Some(args.command.clone()));
    process.set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.into());
    }
    if !args.env.is_empty() {
        let own = process.env().clone().unwrap_or_default();
        let more = args.env.iter().map(|variable| variable.0.clone());
        process.set_env(Some(own.into_iter().chain(more).collect()));
    }
    if let Some(profile) = &args.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &args.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    user(args, &mut process)?;
    let unknown = capabilities(args, &mut process);
    fault::warn_of_capabilities(globals, &unknown, None);
    Ok(process)
}

/// A process in a file, and the capabilities in there that nobody knows.
fn read_process(path: &Path) -> Result<(Process, Vec<String>), Fault> {
    let bytes = fs::read(path).map_err(Fault::file("read", path))?;
    let bad = |error| Fault::Json(path.to_owned(), error);
    let mut value: Value = serde_json::from_slice(&bytes).map_err(bad)?;
    if let Some(process) = value.as_object_mut() {
        // What Go programs leave out is 0.
        process.entry("user").or_insert_with(|| json!({ "uid": 0, "gid": 0 }));
    }
    bundle::without_unknown(value.to_string().as_bytes(), "").map_err(bad)
}

fn user(args: &Exec, process: &mut Process) -> Result<(), Fault> {
    let mut user = process.user().clone();
    if let Some(text) = &args.user {
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| Fault::Config(format!("--user {text}: it is no number")))
        };
        let (uid, gid) = text.split_once(':').map_or((text.as_str(), None), |(u, g)| (u, Some(g)));
        user.set_uid(number(uid)?);
        if let Some(gid) = gid {
            user.set_gid(number(gid)?);
        }
    }
    if !args.additional_gids.is_empty() {
        let own = user.additional_gids().clone().unwrap_or_default();
        user.set_additional_gids(Some([own, args.additional_gids.clone()].concat()));
    }
    process.set_user(user);
    Ok(())
}

/// Those that are added go to all sets but the inheritable one, which the specification alone sets, and to the ambient
/// one if they are inheritable, as the kernel demands (runc since 1.2). Returns those that nobody knows.
fn capabilities(args: &Exec, process: &mut Process) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut sets = process.capabilities().clone().unwrap_or_default();
    for name in &args.cap {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        let Ok(one) = bare.parse::<Capability>() else {
            unknown.push(name.clone());
            continue;
        };
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(one);
            Some(set)
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        if sets.inheritable().as_ref().is_some_and(|set| set.contains(&one)) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    }
    if !args.cap.is_empty() {
        process.set_capabilities(Some(sets));
    }
    unknown
}
