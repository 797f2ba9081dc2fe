//! Images in one file: `load`, `save` and `import`.
//!
//! Reads docker-archives and OCI archives in any order of members, from files and pipes, and
//! writes one file that is both. The tar format is in `tar`, layers are taken in by `operation`.

mod docker;
mod import;
mod load;
mod members;
mod save;
mod sources;

pub use import::{Import, ImportError};
pub use load::{LoadOptions, Loaded};
pub use save::SaveError;

use std::io;

use model::Digest;

use crate::blobs::BlobError;
use crate::db::DbError;
use crate::layers::{LayerError, chain};
use crate::oci::DocumentError;
use crate::operation::BeginError;
use crate::operation::publish::PublishError;
use crate::tar::TarError;

/// Why an archive was not loaded. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive's source failed.
    #[error("read the archive: {0}")]
    Read(#[from] io::Error),
    /// The archive is compressed in a way that dhow does not read.
    #[error(
        "the archive is compressed with {0}: decompress it first; gzip, zstd, xz and bzip2 are read"
    )]
    Compression(&'static str),
    /// The compressed data are damaged.
    #[error("decompress the archive: {0}")]
    Decompress(io::Error),
    /// It is no tar, or a damaged one.
    #[error("the archive cannot be read: {0}")]
    Tar(#[from] TarError),
    /// It has nothing that would make it an image.
    #[error(
        "this is no image archive: it has neither manifest.json nor index.json \
         (a root file system becomes an image with `dhow import`)"
    )]
    NotAnImage,
    /// Docker before 1.10.
    #[error(
        "this archive has the format of Docker before version 1.10 (`repositories` without \
         `manifest.json`): load it with a Docker of version 1.10 to 24 and save it again"
    )]
    TooOld,
    /// A member of a kind that no image archive has.
    #[error("the archive's member {name:?} is {problem}")]
    Member {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Far more members than any image.
    #[error("the archive has more than {0} members")]
    TooManyMembers(usize),
    /// Far more JSON than any image.
    #[error("the archive has more than {0} bytes of metadata")]
    TooMuchMetadata(usize),
    /// Named, but not in the archive.
    #[error("the archive lacks {name}, which {by} names")]
    Missing {
        /// The member.
        name: String,
        /// Who names it.
        by: &'static str,
    },
    /// A layer that could not be unpacked: which, where and why.
    #[error("{0}")]
    BadLayer(String),
    /// A layer that is another one than the configuration says.
    #[error("{name} has the wrong content: its diff id is {actual} instead of {expected}")]
    WrongLayer {
        /// The member.
        name: String,
        /// From the configuration.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A tag outside the grammar.
    #[error("the archive's tag {tag:?} cannot be used: {reason}")]
    BadTag {
        /// As it is there.
        tag: String,
        /// Why.
        reason: String,
    },
    /// A document.
    #[error("{name}: {source}")]
    Document {
        /// The member.
        name: String,
        /// What is wrong with it.
        source: Box<DocumentError>,
    },
    /// A layer on its way into the store.
    #[error("{}", chain(.0))]
    Layer(#[from] LayerError),
    /// A blob on its way into the store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The operation.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The end of it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}
