//! `wait`: for a container's end, and for its removal.

use std::os::unix::net::UnixStream;

use model::{ContainerId, ExitCode, Life, NameOrId};
use rustix::fs::inotify;
use shim::CallError;
use shim::frame::MAX_SMALL;
use shim::protocol::{ExitRecord, Refusal, Reply, Request, Until};
use sys::failpoint::Point;
use sys::fdpass;

use crate::container::Container;
use crate::guard::{call_error, shim_error};
use crate::view::{ExitReport, WaitCondition};
use crate::{Engine, EngineError};

/// Docker's code of a container that could not be started.
const NEVER_STARTED: ExitCode = ExitCode(128);

/// A wait that has begun: an end that comes from now on is seen by `finish`.
#[derive(Debug)]
pub struct Wait {
    engine: Engine,
    container: Container,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It has ended, or never ran.
    Over(ExitCode),
    /// The shim will say when it ends.
    Exit(UnixStream),
    /// The shim will say when it ends, and then this process removes it.
    ExitAndRemove(UnixStream),
    /// The shim will say when it ends, and leaves when somebody has removed it.
    ExitAndGone(UnixStream),
    /// Somebody will remove it, now or later.
    Removal(std::os::fd::OwnedFd),
}

impl Engine {
    /// Begins to wait.
    ///
    /// # Errors
    /// There is no such container.
    pub fn wait(&self, who: &NameOrId, condition: WaitCondition) -> Result<Wait, EngineError> {
        let container = self.find(who)?;
        let kind = match condition {
            WaitCondition::NotRunning => self.wait_not_running(&container)?,
            WaitCondition::NextExit => Kind::Exit(self.ask_for_exit(&container)?),
            WaitCondition::Removed if container.row.auto_remove => {
                self.wait_auto_removed(&container)?
            }
            WaitCondition::Removed => self.wait_removed(&container)?,
        };
        Ok(Wait { engine: self.clone(), container, kind })
    }

    fn wait_not_running(&self, container: &Container) -> Result<Kind, EngineError> {
        match self.life(container)? {
            Life::Created { .. } => Ok(Kind::Over(ExitCode::SUCCESS)),
            Life::Exited { code, .. } => Ok(Kind::Over(code)),
            Life::Running { .. } | Life::Paused { .. } => {
                let Some(shim) = self.shim(&container.id)? else {
                    return Ok(Kind::Over(self.seen_exit(container)?));
                };
                let stream = shim.into_stream();
                ask(&container.id, &stream, &Request::Wait { until: Until::NotRunning })?;
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

    fn ask_for_exit(&self, container: &Container) -> Result<UnixStream, EngineError> {
        let stream = self.ensure_shim(container)?.into_stream();
        ask(&container.id, &stream, &Request::Wait { until: Until::NextExit })?;
        Ok(stream)
    }

    /// Takes the duty to remove the container, unless somebody has it.
    fn wait_auto_removed(&self, container: &Container) -> Result<Kind, EngineError> {
        let mut shim = self.ensure_shim(container)?;
        let claimed = match shim.claim() {
            Ok(()) => true,
            Err(CallError::Refused(Refusal::Claimed)) => false,
            Err(error) => return Err(call_error(&container.id, error)),
        };
        let stream = shim.into_stream();
        ask(&container.id, &stream, &Request::Wait { until: Until::NextExit })?;
        Ok(if claimed { Kind::ExitAndRemove(stream) } else { Kind::ExitAndGone(stream) })
    }

    fn wait_removed(&self, container: &Container) -> Result<Kind, EngineError> {
        let dir = self.paths().container_dir(&container.id);
        let containers = self.paths().root().join("containers");
        let failed =
            |errno: rustix::io::Errno| EngineError::file("watch", &containers)(errno.into());
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        let events = inotify::WatchFlags::MOVED_FROM | inotify::WatchFlags::DELETE;
        inotify::add_watch(&watch, &containers, events).map_err(failed)?;
        // It may have gone between the look-up and the watch.
        if dir.exists() { Ok(Kind::Removal(watch)) } else { Ok(Kind::Over(ExitCode::SUCCESS)) }
    }
}

impl Wait {
    /// Waits, and removes the container if that fell to this wait.
    ///
    /// # Errors
    /// The shim died without a word.
    pub fn finish(self) -> Result<ExitReport, EngineError> {
        let Self { engine, container, kind } = self;
        match kind {
            Kind::Over(code) => Ok(report(code)),
            Kind::Exit(stream) => {
                let exit = end(&engine, &container, &stream)?;
                engine.settle(&container.id)?;
                Ok(report(exit))
            }
            Kind::ExitAndRemove(stream) => {
                let exit = end(&engine, &container, &stream);
                EngineError::step(Point::WaitExited)?;
                let removed = engine.reap(&container.id);
                EngineError::step(Point::WaitRemoved)?;
                if removed.is_ok() {
                    // The answer is of no interest: the shim leaves. Without this word the duty
                    // falls back to it.
                    let _ = ask(&container.id, &stream, &Request::Release);
                }
                exit.map(|code| ExitReport {
                    code,
                    error: removed.err().map(|error| error.to_string()),
                })
            }
            Kind::ExitAndGone(stream) => {
                let exit = end(&engine, &container, &stream)?;
                until_gone(&stream);
                Ok(report(exit))
            }
            Kind::Removal(watch) => {
                until_removed(&engine, &container, &watch)?;
                Ok(report(
                    engine.last_exit(&container.id)?.map_or(ExitCode::SUCCESS, |exit| exit.code),
                ))
            }
        }
    }
}

fn report(code: ExitCode) -> ExitReport {
    ExitReport { code, error: None }
}

fn ask(id: &ContainerId, stream: &UnixStream, request: &Request) -> Result<(), EngineError> {
    let message = serde_json::to_vec(request).map_err(|error| shim_error(id, &error))?;
    fdpass::send_frame(stream, &message, &[]).map_err(|error| shim_error(id, &error))
}

/// How the container ended; if its shim was killed, what the record says.
fn end(
    engine: &Engine,
    container: &Container,
    stream: &UnixStream,
) -> Result<ExitCode, EngineError> {
    let id = &container.id;
    let frame = fdpass::recv_frame(stream, MAX_SMALL).map_err(|error| shim_error(id, &error))?;
    let Some(frame) = frame else {
        return match engine.reread(id) {
            // It never started, and has gone.
            Err(EngineError::NoSuchContainer(_)) => Ok(NEVER_STARTED),
            container => engine.seen_exit(&container?),
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
        return engine.seen_exit(container);
    }
    Err(shim_error(id, &CallError::Confused(Box::new(reply))))
}

/// Until the shim has left.
fn until_gone(mut stream: &UnixStream) {
    let mut rest = [0; 256];
    while matches!(std::io::Read::read(&mut stream, &mut rest), Ok(1..)) {}
}

fn until_removed(
    engine: &Engine,
    container: &Container,
    watch: &std::os::fd::OwnedFd,
) -> Result<(), EngineError> {
    let dir = engine.paths().container_dir(&container.id);
    let mut events = [0; 4096];
    while dir.exists() {
        match rustix::io::read(watch, &mut events) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(EngineError::file("watch", dir)(errno.into())),
        }
    }
    Ok(())
}
