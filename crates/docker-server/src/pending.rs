//! Verbs that the engine does not have yet. Each answers that it is not there; as soon as the
//! engine has a method of the same name, that one is called instead, and this file goes.

use engine::view::SizeView;
use engine::{Engine, EngineError};
use model::NameOrId;

fn later<T>(what: &str) -> Result<T, EngineError> {
    Err(EngineError::Invalid(format!("not supported yet: {what}")))
}

/// The verbs, as the handlers call them.
pub(crate) trait Pending {
    fn size(&self, _who: &NameOrId) -> Result<SizeView, EngineError> {
        later("the size of a container")
    }
}

impl Pending for Engine {}
