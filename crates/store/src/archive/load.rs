//! `load`: from an archive to images in the store.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

use model::{ImageId, Platform, Reference};
use sys::failpoint::{Point, reach};

use super::LoadError;
use super::members::Members;
use super::sources::{self, Source};
use crate::Store;
use crate::layer::{CodecError, UnpackError, outer};
use crate::oci::LayerSpec;
use crate::operation::Operation;
use crate::operation::publish::NewImage;
use crate::operation::receive::BeginLayer;

/// Bytes read at once.
const BUFFER: usize = 1 << 18;

/// How an archive is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which image of a multi-platform one.
    pub platform: Platform,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The tags that the archive gave it.
    pub tags: Vec<Reference>,
    /// The tags that other images lost to it.
    pub replaced: Vec<(Reference, ImageId)>,
}

impl Store {
    /// Loads every image of an archive: docker-archive or OCI archive, plain or compressed with
    /// gzip, zstd, xz or bzip2.
    /// `progress` hears the name of each member that was taken.
    ///
    /// # Errors
    /// What is wrong, and where. Nothing of the archive is left.
    pub fn load(
        &self,
        archive: impl Read + Send + 'static,
        options: &LoadOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<Loaded>, LoadError> {
        let operation = self.begin()?;
        let opened: Box<dyn Read + Send> = Box::new(
            outer::open(archive, crate::layer::Limits::default().ratio).map_err(unopened)?,
        );
        let mut plain = BufReader::with_capacity(BUFFER, opened);
        if plain.fill_buf()?.is_empty() {
            return Err(LoadError::NotAnImage);
        }
        let members = Members::read(plain, &operation, progress)?;
        reach(Point::LoadRead).map_err(std::io::Error::from)?;
        let sources = sources::images(&members, &options.platform)?;
        let specs: Vec<&LayerSpec> = sources.iter().flat_map(|source| &source.layers).collect();
        let blobs: BTreeSet<_> = specs.iter().map(|spec| spec.blob).collect();
        let layers: BTreeSet<_> = specs.iter().map(|spec| spec.diff_id).collect();
        operation.keep_only(&blobs, &layers);
        specs.into_iter().try_for_each(|spec| complete(&operation, spec))?;
        publish(&operation, sources, options.now_ns)
    }
}

fn unopened(error: UnpackError) -> LoadError {
    match error {
        UnpackError::Codec(CodecError::Unsupported(name)) => LoadError::Compression(name),
        UnpackError::Codec(CodecError::Decode { source, .. }) => LoadError::Decompress(source),
        UnpackError::Read(error) => LoadError::Read(error),
        other @ (UnpackError::Codec(CodecError::Mismatch { .. })
        | UnpackError::Apply(_)
        | UnpackError::TooLarge(_)
        | UnpackError::Bomb(_)) => LoadError::Decompress(std::io::Error::other(other)),
    }
}

/// Unpacks a layer that another operation was unpacking when it came by, unless that one has done
/// it.
fn complete(operation: &Operation, spec: &LayerSpec) -> Result<(), LoadError> {
    while !operation.has_layer_or_stage(&spec.diff_id)? {
        operation.flush()?;
        match operation.begin_layer(spec)? {
            BeginLayer::Present => {}
            BeginLayer::Busy => operation.wait_for_layer(&spec.blob)?,
            BeginLayer::Started(layer) => {
                operation.receive(*layer, std::io::empty())?;
            }
        }
    }
    Ok(())
}

fn publish(
    operation: &Operation,
    sources: Vec<Source>,
    now_ns: i64,
) -> Result<Vec<Loaded>, LoadError> {
    let images: Vec<NewImage> = sources
        .into_iter()
        .map(|source| NewImage {
            manifest: source.manifest,
            config: source.config,
            tags: source.tags,
            repo_digests: Vec::new(),
            now_ns,
        })
        .collect();
    let published = operation.publish(&images)?;
    let loaded = published.into_iter().zip(images).map(|(published, image)| Loaded {
        id: published.id,
        tags: image.tags,
        replaced: published.replaced,
    });
    Ok(loaded.collect())
}
