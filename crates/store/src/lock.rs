//! Locks that end with their holder: `flock` on a file or directory that may be removed meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The outcome of an attempt to lock without waiting.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Ours until the file is closed.
    Held(File),
    /// Another process or thread has it.
    Busy,
    /// There is nothing at the path.
    Gone,
}

/// How to open what is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file, made if it is missing, to be read and written.
    File,
    /// A file that must exist.
    ExistingFile,
    /// A directory that must exist.
    Directory,
}

/// Locks what `path` names, without waiting.
pub(crate) fn attempt(path: &Path, kind: Kind) -> io::Result<Attempt> {
    loop {
        let Some(file) = open(path, kind)? else { return Ok(Attempt::Gone) };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_still(path, &file)? => return Ok(Attempt::Held(file)),
            // Its former holder removed or renamed it between our open and our lock.
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until nobody holds a lock on what `path` names, or nothing is there any more.
pub(crate) fn wait(path: &Path, kind: Kind) -> io::Result<()> {
    let Some(file) = open(path, kind)? else { return Ok(()) };
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockShared))?;
    Ok(())
}

fn open(path: &Path, kind: Kind) -> io::Result<Option<File>> {
    let mut options = File::options();
    match kind {
        Kind::File => options.read(true).write(true).create(true).truncate(false).mode(0o600),
        Kind::ExistingFile => options.read(true).write(true),
        Kind::Directory => options.read(true),
    };
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && kind != Kind::File => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(matches!(attempt(&path, Kind::ExistingFile).unwrap(), Attempt::Gone));
        let held = attempt(&path, Kind::File).unwrap();
        assert!(matches!(held, Attempt::Held(_)));
        assert!(matches!(attempt(&path, Kind::File).unwrap(), Attempt::Busy));
        drop(held);
        assert!(matches!(attempt(&path, Kind::File).unwrap(), Attempt::Held(_)));
        wait(&path, Kind::ExistingFile).unwrap();
    }

    #[test]
    fn a_lock_on_something_renamed_away_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let Attempt::Held(old) = attempt(&path, Kind::File).unwrap() else { panic!() };
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert!(!is_still(&path, &old).unwrap());
        let Attempt::Held(new) = attempt(&path, Kind::File).unwrap() else { panic!() };
        assert!(is_still(&path, &new).unwrap());
    }
}
