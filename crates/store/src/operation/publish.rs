//! The end of an operation: what it staged becomes part of the store, with the images made of it.
//!
//! The order is what survives a power cut: everything staged is written, one `syncfs`, renames,
//! their directories flushed, then the rows in one transaction that is flushed. A row therefore
//! never names what is not on disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use model::image::{ImageConfig, Manifest, media_type};
use model::{Digest, ImageId, Reference};
use sys::failpoint::{Point, reach};

use super::ingest::Verified;
use super::{Operation, StagedLayer};
use crate::blobs::{self, BlobError};
use crate::db::{DbError, Durability, Text, Tx};
use crate::images::{self, IndexError};
use crate::layers::{self, LayerError, LayerRow};
use crate::layout::Layout;
use crate::oci::{self, Document, DocumentError, LayerSpec};
use crate::trash::{self, TrashError};

/// An image to be recorded. Its layers and their blobs are staged, or in the store.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The tags that it gets; each is taken from the image that has it.
    pub tags: Vec<Reference>,
    /// `name@digest`: where it came from.
    pub repo_digests: Vec<Reference>,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: ImageId,
    /// The tags that other images lost to it.
    pub replaced: Vec<(Reference, ImageId)>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A document of the image.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An index where one image is expected.
    #[error("an index cannot be recorded as an image")]
    NotAnImage,
    /// A tag without a tag, or a digest reference without a digest.
    #[error("{0} cannot be given to an image")]
    BadReference(Reference),
    /// A tag that would read as the beginning of an id.
    #[error(transparent)]
    Ambiguous(#[from] images::AmbiguousTag),
    /// A layer that was neither staged nor there.
    #[error("layer {diff_id} of image {image}, or its blob, is missing")]
    MissingLayer {
        /// The image.
        image: ImageId,
        /// The layer.
        diff_id: Digest,
    },
    /// A blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The trash.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// `index.json`.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The file system.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// An image whose documents have been checked.
struct Checked<'i> {
    new: &'i NewImage,
    id: ImageId,
    manifest: Manifest,
    manifest_digest: Digest,
    config: ImageConfig,
    layers: Vec<LayerSpec>,
}

/// What is in place and on disk, but has no rows.
///
/// Keeps the locks until the rows are written: who waits for them finds the rows.
#[derive(Default)]
struct Placed {
    blobs: Vec<Verified>,
    layers: Vec<(LayerRow, StagedLayer)>,
}

/// Staged layers, sorted by whether the store needs them.
#[derive(Default)]
struct Numbered {
    new: Vec<(i64, StagedLayer)>,
    superfluous: Vec<StagedLayer>,
}

impl Operation {
    /// Publishes all that is staged, and records `images`, with one flush of the file system.
    ///
    /// # Errors
    /// A document is wrong, a layer is missing: nothing has changed. The file system or the
    /// database: what was put in place is collected later.
    pub fn publish(&self, images: &[NewImage]) -> Result<Vec<Published>, PublishError> {
        let checked: Vec<Checked<'_>> = images.iter().map(check).collect::<Result<_, _>>()?;
        self.check_layers(&checked)?;
        for image in &checked {
            self.stage_document(&image.new.manifest)?;
            self.stage_document(&image.new.config)?;
        }
        let placed = self.place()?;
        step(Point::PublishRows, &self.inner.layout.database())?;
        let (published, late) = self.inner.db.write("publish", Durability::Now, |tx| {
            let late = placed.insert(tx, &self.inner.layout)?;
            let published: Vec<Published> =
                checked.iter().map(|image| record(tx, image)).collect::<Result<_, _>>()?;
            images::write_index(tx, &self.inner.layout)?;
            step(Point::PublishCommit, &self.inner.layout.database())?;
            Ok::<_, PublishError>((published, late))
        })?;
        step(Point::PublishDone, &self.inner.layout.database())?;
        self.discard_late(&late)?;
        Ok(published)
    }

    /// Publishes all that is staged without any image, so that other operations can use it. It
    /// stays at least until this operation ends.
    ///
    /// # Errors
    /// As [`Operation::publish`].
    pub fn flush(&self) -> Result<(), PublishError> {
        let placed = self.place()?;
        if placed.blobs.is_empty() && placed.layers.is_empty() {
            return Ok(());
        }
        let late = self
            .inner
            .db
            .write("publish", Durability::Now, |tx| placed.insert(tx, &self.inner.layout))?;
        self.discard_late(&late)
    }

