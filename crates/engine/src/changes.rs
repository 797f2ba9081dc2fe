//! What a container has changed in its file system.

use model::NameOrId;
use model::container::Source;

use crate::prepare::store_error;
use crate::{Engine, EngineError};

/// What every container gets beside its image, as a rule by being mounted over. Docker keeps these in a
/// layer of their own, below the container's.
pub(crate) const OURS: [&str; 14] = [
    ".dockerenv",
    "dev",
    "dev/console",
    "dev/mqueue",
    "dev/pts",
    "dev/shm",
    "etc",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "proc",
    "sbin",
    "sbin/dhow-init",
    "sys",
];

impl Engine {
    /// What differs from the container's image, sorted by path.
    ///
    /// # Errors
    /// There is no such container; it has no layer of its own.
    pub fn changes(&self, who: &NameOrId) -> Result<Vec<store::Change>, EngineError> {
        let container = self.find(who)?;
        let layer = match &container.record.spec.source {
            Source::Image(_) => self.store().container_layer(&container.id),
            Source::DirectoryOverlay(path) => self.store().container_layer_on(&container.id, path),
            Source::Directory(path) => {
                let path = path.display();
                return Err(EngineError::Invalid(format!(
                    "container {} writes to {path} itself: nothing tells what it has changed",
                    container.name()
                )));
            }
        };
        layer.map_err(store_error)?.changes(&OURS).map_err(store_error)
    }
}
