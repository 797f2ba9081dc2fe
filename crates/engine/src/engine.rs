//! The engine itself: its roots and its store.

use std::sync::Arc;

use store::Store;

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
}

impl Engine {
    /// Makes the roots if they are missing.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn open(paths: Paths) -> Result<Self, store::OpenError> {
        let store = Store::open(paths.root())?;
        Ok(Self { inner: Arc::new(Inner { paths, store }) })
    }

    /// Where everything is.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The host's own name.
    pub(crate) fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
}
