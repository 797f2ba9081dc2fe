//! Everything at rest: blobs by digest, snapshots, layer apply and diff, metadata, leases and garbage collection.
//!
//! Knows no process, no network and no container runtime: it is told which containers run.

#![forbid(unsafe_code)]

pub mod archive;
pub mod blobs;
pub mod changes;
pub mod commit;
pub mod container_layer;
pub mod db;
pub mod gc;
pub mod images;
pub mod layer;
pub mod layers;
mod layout;
mod lock;
pub mod oci;
pub mod operation;
mod reserve;
pub mod tar;
mod trash;
pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::ContainerId;

pub use archive::{Import, ImportError, LoadError, LoadOptions, Loaded, SaveError};
pub use blobs::{BlobError, Blobs};
pub use commit::{Commit, CommitError};
use container_layer::Xattrs;
pub use container_layer::{
    Change, ChangeKind, ContainerLayer, ContainerUsage, MountError, Persistence,
};
use db::Db;
pub use db::addresses::{AddressError, Addresses};
pub use db::containers::{ContainerRow, ContainerRowError, Containers, Found};
pub use db::id_ranges::IdRanges;
pub use db::networks::{NetworkRow, NetworkRowError, Networks};
pub use db::ports::{PortError, PortLease, Ports};
pub use db::volumes::{Renaming, Rewired, StagedVolume, VolumeRow, VolumeRowError, Volumes};
pub use db::{DbError, Durability, Stamp};
pub use gc::{GcError, RemovedContainer};
pub use images::{
    Force, HistoryEntry, ImageLayer, ImageRecord, Images, ManifestError, RemoveError, Removed,
    ResolveError, TagError,
};
pub use layers::{LayerError, LayerFacts};
use layout::Layout;
pub use layout::OpenError;
pub use operation::ingest::{Begin, Ingest};
pub use operation::pipe::{PipeReader, PipeWriter, pipe};
pub use operation::publish::{NewImage, PublishError, Published};
pub use operation::receive::{Arrived, BeginLayer, LayerIngest};
pub use operation::{BeginError, Operation};

/// One data root. Cheap to clone; may be used by any number of threads and processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    layout: Layout,
    db: Db,
    xattrs: OnceLock<Xattrs>,
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
        Ok(Self { inner: Arc::new(Inner { layout, db, xattrs: OnceLock::new() }) })
    }

    /// The data root.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    /// Blobs by digest.
    #[must_use]
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs { inner: &self.inner }
    }

    /// Images and their names.
    #[must_use]
    pub fn images(&self) -> Images<'_> {
        Images { inner: &self.inner }
    }

    /// Container rows.
    #[must_use]
    pub fn containers(&self) -> Containers<'_> {
        Containers { db: &self.inner.db }
    }

    /// Volumes.
    #[must_use]
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes { db: &self.inner.db, layout: &self.inner.layout }
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

    /// Leases of ids.
    #[must_use]
    pub fn id_ranges(&self) -> IdRanges<'_> {
        IdRanges { db: &self.inner.db }
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
        let reserve = self.inner.layout.reserve();
        db::addresses::release(&self.inner.db, &reserve, container)
    }

    /// Removes a container's row with its leases, its directory with all that is in it, and those of
    /// `volumes` that only it uses. The container must not be mounted any more.
    ///
    /// # Errors
    /// The file system, the database; what is left is removed by `gc`.
    pub fn remove_container(
        &self,
        container: &ContainerId,
        volumes: &[String],
        durability: Durability,
    ) -> Result<RemovedContainer, GcError> {
        gc::remove_container(&self.inner, container, volumes, durability)
    }

    /// The directory of a container, made if it is missing; `None` if there is no such row. No
    /// removal is half-way while this is found out.
    ///
    /// # Errors
    /// The file system, the database.
    pub fn container_dir(&self, container: &ContainerId) -> Result<Option<PathBuf>, GcError> {
        gc::container_dir(&self.inner, container)
    }

    /// Reads every page of the database; slow.
    ///
    /// # Errors
    /// What is damaged, and the way out.
    pub fn check_database(&self) -> Result<(), DbError> {
        self.inner.db.check()
    }
}
