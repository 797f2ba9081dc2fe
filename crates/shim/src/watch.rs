//! How a container lives, for those who ask about the same one again and again.
//!
//! What was read is believed while the kernel says that it is still what others would find: the lock that was open is
//! held, or the file that was read still has its name. Nothing is believed for its age. The files are
//! replaced by a rename and never written to, and one that is open shares its number with no other.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Life;
use model::health::Health;
use serde::de::DeserializeOwned;

use crate::health;
use crate::life_lock::{self, Liveness, LockError};
use crate::paths::ShimPaths;
use crate::protocol::ExitRecord;
use crate::record::{self, RecordError};

/// What is known of one container's life. Each file that it has read stays open: four at most.
#[derive(Debug)]
pub struct Watch {
    paths: ShimPaths,
    /// Those of each look at one that runs.
    lock_path: PathBuf,
    state_path: PathBuf,
    lock: Option<File>,
    state: Kept<Life>,
    /// Whether `state.json` was found as it was read when its owner was last looked for.
    is_state_current: bool,
    exit: Kept<ExitRecord>,
    health: [Kept<Health>; 2],
}

/// What a file said; nothing if there was none.
#[derive(Debug)]
struct Kept<T>(Option<Seen<T>>);

#[derive(Debug)]
struct Seen<T> {
    file: File,
    /// Device and inode, once somebody has asked.
    number: Option<(u64, u64)>,
    value: Option<T>,
}

impl Watch {
    /// Nothing is known yet, and nothing was looked at.
    #[must_use]
    pub fn new(paths: ShimPaths) -> Self {
        Self {
            lock_path: paths.lock(),
            state_path: paths.state(),
            paths,
            lock: None,
            state: Kept(None),
            is_state_current: false,
            exit: Kept(None),
            health: [Kept(None), Kept(None)],
        }
    }

    /// Who owns the container's life now: as [`crate::probe`].
    ///
    /// # Errors
    /// The lock cannot be opened for a reason other than that it is not there.
    pub fn liveness(&mut self) -> Result<Liveness, LockError> {
        let was_open = self.lock.is_some();
        let liveness = life_lock::probe_again(&self.lock_path, &mut self.lock)?;
        self.is_state_current = false;
        if !was_open || liveness == Liveness::Free {
            return Ok(liveness);
        }
        // Who asks for the state next is told of this look. An error comes again with that one.
        self.is_state_current = self.state.is_at(&self.state_path).unwrap_or(false);
        // Where it has changed, somebody may have removed the directory of a shim that still lives: then others find
        // no lock, or another.
        if !self.is_state_current && !self.is_lock_named() {
            self.lock = None;
            return life_lock::probe_again(&self.lock_path, &mut self.lock);
        }
        Ok(liveness)
    }

    fn is_lock_named(&self) -> bool {
        let ours = self.lock.as_ref().and_then(|lock| lock.metadata().ok());
        let named = std::fs::symlink_metadata(&self.lock_path).ok();
        ours.zip(named).is_some_and(|(ours, named)| number(&ours) == number(&named))
    }

    /// How the container lives now: as [`crate::read_state`].
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn state(&mut self) -> Result<Option<Life>, RecordError> {
        match &self.state.0 {
            Some(seen) if std::mem::take(&mut self.is_state_current) => Ok(seen.value.clone()),
            Some(_) | None => self.state.read(&self.state_path),
        }
    }

    /// How the container ended last: as [`crate::read_exit`].
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn exit(&mut self) -> Result<Option<ExitRecord>, RecordError> {
        self.exit.read(&self.paths.exit_record())
    }

    /// How the container is: as [`crate::read_health`].
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn health(&mut self) -> Result<Option<Health>, RecordError> {
        let [live, kept] = &mut self.health;
        match live.read(&health::live(&self.paths))? {
            Some(health) => Ok(Some(health)),
            None => kept.read(&health::kept(&self.paths)),
        }
    }

    /// Whether a shim died without a word, and another is there by now.
    #[must_use]
    pub fn has_last_words(&self) -> bool {
        self.paths.last_words().exists()
    }
}

impl<T: DeserializeOwned + Clone> Kept<T> {
    fn read(&mut self, path: &Path) -> Result<Option<T>, RecordError> {
        if self.is_at(path)?
            && let Some(seen) = &self.0
        {
            return Ok(seen.value.clone());
        }
        self.0 = None;
        let Some((file, value)) = record::read_open(path)? else { return Ok(None) };
        let seen = self.0.insert(Seen { file, number: None, value });
        Ok(seen.value.clone())
    }
}

impl<T> Kept<T> {
    fn is_at(&mut self, path: &Path) -> Result<bool, RecordError> {
        self.0.as_mut().map_or(Ok(false), |seen| seen.is_at(path))
    }
}

