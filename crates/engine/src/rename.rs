//! `rename`: a container gets another name; its host name stays as it is.

use model::{ContainerName, NameOrId};

use crate::{Engine, EngineError};

impl Engine {
    /// Gives a container another name, whether it runs or not.
    ///
    /// # Errors
    /// It has that name already, or another one has.
    pub fn rename(&self, who: &NameOrId, name: &ContainerName) -> Result<(), EngineError> {
        // Not between what a start has read of it and what it tells its shim.
        let (_lock, mut container) = self.lock(&self.find(who)?.id)?;
        if container.row.name == *name {
            return Err(EngineError::SameName);
        }
        self.store().containers().rename(&container.id, name)?;
        let old = std::mem::replace(&mut container.row.name, name.clone());
        if self.life(&container)?.is_running() {
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            self.leave_about(&container, endpoint);
            self.put_new_name(&container)?;
        }
        self.tell(&container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}
