//! The directory of a container's checkpoints, and what is done to those in it.
//!
//! It may be below a directory that others write to as well. So it is opened a level at a time, no
//! symbolic link is followed on the way, each level has to be ours alone, and all that is made,
//! believed or removed is reached from the descriptor that was looked at. What a checkpoint is made
//! of is not known here, but for its manifest.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::id::is_plain_name;
use runtime::criu::{self, Descriptors};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};
use sys::root::{Final, Root, RootError};

use super::carried::{self, CarryError};
use crate::EngineError;

/// What a checkpoint is, beside criu's files. It is written last.
const MANIFEST: &str = "dhow.json";
/// Longest manifest that is read.
const MAX_MANIFEST: u64 = 64 << 10;
/// Begins the name of what is being written or removed; no checkpoint is called so.
const UNFINISHED: &str = ".";
/// The only version so far.
const VERSION: u32 = 1;
/// Nobody else has to see what was in a container's memory.
const OURS: Mode = Mode::RWXU;

/// What of a checkpoint is dhow's own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    descriptors: Descriptors,
}

/// Where the checkpoints of a container are, whether or not there are any.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The engine's own directory of the container, or what the caller named.
    pub(super) base: PathBuf,
    /// Below it, level by level; all ours.
    pub(super) levels: Vec<String>,
}

impl Shelf {
    /// `None`: there is none yet.
    pub(super) fn open(&self) -> Result<Option<Kept>, EngineError> {
        let mut at = Dir {
            path: self.base.clone(),
            root: match Root::open(&self.base) {
                Err(error) if error.not_found() => return Ok(None),
                root => root.map_err(file("open", &self.base))?,
            },
        };
        for level in &self.levels {
            match at.below(level)? {
                Some(below) => at = below,
                None => return Ok(None),
            }
        }
        Ok(Some(Kept(at)))
    }

    /// Makes what of it is missing.
    pub(super) fn make(&self) -> Result<Kept, EngineError> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&self.base);
        made.map_err(EngineError::file("make", &self.base))?;
        let root = Root::open(&self.base).map_err(file("open", &self.base))?;
        let mut at = Dir { path: self.base.clone(), root };
        for level in &self.levels {
            at = at.make(level)?;
        }
        Ok(Kept(at))
    }
}

/// A directory, and what it is called in messages.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    root: Root,
}

impl Dir {
    /// A directory in it that is ours alone; `None`: nothing is there.
    fn below(&self, name: &str) -> Result<Option<Self>, EngineError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = match self.root.open_file(name, flags) {
            Err(error) if error.not_found() => return Ok(None),
            // What it leads to is not ours, whoever may write there.
            Err(error) if self.is_link(name) => {
                drop(error);
                return Err(distrusted(&path));
            }
            dir => dir.map_err(file("open", &path))?,
        };
        let found = rustix::fs::fstat(&dir)
            .map_err(|errno| EngineError::file("look at", &path)(errno.into()))?;
        check_owner(&found, &path)?;
        Ok(Some(Self { path, root: Root::from_fd(dir) }))
    }

    fn is_link(&self, name: &str) -> bool {
        self.root.metadata(name).is_ok_and(|found| kind(&found) == FileType::Symlink)
    }

    fn make(&self, name: &str) -> Result<Self, EngineError> {
        let path = self.path.join(name);
        match self.root.mkdir(name, OURS) {
            Err(error) if error.errno() == Some(sys::Errno::EXIST) => {}
            made => made.map_err(file("make", &path))?,
        }
        self.below(name)?
            .ok_or_else(|| EngineError::file("make", path)(io::ErrorKind::NotFound.into()))
    }

    fn names(&self) -> Result<Vec<PathBuf>, EngineError> {
        let entries = self.root.read_dir(".").map_err(file("read", &self.path))?;
        let names = entries.into_iter().map(|entry| {
            PathBuf::from(std::ffi::OsStr::from_bytes(entry.name.to_bytes()).to_owned())
        });
        Ok(names.collect())
    }
}

/// The directory of a container's checkpoints: ours alone.
#[derive(Debug)]
pub(super) struct Kept(Dir);