    /// Removes trees that another operation has put in place a moment earlier.
    fn discard_late(&self, numbers: &[i64]) -> Result<(), PublishError> {
        let layout = &self.inner.layout;
        numbers.iter().try_for_each(|number| Ok(trash::discard(layout, layout.snapshot(*number))?))
    }

    fn stage_document(&self, bytes: &[u8]) -> Result<(), PublishError> {
        if self.keep_blob(&oci::digest(bytes))? == Some(bytes.len() as u64) {
            return Ok(());
        }
        let mut ingest = self.ingest_unknown()?;
        ingest.append(bytes)?;
        self.stage(ingest)?;
        Ok(())
    }

    /// Leases every layer and blob of the images, and sees that each is staged or there.
    fn check_layers(&self, images: &[Checked<'_>]) -> Result<(), PublishError> {
        let (blobs, layers): (BTreeSet<Digest>, BTreeSet<Digest>) = {
            let staged = self.staged();
            let blobs = staged.blobs.iter().map(|blob| blob.digest).collect();
            (blobs, staged.layers.iter().map(|layer| layer.diff_id).collect())
        };
        let is_there = |tx: &Tx<'_>, spec: &LayerSpec| -> Result<bool, DbError> {
            self.lease.keep_blob(tx, &spec.blob)?;
            self.lease.keep_layer(tx, &spec.diff_id)?;
            let whole = blobs::whole(tx, &self.inner.layout, &spec.blob)?;
            let has_blob = blobs.contains(&spec.blob) || whole == Some(spec.size);
            let has_layer =
                layers.contains(&spec.diff_id) || layers::find(tx, &spec.diff_id)?.is_some();
            Ok(has_blob && has_layer)
        };
        self.inner.db.write("lease an image", Durability::Eventual, |tx| {
            let all = images.iter().flat_map(|image| image.layers.iter().map(|l| (image.id, l)));
            for (image, spec) in all {
                ensure(is_there(tx, spec)?, || PublishError::MissingLayer {
                    image,
                    diff_id: spec.diff_id,
                })?;
            }
            Ok(())
        })
    }

    /// Flushes what is staged and renames it into place.
    fn place(&self) -> Result<Placed, PublishError> {
        let staged = std::mem::take(&mut *self.staged());
        let layout = &self.inner.layout;
        if staged.blobs.is_empty() && staged.layers.is_empty() {
            return Ok(Placed::default());
        }
        let numbered = self.number(staged.layers)?;
        step(Point::PublishSync, layout.root())?;
        rustix::fs::syncfs(&self.root)
            .map_err(|e| failed("flush the file system of", layout.root())(e.into()))?;
        step(Point::PublishSynced, layout.root())?;
        let mut placed = Placed::default();
        for mut blob in staged.blobs {
            blob.put_in_place(layout)?;
            placed.blobs.push(blob);
        }
        step(Point::PublishBlobs, layout.root())?;
        for (number, layer) in numbered.new {
            put_layer(layout, number, &layer)?;
            let row = LayerRow { number, diff_id: layer.diff_id, facts: layer.facts };
            placed.layers.push((row, layer));
        }
        step(Point::PublishLayers, layout.root())?;
        flush_dir(&layout.blobs())?;
        flush_dir(&layout.snapshots())?;
        for layer in numbered.superfluous {
            trash::discard(layout, layer.dir)?;
        }
        Ok(placed)
    }

    /// Gives the layers their numbers; a layer that is there by now is superfluous.
    fn number(&self, layers: Vec<StagedLayer>) -> Result<Numbered, DbError> {
        self.inner.db.write("number layers", Durability::Eventual, |tx| {
            let mut numbered = Numbered::default();
            layers.into_iter().try_for_each(|layer| self.number_one(tx, layer, &mut numbered))?;
            Ok(numbered)
        })
    }

    fn number_one(
        &self,
        tx: &Tx<'_>,
        layer: StagedLayer,
        numbered: &mut Numbered,
    ) -> Result<(), DbError> {
        self.lease.keep_layer(tx, &layer.diff_id)?;
        let there = layers::find(tx, &layer.diff_id)?;
        let is_there = there.is_some_and(|row| layers::is_sound(&self.inner.layout, &row));
        let is_twice = numbered.new.iter().any(|(_, other)| other.diff_id == layer.diff_id);
        if is_there || is_twice {
            numbered.superfluous.push(layer);
        } else {
            numbered.new.push((layers::next_number(tx)?, layer));
        }
        Ok(())
    }
}

