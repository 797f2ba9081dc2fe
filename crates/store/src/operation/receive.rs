//! Layers on their way in: the bytes of a blob are stored and unpacked in the same pass.
//!
//! Nothing is read twice: what the extractor reads is written to the blob on the way, and the
//! digests that it computes are those of the blob and of the layer. Where a blob is stored already
//! only its tree is made.

use std::fs::File;
use std::io::{self, Read};

use model::Digest;
use model::image::Compression;

use super::ingest::{Begin, Ingest};
use super::{Claim, Operation, Stage};
use crate::blobs::BlobError;
use crate::container_layer::Xattrs;
use crate::db::Text;
use crate::layer::{self, ApplyError, ApplyOptions, Measured, Privilege, UnpackError, Unpacked};
use crate::layers::{BlobName, LayerError, LayerFacts};
use crate::oci::LayerSpec;
use crate::{Blobs, Inner};

/// The start of a layer.
#[derive(Debug)]
pub enum BeginLayer {
    /// Layer and blob are in the store.
    Present,
    /// Give the blob's bytes from [`LayerIngest::offset`] on to [`Operation::receive`].
    Started(Box<LayerIngest>),
    /// Another operation brings the same layer: `flush` what is staged, `wait_for_layer`, ask
    /// again.
    Busy,
}

/// The start of a layer whose blob alone is known.
#[derive(Debug)]
pub(crate) enum BeginNamed {
    /// Layer and blob are in the store.
    Present(Arrived),
    /// Give its bytes to [`Operation::receive`]. It is unpacked unless another operation does so.
    Started(Box<LayerIngest>),
}

/// A layer that is to come.
#[derive(Debug)]
pub struct LayerIngest {
    source: Source,
    /// `None`: the layer is there, only its blob is missing.
    stage: Option<Stage>,
    wanted: Wanted,
}

#[derive(Debug)]
enum Source {
    /// The blob comes in.
    New(Ingest),
    /// The blob is there.
    Stored(File, u64),
}

/// What is known beforehand.
#[derive(Debug, Clone)]
struct Wanted {
    name: BlobName,
    diff_id: Option<Digest>,
    compression: Option<Compression>,
}

/// A layer that has come in whole and is staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its blob.
    pub blob: Digest,
    /// The blob's bytes.
    pub size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The digest of its plain tar.
    pub diff_id: Digest,
}

impl Arrived {
    /// As a manifest names it.
    #[must_use]
    pub fn spec(&self) -> LayerSpec {
        LayerSpec {
            diff_id: self.diff_id,
            blob: self.blob,
            size: self.size,
            media_type: self.compression.media_type().to_owned(),
            compression: self.compression,
        }
    }
}

impl LayerIngest {
    /// How many bytes of the blob are there already.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match &self.source {
            Source::New(ingest) => ingest.offset(),
            Source::Stored(_, size) => *size,
        }
    }
}

impl Operation {
    /// Begins or takes up a layer of known blob and diff id. Never waits for another operation.
    ///
    /// # Errors
    /// The file system, the database; the blob is there with another size.
    pub fn begin_layer(&self, spec: &LayerSpec) -> Result<BeginLayer, LayerError> {
        let has_layer = self.has_layer(&spec.diff_id)?;
        let source = match self.ingest_with(&spec.blob, spec.size, Ingest::resume_unhashed)? {
            Begin::Busy => return Ok(BeginLayer::Busy),
            Begin::Present if has_layer => return Ok(BeginLayer::Present),
            Begin::Present => {
                Source::Stored(Blobs { inner: &self.inner }.open(&spec.blob)?, spec.size)
            }
            Begin::Started(ingest) => Source::New(ingest),
        };
        let stage = match has_layer {
            true => None,
            false => match Stage::claim(&self.inner, &spec.blob.hex())? {
                Claim::Mine(stage) => Some(stage),
                Claim::Busy => return Ok(BeginLayer::Busy),
            },
        };
        let wanted = Wanted {
            name: BlobName::Digest(spec.blob),
            diff_id: Some(spec.diff_id),
            compression: Some(spec.compression),
        };
        Ok(BeginLayer::Started(Box::new(LayerIngest { source, stage, wanted })))
    }

