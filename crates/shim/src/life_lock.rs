//! The lock that says who owns a container's life.
//!
//! Byte 0 of `<run>/c/<id>/lock` is held by the shim for as long as it lives, or by whoever
//! removes the container. Byte 1, the door, is held for moments: by one who looks for the shim
//! or starts it, and by a shim that leaves. So nobody ever connects to a shim that is about to go,
//! and no two start one. A file that was removed meanwhile is no lock: everyone who gets one
//! checks that it still has its name.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::ContainerId;
use sys::Errno;

use crate::paths::{self, ShimPaths, remove_bundle};

/// Who holds this owns the container's life.
const LIFE: u32 = 0;
/// Who holds this comes or goes.
const DOOR: u32 = 1;

/// A container's lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Its directory cannot be made.
    #[error("create {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be opened or made.
    #[error("open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refuses to lock it.
    #[error("lock {}", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// Whether somebody owns a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nobody: it does not run.
    Free,
    /// A shim, or whoever removes it. Whether it runs, [`crate::read_state`] says.
    Held,
}

/// Asks who owns a container's life, without getting in anybody's way.
///
/// # Errors
/// The lock cannot be opened for a reason other than that it is not there.
pub fn probe(paths: &ShimPaths) -> Result<Liveness, LockError> {
    probe_again(&paths.lock(), &mut None)
}

/// The same for one who asks again: a lock that is held stays open in between.
pub(crate) fn probe_again(path: &Path, open: &mut Option<File>) -> Result<Liveness, LockError> {
    let is_held = |file: &File| {
        let asked = sys::lock::is_locked(file, LIFE);
        asked.map_err(|source| LockError::Lock { path: path.to_owned(), source })
    };
    // One that was removed is held by nobody a moment later, and never again: then its name is looked at.
    if let Some(file) = open.take()
        && is_held(&file)?
    {
        *open = Some(file);
        return Ok(Liveness::Held);
    }
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Liveness::Free),
        Err(source) => return Err(LockError::Open { path: path.to_owned(), source }),
    };
    if !is_held(&file)? {
        return Ok(Liveness::Free);
    }
    *open = Some(file);
    Ok(Liveness::Held)
}

/// Most locks that one who asks often keeps open.
const MAX_KEPT: usize = 16;

/// The same of any container below a root's `<run>`, for those who ask often: locks stay open in between.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    open: HashMap<ContainerId, File>,
    /// Whose life is held at this moment.
    seen: Vec<ContainerId>,
}

impl Lives {
    /// Another moment: who was seen has to be looked for again.
    pub(crate) fn at_another_moment(&mut self) {
        self.seen.clear();
    }

    /// Whether somebody owns a container's life at this moment, which lasts until another is told.
    ///
    /// # Errors
    /// That is not known, since its lock cannot be opened.
    pub(crate) fn is_held(&mut self, run: &Path, id: &ContainerId) -> io::Result<bool> {
        if self.seen.contains(id) {
            return Ok(true);
        }
        let is_held = self.is_held_now(run, id)?;
        if is_held && self.seen.len() < MAX_KEPT {
            self.seen.push(*id);
        }
        Ok(is_held)
    }

    fn is_held_now(&mut self, run: &Path, id: &ContainerId) -> io::Result<bool> {
        // One that was removed is held by nobody a moment later, and never again: then its name is looked at.
        if let Some(file) = self.open.get(id)
            && sys::lock::is_locked(file, LIFE)?
        {
            return Ok(true);
        }
        self.open.remove(id);
        let path = paths::dir_of(run, id).join(paths::LOCK);
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_held = sys::lock::is_locked(&file, LIFE)?;
        if is_held {
            // Each is a descriptor.
            if self.open.len() >= MAX_KEPT {
                self.open.clear();
            }
            self.open.insert(*id, file);
        }
        Ok(is_held)
    }
}

/// Ownership of a container's life.
#[derive(Debug)]
pub struct LifeLock {
    file: OwnedFd,
    paths: ShimPaths,
}

impl LifeLock {
    /// Takes it, if nobody has it. Makes the container's directory below `<run>`.
    ///
    /// # Errors
    /// The lock cannot be made or locked.
    pub fn try_take(paths: &ShimPaths) -> Result<Option<Self>, LockError> {
        loop {
            let file = open(paths)?;
            if !lock_result(paths, sys::lock::try_lock(&file, LIFE))? {
                return Ok(None);
            }
            if is_named(paths, &file) {
                return Ok(Some(Self { file: file.into(), paths: paths.clone() }));
            }
        }
    }

