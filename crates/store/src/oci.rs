//! Checks of manifests, indexes and configurations before anything else looks at them (I10, I12).
//!
//! Pure. The document types are in `model::image`; what is checked here is what a hostile one gets
//! wrong: sizes, counts, media types, digests, and that the three documents agree.

use model::image::{Compression, Descriptor, ImageConfig, Index, Manifest, media_type};
use model::shown::shown;
use model::{Digest, Platform};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest as _, Sha256};

/// Largest manifest, index or configuration, in bytes.
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// Most layers of an image; the kernel's overlay takes no more.
pub const LAYERS_MAX: usize = 500;
/// Most entries of an index.
pub const INDEX_MAX: usize = 1000;
/// Deepest nesting of indexes.
pub const INDEX_DEPTH_MAX: usize = 8;
/// Largest layer blob, in bytes: 1 TiB.
pub const LAYER_SIZE_MAX: u64 = 1 << 40;

/// What is wrong with a document of an image.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Over [`DOCUMENT_MAX`].
    #[error("{what} has {size} bytes, at most {DOCUMENT_MAX} are accepted")]
    TooLarge {
        /// `manifest`, `index`, `configuration`.
        what: &'static str,
        /// Its bytes.
        size: u64,
    },
    /// Not the JSON that it should be.
    #[error("{what} cannot be read: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Content and digest differ.
    #[error("{what} {expected} has another content: its digest is {actual}")]
    Digest {
        /// Which document.
        what: &'static str,
        /// What named it.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Content and size differ.
    #[error("{what} {digest} has {actual} bytes, its descriptor says {expected}")]
    Size {
        /// Which document.
        what: &'static str,
        /// What named it.
        digest: Digest,
        /// From the descriptor.
        expected: i64,
        /// What came.
        actual: u64,
    },
    /// A size that no blob can have.
    #[error("blob {digest} is said to have {size} bytes, which no blob of an image can have")]
    ImpossibleSize {
        /// The blob.
        digest: Digest,
        /// From the descriptor.
        size: i64,
    },
    /// Version 1, or none.
    #[error("{what} has schema version {found}, only 2 is supported")]
    SchemaVersion {
        /// Which document.
        what: &'static str,
        /// Its version.
        found: u32,
    },
    /// Readers would disagree about what it is (CVE-2021-41190).
    #[error("the document has both layers and manifests, so it is neither manifest nor index")]
    Ambiguous,
    /// Another kind of document.
    #[error("media type {found:?} is not that of {what}")]
    MediaType {
        /// What was expected.
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// Over [`LAYERS_MAX`].
    #[error("the image has {0} layers, at most {LAYERS_MAX} are accepted")]
    TooManyLayers(usize),
    /// Over [`INDEX_MAX`].
    #[error("the index has {0} entries, at most {INDEX_MAX} are accepted")]
    TooManyManifests(usize),
    /// Over [`INDEX_DEPTH_MAX`].
    #[error("indexes are nested deeper than {INDEX_DEPTH_MAX}")]
    TooDeep,
    /// Manifest and configuration disagree.
    #[error("the manifest has {layers} layers, the configuration {diff_ids} diff ids")]
    LayerCount {
        /// Of the manifest.
        layers: usize,
        /// Of the configuration.
        diff_ids: usize,
    },
    /// A layer that its author does not distribute, or that lies elsewhere.
    #[error("layer {0} is a foreign layer, which dhow does not fetch")]
    ForeignLayer(Digest),
    /// Not `layers`.
    #[error("root file system type {0:?} is not supported, only \"layers\" is")]
    RootFs(String),
    /// Windows, or nothing.
    #[error("images for operating system {0:?} cannot be used, only for \"linux\"")]
    OperatingSystem(String),
    /// No architecture.
    #[error("the configuration names no architecture")]
    NoArchitecture,
    /// Not RFC 3339.
    #[error("the configuration's creation time {0:?} is no RFC 3339 time")]
    Created(String),
    /// Nothing for this machine.
    #[error("no image for platform {wanted}; there are: {available}")]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What the index has.
        available: String,
    },
}

/// A manifest, or a list of them.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, by platform.
    Index(Index),
}

