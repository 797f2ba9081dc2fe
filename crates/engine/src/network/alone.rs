//! The right to make and remove networks, one at a time.
//!
//! The rows are decided by the database. Behind them the kernel is changed under names and subnets that the
//! next network may have as well, so a removal has taken all of the old one before the new one is made.

use std::fs::File;

use rustix::fs::FlockOperation;

use crate::{Engine, EngineError};

/// Held while a network is made or removed; it ends with its process. The start of a container needs none:
/// its lease keeps its network.
#[derive(Debug)]
pub(super) struct Alone {
    _root: File,
}

impl Engine {
    /// Waits until nobody else makes or removes a network. Nobody may hold it twice.
    pub(super) fn alone_with_networks(&self) -> Result<Alone, EngineError> {
        let root = self.paths().root();
        let failed = EngineError::file("lock", root);
        let locked = File::open(root).and_then(|root| {
            rustix::io::retry_on_intr(|| rustix::fs::flock(&root, FlockOperation::LockExclusive))?;
            Ok(root)
        });
        Ok(Alone { _root: locked.map_err(failed)? })
    }
}