impl<T> Seen<T> {
    /// Whether the file that was read is the one that others find.
    fn is_at(&mut self, path: &Path) -> Result<bool, RecordError> {
        let failed = |source| RecordError::Read { path: path.to_owned(), source };
        let named = match std::fs::symlink_metadata(path) {
            Ok(named) => named,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let ours = match self.number {
            Some(ours) => ours,
            None => *self.number.insert(number(&self.file.metadata().map_err(failed)?)),
        };
        Ok(number(&named) == ours)
    }
}

fn number(of: &Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    use jiff::Timestamp;
    use model::ContainerId;
    use model::health::HealthStatus;

    use crate::protocol::ByHand;
    use crate::{LifeLock, clones};

    /// Locks are as free as they look: nobody is cloned meanwhile.
    fn scratch() -> ((tempfile::TempDir, clones::Nobody), ShimPaths) {
        let dir = tempfile::tempdir().unwrap();
        let (root, run) = (dir.path().join("root"), dir.path().join("run"));
        let id = ContainerId::from_random([7; 32]);
        let paths = ShimPaths { id, root, run, cgroup: "dhow-test".to_owned() };
        for file in [paths.state(), paths.exit_record()] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        ((dir, clones::nobody()), paths)
    }

    /// What a fresh look says, and that one who has looked before says the same.
    #[track_caller]
    fn look(watch: &mut Watch) -> (Liveness, Option<Life>, Option<ExitRecord>, Option<Health>) {
        let paths = watch.paths.clone();
        let fresh = (
            crate::probe(&paths).unwrap(),
            crate::read_state(&paths).unwrap(),
            crate::read_exit(&paths).unwrap(),
            crate::read_health(&paths).unwrap(),
        );
        let again = |watch: &mut Watch| {
            let liveness = watch.liveness().unwrap();
            (liveness, watch.state().unwrap(), watch.exit().unwrap(), watch.health().unwrap())
        };
        assert_eq!(again(watch), fresh);
        assert_eq!(again(watch), fresh);
        fresh
    }

    #[test]
    fn every_change_is_seen_however_soon_it_comes() {
        let (_dir, paths) = scratch();
        let mut watch = Watch::new(paths.clone());
        assert_eq!(look(&mut watch), (Liveness::Free, None, None, None));
        let at = Timestamp::new(1_795_299_767, 224_372_180).unwrap();
        // Two states of one length, written in turn faster than any clock of a file system ticks: their files take
        // the numbers of those before.
        for pid in (10..99).chain(10..99) {
            let life = Life::Running { pid, since: at };
            record::write(&paths.state(), &life).unwrap();
            assert_eq!(look(&mut watch).1, Some(life));
        }
        let paused = Life::Paused { pid: 98, since: at };
        record::write(&paths.state(), &paused).unwrap();
        assert_eq!(look(&mut watch).1, Some(paused));
        std::fs::rename(paths.state(), paths.last_words()).unwrap();
        assert_eq!(look(&mut watch).1, None);
        assert!(watch.has_last_words());
        for code in 1..9 {
            let code = model::ExitCode(code);
            let exit = ExitRecord { code, oom: false, since: at, at, by_hand: ByHand::No };
            crate::write_exit(&paths, &exit).unwrap();
            assert_eq!(look(&mut watch).2, Some(exit));
        }
    }

    #[test]
    fn an_owner_who_goes_and_another_who_comes_are_seen() {
        let (_dir, paths) = scratch();
        let mut watch = Watch::new(paths.clone());
        for _ in 0..3 {
            // The same file, and then another of that name.
            let lock = LifeLock::try_take(&paths).unwrap().unwrap();
            assert_eq!(look(&mut watch).0, Liveness::Held);
            drop(lock);
            assert_eq!(look(&mut watch).0, Liveness::Free);
            let lock = LifeLock::try_take(&paths).unwrap().unwrap();
            assert_eq!(look(&mut watch).0, Liveness::Held);
            lock.remove_dir();
            assert_eq!(look(&mut watch).0, Liveness::Free);
        }
    }

    #[test]
    fn who_lives_without_a_name_is_gone_for_all() {
        let (_dir, paths) = scratch();
        let mut watch = Watch::new(paths.clone());
        let life = Life::Running { pid: 7, since: Timestamp::UNIX_EPOCH };
        for has_state in [true, false] {
            let lock = LifeLock::try_take(&paths).unwrap().unwrap();
            if has_state {
                record::write(&paths.state(), &life).unwrap();
            }
            assert_eq!(look(&mut watch).0, Liveness::Held);
            assert_eq!(look(&mut watch).1.is_some(), has_state);
            std::fs::remove_dir_all(paths.dir()).unwrap();
            assert_eq!(look(&mut watch).0, Liveness::Free);
            drop(lock);
        }
    }

    #[test]
    fn health_is_of_the_life_that_is_or_of_the_last_one() {
        let (_dir, paths) = scratch();
        let mut watch = Watch::new(paths.clone());
        let healthy = Health { status: HealthStatus::Healthy, ..Health::starting() };
        for streak in 0..9 {
            let health = Health { streak, ..healthy.clone() };
            health::write_health(&paths, &health).unwrap();
            assert_eq!(look(&mut watch).3, Some(health));
        }
        health::keep_health(&paths).unwrap();
        assert_eq!(look(&mut watch).3.unwrap().status, HealthStatus::Unhealthy);
        health::write_health(&paths, &healthy).unwrap();
        assert_eq!(look(&mut watch).3, Some(healthy));
    }
}