impl Kept {
    /// The names of those that are whole, in order.
    pub(super) fn whole(&self) -> Result<Vec<String>, EngineError> {
        let names = self.0.names()?.into_iter();
        let mut names: Vec<String> = names
            .filter_map(|name| name.into_os_string().into_string().ok())
            .filter(|name| is_plain_name(name) && self.has(name))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is such a checkpoint.
    pub(super) fn has(&self, name: &str) -> bool {
        let found = self.0.root.metadata(Path::new(name).join(MANIFEST));
        found.is_ok_and(|found| kind(&found) == FileType::RegularFile)
    }

    /// Whether anything has this name.
    pub(super) fn is_taken(&self, name: &str) -> Result<bool, EngineError> {
        self.0.root.exists(name).map_err(file("look at", &self.0.path.join(name)))
    }

    /// What was written down, and what its streams were. Whoever could have written there decides what
    /// runs with the rights of the host's root: criu believes what it reads.
    pub(super) fn images(&self, name: &str) -> Result<(OwnedFd, Descriptors), EngineError> {
        let path = self.0.path.join(name);
        let gone = || EngineError::file("open", &path)(io::ErrorKind::NotFound.into());
        let images = self.0.below(name)?.ok_or_else(gone)?;
        for name in images.names()? {
            let path = path.join(&name);
            let found = images.root.metadata(&name).map_err(file("look at", &path))?;
            check_owner(&found, &path)?;
        }
        let descriptors = manifest(&images.root, &path)?;
        Ok((images.root.into(), descriptors))
    }

    /// Writes a checkpoint as an archive.
    pub(super) fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), EngineError> {
        let (images, _) = self.images(name)?;
        carried::pack(images, MANIFEST, out).map_err(|error| uncarried("export", name, error))
    }

    /// An empty directory for what is being written, which nobody sweeps away. It is made and sealed by
    /// whoever holds the container's lock; in between there is no need for that.
    pub(super) fn stage(&self, name: &str) -> Result<Stage<'_>, EngineError> {
        self.sweep()?;
        let gone = unfinished(name);
        if self.0.root.exists(&gone).map_err(file("look at", &self.0.path.join(&gone)))? {
            return Err(EngineError::Invalid(format!(
                "checkpoint {name} is being written by another command"
            )));
        }
        let dir = self.0.make(&gone)?;
        // On a file system without locks another command may sweep it away: then this one fails.
        let _ = rustix::fs::flock(&dir.root, FlockOperation::NonBlockingLockExclusive);
        Ok(Stage { kept: self, name: name.to_owned(), dir, named: Named::No })
    }

    /// Removes a checkpoint.
    pub(super) fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.sweep()?;
        self.unname(name)
    }

    fn unname(&self, name: &str) -> Result<(), EngineError> {
        let (root, gone) = (&self.0.root, unfinished(name));
        let path = self.0.path.join(name);
        root.rename_new(name, &gone).map_err(file("remove", &path))?;
        root.remove_tree(&gone).map_err(file("remove", &path))
    }

    /// Removes what was never finished, and will not be: nobody is at it.
    fn sweep(&self) -> Result<(), EngineError> {
        let is_left =
            |name: &PathBuf| name.as_os_str().as_bytes().starts_with(UNFINISHED.as_bytes());
        for name in self.0.names()?.into_iter().filter(is_left) {
            if self.is_at_work(&name) {
                continue;
            }
            let removed = self.0.root.remove_tree(&name);
            removed.map_err(file("remove", &self.0.path.join(name)))?;
        }
        Ok(())
    }

    /// Whether somebody holds a stage.
    fn is_at_work(&self, name: &Path) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let Ok(dir) = self.0.root.open_file(name, flags) else { return false };
        let locked = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive);
        locked == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

/// Whether what is written has the name that was wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

/// A checkpoint that is being written.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    kept: &'a Kept,
    name: String,
    dir: Dir,
    named: Named,
}

impl AsFd for Stage<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.root.as_fd()
    }
}

