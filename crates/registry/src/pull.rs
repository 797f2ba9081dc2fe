//! Pull: from a reference to an image in the store.

use std::collections::BTreeMap;

use http::StatusCode;
use model::{Digest, ImageId, Platform, Reference};
use store::oci::{DocumentError, LayerSpec};
use store::{ImageRecord, LayerError, NewImage, Operation, Store};

use crate::answer::{self, Code, Reason};
use crate::auth::AuthError;
use crate::blob::{BlobFailure, Tell};
use crate::credentials::Credentials;
use crate::documents::{Image, Search};
use crate::event::{Event, Freshness, LayerStep};
use crate::hosts::Hosts;
use crate::layers::Fetch;
use crate::limits::Limits;
use crate::session::{Access, RequestError};
use crate::tags::TagsError;
use crate::transport::TransportError;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Private, or not there: registries do not say which.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login'{}",
        answer::suffix(.reason)
    )]
    Denied {
        /// The repository, as people write it.
        name: String,
        /// The registry's words.
        reason: String,
    },
    /// The credentials are wrong.
    #[error("pull {reference} from {registry}: {reason}")]
    Unauthorized {
        /// As people write it.
        reference: String,
        /// The registry.
        registry: String,
        /// The registry's words.
        reason: String,
    },
    /// There is no such repository.
    #[error("repository {name} not found{}", answer::suffix(.reason))]
    NoRepository {
        /// The repository, as people write it.
        name: String,
        /// The registry's words.
        reason: String,
    },
    /// The repository has no such tag or digest.
    #[error("manifest for {reference} not found: {reason}")]
    NotFound {
        /// As people write it.
        reference: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry cannot be asked.
    #[error("pull {reference} from {registry}: {source}")]
    Request {
        /// As people write it.
        reference: String,
        /// The registry.
        registry: String,
        /// Why.
        source: Box<RequestError>,
    },
    /// A document cannot be had.
    #[error("{digest} from {registry}: {source}")]
    Blob {
        /// The registry.
        registry: String,
        /// The document.
        digest: Digest,
        /// Why.
        source: Box<RequestError>,
    },
    /// A document is wrong.
    #[error("{reference} from {registry}: {source}")]
    Document {
        /// The registry.
        registry: String,
        /// The image.
        reference: String,
        /// What is wrong.
        source: Box<DocumentError>,
    },
    /// Too old.
    #[error(
        "{0} is in Docker's image format v2, schema 1, which is not supported: it has to be pushed again by a newer tool"
    )]
    SchemaOne(String),
    /// None of the index.
    #[error(
        "no matching manifest for {wanted} in the manifest list entries; there are: {available}"
    )]
    NoPlatform {
        /// What was wanted.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The only one is another.
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        /// The image.
        reference: String,
        /// What was asked for.
        wanted: String,
        /// What it is for.
        actual: String,
    },
    /// Two layers of one blob.
    #[error("{reference}: the configuration has several diff ids for blob {digest}")]
    Contradiction {
        /// The image.
        reference: String,
        /// The blob.
        digest: Digest,
    },
    /// The list of tags is of no use.
    #[error("the tags of {name} from {registry}: {source}")]
    Tags {
        /// The registry.
        registry: String,
        /// The repository, as people write it.
        name: String,
        /// What is wrong.
        source: Box<TagsError>,
    },
    /// A layer did not come.
    #[error("layer {digest} from {registry}: {source}")]
    Download {
        /// The registry.
        registry: String,
        /// The layer's blob.
        digest: Digest,
        /// Why.
        source: Box<BlobFailure>,
    },
    /// A layer came, but is wrong or cannot be stored.
    #[error("layer {digest} from {registry}: {source}")]
    Layer {
        /// The registry.
        registry: String,
        /// The layer's blob.
        digest: Digest,
        /// What is wrong.
        source: Box<LayerError>,
    },
    /// Before any request.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The store.
    #[error(transparent)]
    Begin(#[from] store::BeginError),
    /// The store.
    #[error(transparent)]
    Publish(#[from] store::PublishError),
    /// The store's blobs.
    #[error(transparent)]
    Stored(#[from] store::BlobError),
    /// The store's layers.
    #[error(transparent)]
    StoredLayer(#[from] LayerError),
    /// The store's names.
    #[error(transparent)]
    Resolve(#[from] store::ResolveError),
    /// The store's images.
    #[error(transparent)]
    Db(#[from] store::DbError),
}

impl PullError {
    /// What it means that a repository or a reference cannot be had.
    pub(crate) fn refused(reference: &Reference, registry: &str, error: RequestError) -> Self {
        let name = reference.familiar_name();
        let reference = reference.familiar();
        let registry = registry.to_owned();
        match error {
            RequestError::Auth(AuthError::Denied(reason)) => Self::Denied { name, reason },
            RequestError::Auth(AuthError::Refused(reason)) => {
                Self::Unauthorized { reference, registry, reason }
            }
            RequestError::Status { status, reason: Reason { code, text } } => {
                match (status, code) {
                    (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | (_, Code::Denied) => {
                        Self::Denied { name, reason: text }
                    }
                    (_, Code::NameUnknown) => Self::NoRepository { name, reason: text },
                    (StatusCode::NOT_FOUND, _) if text.is_empty() => {
                        Self::NotFound { reference, reason: "manifest unknown".to_owned() }
                    }
                    (StatusCode::NOT_FOUND, _) => Self::NotFound { reference, reason: text },
                    _ => {
                        let reason = Reason { code, text };
                        let source = Box::new(RequestError::Status { status, reason });
                        Self::Request { reference, registry, source }
                    }
                }
            }
            error @ (RequestError::Auth(_) | RequestError::Transport(_)) => {
                Self::Request { reference, registry, source: Box::new(error) }
            }
        }
    }

    /// Whether the registry wants to be asked less often.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        if let Self::Request { source, .. } | Self::Blob { source, .. } = self {
            return source.is_rate_limit();
        }
        matches!(self, Self::Download { source, .. } if source.is_rate_limit())
    }
}

/// What is pulled.
#[derive(Debug, Clone)]
pub struct Pull<'p> {
    /// With a tag or a digest; with neither, `latest` is meant.
    pub reference: &'p Reference,
    /// `None`: this machine's, or whatever the only one is for.
    pub platform: Option<&'p Platform>,
    /// Who asks.
    pub credentials: Credentials,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its id.
    pub id: ImageId,
    /// What the reference stands for: the digest of a manifest or an index.
    pub digest: Digest,
    /// Whether anything has changed.
    pub freshness: Freshness,
}

/// The client of all registries.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// What is configured about them.
    pub hosts: Hosts,
    /// How long and how often things are tried.
    pub limits: Limits,
}

impl Registry {
    /// Pulls an image into `store`. Blocks; `tell` is called by several threads.
    ///
    /// # Errors
    /// Nothing was published. What has come of layers is kept, and the next pull goes on there.
    pub fn pull(
        &self,
        store: &Store,
        pull: &Pull<'_>,
        tell: &Tell<'_>,
    ) -> Result<Pulled, PullError> {
        let reference = pull.reference.clone().with_default_tag();
        let session = self.session(&reference, &Access::Pull, pull.credentials.clone())?;
        let mut caller = session.caller()?;
        let mut search = Search::new(store, &mut caller, &reference, pull.platform);
        let top = search.top()?;
        tell(Event::Found);
        let digest = top.digest;
        let image = search.image(top)?;

        let operation = store.begin()?;
        let id = ImageId(store::oci::digest(&image.config));
        let before = known(store, &reference)?.filter(|before| before.id == id);
        let here = here(&operation, &image.layers)?;
        let missing = plan(&reference, &image.layers, &here)?;
        let is_complete = missing.is_empty();
        // Of an image that is here already, under whatever name, there is nothing to tell.
        if !(is_complete && store.images().get(&id)?.is_some()) {
            announce(&image.layers, &missing, self.limits.parallel, tell);
        }
        let fetch = Fetch { session: &session, operation: &operation, tell };
        fetch.all(&mut caller, missing)?;

        let name = reference.at_digest(digest);
        let freshness = match &before {
            Some(_) if is_complete => Freshness::UpToDate,
            Some(_) | None => Freshness::Downloaded,
        };
        if freshness == Freshness::Downloaded || !is_recorded(before.as_ref(), &image, &name) {
            publish(&operation, &reference, name, image, pull.now_ns)?;
        }
        tell(Event::Resolved(digest));
        tell(Event::Ended(freshness));
        Ok(Pulled { id, digest, freshness })
    }
}

/// What the reference means here before the pull.
fn known(store: &Store, reference: &Reference) -> Result<Option<ImageRecord>, PullError> {
    match store.images().resolve(&reference.to_string()) {
        Ok(image) => Ok(Some(image)),
        Err(store::ResolveError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether each layer is here; if so, it stays until the operation ends.
fn here(operation: &Operation, layers: &[LayerSpec]) -> Result<Vec<bool>, PullError> {
    let is_here = |layer: &LayerSpec| -> Result<bool, PullError> {
        Ok(operation.has_blob(&layer.blob, layer.size)? && operation.has_layer(&layer.diff_id)?)
    };
    layers.iter().map(is_here).collect()
}

/// The layers to fetch, each once.
fn plan<'l>(
    reference: &Reference,
    layers: &'l [LayerSpec],
    here: &[bool],
) -> Result<Vec<&'l LayerSpec>, PullError> {
    let mut seen: BTreeMap<Digest, Digest> = BTreeMap::new();
    let mut missing = Vec::new();
    for (layer, is_here) in layers.iter().zip(here) {
        match seen.insert(layer.blob, layer.diff_id) {
            Some(diff_id) if diff_id != layer.diff_id => {
                let (reference, digest) = (reference.familiar(), layer.blob);
                return Err(PullError::Contradiction { reference, digest });
            }
            None if !is_here => missing.push(layer),
            Some(_) | None => {}
        }
    }
    Ok(missing)
}

/// Tells what is going to happen to each layer, in Docker's order.
fn announce(layers: &[LayerSpec], missing: &[&LayerSpec], parallel: usize, tell: &Tell<'_>) {
    let mut told: Vec<Digest> = Vec::new();
    for layer in layers {
        if told.contains(&layer.blob) {
            continue;
        }
        told.push(layer.blob);
        let is_missing = missing.iter().any(|other| other.blob == layer.blob);
        let step = if is_missing { LayerStep::Pulling } else { LayerStep::Exists };
        tell(Event::Layer(layer.blob, step));
    }
    for layer in missing.iter().skip(parallel) {
        tell(Event::Layer(layer.blob, LayerStep::Waiting));
    }
}

/// Whether the store says of the image all that a publication would make it say.
fn is_recorded(before: Option<&ImageRecord>, image: &Image, name: &Reference) -> bool {
    let manifest = store::oci::digest(&image.manifest);
    before.is_some_and(|before| before.manifest == manifest && before.repo_digests.contains(name))
}

fn publish(
    operation: &Operation,
    reference: &Reference,
    name: Reference,
    image: Image,
    now_ns: i64,
) -> Result<(), PullError> {
    let tags = match reference.digest() {
        // Docker gives no tag to what is pulled by digest, even if the reference has one.
        Some(_) => Vec::new(),
        None => vec![reference.clone()],
    };
    let Image { manifest, config, .. } = image;
    operation.publish(&[NewImage { manifest, config, tags, repo_digests: vec![name], now_ns }])?;
    Ok(())
}
