//! `container prune`: removes the containers that do not run.

use std::ops::ControlFlow;

use model::{EventKind, NameOrId};

use crate::view::{ContainerView, ContainersPruned, ListQuery, RemoveOptions};
use crate::{Engine, EngineError};

impl Engine {
    /// Removes every container that does not run and is wanted gone. Their volumes stay, also the
    /// anonymous ones.
    ///
    /// # Errors
    /// The first that happens; all are tried, and what was removed stays removed.
    pub fn prune_containers(
        &self,
        is_wanted: impl Fn(&ContainerView) -> bool,
    ) -> Result<ContainersPruned, EngineError> {
        let mut pruned = ContainersPruned::default();
        let mut failed = Ok(());
        let mut candidates = Vec::new();
        self.list(ListQuery::All, |view| {
            if !view.life.is_running() && is_wanted(&view) {
                candidates.push(view.id);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for id in candidates {
            match self.prune_one(&NameOrId::from(id)) {
                Ok(written) => {
                    pruned.removed.push(id);
                    pruned.reclaimed += written;
                }
                // It was started in between, or somebody else was faster.
                Err(EngineError::StillRunning { .. } | EngineError::NoSuchContainer(_)) => {}
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        self.tell_prune(EventKind::Container, pruned.reclaimed);
        failed.map(|()| pruned)
    }

    /// Removes a container; what it had written.
    fn prune_one(&self, who: &NameOrId) -> Result<u64, EngineError> {
        let written = self.size(who)?.written.unwrap_or(0);
        self.remove(who, RemoveOptions::default())?;
        Ok(written)
    }
}
