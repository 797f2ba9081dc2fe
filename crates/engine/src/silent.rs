//! A shim that does not answer is ended with its container, by whoever wants the container killed.
//!
//! What is left of both is taken back as after any shim that was killed (`bury`); only the end is
//! known: the container was killed.

use std::time::Duration;

use model::{ContainerId, ExitCode, Life};
use shim::protocol::{ByHand, ExitRecord};
use shim::{CallError, Liveness, Shim};

use crate::container::{Container, Locked, now};
use crate::guard::{call_error, shim_error};
use crate::{Engine, EngineError};

/// How long a shim may say nothing to one who wants its container killed: twice that. Who is taken for
/// silent and is merely slow loses nothing by it.
const SILENT: Duration = Duration::from_secs(1);

/// What a container ends with that was killed.
const KILLED: ExitCode = ExitCode(137);

impl Engine {
    /// The shim of a container that is to be killed, whether it answers or not.
    pub(crate) fn shim_to_kill(&self, id: &ContainerId) -> Result<Option<Shim>, EngineError> {
        Ok(self.shim(id)?.map(|mut shim| {
            shim.give_up_if_silent(SILENT);
            shim
        }))
    }

    /// Ends a shim that does not answer although nothing runs: it may be in the middle of a start, and
    /// whoever asked for that waits with the container's lock.
    pub(crate) fn end_if_silent(&self, id: &ContainerId) -> Result<(), EngineError> {
        if self.liveness(id)? == Liveness::Free {
            return Ok(());
        }
        let Some(mut shim) = self.shim_to_kill(id)? else { return Ok(()) };
        match shim.state() {
            Ok(_) | Err(CallError::Gone) => Ok(()),
            Err(CallError::Silent(_)) => self.end_silent(id),
            Err(error) => Err(call_error(id, error)),
        }
    }

    /// Ends a shim and its container. Whoever waits for the container's end hears of it.
    pub(crate) fn end_silent(&self, id: &ContainerId) -> Result<(), EngineError> {
        // Before it: who is told by a connection that breaks waits for this lock, and reads the end.
        let locked = self.try_lock(id)?;
        shim::end_silent(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))?;
        let locked = match locked {
            Locked::Held(lock) => self.reread(id).map(|container| (lock, container)),
            // Somebody waits with it for an answer, which does not come any more.
            Locked::Busy => self.lock(id),
            Locked::Gone => return Ok(()),
        };
        let (lock, container) = match locked {
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            locked => locked?,
        };
        if !self.has_died(id)? {
            return Ok(());
        }
        self.write_killed(&container)?;
        self.bury(&lock, &container)
    }

    /// Ends a shim, for who holds the container's lock and buries it then.
    pub(crate) fn end_silent_shim(&self, container: &Container) -> Result<(), EngineError> {
        let id = &container.id;
        shim::end_silent(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))?;
        if self.has_died(id)? { self.write_killed(container) } else { Ok(()) }
    }

    /// Writes down how a container ended that ran when its shim was ended.
    fn write_killed(&self, container: &Container) -> Result<(), EngineError> {
        let paths = self.shim_paths(&container.id);
        let words = shim::read_state(&paths).map_err(|error| shim_error(&container.id, &error))?;
        if let Some(Life::Running { since, .. } | Life::Paused { since, .. }) = words {
            let exit =
                ExitRecord { code: KILLED, oom: false, since, at: now(), by_hand: ByHand::Yes };
            // On a full disk its end stays unknown.
            let _ = shim::write_exit(&paths, &exit);
        }
        Ok(())
    }
}
