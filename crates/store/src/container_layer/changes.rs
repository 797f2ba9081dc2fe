//! What a container has changed: its upper directory compared with the layers below.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use sys::root::{Root, RootError};

use super::{ContainerLayer, MountError};
use crate::layers::LayerError;

/// How a path differs from the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Its content, its attributes, or what is below it.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute, as the container sees it; any bytes but NUL.
    pub path: PathBuf,
    /// How it changed.
    pub kind: ChangeKind,
}

impl ContainerLayer {
    /// What differs from the image, sorted by path, as `docker diff` lists it. That something of
    /// `places` (relative to the root) is new is not told: whoever runs the container has made it.
    ///
    /// # Errors
    /// The file system.
    pub fn changes(&self, places: &[&str]) -> Result<Vec<Change>, MountError> {
        let upper = self.open_upper()?;
        let lower = self.lower_tree()?;
        let places = places.iter().map(Path::new).collect();
        let mut walk = Walk { upper, lower, places, changes: Vec::new(), listed: BTreeSet::new() };
        walk.run().map_err(|source| LayerError::root(&self.upper())(source))?;
        walk.changes.sort();
        Ok(walk.changes)
    }

    fn open_upper(&self) -> Result<Root, LayerError> {
        let path = self.upper();
        Root::open(&path).map_err(LayerError::root(&path))
    }
}

/// A walk over the upper tree. Goes by paths under its root, so that no depth of a container's tree
/// costs descriptors or stack.
struct Walk<'p> {
    upper: Root,
    lower: Root,
    /// What is not told of if it is new.
    places: BTreeSet<&'p Path>,
    changes: Vec<Change>,
    listed: BTreeSet<PathBuf>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), RootError> {
        let mut waiting = vec![PathBuf::new()];
        while let Some(dir) = waiting.pop() {
            for (path, stat) in children(&self.upper, &dir)? {
                self.visit(&path, &stat)?;
                waiting.extend(is_dir(&stat).then_some(path));
            }
        }
        Ok(())
    }

    fn visit(&mut self, path: &Path, stat: &Stat) -> Result<(), RootError> {
        let below = match self.lower.metadata(path) {
            Ok(below) => Some(below),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error),
        };
        let kind = match below {
            // A whiteout of something that is in no layer: made and removed again.
            None if is_whiteout(stat) => return Ok(()),
            None if self.places.contains(path) => return Ok(()),
            None => ChangeKind::Added,
            Some(_) if is_whiteout(stat) => ChangeKind::Deleted,
            // The overlay copies every directory up on the way to a change.
            Some(below) if is_same_directory(stat, &below) => return Ok(()),
            // A place that was made in it has changed its time.
            Some(below) if self.has_places(path) && is_like(stat, &below) => return Ok(()),
            Some(_) => ChangeKind::Modified,
        };
        self.list(path, kind);
        Ok(())
    }

    fn has_places(&self, dir: &Path) -> bool {
        self.places.iter().any(|place| place.parent() == Some(dir))
    }

    /// Docker lists the parents of a change, too.
    fn list(&mut self, path: &Path, kind: ChangeKind) {
        let parents: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty())
            .map(Path::to_owned)
            .collect();
        for parent in parents {
            self.add(&parent, ChangeKind::Modified);
        }
        self.add(path, kind);
    }

    fn add(&mut self, path: &Path, kind: ChangeKind) {
        if self.listed.insert(path.to_owned()) {
            self.changes.push(Change { path: Path::new("/").join(path), kind });
        }
    }
}

/// What is in a directory right now; nothing, if it has gone.
pub(super) fn children(root: &Root, dir: &Path) -> Result<Vec<(PathBuf, Stat)>, RootError> {
    let at = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let mut found = Vec::new();
    // From the directory itself each entry is one system call away, from the root it is three.
    let here = match root.open_dir(at) {
        Err(error) if is_absent(&error) => return Ok(found),
        here => here?,
    };
    for entry in here.read_dir(".")? {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        match here.metadata(name) {
            Ok(stat) => found.push((dir.join(name), stat)),
            // The container is running: what was there a moment ago may be gone.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_absent(error: &RootError) -> bool {
    use rustix::io::Errno;
    matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR))
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// A directory of the same rights.
fn is_like(stat: &Stat, below: &Stat) -> bool {
    is_dir(stat)
        && is_dir(below)
        && (stat.st_mode, stat.st_uid, stat.st_gid) == (below.st_mode, below.st_uid, below.st_gid)
}

fn is_same_directory(stat: &Stat, below: &Stat) -> bool {
    is_like(stat, below)
        && (stat.st_mtime, stat.st_mtime_nsec) == (below.st_mtime, below.st_mtime_nsec)
}
