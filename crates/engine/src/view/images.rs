//! Images, and what long operations on them tell while they run.

use jiff::Timestamp;
use model::image::ImageConfig;
use model::{Digest, ImageId};

pub use model::pull::{Freshness, LayerStep};
pub use model::push::PushStep;
pub use registry::{Description, Found};

/// Everything about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// The digest of its configuration.
    pub id: ImageId,
    /// As people write them: `debian:latest`.
    pub tags: Vec<String>,
    /// As people write them: `debian@sha256:…`.
    pub digests: Vec<String>,
    /// When it was made, if it says so.
    pub created: Option<Timestamp>,
    /// Unpacked bytes of all its layers.
    pub size: u64,
    /// The manifest that it came with.
    pub manifest: Digest,
    /// The media type of that one.
    pub manifest_type: String,
    /// Bytes of that one.
    pub manifest_size: u64,
    /// Bytes of its manifest, its configuration and its layers, packed as they came.
    pub packed: u64,
    /// How many containers are made from it.
    pub containers: u64,
    /// Its configuration.
    pub config: ImageConfig,
    /// The image that it was committed on, if that is here. Looked for in [`crate::Engine::image_inspect`] alone.
    pub parent: Option<ImageId>,
    /// When it last got a name here.
    pub tagged: Option<Timestamp>,
}

/// What all images take on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagesUsage {
    /// The bytes of all layers, each counted once.
    pub layers: u64,
    /// Every image, newest first, with the bytes of the layers that others have as well.
    pub images: Vec<(ImageView, u64)>,
}

/// One step of an image's history, newest first in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryView {
    /// Only the newest step is an image of its own.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// Free text.
    pub comment: String,
    /// Bytes of its layer; 0 if it made none.
    pub size: u64,
    /// The image's names, at the newest step.
    pub tags: Vec<String>,
}

/// One thing that `image_remove` did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name went, as people write it.
    Untagged(String),
    /// An image or a layer that nothing needed any more went.
    Deleted(Digest),
}

/// How `image_remove` goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRemoveMode {
    /// Not if it has several names or stopped containers use it.
    Careful,
    /// Even then.
    Force,
}

/// What `image_import` gives the new image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Its name, or none.
    pub reference: Option<String>,
    /// The comment in its history.
    pub message: String,
    /// Dockerfile instructions to apply to its configuration.
    pub changes: Vec<String>,
    /// `None`: this machine's.
    pub platform: Option<model::Platform>,
}

/// Who asks a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Name and password.
    pub basic: Option<(String, String)>,
    /// An OAuth2 refresh token.
    pub identity_token: Option<String>,
    /// A bearer token, used as it is.
    pub registry_token: Option<String>,
}

impl std::fmt::Debug for RegistryAuth {
    // Secrets do not reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryAuth")
    }
}

/// What a long operation on images tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A pull begins: repository as people write it without docker.io, and tag or digest.
    Pulling {
        /// `library/debian`
        repository: String,
        /// `latest`
        tag: String,
    },
    /// Something happened to one layer; `layer` is its short digest.
    Layer {
        /// 12 hex digits.
        layer: String,
        /// What.
        step: LayerStep,
    },
    /// What the pulled name stands for.
    Digest(Digest),
    /// A pull has ended.
    Pulled {
        /// As people write it.
        reference: String,
        /// Whether it was here already.
        fresh: Freshness,
    },
    /// A push begins: the repository, with its registry.
    Pushing {
        /// `docker.io/library/debian`
        repository: String,
    },
    /// Something happened to one layer of a push; `layer` is its short digest.
    PushedLayer {
        /// 12 hex digits.
        layer: String,
        /// What.
        step: PushStep,
    },
    /// A tag is in the registry.
    Pushed {
        /// `latest`
        tag: String,
        /// Of the manifest.
        digest: Digest,
        /// Of the manifest, in bytes.
        size: u64,
    },
    /// An archive gave an image of this name.
    Loaded(String),
    /// An archive gave an image without a name.
    LoadedUnnamed(ImageId),
    /// A name now means another image.
    Renamed {
        /// As people write it.
        reference: String,
        /// What it meant before.
        old: ImageId,
    },
    /// An archive comes from this address.
    Downloading(String),
    /// An import has ended.
    Imported(ImageId),
}
