//! `rm --link`: a container no longer knows another by a name of its own.

use model::NameOrId;

use crate::{Engine, EngineError};

impl Engine {
    /// Takes what a container on the default network calls another away, at once if it runs.
    ///
    /// # Errors
    /// There is no such container, or it has no such link.
    pub fn unlink(&self, who: &NameOrId, alias: &str) -> Result<(), EngineError> {
        let unknown = || EngineError::NoSuchContainer(format!("{who}/{alias}"));
        let id = match self.find(who) {
            Err(EngineError::NoSuchContainer(_)) => return Err(unknown()),
            found => found?.id,
        };
        let (_lock, mut container) = self.lock(&id)?;
        if !container.record.spec.network.unlink(alias) {
            return Err(unknown());
        }
        self.save(&container)?;
        if self.life(&container)?.is_running() {
            let start = container.record.last_start();
            self.name_anew(&container, start.and_then(|start| start.endpoint.as_ref()))?;
        }
        Ok(())
    }
}
