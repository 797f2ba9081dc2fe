//! Restart policies: what a shim is told of them, and the start that it asks for.
//!
//! When and whether is the shim's to decide (`shim::machine`). Here is the program that it runs then.

use model::container::RestartPolicy;
use model::{ContainerId, Life};
use shim::CallError;
use shim::protocol::Restarts;
use sys::failpoint::Point;

use crate::checkup::restarts_unhealthy;
use crate::container::Container;
use crate::guard::call_error;
use crate::record::{Progress, Start};
use crate::start::{Beginning, failure_of};
use crate::{Engine, EngineError};

impl Engine {
    /// Starts a container again whose shim says that it is time. Nothing is done if somebody has
    /// changed their mind since.
    ///
    /// # Errors
    /// It is neither started nor noted in its record why not, so its shim has to try again. One that
    /// cannot be started is no error: whoever looks at it is told why, and its shim gives up.
    pub fn revive(&self, id: &ContainerId) -> Result<(), EngineError> {
        EngineError::step(Point::ReviveBegan)?;
        let (_lock, mut container) = match self.lock(id) {
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            locked => locked?,
        };
        let Life::Restarting { .. } = self.life(&container)? else { return Ok(()) };
        let Some(last) = container.record.last_start().cloned() else { return Ok(()) };
        // One that was killed before may have left them.
        self.unpublish_leftovers(&container)?;
        let revival = last.restarts.saturating_add(1);
        let Err(error) = self.launch(&mut container, Beginning::Revival(revival)) else {
            return Ok(());
        };
        // It stays as its last run ended, whose end is written down.
        let is_unwanted = matches!(error, EngineError::NotWanted(_));
        let start = if is_unwanted {
            last
        } else {
            Start { restarts: revival, again_failed: Some(failure_of(&error)), ..last }
        };
        container.record.progress = Progress::Started(Box::new(start));
        self.save(&container)?;
        // An address that stays behind is taken back by the next that looks.
        let _ = self.store().release(id);
        Ok(())
    }

    /// What a shim is told of a container's restart policy.
    pub(crate) fn restarts(&self, container: &Container) -> Restarts {
        let policy = container.record.spec.restart;
        let revive = ["revive".to_owned(), container.id.to_string()];
        let resolved = &container.record.resolved;
        Restarts {
            policy,
            // Most have no policy, and their shims no use for this.
            revive: if policy == RestartPolicy::No && !restarts_unhealthy(container) {
                Vec::new()
            } else {
                self.role_arguments(&revive)
            },
            stop_signal: resolved.stop_signal_named.then_some(resolved.stop_signal),
        }
    }

    /// Tells a container's shim, if there is one, of the restart policy that its record has now.
    ///
    /// # Errors
    /// The shim does not answer.
    pub(crate) fn pass_on_restarts(&self, container: &Container) -> Result<(), EngineError> {
        let Some(mut shim) = self.shim(&container.id)? else { return Ok(()) };
        match shim.set_restarts(self.restarts(container)) {
            Ok(()) | Err(CallError::Gone) => Ok(()),
            Err(error) => Err(call_error(&container.id, error)),
        }
    }
}
