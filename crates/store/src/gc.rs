//! What nobody needs any more: found by comparing what is there with what should be, and removed.
//!
//! Runs beside everything else: what a live operation has leased stays, and all decisions are made
//! while the database's write lock is held.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::{ContainerId, Digest};
use sys::failpoint::{Point, reach};

use crate::db::{DbError, Durability, IsFull, Text, Tx, volumes};
use crate::layout::{Layout, make_dir};
use crate::lock::{self, Attempt, Kind};
use crate::operation::ingest::PRIVATE_PREFIX;
use crate::trash::{self, Moved, TrashError};
use crate::{Inner, Store};

/// A partial download that nobody took up for this long is given up.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 3600);

/// A collection stopped early.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// A directory of the store.
    #[error("collect in {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The trash.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// A volume that is on its way to another name.
    #[error(transparent)]
    Volume(#[from] volumes::VolumeRowError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl IsFull for GcError {
    fn is_full(&self) -> bool {
        match self {
            Self::Db(error) => error.is_full(),
            Self::Volume(error) => error.is_full(),
            Self::Io { .. } | Self::Trash(_) => false,
        }
    }
}

impl Store {
    /// Removes what killed processes left, and every blob and layer that no image, container or
    /// running operation names.
    ///
    /// # Errors
    /// The file system, the database. What was decided so far stays decided.
    pub fn gc(&self) -> Result<(), GcError> {
        let inner = &*self.inner;
        sweep(&inner.layout)?;
        let mut moved = Moved::default();
        let collected = inner.db.write_freeing(
            "collect garbage",
            Durability::Now,
            &inner.layout.reserve(),
            |tx| {
                moved.or_put_back(|moved| {
                    collect(tx, inner, moved)?;
                    collect_strangers(tx, &inner.layout, moved)?;
                    step(Point::CollectRows, &inner.layout)?;
                    // Whoever else has moved something here has committed that, could not (and a
                    // removal was what was wished), or is dead.
                    Ok::<_, GcError>(trash::names(&inner.layout, Duration::ZERO)?)
                })
            },
        );
        match collected {
            Ok(names) => {
                step(Point::CollectTrash, &inner.layout)?;
                trash::delete_all(&inner.layout, names.iter().map(|name| &**name))?;
                inner.layout.reserve().keep();
                Ok(())
            }
            Err(error) => {
                // If it was the commit that failed.
                moved.put_back();
                Err(error)
            }
        }
    }

    /// Collects, if a process was killed in the middle of a change. Costs two looks at directories
    /// that are empty as a rule.
    pub(crate) fn collect_if_needed(&self) -> Result<(), GcError> {
        let layout = &self.inner.layout;
        let is_dead = |name: &OsString| {
            let path = layout.leases().join(name);
            let attempt = lock::attempt(&path, Kind::ExistingFile).map_err(failed(&path))?;
            Ok::<_, GcError>(matches!(attempt, Attempt::Held(_)))
        };
        let mut is_needed = !trash::names(layout, Duration::ZERO)?.is_empty();
        for name in names(&layout.leases())? {
            is_needed = is_needed || is_dead(&name)?;
        }
        if !is_needed {
            return sweep(layout);
        }
        match self.gc() {
            // A file that cannot be deleted, such as an immutable one, is in nobody's way.
            Err(GcError::Trash(TrashError::Delete { .. })) => Ok(()),
            collected => collected,
        }
    }
}

/// Removes staged layers and ingests whose owner is dead.
pub(crate) fn sweep(layout: &Layout) -> Result<(), GcError> {
    for name in names(&layout.staging())? {
        discard_unowned(layout, layout.staging().join(name), Kind::Directory)?;
    }
    for name in names(&layout.ingest())? {
        let path = layout.ingest().join(&name);
        let is_private = name.to_string_lossy().starts_with(PRIVATE_PREFIX);
        // Its owner died between putting the blob in place and letting go of this name.
        let is_in_place = layout.blobs().join(&name).exists();
        if is_private || is_in_place || is_old(&path) {
            discard_unowned(layout, path, Kind::ExistingFile)?;
        }
    }
    Ok(())
}

