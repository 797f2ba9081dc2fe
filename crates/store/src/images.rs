//! Images at rest: what was published, under which names.
//!
//! Owns the rows of images, tags and digests, and `index.json`, which mirrors the tags for other
//! tools. Layers and blobs are only named here.

mod compose;
mod history;
mod index;
mod remove;
pub(crate) mod resolve;

use model::image::ImageConfig;
use model::{Digest, ImageId, Reference};
use rusqlite::Row;
use sys::failpoint::{Point, reach};

pub(crate) use compose::manifest_for;
pub use compose::{Composed, compose};
pub use history::{HistoryEntry, history};
pub use index::IndexError;
pub(crate) use index::{CONTAINERD_NAME, REF_NAME, index_bytes, write_index};
pub use remove::{Force, RemoveError, Removed};
pub use resolve::ResolveError;

use crate::db::{DbError, Durability, Text, Tx};
use crate::layout::Layout;
use crate::{Inner, oci};

/// One image at rest.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// The digest of its configuration.
    pub id: ImageId,
    /// The digest of the manifest that it was last published with.
    pub manifest: Digest,
    /// The media type of that one.
    pub manifest_type: String,
    /// The bytes of that one.
    pub manifest_size: u64,
    /// Its configuration.
    pub config: ImageConfig,
    /// The bytes of that one, as its id names them.
    pub config_size: u64,
    /// From the configuration: nanoseconds since the epoch, 0 if it does not say.
    pub created_ns: i64,
    /// When it came into this store.
    pub added_ns: i64,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    /// Sorted.
    pub tags: Vec<Reference>,
    /// Sorted.
    pub repo_digests: Vec<Reference>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The digest of its plain tar.
    pub diff_id: Digest,
    /// The name of the stack up to it.
    pub chain_id: Digest,
    /// Its blob.
    pub blob: Digest,
    /// The blob's media type.
    pub media_type: String,
    /// The blob's bytes.
    pub blob_size: u64,
    /// The bytes of its files.
    pub size: u64,
}

/// The images of a store.
#[derive(Debug, Clone, Copy)]
pub struct Images<'s> {
    pub(crate) inner: &'s Inner,
}

impl ImageRecord {
    /// Whether no tag names it.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty()
    }

    /// The bytes of its files, as Docker's `SIZE`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The bytes of all that a registry has of it: manifest, configuration and packed layers.
    #[must_use]
    pub fn packed(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.blob_size).sum();
        self.manifest_size.saturating_add(self.config_size).saturating_add(layers)
    }
}