/// One layer as manifest and configuration agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// The digest of its plain tar.
    pub diff_id: Digest,
    /// The digest of its blob.
    pub blob: Digest,
    /// The blob's bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
    /// What the media type says.
    pub compression: Compression,
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The size in a descriptor, if a blob can have it.
///
/// # Errors
/// It is negative, or beyond [`LAYER_SIZE_MAX`].
pub fn blob_size(descriptor: &Descriptor) -> Result<u64, DocumentError> {
    let impossible =
        DocumentError::ImpossibleSize { digest: descriptor.digest, size: descriptor.size };
    match u64::try_from(descriptor.size) {
        Ok(size) if size <= LAYER_SIZE_MAX => Ok(size),
        Ok(_) | Err(_) => Err(impossible),
    }
}

/// The size in the descriptor of a manifest, an index or a configuration; to be asked before it
/// is fetched.
///
/// # Errors
/// No document may have that size.
pub fn document_size(what: &'static str, descriptor: &Descriptor) -> Result<u64, DocumentError> {
    let size = blob_size(descriptor)?;
    check_size(what, size)?;
    Ok(size)
}

/// Whether `bytes` are what `descriptor` names.
///
/// # Errors
/// Size or digest differ.
pub fn verify(
    what: &'static str,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<(), DocumentError> {
    let actual = bytes.len() as u64;
    check_size(what, actual)?;
    if u64::try_from(descriptor.size) != Ok(actual) {
        let (digest, expected) = (descriptor.digest, descriptor.size);
        return Err(DocumentError::Size { what, digest, expected, actual });
    }
    match digest(bytes) {
        actual if actual == descriptor.digest => Ok(()),
        actual => Err(DocumentError::Digest { what, expected: descriptor.digest, actual }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    media_type: Option<String>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

/// Reads a manifest or an index.
///
/// # Errors
/// Everything that is wrong with it on its own.
pub fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    let what = "manifest";
    let probe: Probe = json(what, bytes)?;
    let is_image = probe.layers.is_some() || probe.config.is_some();
    match (is_image, probe.manifests.is_some(), probe.media_type.as_deref()) {
        (true, true, _) => Err(DocumentError::Ambiguous),
        (false, true, None | Some(media_type::OCI_INDEX | media_type::DOCKER_LIST)) => {
            parse_index(bytes).map(Document::Index)
        }
        (false, true, Some(other)) => {
            Err(DocumentError::MediaType { what: "an image index", found: other.to_owned() })
        }
        (_, false, None | Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST)) => {
            parse_manifest(bytes).map(Document::Manifest)
        }
        (_, false, Some(other)) => {
            Err(DocumentError::MediaType { what: "an image manifest", found: other.to_owned() })
        }
    }
}

fn parse_manifest(bytes: &[u8]) -> Result<Manifest, DocumentError> {
    let manifest: Manifest = json("manifest", bytes)?;
    check_version("manifest", manifest.schema_version)?;
    if manifest.layers.len() > LAYERS_MAX {
        return Err(DocumentError::TooManyLayers(manifest.layers.len()));
    }
    document_size("configuration", &manifest.config)?;
    Ok(manifest)
}

fn parse_index(bytes: &[u8]) -> Result<Index, DocumentError> {
    let index: Index = json("index", bytes)?;
    check_version("index", index.schema_version)?;
    if index.manifests.len() > INDEX_MAX {
        return Err(DocumentError::TooManyManifests(index.manifests.len()));
    }
    Ok(index)
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it on its own.
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfig, DocumentError> {
    let config: ImageConfig = json("configuration", bytes)?;
    if config.rootfs.kind != "layers" {
        return Err(DocumentError::RootFs(config.rootfs.kind));
    }
    if config.os != "linux" {
        return Err(DocumentError::OperatingSystem(config.os));
    }
    if config.architecture.is_empty() {
        return Err(DocumentError::NoArchitecture);
    }
    if config.rootfs.diff_ids.len() > LAYERS_MAX {
        return Err(DocumentError::TooManyLayers(config.rootfs.diff_ids.len()));
    }
    created_ns(&config)?;
    Ok(config)
}

/// When the image was made, in nanoseconds since the epoch; 0 where it does not say. Times that do
/// not fit are the nearest that does.
///
/// # Errors
/// The text is no time.
pub fn created_ns(config: &ImageConfig) -> Result<i64, DocumentError> {
    let Some(text) = config.created.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let time: jiff::Timestamp =
        text.parse().map_err(|_| DocumentError::Created(text.to_owned()))?;
    let clamped = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    Ok(i64::try_from(clamped).unwrap_or_default())
}

/// The layers, lowest first, if manifest and configuration agree.
///
/// # Errors
/// They do not, or a layer is of a kind that cannot be unpacked.
pub fn layers(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<LayerSpec>, DocumentError> {
    let kind = manifest.config.media_type.as_str();
    if !matches!(kind, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        let found = kind.to_owned();
        return Err(DocumentError::MediaType { what: "an image configuration", found });
    }
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(DocumentError::LayerCount { layers, diff_ids });
    }
    let pairs = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    pairs.map(|(descriptor, diff_id)| layer(descriptor, *diff_id)).collect()
}

fn layer(descriptor: &Descriptor, diff_id: Digest) -> Result<LayerSpec, DocumentError> {
    let media_type = &descriptor.media_type;
    let is_foreign = media_type.contains("nondistributable") || media_type.contains(".foreign.");
    if is_foreign || !descriptor.urls.is_empty() {
        return Err(DocumentError::ForeignLayer(descriptor.digest));
    }
    let compression = Compression::of_media_type(media_type)
        .ok_or_else(|| DocumentError::MediaType { what: "a layer", found: media_type.clone() })?;
    let (size, media_type) = (blob_size(descriptor)?, media_type.clone());
    Ok(LayerSpec { diff_id, blob: descriptor.digest, size, media_type, compression })
}

/// The entry of `index` that runs best on `wanted`.
///
/// # Errors
/// There is none.
pub fn choose<'i>(index: &'i Index, wanted: &Platform) -> Result<&'i Descriptor, DocumentError> {
    candidates(index, wanted).into_iter().next().ok_or_else(|| DocumentError::NoPlatform {
        wanted: wanted.clone(),
        available: available(index),
    })
}