/// Moves every blob and layer that has no user into the trash and removes its row.
///
/// Runs inside the transaction, so that nobody can begin to use one in between; the caller deletes
/// the trash after the commit, or puts it back.
pub(crate) fn collect(tx: &Tx<'_>, inner: &Inner, moved: &mut Moved) -> Result<(), GcError> {
    end_dead_leases(tx, &inner.layout)?;
    let layers: Vec<i64> = tx.all(
        "SELECT number FROM layers l
         WHERE NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = l.diff_id)
           AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = l.diff_id)
           AND NOT EXISTS (SELECT 1 FROM mounted_layers WHERE diff_id = l.diff_id)
           AND NOT EXISTS (SELECT 1 FROM lease_layers WHERE diff_id = l.diff_id)",
        [],
        |row| row.get(0),
    )?;
    for number in layers {
        tx.execute("DELETE FROM layers WHERE number = ?1", [number])?;
        moved.take(&inner.layout, inner.layout.snapshot(number))?;
    }
    let blobs: Vec<Digest> = tx.all(
        "SELECT digest FROM blobs b
         WHERE NOT EXISTS (SELECT 1 FROM images WHERE id = b.digest)
           AND NOT EXISTS (SELECT 1 FROM manifests WHERE digest = b.digest)
           AND NOT EXISTS (SELECT 1 FROM manifest_blobs WHERE blob = b.digest)
           AND NOT EXISTS (SELECT 1 FROM lease_blobs WHERE digest = b.digest)",
        [],
        |row| Ok(row.get::<_, Text<_>>(0)?.0),
    )?;
    for digest in blobs {
        tx.execute("DELETE FROM blobs WHERE digest = ?1", [Text(digest)])?;
        moved.take(&inner.layout, inner.layout.blob(&digest))?;
    }
    Ok(())
}

/// A lease lives as long as its file is locked.
fn end_dead_leases(tx: &Tx<'_>, layout: &Layout) -> Result<(), GcError> {
    let mut live = BTreeSet::new();
    for name in names(&layout.leases())? {
        let path = layout.leases().join(&name);
        match lock::attempt(&path, Kind::ExistingFile).map_err(failed(&path))? {
            // Removed while it is locked, so that nobody takes a file without a name.
            Attempt::Held(_file) => std::fs::remove_file(&path).map_err(failed(&path))?,
            Attempt::Busy => {
                live.insert(name.to_string_lossy().into_owned());
            }
            Attempt::Gone => {}
        }
    }
    let rows: Vec<String> = tx.all("SELECT id FROM leases", [], |row| row.get(0))?;
    for id in rows.iter().filter(|id| !live.contains(*id)) {
        tx.execute("DELETE FROM leases WHERE id = ?1", [id])?;
    }
    Ok(())
}

/// Moves files that have no row into the trash: what a power cut or a kill left between a rename
/// and its transaction.
fn collect_strangers(tx: &Tx<'_>, layout: &Layout, moved: &mut Moved) -> Result<(), GcError> {
    let is_known = |sql: &str, key: &str| tx.first(sql, [key], |_| Ok(())).map(|row| row.is_some());
    let blob = "SELECT 1 FROM blobs WHERE 'sha256:' || ?1 = digest
                UNION ALL SELECT 1 FROM lease_blobs WHERE 'sha256:' || ?1 = digest";
    let snapshot = "SELECT 1 FROM layers WHERE number = ?1
                    UNION ALL SELECT 1 FROM lease_layers";
    let container = "SELECT 1 FROM containers WHERE id = ?1";
    let volume = "SELECT 1 FROM volumes WHERE name = ?1";
    for (dir, sql) in [
        (layout.blobs(), blob),
        (layout.snapshots(), snapshot),
        (layout.containers(), container),
        (layout.volumes(), volume),
    ] {
        for name in names(&dir)? {
            let text = name.to_string_lossy();
            if is_known(sql, &text)? {
                continue;
            }
            if dir == layout.volumes() {
                volumes::moved::settle(tx, layout, &text)?;
            }
            moved.take(layout, dir.join(&name))?;
        }
    }
    Ok(())
}

