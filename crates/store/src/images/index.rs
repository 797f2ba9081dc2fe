//! `index.json`: the tags, for tools that read the directory as an OCI image layout.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use model::image::{Descriptor, Index, media_type};
use model::{Digest, Reference};

use crate::db::{DbError, Text, Tx};
use crate::layout::{self, Layout};

/// The name of an image in an image layout (image-spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name, as containerd and Docker write it.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The index of the image layout could not be written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file.
    #[error("write {path}: {source}")]
    Io {
        /// `index.json`.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Writes `index.json` as the transaction leaves the tags. The transaction's lock puts the writers
/// of all processes in order; a crash before its commit leaves one tag too many or too few until
/// the next change.
pub(crate) fn write_index(tx: &Tx<'_>, layout: &Layout) -> Result<(), IndexError> {
    let manifests = tx.all(
        "SELECT t.reference, m.digest, m.media_type, m.size
         FROM tags t JOIN manifests m ON m.digest = t.manifest ORDER BY t.reference",
        [],
        |row| {
            let name = row.get::<_, Text<Reference>>(0)?.0;
            let digest = row.get::<_, Text<Digest>>(1)?.0;
            Ok(entry(&name, digest, row.get(2)?, row.get(3)?))
        },
    )?;
    let path = layout.index();
    let bytes = index_bytes(manifests);
    layout::replace(&path, &bytes).map_err(|source| IndexError::Io { path, source })
}

/// The JSON of an index of these manifests.
pub(crate) fn index_bytes(manifests: Vec<Descriptor>) -> Vec<u8> {
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests,
        annotations: BTreeMap::new(),
    };
    serde_json::json!(index).to_string().into_bytes()
}

fn entry(name: &Reference, digest: Digest, media_type: String, size: i64) -> Descriptor {
    let annotations = BTreeMap::from([
        (REF_NAME.to_owned(), name.to_string()),
        (CONTAINERD_NAME.to_owned(), name.to_string()),
    ]);
    Descriptor { media_type, digest, size, platform: None, urls: Vec::new(), annotations }
}