impl Stage<'_> {
    /// Makes what is written last, and gives it its name.
    pub(super) fn seal(&mut self, descriptors: &Descriptors) -> Result<(), EngineError> {
        let manifest = Manifest { version: VERSION, descriptors: descriptors.clone() };
        let path = self.kept.0.path.join(&self.name);
        let failed = |error| EngineError::file("write the checkpoint", &path)(error);
        let bytes = serde_json::to_vec(&manifest).map_err(|error| failed(error.into()))?;
        let (all, root) = (&self.kept.0.root, &self.dir.root);
        let written = root.write_file(MANIFEST, &bytes, Mode::RUSR | Mode::WUSR);
        written.map_err(file("write the checkpoint", &path))?;
        // The container may end with this.
        rustix::fs::syncfs(root).map_err(|errno| failed(errno.into()))?;
        let renamed = all.rename_new(unfinished(&self.name), &self.name);
        renamed.map_err(file("write the checkpoint", &path))?;
        self.named = Named::Yes;
        rustix::fs::fsync(all).map_err(|errno| failed(errno.into()))
    }

    /// What an archive has, and what its streams were. Nothing of it is left to be flushed when it gets its
    /// name.
    pub(super) fn take(&self, archive: impl Read) -> Result<Descriptors, EngineError> {
        carried::unpack(archive, &self.dir.root)
            .map_err(|error| uncarried("import", &self.name, error))?;
        let descriptors = manifest(&self.dir.root, &self.dir.path)?;
        // It is written anew: last, as all others are.
        let old = self.dir.root.remove(MANIFEST);
        old.map_err(file("write the checkpoint", &self.dir.path))?;
        let flushed = rustix::fs::syncfs(&self.dir.root);
        flushed.map_err(|errno| EngineError::file("flush", &self.dir.path)(errno.into()))?;
        Ok(descriptors)
    }

    /// What criu told of its work.
    pub(super) fn log(&self) -> io::Result<File> {
        let log = self.dir.root.open_file(criu::LOG, OFlags::RDONLY | OFlags::NOFOLLOW);
        Ok(log.map_err(io::Error::other)?.into())
    }

    /// It is to stay. What criu told is of no use then.
    pub(super) fn keep(self) {
        let _ = self.dir.root.remove(criu::LOG);
    }

    /// It is not to stay. Whom nobody can remove now, the next one sweeps away.
    pub(super) fn discard(self) {
        let _ = match self.named {
            Named::Yes => self.kept.unname(&self.name),
            Named::No => {
                let root = &self.kept.0.root;
                let path = &self.dir.path;
                root.remove_tree(unfinished(&self.name)).map_err(file("remove", path))
            }
        };
    }
}

/// What the streams of a checkpoint were.
fn manifest(images: &Root, path: &Path) -> Result<Descriptors, EngineError> {
    let path = path.join(MANIFEST);
    let bytes = images.read_untrusted(MANIFEST, MAX_MANIFEST, Final::NoFollow);
    let bytes = bytes.map_err(file("read the checkpoint", &path))?;
    let manifest = serde_json::from_slice(&bytes).map_err(io::Error::other);
    let manifest: Manifest = manifest.map_err(EngineError::file("read the checkpoint", &path))?;
    if manifest.version != VERSION {
        let why = io::Error::other(format!("it is of version {}", manifest.version));
        return Err(EngineError::file("read the checkpoint", path)(why));
    }
    Ok(manifest.descriptors)
}

fn uncarried(what: &str, name: &str, error: CarryError) -> EngineError {
    EngineError::Invalid(format!("{what} checkpoint {name}: {error}"))
}

fn unfinished(name: &str) -> String {
    format!("{UNFINISHED}{name}")
}

fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// Whether nobody but us could have written to it.
fn check_owner(found: &Stat, path: &Path) -> Result<(), EngineError> {
    let is_ours = found.st_uid == rustix::process::geteuid().as_raw();
    let others = (Mode::WGRP | Mode::WOTH).as_raw_mode();
    if is_ours && found.st_mode & others == 0 && kind(found) != FileType::Symlink {
        return Ok(());
    }
    Err(distrusted(path))
}

fn distrusted(path: &Path) -> EngineError {
    EngineError::Invalid(format!(
        "the checkpoint is not trusted: others than its owner could have written {}",
        path.display()
    ))
}

/// For `map_err`: an operation in a root, told by its whole path.
fn file(what: &'static str, path: &Path) -> impl FnOnce(RootError) -> EngineError {
    let path = path.to_owned();
    move |error| {
        let error = error.errno().map_or_else(|| io::Error::other(error), io::Error::from);
        EngineError::file(what, path)(error)
    }
}
