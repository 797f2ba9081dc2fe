//! The engine itself: its roots and its store.

use std::sync::{Arc, OnceLock};

use cgroup::Hierarchies;
use store::Store;

use crate::EngineError;
use crate::listed::Lists;
use crate::paths::Paths;

/// The verbs on one state root. Cheap to clone; any number of processes may have one.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Paths,
    store: Store,
    hierarchies: OnceLock<Hierarchies>,
    lists: Lists,
}

impl Engine {
    /// Makes the roots if they are missing.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn open(paths: Paths) -> Result<Self, store::OpenError> {
        let store = Store::open(paths.root())?;
        let hierarchies = OnceLock::new();
        let lists = Lists::default();
        Ok(Self { inner: Arc::new(Inner { paths, store, hierarchies, lists }) })
    }

    /// Where everything is.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn lists(&self) -> &Lists {
        &self.inner.lists
    }

    /// The hierarchies of cgroups as they were when this process first looked, for what both a create and
    /// a start ask: to find them costs some forty calls.
    ///
    /// # Errors
    /// They cannot be found.
    pub(crate) fn hierarchies(&self) -> Result<&Hierarchies, EngineError> {
        if let Some(found) = self.inner.hierarchies.get() {
            return Ok(found);
        }
        let found = self.find_hierarchies()?;
        Ok(self.inner.hierarchies.get_or_init(|| found))
    }

    /// The host's own name.
    pub(crate) fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
}