impl Images<'_> {
    /// Every image, newest first.
    ///
    /// # Errors
    /// The database.
    pub fn list(&self) -> Result<Vec<ImageRecord>, DbError> {
        self.inner.db.read("list images", |tx| {
            let sql = "SELECT id FROM images ORDER BY created_ns DESC, id";
            let ids: Vec<ImageId> = tx.all(sql, [], |row| Ok(row.get::<_, Text<_>>(0)?.0))?;
            ids.iter().filter_map(|id| load(tx, id).transpose()).collect()
        })
    }

    /// The image of that id.
    ///
    /// # Errors
    /// The database.
    pub fn get(&self, id: &ImageId) -> Result<Option<ImageRecord>, DbError> {
        self.inner.db.read("get an image", |tx| load(tx, id))
    }

    /// The bytes of an image's configuration, as its id names them.
    ///
    /// # Errors
    /// The database.
    pub fn config_bytes(&self, id: &ImageId) -> Result<Option<Vec<u8>>, DbError> {
        self.inner.db.read("get a configuration", |tx| {
            tx.first("SELECT config FROM images WHERE id = ?1", [Text(*id)], |row| row.get(0))
        })
    }

    /// Finds the image that a typed text means: `name[:tag]`, `name@digest`, a full id or the
    /// unique beginning of one.
    ///
    /// # Errors
    /// There is none, there are several, or the text is no reference.
    pub fn resolve(&self, typed: &str) -> Result<ImageRecord, ResolveError> {
        self.inner.db.read("find an image", |tx| {
            let id = resolve::id_of(tx, typed)?;
            load(tx, &id)?.ok_or_else(|| ResolveError::not_found(typed))
        })
    }

    /// The same for whoever needs no more than which one it is.
    ///
    /// # Errors
    /// There is none, there are several, or the text is no reference.
    pub fn resolve_id(&self, typed: &str) -> Result<ImageId, ResolveError> {
        self.inner.db.read("find an image", |tx| resolve::id_of(tx, typed))
    }

    /// Gives an image a tag, and takes it from the image that has it; returns that one.
    ///
    /// # Errors
    /// The image is gone; the reference has no tag.
    pub fn tag(&self, id: &ImageId, tag: &Reference) -> Result<Option<ImageId>, TagError> {
        if tag.tag().is_none() || tag.digest().is_some() {
            return Err(TagError::NotATag(tag.clone()));
        }
        check_tag(tag)?;
        let former = self.inner.db.write("tag an image", Durability::Now, |tx| {
            let sql = "SELECT manifest FROM images WHERE id = ?1";
            let manifest: Option<Digest> =
                tx.first(sql, [Text(*id)], |row| Ok(row.get::<_, Text<_>>(0)?.0))?;
            let manifest = manifest.ok_or(TagError::NoSuchImage(*id))?;
            let former = set_tag(tx, tag, id, &manifest)?;
            write_index(tx, &self.inner.layout)?;
            step(Point::TagIndex, &self.inner.layout)?;
            Ok::<_, TagError>(former.filter(|former| former != id))
        })?;
        step(Point::TagDone, &self.inner.layout)?;
        Ok(former)
    }

    /// The media type and bytes of an image's manifest, for a push.
    ///
    /// # Errors
    /// The image or the blob is gone.
    pub fn manifest(&self, id: &ImageId) -> Result<(String, Vec<u8>), ManifestError> {
        let found = self.inner.db.read("get a manifest", |tx| {
            let sql = "SELECT m.digest, m.media_type FROM images i
                       JOIN manifests m ON m.digest = i.manifest WHERE i.id = ?1";
            tx.first(sql, [Text(*id)], |row| Ok((row.get::<_, Text<Digest>>(0)?.0, row.get(1)?)))
        });
        let (digest, kind) =
            found.map_err(ManifestError::Db)?.ok_or(ManifestError::NoSuchImage(*id))?;
        let bytes = crate::Blobs { inner: self.inner }.read(&digest, oci::DOCUMENT_MAX)?;
        Ok((kind, bytes))
    }
}

fn step(point: Point, layout: &Layout) -> Result<(), IndexError> {
    reach(point).map_err(|errno| IndexError::Io { path: layout.index(), source: errno.into() })
}