fn discard_unowned(layout: &Layout, path: PathBuf, kind: Kind) -> Result<(), GcError> {
    match lock::attempt(&path, kind).map_err(failed(&path))? {
        // Moved away while it is locked, so that its next owner begins anew.
        Attempt::Held(_lock) => Ok(trash::discard(layout, path)?),
        Attempt::Busy | Attempt::Gone => Ok(()),
    }
}

fn is_old(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    modified.is_some_and(|modified| age(modified, SystemTime::now()) > PARTIAL_KEPT)
}

/// One that is far in the future is of a clock that has been set back since, and as old.
fn age(modified: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration())
}

fn step(point: Point, layout: &Layout) -> Result<(), GcError> {
    reach(point).map_err(|errno| failed(&layout.trash())(errno.into()))
}

fn names(dir: &Path) -> Result<Vec<OsString>, GcError> {
    let read = || -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    read().map_err(failed(dir))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> GcError + use<> {
    let path = path.to_owned();
    move |source| GcError::Io { path, source }
}

/// The directory of a container that has a row. Inside of a transaction that writes, as removals
/// are, so that one which is half-way is waited for.
pub(crate) fn container_dir(inner: &Inner, id: &ContainerId) -> Result<Option<PathBuf>, GcError> {
    inner.db.write("find a container's directory", Durability::Eventual, |tx| {
        let row = tx.first("SELECT 1 FROM containers WHERE id = ?1", [Text(*id)], |_| Ok(()))?;
        if row.is_none() {
            return Ok(None);
        }
        let dir = inner.layout.container(id);
        make_dir(&dir).map_err(failed(&dir))?;
        Ok(Some(dir))
    })
}

/// What a removal has found.
#[derive(Debug)]
pub struct RemovedContainer {
    /// Whether there was a row.
    pub was_there: bool,
    /// The volumes that went with it.
    pub volumes: Vec<String>,
}

/// Removes a container's row, its writable layer and its files, and those of `volumes` that no other
/// container uses: all of it in one transaction, so that a process that is killed leaves nothing
/// that looks wanted.
pub(crate) fn remove_container(
    inner: &Inner,
    id: &ContainerId,
    volumes: &[String],
    durability: Durability,
) -> Result<RemovedContainer, GcError> {
    let (layout, reserve) = (&inner.layout, inner.layout.reserve());
    let mut moved = Moved::default();
    let removed = inner.db.write_freeing("remove a container", durability, &reserve, |tx| {
        moved.or_put_back(|moved| {
            moved.take(layout, layout.container(id))?;
            step(Point::RemoveMoved, layout)?;
            let was_there = crate::db::containers::delete(tx, id)?;
            let volumes = remove_unused(tx, layout, volumes, moved)?;
            Ok::<_, GcError>(RemovedContainer { was_there, volumes })
        })
    });
    match removed {
        Ok(removed) => {
            step(Point::RemoveRow, layout)?;
            moved.delete(layout)?;
            reserve.keep();
            Ok(removed)
        }
        Err(error) => {
            // If it was the commit that failed.
            moved.put_back();
            Err(error)
        }
    }
}

/// Removes those volumes that nobody uses, and names them.
fn remove_unused(
    tx: &Tx<'_>,
    layout: &Layout,
    volumes: &[String],
    moved: &mut Moved,
) -> Result<Vec<String>, GcError> {
    let mut gone = Vec::new();
    for name in volumes {
        volumes::moved::settle_behind(tx, layout, name)?;
        if volumes::delete_unused(tx, name)? {
            moved.take(layout, layout.volume(name))?;
            gone.push(name.clone());
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_download_is_as_old_as_it_is_far_away() {
        let (now, day) = (SystemTime::UNIX_EPOCH + 3 * PARTIAL_KEPT, PARTIAL_KEPT);
        let second = Duration::from_secs(1);
        assert!(age(now - second, now) < day && age(now + second, now) < day);
        assert!(age(now - day - second, now) > day);
        // A clock that was set back: it would never be old otherwise.
        assert!(age(now + day + second, now) > day);
    }
}
