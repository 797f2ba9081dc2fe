//! Operations: what a pull, a load, an import, a build or a commit adds to the store.
//!
//! An operation leases what it names, so that no collection takes it away; it stages blobs and
//! layers beside the store; and one `publish` makes them, and the images made of them, appear
//! after one `syncfs`. An operation that ends without publishing leaves nothing; the leftovers of a
//! killed one are known by their free lock.

mod heal;
pub mod ingest;
mod outfile;
pub mod pipe;
pub mod publish;
pub mod receive;
mod stage;
mod writeback;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Digest;
use sys::failpoint::{Point, reach};

use crate::blobs::{self, BlobError};
use crate::db::{DbError, Durability, Text, Tx};
use crate::gc::GcError;
use crate::layers::{self, LayerError};
use crate::layout::{self, Layout};
use crate::lock::{self, Attempt, Kind};
use crate::{Inner, Store, trash};
use ingest::{Begin, Ingest, Verified};
pub(crate) use stage::{Claim, Stage, StagedLayer};
use writeback::Writeback;

/// An operation could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The lease file.
    #[error("take the lease {path}: {source}")]
    Lease {
        /// The lease file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// What dead operations left could not be removed.
    #[error(transparent)]
    Sweep(#[from] GcError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// One pull, load, import, build or commit. May be used by several threads.
#[derive(Debug)]
pub struct Operation {
    pub(crate) inner: Arc<Inner>,
    pub(crate) lease: Lease,
    /// Open since the beginning: a later `syncfs` on it reports every write that failed meanwhile,
    /// also those that the kernel has told others about.
    root: File,
    writeback: Writeback,
    staged: Mutex<Staged>,
}

/// What waits to be published.
#[derive(Debug, Default)]
struct Staged {
    blobs: Vec<Verified>,
    layers: Vec<StagedLayer>,
}

/// Keeps what it names from being collected while its file is locked.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: String,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Begins an operation, after removing what killed ones have left.
    ///
    /// # Errors
    /// The lease cannot be taken.
    pub fn begin(&self) -> Result<Operation, BeginError> {
        self.collect_if_needed()?;
        let layout = &self.inner.layout;
        step(Point::OperationBegin, layout)?;
        let lease = Lease::take(layout)?;
        step(Point::OperationLease, layout)?;
        let root = File::open(layout.root()).map_err(|source| {
            let path = layout.root().to_owned();
            BeginError::Lease { path, source }
        })?;
        let taken = self.inner.db.write("take a lease", Durability::Eventual, |tx| {
            tx.execute("INSERT INTO leases (id) VALUES (?1)", [&lease.id])
        });
        // A lease without a row would be taken for that of an operation that was killed.
        taken.inspect_err(|_| drop(std::fs::remove_file(&lease.path)))?;
        step(Point::OperationLeased, layout)?;
        layout.reserve().keep();
        let writeback = Writeback::new(layout.root());
        let (inner, staged) = (Arc::clone(&self.inner), Mutex::default());
        Ok(Operation { inner, lease, root, writeback, staged })
    }
}

fn step(point: Point, layout: &Layout) -> Result<(), BeginError> {
    let path = layout.leases();
    reach(point).map_err(|errno| BeginError::Lease { path, source: errno.into() })
}

impl Lease {
    fn take(layout: &Layout) -> Result<Self, BeginError> {
        let at = |path: PathBuf| move |source| BeginError::Lease { path, source };
        loop {
            let id = layout::random_name().map_err(at(layout.leases()))?;
            let path = layout.leases().join(&id);
            match lock::attempt(&path, Kind::File).map_err(at(path.clone()))? {
                Attempt::Held(file) => return Ok(Self { id, path, _lock: file }),
                // A collection looks at the file that we have just made: another name, then.
                Attempt::Busy | Attempt::Gone => {}
            }
        }
    }

    /// Keeps a blob, whether it is there or not.
    pub(crate) fn keep_blob(&self, tx: &Tx<'_>, digest: &Digest) -> Result<(), DbError> {
        let sql = "INSERT OR IGNORE INTO lease_blobs (lease, digest) VALUES (?1, ?2)";
        tx.execute(sql, (&self.id, Text(*digest))).map(drop)
    }

    /// Keeps a layer, whether it is there or not.
    pub(crate) fn keep_layer(&self, tx: &Tx<'_>, diff_id: &Digest) -> Result<(), DbError> {
        let sql = "INSERT OR IGNORE INTO lease_layers (lease, diff_id) VALUES (?1, ?2)";
        tx.execute(sql, (&self.id, Text(*diff_id))).map(drop)
    }
}

impl Operation {
    /// Begins or takes up the download of a blob of known digest and size.
    ///
    /// The file is shared: what one process has fetched before it died, the next one resumes.
    ///
    /// # Errors
    /// The file system, the database; the blob is there with another size.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Begin, BlobError> {
        self.ingest_with(digest, size, Ingest::resume)
    }

    fn ingest_with(
        &self,
        digest: &Digest,
        size: u64,
        resume: impl FnOnce(File, PathBuf, (Digest, u64)) -> Result<Ingest, BlobError>,
    ) -> Result<Begin, BlobError> {
        if self.has_blob(digest, size)? {
            return Ok(Begin::Present);
        }
        let path = self.inner.layout.ingest().join(digest.hex());
        match lock::attempt(&path, Kind::File).map_err(BlobError::io("lock", &path))? {
            Attempt::Busy | Attempt::Gone => Ok(Begin::Busy),
            // Its former owner may have finished in between.
            Attempt::Held(_) if self.has_blob(digest, size)? => {
                std::fs::remove_file(&path).map_err(BlobError::io("remove", &path))?;
                Ok(Begin::Present)
            }
            Attempt::Held(file) => resume(file, path, (*digest, size)).map(Begin::Started),
        }
    }

    /// Begins a blob whose digest will be known at its end.
    ///
    /// # Errors
    /// The file system.
    pub fn ingest_unknown(&self) -> Result<Ingest, BlobError> {
        Ingest::unknown(&self.inner)
    }

    /// Whether a blob is there; from now on it stays until this operation ends.
    ///
    /// # Errors
    /// It is there with another size; the database.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, BlobError> {
        let there = self.keep_blob(digest)?;
        match there {
            Some(actual) if actual != size => {
                Err(BlobError::WrongSize { digest: *digest, expected: size, actual })
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    pub(crate) fn keep_blob(&self, digest: &Digest) -> Result<Option<u64>, DbError> {
        self.inner.db.write("lease a blob", Durability::Eventual, |tx| {
            self.lease.keep_blob(tx, digest)?;
            blobs::whole(tx, &self.inner.layout, digest)
        })
    }

    /// Whether a layer is there, sound; from now on it stays until this operation ends.
    ///
    /// # Errors
    /// The database.
    pub fn has_layer(&self, diff_id: &Digest) -> Result<bool, LayerError> {
        let found = self.inner.db.write("lease a layer", Durability::Eventual, |tx| {
            self.lease.keep_layer(tx, diff_id)?;
            layers::find(tx, diff_id)
        })?;
        Ok(found.is_some_and(|row| layers::is_sound(&self.inner.layout, &row)))
    }

    /// Verifies a finished blob and keeps it for `publish`.
    ///
    /// # Errors
    /// Its content or size is wrong; it has been deleted.
    pub fn stage(&self, ingest: Ingest) -> Result<Digest, BlobError> {
        self.stage_verified(ingest.verify()?)
    }

    fn stage_verified(&self, verified: Verified) -> Result<Digest, BlobError> {
        let digest = verified.digest;
        self.keep_blob(&digest)?;
        self.staged().blobs.push(verified);
        let staged = reach(Point::BlobStaged).map_err(std::io::Error::from);
        staged.map_err(BlobError::io("stage a blob in", &self.inner.layout.ingest()))?;
        Ok(digest)
    }

    /// Verifies a finished blob, flushes it and adds it to the store at once, so that other
    /// operations need not wait for this one.
    ///
    /// # Errors
    /// Its content or size is wrong; it has been deleted. The file system.
    pub fn commit_blob(&self, ingest: Ingest) -> Result<Digest, BlobError> {
        let mut verified = ingest.verify()?;
        self.keep_blob(&verified.digest)?;
        verified.flush()?;
        verified.put_in_place(&self.inner.layout)?;
        self.inner.db.write("add a blob", Durability::Eventual, |tx| {
            blobs::insert(tx, &verified.digest, verified.size)
        })?;
        Ok(verified.digest)
    }

    /// Throws away what is staged but not among these.
    pub(crate) fn keep_only(&self, blobs: &BTreeSet<Digest>, layers: &BTreeSet<Digest>) {
        let mut staged = self.staged();
        staged.blobs.retain(|blob| blobs.contains(&blob.digest));
        let (keep, drop) = std::mem::take(&mut staged.layers)
            .into_iter()
            .partition(|layer| layers.contains(&layer.diff_id));
        staged.layers = keep;
        self.discard(drop);
    }

    fn discard(&self, layers: Vec<StagedLayer>) {
        for layer in layers {
            // What is left is known by its free lock, so errors may wait for the collection.
            let _ = trash::discard(&self.inner.layout, layer.dir);
        }
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Operation {
    /// What is left here is known by its free lock, so errors may wait for the collection.
    fn drop(&mut self) {
        self.discard(std::mem::take(&mut self.staged().layers));
        let _ = self.inner.db.write("end a lease", Durability::Eventual, |tx| {
            tx.execute("DELETE FROM leases WHERE id = ?1", [&self.lease.id])
        });
        let _ = std::fs::remove_file(&self.lease.path);
    }
}