/// Why a tag was not given.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The image is gone.
    #[error("No such image: {0}")]
    NoSuchImage(ImageId),
    /// Only `name:tag` can be given.
    #[error("{0} is not a tag")]
    NotATag(Reference),
    /// It would read as the beginning of an id.
    #[error(transparent)]
    Ambiguous(#[from] AmbiguousTag),
    /// `index.json`.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The image is gone.
    #[error("No such image: {0}")]
    NoSuchImage(ImageId),
    /// Its manifest.
    #[error(transparent)]
    Blob(#[from] crate::blobs::BlobError),
    /// The database.
    #[error(transparent)]
    Db(DbError),
}

/// An image called `sha256` would be meant by what reads as the beginning of an id.
#[derive(Debug, thiserror::Error)]
#[error("refusing to create an ambiguous tag using digest algorithm as name")]
pub struct AmbiguousTag;

/// Whether an image can have this name.
pub(crate) fn check_tag(tag: &Reference) -> Result<(), AmbiguousTag> {
    if tag.familiar_name() == "sha256" { Err(AmbiguousTag) } else { Ok(()) }
}

/// Points a tag at an image; returns where it pointed before.
pub(crate) fn set_tag(
    tx: &Tx<'_>,
    tag: &Reference,
    image: &ImageId,
    manifest: &Digest,
) -> Result<Option<ImageId>, DbError> {
    let sql = "SELECT image FROM tags WHERE reference = ?1";
    let former = tx.first(sql, [Text(tag)], |row| Ok(row.get::<_, Text<ImageId>>(0)?.0))?;
    tx.execute(
        "INSERT INTO tags (reference, image, manifest) VALUES (?1, ?2, ?3)
         ON CONFLICT (reference) DO UPDATE
         SET image = excluded.image, manifest = excluded.manifest",
        (Text(tag), Text(*image), Text(*manifest)),
    )?;
    Ok(former)
}

/// Notes under which digest an image is known to a registry.
pub(crate) fn add_repo_digest(
    tx: &Tx<'_>,
    name: &Reference,
    image: &ImageId,
) -> Result<(), DbError> {
    let Some(digest) = name.digest() else { return Ok(()) };
    tx.execute(
        "INSERT INTO repo_digests (reference, image) VALUES (?1, ?2)
         ON CONFLICT (reference) DO UPDATE SET image = excluded.image",
        (Text(name.at_digest(*digest)), Text(*image)),
    )?;
    Ok(())
}

/// The record of an image, from all its tables.
pub(crate) fn load(tx: &Tx<'_>, id: &ImageId) -> Result<Option<ImageRecord>, DbError> {
    let sql = "SELECT i.manifest, i.config, i.created_ns, i.added_ns,
                      coalesce(m.media_type, ''), coalesce(m.size, 0)
               FROM images i LEFT JOIN manifests m ON m.digest = i.manifest WHERE i.id = ?1";
    let Some(mut image) = tx.first(sql, [Text(*id)], |row| read_image(row, *id))? else {
        return Ok(None);
    };
    image.layers = tx.all(
        "SELECT l.diff_id, l.chain_id, b.blob, b.media_type, b.size, coalesce(s.bytes, 0)
         FROM image_layers l
         JOIN manifest_blobs b ON b.manifest = ?2 AND b.position = l.position
         LEFT JOIN layers s ON s.diff_id = l.diff_id
         WHERE l.image = ?1 ORDER BY l.position",
        (Text(*id), Text(image.manifest)),
        read_layer,
    )?;
    image.tags = references(tx, "SELECT reference FROM tags WHERE image = ?1 ORDER BY 1", id)?;
    image.repo_digests =
        references(tx, "SELECT reference FROM repo_digests WHERE image = ?1 ORDER BY 1", id)?;
    Ok(Some(image))
}

pub(crate) fn references(tx: &Tx<'_>, sql: &str, id: &ImageId) -> Result<Vec<Reference>, DbError> {
    tx.all(sql, [Text(*id)], |row| Ok(row.get::<_, Text<_>>(0)?.0))
}

/// What stands in its own row; its layers and names are in others.
fn read_image(row: &Row<'_>, id: ImageId) -> rusqlite::Result<ImageRecord> {
    let config = row.get_ref(1)?.as_blob()?;
    let config_size = u64::try_from(config.len()).unwrap_or(u64::MAX);
    let config = serde_json::from_slice(config).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, error.into())
    })?;
    Ok(ImageRecord {
        id,
        manifest: row.get::<_, Text<_>>(0)?.0,
        manifest_type: row.get(4)?,
        manifest_size: row.get::<_, i64>(5)?.cast_unsigned(),
        config,
        config_size,
        created_ns: row.get(2)?,
        added_ns: row.get(3)?,
        layers: Vec::new(),
        tags: Vec::new(),
        repo_digests: Vec::new(),
    })
}

fn read_layer(row: &Row<'_>) -> rusqlite::Result<ImageLayer> {
    Ok(ImageLayer {
        diff_id: row.get::<_, Text<_>>(0)?.0,
        chain_id: row.get::<_, Text<_>>(1)?.0,
        blob: row.get::<_, Text<_>>(2)?.0,
        media_type: row.get(3)?,
        blob_size: row.get::<_, i64>(4)?.cast_unsigned(),
        size: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}

#[cfg(test)]
mod tests;
