//! Blobs at rest: files named by the SHA-256 of their content, in the image layout.
//!
//! A blob counts only if the database has its row and the file has its size: a file without a row
//! may be what a power cut left. New blobs come in through `operation::ingest`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use model::Digest;

use crate::db::{DbError, Text, Tx};
use crate::layout::Layout;
use crate::oci;
use crate::{Inner, lock};

/// What went wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is none.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// Its content is not what its name says. It has been deleted.
    #[error("blob {expected} has the wrong content: its digest is {actual}")]
    WrongContent {
        /// Its name.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Its size is not what its descriptor says. What came has been deleted.
    #[error("blob {digest} has {actual} bytes instead of {expected}")]
    WrongSize {
        /// Its name.
        digest: Digest,
        /// From the descriptor.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Over what its reader accepts.
    #[error("blob {digest} has {size} bytes, at most {max} are read at once")]
    TooLarge {
        /// Its name.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// The file system.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl BlobError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The blobs of a store.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'s> {
    pub(crate) inner: &'s Inner,
}

impl Blobs<'_> {
    /// Opens a blob to be read.
    ///
    /// # Errors
    /// It is missing.
    pub fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        let path = self.inner.layout.blob(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobError::Missing(*digest))
            }
            Err(error) => Err(BlobError::io("open", &path)(error)),
        }
    }

    /// The bytes of a blob; `None` if it is not there, or not whole.
    ///
    /// # Errors
    /// The database.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let inner = self.inner;
        Ok(inner.db.read("look a blob up", |tx| whole(tx, &inner.layout, digest))?)
    }

    /// Reads a small blob whole and verifies its content.
    ///
    /// # Errors
    /// It is missing, larger than `max` bytes, or damaged.
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        let path = self.inner.layout.blob(digest);
        let file = self.open(digest)?;
        file.take(max + 1).read_to_end(&mut bytes).map_err(BlobError::io("read", &path))?;
        let size = bytes.len() as u64;
        if size > max {
            return Err(BlobError::TooLarge { digest: *digest, size, max });
        }
        match oci::digest(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(BlobError::WrongContent { expected: *digest, actual }),
        }
    }

    /// Waits until nobody downloads `digest` any more.
    ///
    /// # Errors
    /// The file system.
    pub fn wait(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.inner.layout.ingest().join(digest.hex());
        lock::wait(&path, lock::Kind::ExistingFile).map_err(BlobError::io("wait for", &path))
    }
}

/// The size of a blob that has both its row and its bytes.
pub(crate) fn whole(tx: &Tx<'_>, layout: &Layout, digest: &Digest) -> Result<Option<u64>, DbError> {
    let sql = "SELECT size FROM blobs WHERE digest = ?1";
    let size: Option<i64> = tx.first(sql, [Text(*digest)], |row| row.get(0))?;
    let size = size.map(i64::cast_unsigned);
    let on_disk = std::fs::metadata(layout.blob(digest)).map(|meta| meta.len()).ok();
    Ok(size.filter(|size| on_disk == Some(*size)))
}

/// Notes a blob whose bytes are in place and on disk.
pub(crate) fn insert(tx: &Tx<'_>, digest: &Digest, size: u64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO blobs (digest, size) VALUES (?1, ?2)
         ON CONFLICT (digest) DO UPDATE SET size = excluded.size",
        (Text(*digest), size.cast_signed()),
    )?;
    Ok(())
}
