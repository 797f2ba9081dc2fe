//! `commit`: what a container has changed becomes one more layer of its image.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::image::{Compression, History, ImageConfig, RunConfig};
use model::{Digest, ImageId, Reference};
use rustix::fs::FileType;
use sys::root::{Root, RootError};

use crate::Store;
use crate::container_layer::{ContainerLayer, MountError};
use crate::images::{ImageLayer, ImageRecord, compose};
use crate::layer::{PackError, PackOptions};
use crate::layers::{LayerError, chain};
use crate::oci::LayerSpec;
use crate::operation::publish::{NewImage, PublishError};
use crate::operation::receive::BeginLayer;
use crate::operation::{BeginError, Operation, pipe};

/// What the new image is given.
#[derive(Debug, Clone)]
pub struct Commit {
    /// How its containers run.
    pub config: RunConfig,
    /// The container's id.
    pub container: String,
    /// How it was run, as Docker says it.
    pub container_config: serde_json::Value,
    /// The command that made the layer.
    pub created_by: String,
    /// `--author`
    pub author: String,
    /// `--message`
    pub comment: String,
    /// Its name.
    pub tag: Option<Reference>,
    /// RFC 3339.
    pub created: String,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// Why there is no new image. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The container's tree.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// What the container has changed cannot be packed.
    #[error("pack the container's changes")]
    Pack(#[from] PackError),
    /// A layer.
    #[error("{}", chain(.0))]
    Layer(#[from] LayerError),
    /// A layer of the container's image is damaged, or is being brought anew.
    #[error("layer {0} of the container's image is not whole: load or pull the image again")]
    BaseLayer(Digest),
    /// The operation.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The end of it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Store {
    /// Makes an image of a container's own and what it has changed. `places`, relative to its root,
    /// are what whoever ran it has made there: they are no change, if nobody has used them. The
    /// container should not write meanwhile.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn commit(
        &self,
        container: &ContainerLayer,
        places: &[&str],
        base: &ImageRecord,
        commit: &Commit,
    ) -> Result<ImageId, CommitError> {
        let operation = self.begin()?;
        let mut layers = keep(&operation, base)?;
        let is_empty = container.changes(places)?.is_empty();
        if !is_empty {
            layers.push(add_layer(&operation, container, places)?);
        }
        let config =
            configuration(base, commit, if is_empty { Adds::Nothing } else { Adds::Layer });
        let composed = compose(&config, &layers);
        let image = NewImage {
            manifest: composed.manifest,
            config: composed.config,
            tags: commit.tag.iter().cloned().collect(),
            repo_digests: Vec::new(),
            now_ns: commit.now_ns,
        };
        let published = operation.publish(&[image])?;
        Ok(ImageId(published[0].id.0))
    }
}

/// Keeps the layers of an image from being collected.
fn keep(operation: &Operation, base: &ImageRecord) -> Result<Vec<LayerSpec>, CommitError> {
    let keep = |layer: &ImageLayer| -> Result<LayerSpec, CommitError> {
        let broken = || CommitError::BaseLayer(layer.diff_id);
        let spec = LayerSpec {
            diff_id: layer.diff_id,
            blob: layer.blob,
            size: layer.blob_size,
            compression: Compression::of_media_type(&layer.media_type).ok_or_else(broken)?,
            media_type: layer.media_type.clone(),
        };
        match operation.begin_layer(&spec)? {
            BeginLayer::Present => Ok(spec),
            BeginLayer::Started(_) | BeginLayer::Busy => Err(broken()),
        }
    };
    base.layers.iter().map(keep).collect()
}

fn add_layer(
    operation: &Operation,
    container: &ContainerLayer,
    places: &[&str],
) -> Result<LayerSpec, CommitError> {
    let upper_path = container.upper();
    let at = |error| CommitError::Layer(LayerError::root(&upper_path)(error));
    let upper = Root::open(&upper_path).map_err(at)?;
    let omitted = untouched(&upper, &container.lower_tree()?, places).map_err(at)?;
    let layer = operation.begin_unknown_layer("the container's changes")?;
    let (writer, reader) = pipe::pipe();
    std::thread::scope(|scope| {
        let pack = scope.spawn(|| -> Result<(), PackError> {
            let mut out = Chunks(writer);
            crate::layer::diff_without(&upper, omitted, &mut out, &PackOptions::default())?;
            Ok(out.0.finish().map_err(crate::tar::WriteError::Io)?)
        });
        let arrived = operation.receive(layer, reader);
        // A panic aborts the program, so that there is always an outcome.
        let packed = pack.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the reader failed, the other side only says that nobody reads.
        match (packed, arrived) {
            (Err(PackError::Write(_)), Err(error)) => Err(error.into()),
            (Err(error), _) => Err(error.into()),
            (Ok(()), arrived) => Ok(arrived?.spec()),
        }
    })
}

/// Of the places those that are new and as they were made, and the directories that have changed only
/// by them.
fn untouched(upper: &Root, lower: &Root, places: &[&str]) -> Result<BTreeSet<PathBuf>, RootError> {
    let mut omitted = BTreeSet::new();
    for place in places.iter().map(Path::new) {
        let there = match upper.metadata(place) {
            Err(error) if error.not_found() => continue,
            there => there?,
        };
        let kind = FileType::from_raw_mode(there.st_mode);
        let is_bare =
            kind == FileType::Directory || (kind == FileType::RegularFile && there.st_size == 0);
        match lower.metadata(place) {
            Err(error) if error.not_found() && is_bare => drop(omitted.insert(place.to_owned())),
            Err(error) if error.not_found() => {}
            Err(error) => return Err(error),
            Ok(below) => {
                let same = (below.st_mode, below.st_uid, below.st_gid)
                    == (there.st_mode, there.st_uid, there.st_gid);
                if kind == FileType::Directory && same {
                    omitted.insert(place.to_owned());
                }
            }
        }
    }
    Ok(omitted)
}

/// Whether there is something in the new step of an image's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adds {
    Layer,
    Nothing,
}

fn configuration(base: &ImageRecord, commit: &Commit, adds: Adds) -> ImageConfig {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let step = History {
        created: Some(commit.created.clone()),
        created_by: some(&commit.created_by),
        author: some(&commit.author),
        comment: some(&commit.comment),
        empty_layer: adds == Adds::Nothing,
    };
    let mut config = base.config.clone();
    config.created = Some(commit.created.clone());
    config.author = some(&commit.author);
    config.comment = some(&commit.comment);
    config.container = Some(commit.container.clone());
    config.container_config = Some(commit.container_config.clone());
    config.parent = Some(base.id.to_string());
    config.config = commit.config.clone();
    config.history.push(step);
    config
}

/// Gathers what is written for the reader of a pipe.
struct Chunks(pipe::PipeWriter);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.to_vec())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