    /// Begins a layer of which nothing is known but its bytes' number, and `name`, for messages.
    ///
    /// A blob of just that size is taken for the same one, and not unpacked before that turns out
    /// wrong: archives of before Docker 25 do not name the content of their layers, and are loaded
    /// again and again.
    pub(crate) fn begin_sized_layer(
        &self,
        name: &str,
        size: u64,
    ) -> Result<LayerIngest, LayerError> {
        let mut layer = self.begin_unknown_layer(name)?;
        let sql = "SELECT 1 FROM blobs WHERE size = ?1 LIMIT 1";
        let seen = self.inner.db.read("look a blob up by its size", |tx| {
            tx.first(sql, [size.cast_signed()], |_| Ok(())).map_err(LayerError::from)
        })?;
        if seen.is_some() {
            layer.stage = None;
        }
        Ok(layer)
    }

    /// Begins a layer of which nothing is known but `name`, for messages.
    ///
    /// # Errors
    /// The file system.
    pub fn begin_unknown_layer(&self, name: &str) -> Result<LayerIngest, LayerError> {
        let source = Source::New(self.ingest_unknown()?.unhashed());
        let wanted =
            Wanted { name: BlobName::Member(name.to_owned()), diff_id: None, compression: None };
        Ok(LayerIngest { source, stage: Some(Stage::fresh(&self.inner)?), wanted })
    }

    /// Begins a layer of known blob, in an archive that may say later what it is. Its bytes are
    /// there once, so this never waits: a blob that another operation downloads comes twice.
    pub(crate) fn begin_named_layer(
        &self,
        blob: &Digest,
        size: u64,
    ) -> Result<BeginNamed, LayerError> {
        if self.has_blob(blob, size).is_ok_and(|there| there)
            && let Some(arrived) = self.unpacked_before(blob, size)?
        {
            return Ok(BeginNamed::Present(arrived));
        }
        let source = Source::New(self.ingest_unknown()?.unhashed().expecting(*blob, size));
        let stage = match Stage::claim(&self.inner, &blob.hex())? {
            Claim::Mine(stage) => Some(stage),
            Claim::Busy => None,
        };
        let name = BlobName::Digest(*blob);
        let wanted = Wanted { name, diff_id: None, compression: None };
        Ok(BeginNamed::Started(Box::new(LayerIngest { source, stage, wanted })))
    }

