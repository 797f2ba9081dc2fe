//! Layers at rest: each one directory tree, unpacked once, shared by every image and container.
//!
//! A layer is named by its diff id alone. What it is stacked on does not change its tree, so that
//! layers are unpacked in parallel and images share them whatever lies below.
//! Unpacking is in `layer`, putting into place in `operation::publish`.

use std::io;
use std::path::{Path, PathBuf};

use model::Digest;
use serde::{Deserialize, Serialize};
use sys::root::RootError;

use crate::blobs::BlobError;
use crate::db::{DbError, Text, Tx};
use crate::layer::{ApplyError, UnpackError};
use crate::layout::Layout;

/// What is known of an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Files, directories and all else.
    pub entries: u64,
    /// The bytes of its regular files.
    pub bytes: u64,
    /// It hides all that is below it. overlayfs does not heed that mark on a layer's root, so a
    /// stack of layers ends here.
    pub opaque: bool,
}

/// What went wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is not there, or damaged, and its blob is gone as well.
    #[error("layer {0} is not in the store: pull or load the image again")]
    Missing(Digest),
    /// Its content is not what the configuration says.
    #[error("layer {expected} has the wrong content: its diff id is {actual}")]
    WrongContent {
        /// From the configuration.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Its blob cannot be unpacked.
    #[error("layer {blob}: {}", chain(&**source))]
    Unpack {
        /// The blob, as far as its name is known.
        blob: BlobName,
        /// The place and the reason.
        source: Box<UnpackError>,
    },
    /// The kernel refuses to write what is in its blob.
    #[error("unpack layer {blob} below {}: {}", below.display(), chain(&**source))]
    Refused {
        /// The blob, as far as its name is known.
        blob: BlobName,
        /// The data root.
        below: PathBuf,
        /// The place and the reason.
        source: Box<ApplyError>,
    },
    /// A path under the data root.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A path in a tree.
    #[error("{path}: {source}")]
    Tree {
        /// The tree.
        path: PathBuf,
        /// What went wrong in it.
        source: RootError,
    },
    /// A damaged one could not be replaced.
    #[error("unpack a damaged layer again: {0}")]
    Heal(Box<dyn std::error::Error + Send + Sync>),
    /// The trash.
    #[error(transparent)]
    Trash(#[from] crate::trash::TrashError),
    /// The layer's blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A blob that may be known by its place in an archive only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobName {
    /// By its digest.
    Digest(Digest),
    /// By the name of an archive's member.
    Member(String),
}

impl std::fmt::Display for BlobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Member(name) => f.write_str(name),
        }
    }
}

/// An error with its causes, for one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl LayerError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the source failed, rather than what came from it.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Unpack { source, .. } if matches!(**source, UnpackError::Read(_)))
    }

    /// Whether the bytes are wrong, rather than the store or its file system.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Unpack { .. }
            | Self::WrongContent { .. }
            | Self::Blob(BlobError::WrongContent { .. } | BlobError::WrongSize { .. }) => true,
            Self::Blob(_)
            | Self::Missing(_)
            | Self::Refused { .. }
            | Self::Io { .. }
            | Self::Tree { .. }
            | Self::Heal(_)
            | Self::Trash(_)
            | Self::Db(_) => false,
        }
    }

    pub(crate) fn root(path: &Path) -> impl FnOnce(RootError) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Tree { path, source }
    }
}

/// A layer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerRow {
    pub(crate) number: i64,
    pub(crate) diff_id: Digest,
    pub(crate) facts: LayerFacts,
}

/// What `seal` beside a tree says about it, in JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    diff_id: Digest,
    #[serde(flatten)]
    facts: LayerFacts,
}

pub(crate) fn find(tx: &Tx<'_>, diff_id: &Digest) -> Result<Option<LayerRow>, DbError> {
    let sql = "SELECT number, diff_id, entries, bytes, opaque FROM layers WHERE diff_id = ?1";
    tx.first(sql, [Text(*diff_id)], read_row)
}

pub(crate) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<LayerRow> {
    let facts = LayerFacts {
        entries: row.get::<_, i64>(2)?.cast_unsigned(),
        bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        opaque: row.get(4)?,
    };
    Ok(LayerRow { number: row.get(0)?, diff_id: row.get::<_, Text<_>>(1)?.0, facts })
}

/// The tree of a layer.
pub(crate) fn tree(layout: &Layout, number: i64) -> PathBuf {
    layout.snapshot(number).join("fs")
}

/// Seals a tree: what `is_sound` compares with the row.
pub(crate) fn write_seal(
    dir: &Path,
    diff_id: &Digest,
    facts: LayerFacts,
) -> Result<(), LayerError> {
    let path = dir.join("seal");
    let json = serde_json::json!(Seal { diff_id: *diff_id, facts }).to_string();
    std::fs::write(&path, json).map_err(LayerError::io("write", &path))
}

/// The cheap check before each use: the seal is the row's, and the tree is a directory. A tree that
/// was lost, swapped with another or emptied by a power cut has no such seal.
pub(crate) fn is_sound(layout: &Layout, row: &LayerRow) -> bool {
    let dir = layout.snapshot(row.number);
    let expected = Seal { diff_id: row.diff_id, facts: row.facts };
    let seal = std::fs::read(dir.join("seal")).ok();
    let seal: Option<Seal> = seal.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    seal == Some(expected) && dir.join("fs").is_dir()
}

/// A number that no layer has had before.
pub(crate) fn next_number(tx: &Tx<'_>) -> Result<i64, DbError> {
    let sql = "INSERT INTO counters (name, value) VALUES ('layer', 1)
               ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value";
    Ok(tx.first(sql, [], |row| row.get(0))?.unwrap_or(1))
}

/// Notes a layer whose tree is in place and on disk; it takes the place of a damaged one.
pub(crate) fn insert(tx: &Tx<'_>, row: &LayerRow) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO layers (number, diff_id, entries, bytes, opaque) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (diff_id) DO UPDATE SET number = excluded.number,
             entries = excluded.entries, bytes = excluded.bytes, opaque = excluded.opaque",
        (
            row.number,
            Text(row.diff_id),
            row.facts.entries.cast_signed(),
            row.facts.bytes.cast_signed(),
            row.facts.opaque,
        ),
    )?;
    Ok(())
}