    /// Waits for whoever has it to let go: for a shim that no longer answers, since it leaves.
    ///
    /// # Errors
    /// The lock cannot be made or locked.
    pub fn take(paths: &ShimPaths) -> Result<Self, LockError> {
        loop {
            let file = open(paths)?;
            lock_result(paths, sys::lock::lock(&file, LIFE))?;
            if is_named(paths, &file) {
                return Ok(Self { file: file.into(), paths: paths.clone() });
            }
        }
    }

    /// Takes over a lock that this process was started with.
    pub(crate) const fn inherited(file: OwnedFd, paths: ShimPaths) -> Self {
        Self { file, paths }
    }

    /// The descriptor to pass on.
    pub(crate) const fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Closes the door behind the owner who leaves; `false` if somebody stands in it.
    pub(crate) fn try_close_door(&self) -> bool {
        sys::lock::try_lock(&self.file, DOOR).unwrap_or(false)
    }

    /// Opens it again: the owner stays.
    pub(crate) fn open_door(&self) {
        // It cannot fail for a descriptor that was locked before.
        let _ = sys::lock::unlock(&self.file, DOOR);
    }

    /// Removes the container's directory below `<run>`; the lock ends with this value. What is not
    /// there need not be removed, and what cannot be removed is found by the next one who takes
    /// the lock.
    pub fn remove_dir(self) {
        let (dir, lock) = (self.paths.dir(), self.paths.lock());
        remove_bundle(&self.paths.bundle());
        // Whatever is there: a shim that was killed may have left a record half-written.
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| *path != lock) {
            let _ = std::fs::remove_file(path);
        }
        // The last, since without it others come in.
        let _ = std::fs::remove_file(lock);
        let _ = std::fs::remove_dir(dir);
    }

    /// The same for a shim that leaves, unless an earlier one was killed and what it left is still
    /// to be taken back: that is then all that tells of it.
    pub(crate) fn leave(self) {
        if self.paths.last_words().exists() {
            let _ = std::fs::remove_file(self.paths.socket());
        } else {
            self.remove_dir();
        }
    }
}

/// The right to come in: while it is held, no shim leaves and nobody else starts one.
#[derive(Debug)]
pub(crate) struct Door {
    _file: File,
}

impl Door {
    /// Waits for whoever comes or goes at this moment.
    pub(crate) fn open(paths: &ShimPaths) -> Result<Self, LockError> {
        loop {
            let file = open(paths)?;
            lock_result(paths, sys::lock::lock(&file, DOOR))?;
            if is_named(paths, &file) {
                return Ok(Self { _file: file });
            }
        }
    }
}

/// How often a directory that goes is made anew.
const ATTEMPTS: usize = 100;

