//! Who fills a volume that is there, and what of that is not whole: imports are alone with its files, and what reads
//! all of them does not see the half of one.
//!
//! The lock is a file of ours, by the device and inode of the files' root: two volumes may be one directory of the
//! host, and a container has the directory itself, which it could keep locked. What an import has begun is noted
//! beside the volume's files: a name alone could be of a directory of the user's.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use sys::root::Root;

use crate::prepare::store_error;
use crate::{Engine, EngineError, Paths};

/// Begins the names of what is not whole yet; 64 drawn digits follow.
const PARTIAL: &str = ".import-";
/// In a volume's directory, beside its files: the name of what is not whole.
const NOTE: &str = "import";
/// In the runtime root.
const LOCKS: &str = "v";
/// What a name is long at most.
const MAX_NAME: u64 = 255;

/// Held while a volume's files are filled, or all of them read. It ends with its process.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever has opened it before looks again whether it is there still.
        if rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where the locks are; for whoever clears the runtime root.
pub(crate) fn locks(paths: &Paths) -> PathBuf {
    paths.run().join(LOCKS)
}

impl Engine {
    /// Keeps everybody else from filling these files, and from reading all of them.
    pub(crate) fn fill_alone(&self, tree: &Root, name: &str) -> Result<Held, EngineError> {
        let held = self.held(tree, name, FlockOperation::NonBlockingLockExclusive)?;
        held.ok_or_else(|| {
            EngineError::Invalid(format!(
                "volume {name} is being imported into, exported or cloned: wait until that has ended"
            ))
        })
    }

    /// Keeps everybody from filling these files, which somebody reads, and removes what an import has left that was
    /// killed.
    pub(crate) fn read_whole(&self, tree: &Root, name: &str) -> Result<Held, EngineError> {
        if let Some(alone) = self.held(tree, name, FlockOperation::NonBlockingLockExclusive)? {
            let dir = crate::fill::open_dir(&self.paths().volume(name))?;
            clear_partial(tree, &dir, name)?;
            drop(alone);
        }
        let held = self.held(tree, name, FlockOperation::NonBlockingLockShared)?;
        held.ok_or_else(|| {
            EngineError::Invalid(format!(
                "volume {name} is being imported into: what is in it is not whole yet"
            ))
        })
    }

    /// `None` if others have it.
    fn held(
        &self,
        tree: &Root,
        name: &str,
        how: FlockOperation,
    ) -> Result<Option<Held>, EngineError> {
        let top = tree.metadata("").map_err(store_error)?;
        let dir = locks(self.paths());
        let failed = || EngineError::file("lock the volume", name);
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir);
        made.map_err(failed())?;
        let path = dir.join(format!("{:x}-{:x}", top.st_dev, top.st_ino));
        loop {
            let mut open = File::options();
            let file = open.write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = file.map_err(failed())?;
            match rustix::fs::flock(&file, how) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(failed()(errno.into())),
            }
            let own = file.metadata().map_err(failed())?;
            let there = std::fs::metadata(&path);
            if there.is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino())) {
                return Ok(Some(Held { file, path }));
            }
        }
    }

    /// Whether a volume has these files still: one that was removed meanwhile, and perhaps made again, has others.
    pub(crate) fn check_same(&self, name: &str, filled: &Root) -> Result<(), EngineError> {
        let id = |tree: &Root| {
            let top = tree.metadata("").map_err(store_error)?;
            Ok::<_, EngineError>((top.st_dev, top.st_ino))
        };
        let is_same = match self.store().volumes().get(name)? {
            Some(_) => id(&self.volume_tree(name)?)? == id(filled)?,
            None => false,
        };
        if is_same {
            return Ok(());
        }
        Err(EngineError::Invalid(format!(
            "volume {name} was removed while the archive was unpacked into it: nothing of that is kept"
        )))
    }
}

/// A name for what is not whole, noted before it is there.
pub(crate) fn begin(dir: &OwnedFd, name: &str) -> Result<PathBuf, EngineError> {
    let partial = format!("{PARTIAL}{}", crate::random::volume_name()?);
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let noted = rustix::fs::openat(dir, NOTE, flags, Mode::RUSR | Mode::WUSR).and_then(|note| {
        rustix::io::write(&note, partial.as_bytes())?;
        rustix::fs::fsync(&note)?;
        rustix::fs::fsync(dir)
    });
    noted
        .map_err(|errno| EngineError::file("note an import into the volume", name)(errno.into()))?;
    Ok(partial.into())
}

