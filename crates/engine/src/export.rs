//! `export`: a container's tree as an archive.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use model::NameOrId;
use store::layer::PackOptions;
use sys::root::Root;

use crate::container::Container;
use crate::prepare::store_error;
use crate::{Engine, EngineError};

impl Engine {
    /// Writes a container's file system as a tar, without what is mounted in it.
    ///
    /// # Errors
    /// There is no such container; `out` cannot be written to.
    pub fn export(&self, who: &NameOrId, out: &mut dyn Write) -> Result<(), EngineError> {
        let container = self.find(who)?;
        let tree = Root::from_fd(self.tree(&container)?);
        store::layer::pack(&tree, out, &PackOptions::default()).map_err(store_error)?;
        self.tell(&container, "export", &[]);
        Ok(())
    }

    /// A container's root file system as a mount of its own: of one that runs, the very same;
    /// else a new one.
    fn tree(&self, container: &Container) -> Result<OwnedFd, EngineError> {
        if self.life(container)?.pid().is_none() {
            return self.rootfs(container);
        }
        let cloned = self.init_of(container)?.clone_tree(Path::new("/"));
        cloned
            .map_err(|errno| EngineError::file("clone the root of", container.name())(errno.into()))
    }
}