    /// What a blob unpacked to, if an image with it is here and its tree is sound.
    fn unpacked_before(&self, blob: &Digest, size: u64) -> Result<Option<Arrived>, LayerError> {
        let sql = "SELECT l.diff_id, b.media_type FROM manifest_blobs b
                   JOIN manifests m ON m.digest = b.manifest
                   JOIN image_layers l ON l.image = m.image AND l.position = b.position
                   WHERE b.blob = ?1 LIMIT 1";
        let known: Option<(Digest, String)> = self.inner.db.read("look a layer up", |tx| {
            tx.first(sql, [Text(*blob)], |row| Ok((row.get::<_, Text<_>>(0)?.0, row.get(1)?)))
                .map_err(LayerError::from)
        })?;
        let Some((diff_id, media_type)) = known else { return Ok(None) };
        let compression = Compression::of_media_type(&media_type);
        match compression {
            Some(compression) if self.has_layer(&diff_id)? => {
                Ok(Some(Arrived { blob: *blob, size, compression, diff_id }))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Whether a layer is there or staged by this operation.
    pub(crate) fn has_layer_or_stage(&self, diff_id: &Digest) -> Result<bool, LayerError> {
        let is_staged = self.staged().layers.iter().any(|layer| layer.diff_id == *diff_id);
        Ok(is_staged || self.has_layer(diff_id)?)
    }

    /// Stores and unpacks the rest of a layer's blob, verifies both, and keeps them for
    /// `publish`. Blocks; a download that pushes gives the reader of a [`super::pipe::pipe`].
    ///
    /// # Errors
    /// What came is not what was announced, and has been deleted; `rest` failed, and what came so
    /// far is kept for the next attempt.
    pub fn receive(&self, layer: LayerIngest, rest: impl Read) -> Result<Arrived, LayerError> {
        let LayerIngest { source, stage, wanted } = layer;
        let (measured, applied) = match source {
            Source::Stored(file, _) => self.read(&file, stage.as_ref(), &wanted)?,
            Source::New(ingest) => self.store(ingest, rest, stage.as_ref(), &wanted)?,
        };
        if let Some(expected) = wanted.diff_id
            && expected != measured.diff.digest
        {
            return Err(LayerError::WrongContent { expected, actual: measured.diff.digest });
        }
        if let (Some(stage), Some(facts)) = (stage, applied) {
            let staged = stage.seal(measured.diff.digest, facts)?;
            self.staged().layers.push(staged);
        }
        Ok(Arrived {
            blob: measured.blob.digest,
            size: measured.blob.size,
            compression: to_model(measured.compression),
            diff_id: measured.diff.digest,
        })
    }

    /// Waits until nobody brings or unpacks `blob` any more. The caller has no other layer under
    /// way and has flushed what was staged, so that two operations never wait for each other.
    ///
    /// # Errors
    /// The file system.
    pub fn wait_for_layer(&self, blob: &Digest) -> Result<(), LayerError> {
        Blobs { inner: &self.inner }.wait(blob)?;
        Stage::wait(&self.inner.layout, &blob.hex())
    }

    fn store(
        &self,
        mut ingest: Ingest,
        rest: impl Read,
        stage: Option<&Stage>,
        wanted: &Wanted,
    ) -> Result<(Measured, Option<LayerFacts>), LayerError> {
        let file = ingest.reopen()?;
        let before = super::ingest::SoFar::new(&file, ingest.offset());
        let mut failed = None;
        let tee = Tee { source: rest, operation: self, ingest: &mut ingest, failed: &mut failed };
        let outcome = self.read(before.chain(tee), stage, wanted);
        if let Some(error) = failed {
            return Err(error.into());
        }
        match outcome {
            Ok((measured, facts)) => {
                self.stage_verified(ingest.verify_as(measured.blob.digest)?)?;
                Ok((measured, facts))
            }
            Err(error) => {
                // A source that failed may go on later; bytes that are wrong are wrong for ever.
                if !error.is_unread() {
                    ingest.condemn();
                }
                Err(error)
            }
        }
    }

    /// Reads a blob to its end; unpacks it if there is a stage.
    fn read(
        &self,
        blob: impl Read,
        stage: Option<&Stage>,
        wanted: &Wanted,
    ) -> Result<(Measured, Option<LayerFacts>), LayerError> {
        let failed = |source| {
            let blob = wanted.name.clone();
            if let UnpackError::Apply(source @ ApplyError::Os { .. }) = source {
                let below = self.inner.layout.root().to_owned();
                LayerError::Refused { blob, below, source: Box::new(source) }
            } else {
                LayerError::Unpack { blob, source: Box::new(source) }
            }
        };
        let (options, declared) = (apply_options(&self.inner), wanted.compression.map(from_model));
        let Some(stage) = stage else {
            let measured = layer::measure(blob, declared, options.limits).map_err(failed)?;
            return Ok((measured, None));
        };
        let Unpacked { content, applied } =
            layer::unpack(blob, declared, &stage.tree()?, &options).map_err(failed)?;
        let facts = LayerFacts {
            entries: applied.entries,
            bytes: applied.bytes,
            opaque: applied.opaque_root,
        };
        Ok((content, Some(facts)))
    }
}

/// How this process unpacks.
pub(crate) fn apply_options(inner: &Inner) -> ApplyOptions {
    let privilege = match inner.xattrs() {
        Xattrs::Trusted => Privilege::Host,
        Xattrs::User => Privilege::UserNamespace,
    };
    ApplyOptions { privilege, ..ApplyOptions::default() }
}

fn from_model(compression: Compression) -> layer::Compression {
    match compression {
        Compression::Plain => layer::Compression::None,
        Compression::Gzip => layer::Compression::Gzip,
        Compression::Zstd => layer::Compression::Zstd,
    }
}

fn to_model(compression: layer::Compression) -> Compression {
    match compression {
        layer::Compression::None => Compression::Plain,
        layer::Compression::Gzip => Compression::Gzip,
        layer::Compression::Zstd => Compression::Zstd,
    }
}

/// Writes to the blob what is read from the source.
struct Tee<'i, R> {
    source: R,
    operation: &'i Operation,
    ingest: &'i mut Ingest,
    failed: &'i mut Option<BlobError>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.ingest.append(&buffer[..read]).map_err(|error| {
            *self.failed = Some(error);
            io::Error::other("the blob cannot be written")
        })?;
        self.operation.writeback.note(read as u64);
        Ok(read)
    }
}