/// Removes what is noted as not whole, and the note.
pub(crate) fn clear_partial(tree: &Root, dir: &OwnedFd, name: &str) -> Result<(), EngineError> {
    let Some(partial) = noted(dir, name)? else { return Ok(()) };
    if let Some(partial) = partial.filter(|partial| is_directory(tree, partial)) {
        tree.remove_tree(&partial).map_err(store_error)?;
    }
    match rustix::fs::unlinkat(dir, NOTE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            Err(EngineError::file("forget an import into the volume", name)(errno.into()))
        }
    }
}

/// What an import has noted, if it is one of its names: a power cut can leave an empty note.
fn noted(dir: &OwnedFd, name: &str) -> Result<Option<Option<PathBuf>>, EngineError> {
    let failed = || EngineError::file("look for an import into the volume", name);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let note = match rustix::fs::openat(dir.as_fd(), NOTE, flags, Mode::empty()) {
        Ok(note) => File::from(note),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed()(errno.into())),
    };
    let mut text = String::new();
    note.take(MAX_NAME).read_to_string(&mut text).map_err(failed())?;
    Ok(Some(is_partial(&text).then(|| text.into())))
}

fn is_partial(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let drawn = name.strip_prefix(PARTIAL).unwrap_or_default();
    drawn.len() == 64 && drawn.bytes().all(is_digit)
}

fn is_directory(tree: &Root, path: &Path) -> bool {
    let found = tree.metadata(path);
    found.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn engine(dir: &Path) -> Engine {
        Engine::open(Paths::new(dir.join("root"), dir.join("run"))).unwrap()
    }

    #[test]
    fn who_fills_is_alone_and_readers_are_many() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let data = dir.path().join("data");
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(engine.paths().volume("vol")).unwrap();
        let tree = Root::open(&data).unwrap();
        // What a container can lock is nothing to this.
        let top = File::open(&data).unwrap();
        rustix::fs::flock(&top, FlockOperation::LockExclusive).unwrap();
        let alone = engine.fill_alone(&tree, "vol").unwrap();
        for refused in [engine.fill_alone(&tree, "vol"), engine.read_whole(&tree, "other")] {
            assert!(refused.unwrap_err().to_string().contains("is being imported into"));
        }
        drop(alone);
        let one = engine.read_whole(&tree, "vol").unwrap();
        let two = engine.read_whole(&tree, "vol").unwrap();
        assert!(engine.fill_alone(&tree, "vol").is_err());
        drop(one);
        assert!(engine.fill_alone(&tree, "vol").is_err());
        drop(two);
        drop(engine.fill_alone(&tree, "vol").unwrap());
        assert_eq!(fs::read_dir(locks(engine.paths())).unwrap().count(), 0);
    }

    #[test]
    fn only_what_was_noted_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (data, beside) = (dir.path().join("data"), dir.path().join("volume"));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&beside).unwrap();
        let (tree, fd) = (Root::open(&data).unwrap(), OwnedFd::from(File::open(&beside).unwrap()));
        let users = format!("{PARTIAL}{}", "a".repeat(64));
        fs::create_dir(data.join(&users)).unwrap();
        clear_partial(&tree, &fd, "vol").unwrap();
        assert!(data.join(&users).exists());
        let partial = begin(&fd, "vol").unwrap();
        fs::create_dir_all(data.join(&partial).join("deep")).unwrap();
        clear_partial(&tree, &fd, "vol").unwrap();
        assert!(data.join(&users).exists() && !data.join(&partial).exists());
        assert!(!beside.join(NOTE).exists());
        // A note that says anything else, or that a power cut has left empty, takes nothing away.
        for strange in ["", "..", "deep", &users.to_ascii_uppercase()] {
            fs::create_dir_all(data.join("deep")).unwrap();
            fs::write(beside.join(NOTE), strange).unwrap();
            clear_partial(&tree, &fd, "vol").unwrap();
            assert!(data.join("deep").exists() && !beside.join(NOTE).exists(), "{strange}");
        }
        // A file of the name is none of ours.
        let partial = begin(&fd, "vol").unwrap();
        fs::write(data.join(&partial), "").unwrap();
        clear_partial(&tree, &fd, "vol").unwrap();
        assert!(data.join(&partial).exists());
    }
}
