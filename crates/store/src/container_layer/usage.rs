//! How much of the disk a container takes: what it wrote itself, and the layers below.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::ContainerId;
use sys::root::{Root, RootError};

use super::changes::{children, is_dir};
use crate::Store;
use crate::db::{DbError, Text};
use crate::layers::LayerError;

/// The bytes of a container's files.
#[derive(Debug)]
pub struct ContainerUsage {
    /// Those that it wrote itself; counting them can fail, as one container of many may nest
    /// directories deeper than a path is long.
    pub written: Result<u64, LayerError>,
    /// Those of the layers that it has pinned.
    pub layers: u64,
}

impl Store {
    /// Counts the bytes of a container's files. It may run meanwhile.
    ///
    /// # Errors
    /// The database.
    pub fn container_usage(&self, id: &ContainerId) -> Result<ContainerUsage, DbError> {
        let sql = "SELECT coalesce(sum(l.bytes), 0) FROM container_layers c
                   JOIN layers l ON l.diff_id = c.diff_id WHERE c.container = ?1";
        let layers: Option<i64> = self.inner.db.read("add up the layers of a container", |tx| {
            tx.first(sql, [Text(*id)], |row| row.get(0))
        })?;
        let upper = self.inner.layout.container(id).join("upper");
        let layers = layers.unwrap_or_default().cast_unsigned();
        Ok(ContainerUsage { written: file_bytes(&upper).map_err(LayerError::root(&upper)), layers })
    }
}

impl Store {
    /// The bytes of the files of all layers: of images, and of containers whose image is gone.
    ///
    /// # Errors
    /// The database.
    pub fn layer_bytes(&self) -> Result<u64, DbError> {
        let sql = "SELECT coalesce(sum(bytes), 0) FROM layers";
        let bytes: Option<i64> =
            self.inner.db.read("add up the layers", |tx| tx.first(sql, [], |row| row.get(0)))?;
        Ok(bytes.unwrap_or_default().cast_unsigned())
    }
}

/// The bytes of the files of a tree, as Docker counts: the length of everything that is no
/// directory, a hard link once. What is not there has none: a container that never started has no
/// directory yet.
pub(crate) fn file_bytes(tree: &Path) -> Result<u64, RootError> {
    let tree = match Root::open(tree) {
        Err(error) if error.not_found() => return Ok(0),
        opened => opened?,
    };
    let (mut bytes, mut seen) = (0_u64, BTreeSet::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for (path, stat) in children(&tree, &dir)? {
            if is_dir(&stat) {
                waiting.push(path);
            } else if stat.st_nlink == 1 || seen.insert(stat.st_ino) {
                bytes = bytes.saturating_add(stat.st_size.unsigned_abs());
            }
        }
    }
    Ok(bytes)
}
