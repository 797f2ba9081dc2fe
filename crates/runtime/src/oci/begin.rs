//! `start`: lets the process of a created container run its program.

use std::os::fd::{AsFd, OwnedFd};

use sys::process::pidfd_send_signal;
use sys::signal::Signal;

use super::Image;
use super::arguments::Globals;
use super::environment;
use super::fault::{self, Fault, Level};
use super::filter;
use super::inside::{Inside, Terms};
use super::notify::Notify;
use super::record::{Home, Place, Process, Record};
use super::state::{self, Seen};
use crate::hooks::{self, Hooks, Moment};
use crate::plan::Orphan;

/// Who stands for a container, for a service manager that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its own process: the command that starts it ends.
    Container,
    /// This one, which stays.
    Caller,
}

/// `start`.
pub(super) fn begin(home: &Home<'_>, id: &str, image: Image<'_>) -> Result<(), Fault> {
    let place = home.take(id)?;
    let record = place.record()?;
    let started = start(&place, &record, image)?;
    fault::debug(home.globals, || {
        format!("container {id}: process {} runs its program", record.pid)
    });
    // Who ends the container ends the wait.
    drop(place);
    started.pass_on(home.globals, Standing::Container)
}

/// A container whose program runs, and which may say that it is ready.
#[derive(Debug)]
#[must_use = "a service manager may wait"]
pub(super) struct Started {
    process: Process,
    notify: Option<Notify>,
}

impl Started {
    /// Passes its word on if a service manager waits: returns when it is ready or has ended, unless this
    /// process stays. Nobody else is to be kept from the container meanwhile.
    pub(super) fn pass_on(self, globals: &Globals, standing: Standing) -> Result<(), Fault> {
        let Self { process: Process { pid, pidfd, .. }, notify: Some(notify) } = self else {
            return Ok(());
        };
        match standing {
            Standing::Container => {
                notify.pass_on(&pidfd, pid.as_raw_nonzero().get().unsigned_abs())
            }
            Standing::Caller => pass_on_beside(notify, pidfd, globals),
        }
    }
}

/// Starts it. Returns when its program runs, or with why it does not.
pub(super) fn start(place: &Place, record: &Record, image: Image<'_>) -> Result<Started, Fault> {
    let (container, visitor) = match state::look(place, record)? {
        Seen::Created { process, visitor } => (process, visitor),
        Seen::Stopped => return Err(Fault::Stopped),
        Seen::Running => return Err(Fault::Running),
        Seen::Paused => return Err(Fault::config("cannot start a paused container")),
    };
    let pid = container.pid;
    let mut spec = place.spec_to_do(record)?;
    if let Some(spec) = &mut spec {
        environment::hand_to_hooks(spec);
    }
    // Before the visitor says anything: this process may have to begin again, and comes anew then.
    if spec.as_ref().is_some_and(|spec| !hooks::of(spec, Moment::StartContainer).is_empty()) {
        image.seal()?;
    }
    let hooks = spec.as_ref().map(|spec| Hooks { spec, id: &record.id, bundle: &record.bundle });
    let notify = Notify::listen(place)?;
    let before = hooks.map_or(Ok(()), |hooks| before(place, &hooks, record, &container));
    let done = before.and_then(|()| {
        let listener = spec.as_ref().and_then(|spec| filter::listener(spec, record, "created"));
        let agent = listener.as_ref().map(|listener| (listener, pid));
        crate::start::knock(visitor.as_fd(), &record.last, agent)?;
        let door = place.door();
        std::fs::remove_file(&door).map_err(Fault::file("remove", door))?;
        Ok(hooks.map_or(Ok(()), |hooks| hooks.poststart(pid))?)
    });
    if done.is_err() {
        // A container whose hooks fail does not go on.
        let _ = pidfd_send_signal(&container.pidfd, Signal::KILL);
    }
    done.map(|()| Started { process: container, notify })
}

/// Waits beside this process, which has the container's terminal and signals to carry.
fn pass_on_beside(notify: Notify, process: OwnedFd, globals: &Globals) -> Result<(), Fault> {
    let main = std::process::id();
    let failed = |errno| Fault::Call("wait for the container beside this process", errno);
    let kill = Some(rustix::process::Signal::KILL);
    let work = || {
        let _ = rustix::process::set_parent_process_death_signal(kill);
        let passed = notify.pass_on(&process, main);
        passed.inspect_err(|fault| fault::tell(globals, Level::Warning, fault)).is_err().into()
    };
    // Nobody reaps it but who takes over from this process: it ends with the container, or before.
    sys::process::fork(work).map(drop).map_err(failed)
}

/// What is run in the container before its program.
fn before(
    place: &Place,
    hooks: &Hooks<'_>,
    record: &Record,
    container: &Process,
) -> Result<(), Fault> {
    if hooks::of(hooks.spec, Moment::StartContainer).is_empty() {
        return Ok(());
    }
    let inside = Inside::of(place, record, hooks.spec, &container.pidfd)?;
    // What the program will have.
    let mut spec = hooks.spec.clone();
    if let Some(process) = spec.process_mut() {
        environment::complete(process, environment::root(&record.rootfs)?.as_fd());
    }
    let hooks = Hooks { spec: &spec, ..*hooks };
    Ok(hooks.start_container(container.pid, |process, program, stdio| {
        inside.enter(process, stdio, Terms { program: Some(program), ..TERMS })
    })?)
}

/// A hook ends with the command that runs it.
const TERMS: Terms<'_> =
    Terms { orphan: Orphan::Dies, preserved: 0, below: &[], program: None, on_terminal: None };
