//! Verbs that the engine does not have yet. Each answers that it is not there; as soon as the
//! engine has a method of the same name, that one is called instead, and this file goes.

use engine::view::{Progress, RegistryAuth, SizeView};
use engine::{Engine, EngineError};
use model::{ContainerName, NameOrId, Platform, Reference};

fn later<T>(what: &str) -> Result<T, EngineError> {
    Err(EngineError::Invalid(format!("not supported yet: {what}")))
}

/// The verbs, as the handlers call them.
pub(crate) trait Pending {
    fn rename(&self, _who: &NameOrId, _name: ContainerName) -> Result<(), EngineError> {
        later("rename")
    }

    fn size(&self, _who: &NameOrId) -> Result<SizeView, EngineError> {
        later("the size of a container")
    }

    fn image_pull(
        &self,
        _reference: &Reference,
        _platform: Option<Platform>,
        _auth: RegistryAuth,
        _tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), EngineError> {
        later("pull")
    }
}

impl Pending for Engine {}
