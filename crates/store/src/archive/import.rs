//! `import`: a root file system becomes an image of one layer.

use std::io::Read;

use model::image::{History, ImageConfig, RunConfig};
use model::{ImageId, Platform, Reference};

use crate::Store;
use crate::images::compose;
use crate::layer::{UnpackError, outer};
use crate::layers::{LayerError, chain};
use crate::operation::BeginError;
use crate::operation::publish::{NewImage, PublishError};

/// What is to be made of a root file system.
#[derive(Debug, Clone)]
pub struct Import {
    /// How its containers run; [`crate::changes::apply`] makes it from `--change`.
    pub config: RunConfig,
    /// What it is for.
    pub platform: Platform,
    /// `--message`
    pub comment: String,
    /// Its name.
    pub tag: Option<Reference>,
    /// RFC 3339.
    pub created: String,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// Why nothing was imported. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What the archive is compressed with.
    #[error("{}", chain(.0))]
    Archive(UnpackError),
    /// The archive.
    #[error("{}", chain(.0))]
    Layer(#[from] LayerError),
    /// The operation.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The end of it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Store {
    /// Makes an image of one layer of a tar, plain or compressed with gzip, zstd, xz or bzip2.
    ///
    /// # Errors
    /// What is wrong with the archive, and where.
    pub fn import(&self, archive: impl Read, import: &Import) -> Result<ImageId, ImportError> {
        let operation = self.begin()?;
        let layer = operation.begin_unknown_layer("the root file system")?;
        let archive = outer::as_layer(archive).map_err(ImportError::Archive)?;
        let arrived = operation.receive(layer, archive)?;
        let composed = compose(&configuration(import), &[arrived.spec()]);
        let image = NewImage {
            manifest: composed.manifest,
            config: composed.config,
            tags: import.tag.iter().cloned().collect(),
            repo_digests: Vec::new(),
            now_ns: import.now_ns,
        };
        let published = operation.publish(&[image])?;
        Ok(ImageId(published[0].id.0))
    }
}

fn configuration(import: &Import) -> ImageConfig {
    let step = History {
        created: Some(import.created.clone()),
        comment: Some(import.comment.clone()).filter(|text| !text.is_empty()),
        ..History::default()
    };
    let variant = Some(import.platform.variant.clone()).filter(|text| !text.is_empty());
    ImageConfig {
        created: Some(import.created.clone()),
        architecture: import.platform.architecture.clone(),
        os: import.platform.os.clone(),
        variant,
        comment: step.comment.clone(),
        config: import.config.clone(),
        history: vec![step],
        ..ImageConfig::default()
    }
}
