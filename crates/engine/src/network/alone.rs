//! The right to make and remove networks, one at a time.
//!
//! The rows are decided by the database. Behind them the kernel is changed under names and subnets that the
//! next network may have as well, so a removal has taken all of the old one before the new one is made.
//!
//! Roots of one host know nothing of each other's rows, and see what others have by the kernel alone: who chooses a
//! subnet keeps all of them from choosing until it is there.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::NetworkError;
use crate::{Engine, EngineError};

/// Held while a network is made or removed; it ends with its process. The start of a container needs none:
/// its lease keeps its network.
#[derive(Debug)]
pub(super) struct Alone {
    _root: File,
}

/// Held by who chooses a subnet until the kernel has it; root's roots of one host have one. It ends with its process.
#[derive(Debug)]
pub(crate) struct Choice {
    /// `None` of who has it already, or needs none.
    file: Option<File>,
}

impl Drop for Choice {
    fn drop(&mut self) {
        if self.file.is_some() {
            CHOOSES.set(false);
        }
    }
}

thread_local! {
    /// Whether this thread chooses already: to make a network is to make the default one, where the tables are built.
    static CHOOSES: Cell<bool> = const { Cell::new(false) };
}

/// For how long others are waited for: who chooses looks at the kernel and writes a row, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The network namespace, whose subnets are chosen: one file for all who are in it, and always there. Any of its
/// programs can lock it, so it is not the first choice.
const NAMESPACE: &str = "/proc/self/ns/net";

impl Engine {
    /// Waits until no other root on this host chooses a subnet. An ordinary user's networks are in namespaces of
    /// their own.
    pub(crate) fn choose_alone(&self) -> Result<Choice, EngineError> {
        if sys::rootless::is_member() || CHOOSES.get() {
            return Ok(Choice { file: None });
        }
        let path = self.paths().choice();
        let (file, path) = match open(path) {
            Ok(file) => (file, path),
            // A host without one, or on which it cannot be written, has networks too.
            Err(error) if is_unwritable(&error) => {
                let path = Path::new(NAMESPACE);
                (File::open(path).map_err(EngineError::file("open", path))?, path)
            }
            Err(error) => return Err(EngineError::file("open", path)(error)),
        };
        let file = lock_within(file, PATIENCE, path)?;
        CHOOSES.set(true);
        Ok(Choice { file: Some(file) })
    }

    /// Waits until nobody else makes or removes a network. Nobody may hold it twice.
    pub(super) fn alone_with_networks(&self) -> Result<Alone, EngineError> {
        let root = self.paths().root();
        let failed = EngineError::file("lock", root);
        let locked = File::open(root).and_then(|root| {
            rustix::io::retry_on_intr(|| rustix::fs::flock(&root, FlockOperation::LockExclusive))?;
            Ok(root)
        });
        Ok(Alone { _root: locked.map_err(failed)? })
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Whoever could open it could keep it.
    File::options().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_unwritable(error: &io::Error) -> bool {
    use ErrorKind as K;
    matches!(
        error.kind(),
        K::ReadOnlyFilesystem
            | K::PermissionDenied
            | K::NotFound
            | K::StorageFull
            | K::NotADirectory
    )
}

/// Who waits is let in in turn by the kernel, which has no limit for that. What gives up leaves a thread that lets go
/// again when its turn comes.
fn lock_within(file: File, patience: Duration, path: &Path) -> Result<File, EngineError> {
    let failed = |errno: Errno| EngineError::file("lock", path)(errno.into());
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(file),
        Err(Errno::WOULDBLOCK | Errno::INTR) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let (say, heard) = mpsc::channel();
    let wait = move || {
        let lock = || rustix::fs::flock(&file, FlockOperation::LockExclusive);
        let locked = rustix::io::retry_on_intr(lock);
        // Nobody hears it who has given up.
        let _ = say.send(locked.map(|()| file));
    };
    let waiting = std::thread::Builder::new().spawn(wait);
    waiting.map_err(EngineError::file("start a thread that waits for", path))?;
    match heard.recv_timeout(patience) {
        Ok(locked) => locked.map_err(failed),
        Err(_) => {
            let (lock, seconds) = (path.to_owned(), patience.as_secs());
            Err(NetworkError::Chosen { lock, seconds }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;

    fn engine(dir: &Path, choice: &Path) -> Engine {
        let paths = Paths::new(dir.join("root"), dir.join("run"));
        Engine::open(paths.with_choice(choice.to_owned())).unwrap()
    }

    #[test]
    fn who_chooses_too_long_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let other = open(&path).unwrap();
        rustix::fs::flock(&other, FlockOperation::LockExclusive).unwrap();
        let again = || lock_within(open(&path).unwrap(), Duration::ZERO, &path);
        let said = again().unwrap_err().to_string();
        assert!(said.contains("/lock") && said.contains("another root"), "{said}");
        // Who has given up does not keep it when its turn comes.
        drop(other);
        lock_within(open(&path).unwrap(), PATIENCE, &path).unwrap();
    }

    /// Nothing is to be written there, and who is in this network namespace waits for each other all the same.
    #[test]
    fn a_host_whose_lock_cannot_be_written_has_networks() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path(), &dir.path().join("none/lock"));
        let choice = engine.choose_alone().unwrap();
        let namespace = File::open(NAMESPACE).unwrap();
        let there = rustix::fs::flock(&namespace, FlockOperation::NonBlockingLockExclusive);
        assert!(there.is_err(), "somebody chooses");
        // Who has it has it.
        drop(engine.choose_alone().unwrap());
        drop(choice);
    }

    #[test]
    fn the_lock_is_where_the_paths_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let engine = engine(dir.path(), &path);
        let choice = engine.choose_alone().unwrap();
        let other = open(&path).unwrap();
        let lock = rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert!(lock.is_err());
        drop(choice);
        // A process that another test has just cloned has the descriptor for a moment.
        lock_within(other, PATIENCE, &path).unwrap();
    }
}