/// The entries of `index` that run on `wanted`, the best first. An entry that names no platform
/// comes last: only its configuration can tell.
#[must_use]
pub fn candidates<'i>(index: &'i Index, wanted: &Platform) -> Vec<&'i Descriptor> {
    let mut found: Vec<(u64, &Descriptor)> = index
        .manifests
        .iter()
        .filter(|descriptor| !is_attestation(descriptor))
        .filter_map(|descriptor| Some((fitness(descriptor, wanted)?, descriptor)))
        .collect();
    // Stable: the first of equals wins, as the specification says.
    found.sort_by_key(|(fitness, _)| std::cmp::Reverse(*fitness));
    found.into_iter().map(|(_, descriptor)| descriptor).collect()
}

fn fitness(descriptor: &Descriptor, wanted: &Platform) -> Option<u64> {
    match &descriptor.platform {
        Some(platform) => platform.platform().suits(wanted).map(|level| u64::from(level) + 1),
        None => Some(0),
    }
}

/// BuildKit lists attestations as manifests of platform unknown/unknown.
fn is_attestation(descriptor: &Descriptor) -> bool {
    let is_unknown = descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
    is_unknown || descriptor.annotations.contains_key("vnd.docker.reference.type")
}

/// The platforms of an index, as a message shows them.
#[must_use]
pub fn available(index: &Index) -> String {
    let platforms = index.manifests.iter().filter(|d| !is_attestation(d));
    let names: Vec<String> = platforms
        .filter_map(|descriptor| Some(descriptor.platform.as_ref()?.platform().to_string()))
        .take(20)
        .collect();
    if names.is_empty() { "none".to_owned() } else { shown(&names.join(", ")) }
}

/// The digests that name the stacks of layers from the bottom up to each (image-spec, config.md).
#[must_use]
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => *diff_id,
            Some(parent) => digest(format!("{parent} {diff_id}").as_bytes()),
        };
        chain.push(id);
    }
    chain
}

fn json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DocumentError> {
    check_size(what, bytes.len() as u64)?;
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what, source })
}

fn check_size(what: &'static str, size: u64) -> Result<(), DocumentError> {
    if size > DOCUMENT_MAX { Err(DocumentError::TooLarge { what, size }) } else { Ok(()) }
}

fn check_version(what: &'static str, found: u32) -> Result<(), DocumentError> {
    if found == 2 { Ok(()) } else { Err(DocumentError::SchemaVersion { what, found }) }
}

#[cfg(test)]
mod tests;
