//! `wait`: for a container's end, and for its removal.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use model::{ContainerId, ExitCode, Life, NameOrId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use shim::frame::MAX_SMALL;
use shim::protocol::{ExitRecord, Refusal, Reply, Request, Until};
use shim::{CallError, Shim};
use sys::failpoint::Point;
use sys::fdpass;

use crate::container::{Container, UNSEEN_EXIT};
use crate::guard::{call_error, shim_error};
use crate::prepare::store_error;
use crate::view::{ExitReport, WaitCondition};
use crate::{Engine, EngineError};

/// Docker's code of a container that could not be started.
const NEVER_STARTED: ExitCode = ExitCode(128);

/// A wait that has begun: an end that comes from now on is seen by `finish`.
#[derive(Debug)]
pub struct Wait {
    engine: Engine,
    who: Awaited,
    kind: Kind,
}

/// Whose end is waited for.
#[derive(Debug)]
struct Awaited {
    id: ContainerId,
    /// What is said of it if it is gone by then and nobody saw its end.
    if_gone: ExitCode,
}

#[derive(Debug)]
enum Kind {
    /// It has ended, or never ran.
    Over(ExitCode),
    /// The shim will say when it ends.
    Exit(UnixStream),
    /// The shim will say when it ends, and then this process removes it.
    ExitAndRemove(UnixStream),
    /// It has ended, and this process removes it: whoever should have may be dead.
    Remove(ExitCode, UnixStream),
    /// Somebody will remove it, now or later.
    Removal(Removal),
    /// Somebody has just removed it.
    Gone(Removal),
}

/// How a removal is seen.
#[derive(Debug)]
struct Removal {
    /// Tells of every container whose directory goes away.
    watch: OwnedFd,
    /// Where its shim tells of its end, while it runs.
    running: Option<UnixStream>,
    /// How it ended last.
    code: ExitCode,
}

impl Engine {
    /// Begins to wait.
    ///
    /// # Errors
    /// There is no such container.
    pub fn wait(&self, who: &NameOrId, condition: WaitCondition) -> Result<Wait, EngineError> {
        let container = self.find(who)?;
        let life = self.life(&container)?;
        let id = container.id;
        let kind = match condition {
            WaitCondition::NotRunning => self.wait_not_running(&id, &life)?,
            WaitCondition::NextExit => self.wait_next_exit(&id)?,
            WaitCondition::Removed if container.row.auto_remove => self.wait_auto_removed(&id)?,
            WaitCondition::Removed => self.wait_kept_removed(&id, &life)?,
        };
        Ok(Wait { engine: self.clone(), who: Awaited { id, if_gone: if_gone(&life) }, kind })
    }

    fn wait_not_running(&self, id: &ContainerId, life: &Life) -> Result<Kind, EngineError> {
        match life {
            Life::Created { .. } => Ok(Kind::Over(ExitCode::SUCCESS)),
            Life::Exited { code, .. } => Ok(Kind::Over(*code)),
            Life::Running { .. } | Life::Paused { .. } => {
                let Some(shim) = self.shim(id)? else {
                    return Ok(Kind::Over(self.seen_exit(&self.reread(id)?)?));
                };
                let stream = shim.into_stream();
                ask(id, &stream, &Request::Wait { until: Until::NotRunning })?;
                Ok(Kind::Exit(stream))
            }
        }
    }

