//! Everything at rest: blobs by digest, snapshots, layer apply and diff, metadata, leases and garbage collection.
//!
//! Knows no process, no network and no container runtime: it is told which containers run.

#![forbid(unsafe_code)]

pub mod db;
mod failpoint;
mod layout;
pub mod tar;

use std::path::Path;
use std::sync::Arc;

use model::ContainerId;

use db::Db;
pub use db::addresses::{AddressError, Addresses};
pub use db::containers::{ContainerRow, ContainerRowError, Containers, Found};
pub use db::networks::{NetworkRow, NetworkRowError, Networks};
pub use db::ports::{PortError, PortLease, Ports};
pub use db::volumes::{VolumeRow, VolumeRowError, Volumes};
pub use db::{DbError, Durability};
use layout::Layout;
pub use layout::OpenError;

/// One data root. Cheap to clone; may be used by any number of threads and processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    db: Db,
}

impl Store {
    /// Makes the directories under `root` if they are missing; the database is opened by the
    /// first query.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let layout = Layout::open(root)?;
        let db = Db::new(layout.database(), layout.images());
        Ok(Self { inner: Arc::new(Inner { layout, db }) })
    }

    /// The data root.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    /// Container rows.
    #[must_use]
    pub fn containers(&self) -> Containers<'_> {
        Containers { db: &self.inner.db }
    }

    /// Volume rows.
    #[must_use]
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes { db: &self.inner.db }
    }

    /// Network rows.
    #[must_use]
    pub fn networks(&self) -> Networks<'_> {
        Networks { db: &self.inner.db }
    }

    /// Address leases.
    #[must_use]
    pub fn addresses(&self) -> Addresses<'_> {
        Addresses { db: &self.inner.db }
    }

    /// Port leases.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports { db: &self.inner.db }
    }

    /// Ends every address and port lease of `container`.
    ///
    /// # Errors
    /// The database.
    pub fn release(&self, container: &ContainerId) -> Result<(), DbError> {
        db::addresses::release(&self.inner.db, container)
    }

    /// Reads every page of the database; slow.
    ///
    /// # Errors
    /// What is damaged, and the way out.
    pub fn check_database(&self) -> Result<(), DbError> {
        self.inner.db.check()
    }
}
