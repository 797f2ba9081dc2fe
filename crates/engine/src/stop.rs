//! `stop`, `kill`, `pause`, `unpause`, `resize`: messages to a container's shim.

use model::container::{StopTimeout, TerminalSize};
use model::{ContainerId, Life, NameOrId, Signal};
use shim::protocol::{Reach, Refusal, Target, Then};
use shim::{CallError, Shim};

use crate::container::Container;
use crate::guard::call_error;
use crate::view::StopOutcome;
use crate::{Engine, EngineError};

/// How a container is stopped.
struct How {
    signal: Option<Signal>,
    timeout: Option<StopTimeout>,
    then: Then,
}

impl Engine {
    /// Asks a container to end, kills it when its time is up, and returns when it has ended.
    ///
    /// # Errors
    /// There is no such container, or it cannot even be killed.
    pub fn stop(
        &self,
        who: &NameOrId,
        signal: Option<Signal>,
        timeout: Option<StopTimeout>,
    ) -> Result<StopOutcome, EngineError> {
        let container = self.find(who)?;
        let stopped = self.stop_and(&container, How { signal, timeout, then: Then::Stay })?;
        Ok(stopped.map_or(StopOutcome::AlreadyStopped, |_| StopOutcome::Stopped))
    }

    /// The connection by which the container was stopped; `None` if it did not run.
    fn stop_and(&self, container: &Container, how: How) -> Result<Option<Shim>, EngineError> {
        let Some(mut shim) = self.shim(&container.id)? else { return Ok(None) };
        match shim.stop(how.signal, how.timeout, how.then) {
            Ok(_) => {
                self.settle(&container.id)?;
                self.tell(container, "stop", &[]);
                Ok(Some(shim))
            }
            Err(CallError::Gone | CallError::Refused(Refusal::NotRunning)) => Ok(None),
            Err(error) => Err(call_error(&container.id, error)),
        }
    }

    /// Stops a container, if it runs, and starts it. One that goes with its process stays.
    ///
    /// # Errors
    /// As for [`Engine::stop`] and [`Engine::start`].
    pub fn restart(
        &self,
        who: &NameOrId,
        signal: Option<Signal>,
        timeout: Option<StopTimeout>,
    ) -> Result<(), EngineError> {
        let container = self.find(who)?;
        // Nobody removes it while this connection is there.
        let _held = self.stop_and(&container, How { signal, timeout, then: Then::Restart })?;
        self.start(&NameOrId::from(container.id))?;
        self.tell(&container, "restart", &[]);
        Ok(())
    }

    /// Sends a signal; SIGKILL returns when the container has ended.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, who: &NameOrId, signal: Signal) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let cannot = || EngineError::NotRunning(container.id);
        let id = &container.id;
        let shim = if signal == Signal::KILL { self.shim_to_kill(id) } else { self.shim(id) };
        let mut shim = shim?.ok_or_else(cannot)?;
        match shim.kill(signal, Reach::Process) {
            Err(CallError::Silent(_)) if signal == Signal::KILL => {
                self.end_silent(id)?;
                self.settle(id)
            }
            Ok(()) if signal == Signal::KILL => self.settle(&container.id),
            Ok(()) => Ok(()),
            Err(CallError::Gone | CallError::Refused(Refusal::NotRunning)) => Err(cannot()),
            Err(error) => Err(call_error(&container.id, error)),
        }
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// It does not run, or is frozen already.
    pub fn pause(&self, who: &NameOrId) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let id = container.id;
        self.running_shim(&id)?.pause().map_err(|error| call_error(&id, error))?;
        self.tell(&container, "pause", &[]);
        Ok(())
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// It is not frozen.
    pub fn unpause(&self, who: &NameOrId) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let id = container.id;
        let mut shim = self.shim(&id)?.ok_or(EngineError::NotPaused(id))?;
        shim.resume().map_err(|error| call_error(&id, error))?;
        self.tell(&container, "unpause", &[]);
        Ok(())
    }

    /// Tells a container's terminal its size. Without a terminal nothing is to be told.
    ///
    /// # Errors
    /// It does not run.
    pub fn resize(&self, who: &NameOrId, size: TerminalSize) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let id = container.id;
        resized(&id, self.running_shim(&id)?.resize(Target::Container, size))?;
        let more = [("height", size.rows.to_string()), ("width", size.columns.to_string())];
        self.tell(&container, "resize", &more);
        Ok(())
    }

    /// Gives back what a container that has ended no longer needs: its address and its ports.
    /// Under its lock, so that what a start in between was given is not taken; and after what a
    /// shim that was killed has left is ended, so that nobody uses it any more.
    pub(crate) fn settle(&self, id: &ContainerId) -> Result<(), EngineError> {
        let (lock, container) = match self.lock(id) {
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            locked => locked?,
        };
        let Life::Exited { .. } = self.life(&container)? else { return Ok(()) };
        self.bury_dead(&lock, &container)?;
        Ok(self.store().release(id)?)
    }
}

/// What a shim's answer to a size means. Docker says that all is well to whoever resizes what has no terminal, and
/// clients ask without looking.
pub(crate) fn resized(id: &ContainerId, told: Result<(), CallError>) -> Result<(), EngineError> {
    match told {
        Err(CallError::Refused(Refusal::NoTerminal)) => Ok(()),
        told => told.map_err(|error| call_error(id, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_no_error_without_a_terminal_alone() {
        let id: ContainerId = "ab".repeat(32).parse().unwrap();
        let told = |refusal| resized(&id, Err(CallError::Refused(refusal)));
        assert!(told(Refusal::NoTerminal).is_ok());
        assert!(matches!(told(Refusal::NotRunning), Err(EngineError::NotRunning(_))));
        assert!(matches!(resized(&id, Err(CallError::Gone)), Err(EngineError::NotRunning(_))));
    }
}
