//! `rename`: a container gets another name; its host name stays as it is.

use model::{ContainerName, NameOrId};

use crate::{Engine, EngineError};

impl Engine {
    /// Gives a container another name, whether it runs or not.
    ///
    /// # Errors
    /// It has that name already, or another one has.
    pub fn rename(&self, who: &NameOrId, name: &ContainerName) -> Result<(), EngineError> {
        let container = self.find(who)?;
        if container.row.name == *name {
            return Err(EngineError::SameName);
        }
        Ok(self.store().containers().rename(&container.id, name)?)
    }
}