impl Placed {
    /// Returns the numbers of the layers that are there by now.
    fn insert(&self, tx: &Tx<'_>, layout: &Layout) -> Result<Vec<i64>, DbError> {
        for blob in &self.blobs {
            blobs::insert(tx, &blob.digest, blob.size)?;
        }
        let mut late = Vec::new();
        for (row, _) in &self.layers {
            if layers::find(tx, &row.diff_id)?.is_some_and(|there| layers::is_sound(layout, &there))
            {
                late.push(row.number);
            } else {
                layers::insert(tx, row)?;
            }
        }
        Ok(late)
    }
}

fn put_layer(layout: &Layout, number: i64, layer: &StagedLayer) -> Result<(), PublishError> {
    let place = layout.snapshot(number);
    // A power cut may have undone the counter's last step, never a row: what is here is nobody's.
    trash::discard(layout, place.clone())?;
    std::fs::rename(&layer.dir, &place).map_err(failed("put in place", &place))
}

fn check(new: &NewImage) -> Result<Checked<'_>, PublishError> {
    let Document::Manifest(manifest) = oci::parse(&new.manifest)? else {
        return Err(PublishError::NotAnImage);
    };
    oci::verify("configuration", &manifest.config, &new.config)?;
    let config = oci::parse_config(&new.config)?;
    let layers = oci::layers(&manifest, &config)?;
    let untagged = new.tags.iter().find(|tag| tag.tag().is_none() || tag.digest().is_some());
    let unnamed = new.repo_digests.iter().find(|name| name.digest().is_none());
    if let Some(bad) = untagged.or(unnamed) {
        return Err(PublishError::BadReference(bad.clone()));
    }
    new.tags.iter().try_for_each(images::check_tag)?;
    let (id, manifest_digest) = (ImageId(manifest.config.digest), oci::digest(&new.manifest));
    Ok(Checked { new, id, manifest, manifest_digest, config, layers })
}

fn record(tx: &Tx<'_>, image: &Checked<'_>) -> Result<Published, PublishError> {
    tx.execute(
        "INSERT INTO images (id, config, manifest, created_ns, added_ns)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest",
        (
            Text(image.id),
            &image.new.config,
            Text(image.manifest_digest),
            oci::created_ns(&image.config)?,
            image.new.now_ns,
        ),
    )?;
    record_manifest(tx, image)?;
    record_layers(tx, image)?;
    for name in &image.new.repo_digests {
        images::add_repo_digest(tx, name, &image.id)?;
    }
    let mut replaced = Vec::new();
    for tag in &image.new.tags {
        let former = images::set_tag(tx, tag, &image.id, &image.manifest_digest)?;
        replaced.extend(former.filter(|former| *former != image.id).map(|id| (tag.clone(), id)));
    }
    Ok(Published { id: image.id, replaced })
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn record_manifest(tx: &Tx<'_>, image: &Checked<'_>) -> Result<(), DbError> {
    let kind = image.manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
    tx.execute(
        "INSERT OR IGNORE INTO manifests (digest, image, media_type, size) VALUES (?1, ?2, ?3, ?4)",
        (Text(image.manifest_digest), Text(image.id), kind, length(&image.new.manifest)),
    )?;
    for (position, layer) in (0_i64..).zip(&image.layers) {
        tx.execute(
            "INSERT OR IGNORE INTO manifest_blobs (manifest, position, blob, media_type, size)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                Text(image.manifest_digest),
                position,
                Text(layer.blob),
                &layer.media_type,
                layer.size.cast_signed(),
            ),
        )?;
    }
    Ok(())
}

fn record_layers(tx: &Tx<'_>, image: &Checked<'_>) -> Result<(), DbError> {
    let diff_ids = &image.config.rootfs.diff_ids;
    let stacks = diff_ids.iter().zip(oci::chain_ids(diff_ids));
    for (position, (diff_id, chain_id)) in (0_i64..).zip(stacks) {
        tx.execute(
            "INSERT OR IGNORE INTO image_layers (image, position, diff_id, chain_id)
             VALUES (?1, ?2, ?3, ?4)",
            (Text(image.id), position, Text(*diff_id), Text(chain_id)),
        )?;
    }
    Ok(())
}

fn flush_dir(path: &Path) -> Result<(), PublishError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("flush", path))
}

fn step(point: Point, path: &Path) -> Result<(), PublishError> {
    reach(point).map_err(|errno| failed("publish into", path)(errno.into()))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError + use<> {
    let path = path.to_owned();
    move |source| PublishError::Io { action, path, source }
}

fn ensure<E>(holds: bool, error: impl FnOnce() -> E) -> Result<(), E> {
    if holds { Ok(()) } else { Err(error()) }
}
