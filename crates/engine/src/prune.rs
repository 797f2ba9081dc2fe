//! `container prune`: removes the containers that do not run.

use model::container::Source;
use model::{EventKind, NameOrId};

use crate::container::Container;
use crate::prepare::store_error;
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
        for view in self.list(ListQuery::All)? {
            if view.life.is_running() || !is_wanted(&view) {
                continue;
            }
            match self.prune_one(&NameOrId::from(view.id)) {
                Ok(written) => {
                    pruned.removed.push(view.id);
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
        let written = self.written(&self.find(who)?)?;
        self.remove(who, RemoveOptions::default())?;
        Ok(written)
    }

    /// The bytes of the files in a container's writable layer.
    fn written(&self, container: &Container) -> Result<u64, EngineError> {
        if !self.paths().container_dir(&container.id).join("upper").exists() {
            // It has never been started, or has no layer of its own.
            return Ok(0);
        }
        let layer = match &container.record.spec.source {
            Source::Image(_) => self.store().container_layer(&container.id),
            Source::DirectoryOverlay(path) => self.store().container_layer_on(&container.id, path),
            Source::Directory(_) => return Ok(0),
        };
        layer.and_then(|layer| layer.size()).map_err(store_error)
    }
}