    fn seen_exit(&self, container: &Container) -> Result<ExitCode, EngineError> {
        match self.life(container)? {
            Life::Exited { code, .. } => Ok(code),
            Life::Created { .. } | Life::Running { .. } | Life::Paused { .. } => {
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn wait_next_exit(&self, id: &ContainerId) -> Result<Kind, EngineError> {
        let (shim, _) = self.ensure_shim(id)?;
        let stream = shim.into_stream();
        ask(id, &stream, &Request::Wait { until: Until::NextExit })?;
        Ok(Kind::Exit(stream))
    }

    /// Takes the duty to remove the container, unless somebody has it.
    fn wait_auto_removed(&self, id: &ContainerId) -> Result<Kind, EngineError> {
        loop {
            let (mut shim, _) = self.ensure_shim(id)?;
            match shim.claim() {
                Ok(()) => return self.wait_claimed(id, shim.into_stream()),
                Err(CallError::Refused(Refusal::Claimed)) => {
                    let stream = shim.into_stream();
                    ask(id, &stream, &Request::Wait { until: Until::NextExit })?;
                    return self.wait_removed(id, Some(stream), ExitCode::SUCCESS);
                }
                // It has become the one that removes the container.
                Err(CallError::Gone) => {}
                Err(error) => return Err(call_error(id, error)),
            }
        }
    }

    fn wait_claimed(&self, id: &ContainerId, stream: UnixStream) -> Result<Kind, EngineError> {
        // A shim that was started for this question knows of no end in the past.
        if let Life::Exited { code, .. } = self.life(&self.reread(id)?)? {
            return Ok(Kind::Remove(code, stream));
        }
        ask(id, &stream, &Request::Wait { until: Until::NextExit })?;
        Ok(Kind::ExitAndRemove(stream))
    }

    /// Waits for somebody else's removal of a container that stays after its end.
    fn wait_kept_removed(&self, id: &ContainerId, life: &Life) -> Result<Kind, EngineError> {
        let running = if life.is_running() { self.shim(id)?.map(Shim::into_stream) } else { None };
        if let Some(stream) = &running {
            ask(id, stream, &Request::Wait { until: Until::NotRunning })?;
        }
        let code = if let Life::Exited { code, .. } = life { *code } else { ExitCode::SUCCESS };
        self.wait_removed(id, running, code)
    }

    fn wait_removed(
        &self,
        id: &ContainerId,
        running: Option<UnixStream>,
        code: ExitCode,
    ) -> Result<Kind, EngineError> {
        let containers = self.paths().root().join("containers");
        let failed =
            |errno: rustix::io::Errno| EngineError::file("watch", &containers)(errno.into());
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        inotify::add_watch(&watch, &containers, inotify::WatchFlags::MOVED_FROM).map_err(failed)?;
        let removal = Removal { watch, running, code };
        // It may have gone between the look-up and the watch.
        Ok(if self.is_removed(id)? { Kind::Gone(removal) } else { Kind::Removal(removal) })
    }

    /// Whether a container is gone for good. If it is not, it has a directory from now on that a
    /// removal takes away.
    fn is_removed(&self, id: &ContainerId) -> Result<bool, EngineError> {
        Ok(self.store().container_dir(id).map_err(store_error)?.is_none())
    }
}

impl Wait {
    /// Waits, and removes the container if that fell to this wait.
    ///
    /// # Errors
    /// The shim died without a word.
    pub fn finish(self) -> Result<ExitReport, EngineError> {
        let Self { engine, who, kind } = self;
        match kind {
            Kind::Over(code) => Ok(report(code)),
            Kind::Exit(stream) => {
                let exit = end(&engine, &who, &stream)?;
                engine.settle(&who.id)?;
                Ok(report(exit))
            }
            Kind::ExitAndRemove(stream) => {
                let exit = end(&engine, &who, &stream);
                EngineError::step(Point::WaitExited)?;
                let removed = reap(&engine, &who.id, &stream)?;
                exit.map(|code| ExitReport { code, ..removed })
            }
            Kind::Remove(code, stream) => {
                Ok(ExitReport { code, ..reap(&engine, &who.id, &stream)? })
            }
            Kind::Removal(removal) => until_removed(&engine, &who, removal).map(report),
            Kind::Gone(removal) => last_end(&engine, &who, removal).map(report),
        }
    }
}

/// Removes a container whose removal this connection has claimed.
fn reap(engine: &Engine, id: &ContainerId, stream: &UnixStream) -> Result<ExitReport, EngineError> {
    let removed = engine.reap(id);
    EngineError::step(Point::WaitRemoved)?;
    if removed.is_ok() {
        // The answer is of no interest: the shim leaves. Without this word the duty falls back to
        // it.
        let _ = ask(id, stream, &Request::Release);
    }
    let error = removed.err().map(|error| error.to_string());
    Ok(ExitReport { error, ..report(ExitCode::SUCCESS) })
}

const fn if_gone(life: &Life) -> ExitCode {
    match life {
        Life::Created { .. } => NEVER_STARTED,
        Life::Running { .. } | Life::Paused { .. } => UNSEEN_EXIT,
        Life::Exited { code, .. } => *code,
    }
}

fn report(code: ExitCode) -> ExitReport {
    ExitReport { code, error: None }
}

fn ask(id: &ContainerId, stream: &UnixStream, request: &Request) -> Result<(), EngineError> {
    let message = serde_json::to_vec(request).map_err(|error| shim_error(id, &error))?;
    fdpass::send_frame(stream, &message, &[]).map_err(|error| shim_error(id, &error))
}

/// How the container ended; if its shim left without a word, what the record says.
fn end(engine: &Engine, who: &Awaited, stream: &UnixStream) -> Result<ExitCode, EngineError> {
    let id = &who.id;
    let frame = fdpass::recv_frame(stream, MAX_SMALL).map_err(|error| shim_error(id, &error))?;
    let Some(frame) = frame else {
        // Whoever made it leave may be about to remove the container, and holds its lock.
        return match engine.lock(id) {
            Err(EngineError::NoSuchContainer(_)) => Ok(who.if_gone),
            locked => engine.seen_exit(&locked?.1),
        };
    };
    let reply = serde_json::from_slice(&frame.bytes).map_err(|error| shim_error(id, &error))?;
    if let Reply::Exited(ExitRecord { code, .. }) = reply {
        return Ok(code);
    }
    // `start` reports the failure to whoever asked for the start; its code is Docker's.
    if let Reply::LaunchFailed(failure) = reply {
        return Ok(failure.code);
    }
    if reply == Reply::Refused(Refusal::NotRunning) {
        return engine.seen_exit(&engine.reread(id)?);
    }
    Err(shim_error(id, &CallError::Confused(Box::new(reply))))
}

/// Until the container is gone; how it ended last.
fn until_removed(
    engine: &Engine,
    who: &Awaited,
    mut removal: Removal,
) -> Result<ExitCode, EngineError> {
    let dir = engine.paths().container_dir(&who.id);
    let failed = |errno: rustix::io::Errno| EngineError::file("watch", &dir)(errno.into());
    let mut events = [0; 4096];
    loop {
        let ready = wait_for_either(&removal).map_err(failed)?;
        if let (Ready::Ended, Some(stream)) = (ready, removal.running.take()) {
            removal.code = end(engine, who, &stream)?;
            continue;
        }
        rustix::io::retry_on_intr(|| rustix::io::read(&removal.watch, &mut events))
            .map_err(failed)?;
        if !dir.exists() && engine.is_removed(&who.id)? {
            return last_end(engine, who, removal);
        }
        // What it ended with since, if it was started again.
        let code = removal.code;
        removal.code = engine.last_exit(&who.id)?.map_or(code, |exit| exit.code);
    }
}

/// How a container that is gone ended: its end was told before it could be removed.
fn last_end(engine: &Engine, who: &Awaited, removal: Removal) -> Result<ExitCode, EngineError> {
    removal.running.map_or(Ok(removal.code), |stream| end(engine, who, &stream))
}

/// What has happened to a container.
#[derive(Debug, PartialEq, Eq)]
enum Ready {
    /// It has ended.
    Ended,
    /// Some container was removed.
    Removed,
}

fn wait_for_either(removal: &Removal) -> rustix::io::Result<Ready> {
    let mut fds = vec![PollFd::new(&removal.watch, PollFlags::IN)];
    fds.extend(removal.running.iter().map(|stream| PollFd::new(stream, PollFlags::IN)));
    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    let has_ended = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    Ok(if has_ended { Ready::Ended } else { Ready::Removed })
}