fn open(paths: &ShimPaths) -> Result<File, LockError> {
    let (path, dir) = (paths.lock(), paths.dir());
    for _ in 0..ATTEMPTS {
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.map_err(|source| LockError::Open { path, source }),
        }
        // Whoever leaves takes the directory along, perhaps before there is a file in it.
        match DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                return Err(LockError::Directory { path: dir, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    // No leaving shim is always faster: what is there is no directory, and leads to none.
    Err(LockError::Directory { path: dir, source: ErrorKind::NotADirectory.into() })
}

/// Whether the file that was locked is the one that others will find.
fn is_named(paths: &ShimPaths, file: &File) -> bool {
    let (Ok(ours), Ok(named)) = (file.metadata(), std::fs::metadata(paths.lock())) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

fn lock_result<T>(paths: &ShimPaths, result: Result<T, Errno>) -> Result<T, LockError> {
    result.map_err(|source| LockError::Lock { path: paths.lock(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clones;

    struct Scratch(ShimPaths, #[expect(dead_code, reason = "it is held")] clones::Nobody);

    impl Scratch {
        fn new(name: &str) -> Self {
            let nobody = clones::nobody();
            let dir = std::env::temp_dir().join(format!("dhow-{name}-{}", std::process::id()));
            let id = ContainerId::from_random([7; 32]);
            let (root, run) = (dir.join("root"), dir.join("run"));
            Self(ShimPaths { id, root, run, cgroup: "dhow-test".to_owned() }, nobody)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.run.parent().unwrap());
        }
    }

    #[test]
    fn one_owner_at_a_time_and_asking_takes_nothing() {
        let scratch = Scratch::new("lock");
        assert_eq!(probe(&scratch.0).unwrap(), Liveness::Free);
        let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        assert_eq!(probe(&scratch.0).unwrap(), Liveness::Held);
        assert_eq!(probe(&scratch.0).unwrap(), Liveness::Held);
        assert!(LifeLock::try_take(&scratch.0).unwrap().is_none());
        drop(lock);
        assert_eq!(probe(&scratch.0).unwrap(), Liveness::Free);
        assert!(LifeLock::try_take(&scratch.0).unwrap().is_some());
    }

    #[test]
    fn who_asks_often_hears_of_every_change() {
        let scratch = Scratch::new("lives");
        let mut lives = Lives::default();
        let mut is_held = || {
            lives.at_another_moment();
            lives.is_held(&scratch.0.run, &scratch.0.id)
        };
        assert!(!is_held().unwrap(), "nobody was ever there");
        // Its shim was killed, and another comes: the file is the same.
        for _ in 0..2 {
            let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
            assert!(is_held().unwrap() && is_held().unwrap());
            drop(lock);
            assert!(!is_held().unwrap());
        }
        // It leaves, and another comes: the file is another one.
        for _ in 0..2 {
            let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
            assert!(is_held().unwrap());
            lock.remove_dir();
            assert!(!is_held().unwrap());
        }
        std::fs::create_dir_all(scratch.0.lock()).unwrap();
        assert!(is_held().is_err(), "that is not known");
    }

    #[test]
    fn who_asks_for_many_keeps_some() {
        let scratch = Scratch::new("many-lives");
        let mut lives = Lives::default();
        let paths =
            |number| ShimPaths { id: ContainerId::from_random([number; 32]), ..scratch.0.clone() };
        let locks: Vec<_> =
            (0..40).map(|number| LifeLock::try_take(&paths(number)).unwrap().unwrap()).collect();
        for number in (0..40).chain(0..40) {
            assert!(lives.is_held(&scratch.0.run, &paths(number).id).unwrap());
            assert!(lives.open.len() <= MAX_KEPT && lives.seen.len() <= MAX_KEPT);
        }
        drop(locks);
        assert!(lives.is_held(&scratch.0.run, &paths(0).id).unwrap(), "one moment, one answer");
        assert!(!lives.is_held(&scratch.0.run, &paths(39).id).unwrap());
        lives.at_another_moment();
        assert!(!lives.is_held(&scratch.0.run, &paths(0).id).unwrap());
    }

    #[test]
    fn a_removed_lock_does_not_keep_the_next_owner_out() {
        let scratch = Scratch::new("gone");
        let old = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        let late = open(&scratch.0).unwrap();
        old.remove_dir();
        assert!(!scratch.0.dir().exists());
        assert!(sys::lock::try_lock(&late, LIFE).unwrap(), "its file can still be locked");
        let new = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        assert!(LifeLock::try_take(&scratch.0).unwrap().is_none());
        new.remove_dir();
    }

    /// Whoever opens the file just before it is removed gets a lock that nobody else sees.
    #[test]
    fn removals_and_takings_at_once_never_make_two_owners() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let scratch = Scratch::new("owners");
        let is_owned = AtomicBool::new(false);
        let take = || {
            let Some(lock) = LifeLock::try_take(&scratch.0).unwrap() else { return };
            assert!(!is_owned.swap(true, Ordering::SeqCst), "there are two owners");
            let file = File::from(lock.file().try_clone().unwrap());
            assert!(is_named(&scratch.0, &file), "others can have it as well");
            is_owned.store(false, Ordering::SeqCst);
            lock.remove_dir();
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| take()));
            }
        });
    }

    #[test]
    fn what_was_left_half_written_goes_as_well() {
        let scratch = Scratch::new("half");
        let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        for path in [scratch.0.state(), scratch.0.state().with_extension("json.new")] {
            std::fs::write(path, "{").unwrap();
        }
        lock.remove_dir();
        assert!(!scratch.0.dir().exists());
    }

    #[test]
    fn who_leaves_keeps_the_last_words_of_the_dead() {
        let scratch = Scratch::new("words");
        let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        for path in [scratch.0.last_words(), scratch.0.about(), scratch.0.socket()] {
            std::fs::write(path, "{}").unwrap();
        }
        lock.leave();
        assert_eq!(probe(&scratch.0).unwrap(), Liveness::Free);
        assert!(scratch.0.last_words().exists() && scratch.0.about().exists());
        assert!(!scratch.0.socket().exists());
        LifeLock::try_take(&scratch.0).unwrap().unwrap().remove_dir();
        assert!(!scratch.0.dir().exists());
    }

    #[test]
    fn an_owner_does_not_leave_while_somebody_comes_in() {
        let scratch = Scratch::new("door");
        let lock = LifeLock::try_take(&scratch.0).unwrap().unwrap();
        let door = Door::open(&scratch.0).unwrap();
        assert!(!lock.try_close_door());
        drop(door);
        assert!(lock.try_close_door());
        lock.open_door();
        Door::open(&scratch.0).unwrap();
    }
}
