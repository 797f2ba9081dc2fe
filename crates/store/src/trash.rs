//! Removal in two steps: out of the way by one rename, then deleted at leisure.
//!
//! What was renamed here is gone for every reader; a deletion cut short is finished by `gc`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sys::root::{Root, RootError};

use crate::layout::{Layout, random_name};

/// What lies in the trash for longer than any removal takes is of a process that was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// Something could not be put into the trash, or deleted from it.
#[derive(Debug, thiserror::Error)]
pub enum TrashError {
    /// It could not be moved.
    #[error("move {path} to the trash: {source}")]
    Move {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be read.
    #[error("list the trash {path}: {source}")]
    List {
        /// The trash.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be deleted.
    #[error("empty the trash {path}: {source}")]
    Delete {
        /// The trash.
        path: PathBuf,
        /// Why.
        source: RootError,
    },
}

/// What has been moved, so that it can be moved back.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Moved {
    items: Vec<(PathBuf, PathBuf)>,
}

impl Moved {
    /// Moves `path` into the trash; that nothing is there is success.
    pub(crate) fn take(&mut self, layout: &Layout, path: PathBuf) -> Result<(), TrashError> {
        let at_move = |source| TrashError::Move { path: path.clone(), source };
        let bin = layout.trash().join(random_name().map_err(at_move)?);
        match std::fs::rename(&path, &bin) {
            Ok(()) => {
                self.items.push((path, bin));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at_move(error)),
        }
    }

    /// Does `work`, and moves everything back if it fails: for the body of a transaction. While that
    /// holds its lock nobody can make anew what has been moved, or take it for lost.
    pub(crate) fn or_put_back<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        work(self).inspect_err(|_| self.put_back())
    }

    /// Moves everything back, as far as that goes: for a transaction that was not committed.
    pub(crate) fn put_back(&mut self) {
        for (path, bin) in self.items.drain(..).rev() {
            // The error that led here is the one to tell; what stays in the trash is collected.
            let _ = std::fs::rename(bin, path);
        }
    }

    /// Deletes everything, and what a process that was killed has left. That it cannot be deleted is
    /// not this removal's failure.
    pub(crate) fn delete(self, layout: &Layout) -> Result<(), TrashError> {
        if self.items.is_empty() {
            return Ok(());
        }
        let bins = self.items.iter().filter_map(|(_, bin)| bin.file_name());
        delete_all(layout, bins)?;
        if let Ok(old) = names(layout, ABANDONED)
            && !old.is_empty()
        {
            let _ = delete_all(layout, old.iter().map(|name| &**name));
        }
        Ok(())
    }
}

/// Moves one thing into the trash and deletes it there.
pub(crate) fn discard(layout: &Layout, path: PathBuf) -> Result<(), TrashError> {
    let mut moved = Moved::default();
    moved.take(layout, path)?;
    moved.delete(layout)
}

/// What lies in the trash for at least so long. Inside of a transaction, which puts all removals in
/// order, it is what nobody puts back any more.
pub(crate) fn names(layout: &Layout, age: Duration) -> Result<Vec<OsString>, TrashError> {
    let listed = || -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(layout.trash())? {
            let entry = entry?;
            if age.is_zero() || is_older(&entry, age) {
                names.push(entry.file_name());
            }
        }
        Ok(names)
    };
    listed().map_err(|source| TrashError::List { path: layout.trash(), source })
}

/// Its way to here was the last change of its inode. What is gone meanwhile is not old.
fn is_older(entry: &std::fs::DirEntry, age: Duration) -> bool {
    let Ok(metadata) = entry.metadata() else { return false };
    let changed = u64::try_from(metadata.ctime()).map(|at| UNIX_EPOCH + Duration::from_secs(at));
    let since = |at| SystemTime::now().duration_since(at).ok();
    changed.ok().and_then(since).is_some_and(|since| since >= age)
}

/// Deletes these from the trash, as far as that goes: the first error is told. That one is gone is
/// success.
pub(crate) fn delete_all<'n>(
    layout: &Layout,
    names: impl Iterator<Item = &'n OsStr>,
) -> Result<(), TrashError> {
    let root = open(layout)?;
    let mut deleted = Ok(());
    for name in names {
        let removed = root.remove_tree(Path::new(name));
        deleted = deleted.and(removed.map_err(|source| at_delete(layout, source)));
    }
    deleted
}

fn open(layout: &Layout) -> Result<Root, TrashError> {
    Root::open(layout.trash()).map_err(|source| at_delete(layout, source))
}

fn at_delete(layout: &Layout, source: RootError) -> TrashError {
    TrashError::Delete { path: layout.trash(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        (dir, layout)
    }

    #[test]
    fn what_is_moved_can_come_back_or_go() {
        let (_dir, layout) = layout();
        let victim = layout.staging().join("victim");
        std::fs::create_dir_all(victim.join("deep/er")).unwrap();
        let mut moved = Moved::default();
        moved.take(&layout, victim.clone()).unwrap();
        moved.take(&layout, layout.staging().join("nothing")).unwrap();
        assert!(!victim.exists());
        moved.put_back();
        assert!(victim.join("deep/er").exists());
        discard(&layout, victim.clone()).unwrap();
        assert!(!victim.exists());
        assert_eq!(std::fs::read_dir(layout.trash()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_failed_step_has_moved_is_back_when_it_returns() {
        let (_dir, layout) = layout();
        let victim = layout.staging().join("victim");
        std::fs::create_dir_all(&victim).unwrap();
        let mut moved = Moved::default();
        let failed: Result<(), TrashError> = moved.or_put_back(|moved| {
            moved.take(&layout, victim.clone())?;
            assert!(!victim.exists());
            Err(TrashError::Move { path: victim.clone(), source: io::ErrorKind::Other.into() })
        });
        assert!(failed.is_err());
        assert!(victim.exists());
        // Whoever makes it anew from now on keeps it.
        std::fs::remove_dir(&victim).unwrap();
        moved.put_back();
        assert!(!victim.exists());
    }

    #[test]
    fn a_deletion_cut_short_is_finished() {
        let (_dir, layout) = layout();
        std::fs::create_dir_all(layout.trash().join("left/over")).unwrap();
        assert_eq!(names(&layout, ABANDONED).unwrap().len(), 0, "somebody may be at it");
        let left = names(&layout, Duration::ZERO).unwrap();
        delete_all(&layout, left.iter().map(|name| &**name)).unwrap();
        assert_eq!(std::fs::read_dir(layout.trash()).unwrap().count(), 0);
    }
}
