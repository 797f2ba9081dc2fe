//! One container as the verbs see it: its row and record, its lock, and how it lives.

use std::fs::{DirBuilder, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use model::life::{ExitCode, Life, StartFailure};
use model::{ContainerId, NameOrId};
use rustix::fs::{FlockOperation, Mode, OFlags};
use shim::protocol::ExitRecord;
use shim::{Liveness, RecordError, Watch};
use store::{ContainerRow, Found};

use crate::guard::file_error;
use crate::prepare::store_error;
use crate::record::{Begun, Record};
use crate::{Engine, EngineError, random};

/// What Docker shows for a container whose end nobody saw.
pub(crate) const UNSEEN_EXIT: ExitCode = ExitCode(255);

/// A container's row, read.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) row: ContainerRow,
    pub(crate) record: Record,
}

impl Container {
    pub(crate) fn read(row: ContainerRow) -> Result<Self, EngineError> {
        let id = row.id;
        let record = serde_json::from_str(&row.record).map_err(|source| EngineError::Record {
            id,
            name: row.name.clone(),
            source,
        })?;
        Ok(Self { id, row, record })
    }

    /// The same for who takes back what it has, or looks past it: of a record that cannot be read, what is
    /// understood.
    pub(crate) fn read_or_salvage(row: ContainerRow) -> Result<Self, EngineError> {
        match Self::read(row.clone()) {
            Err(EngineError::Record { id, name, source }) => {
                let failed = |_| EngineError::Record { id, name, source };
                let record = Record::salvaged(&row.record).map_err(failed)?;
                Ok(Self { id, row, record })
            }
            read => read,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.row.name.as_str()
    }
}

/// Held while a verb changes a container; the kernel takes it back if the process dies.
#[derive(Debug)]
pub(crate) struct OpLock {
    _file: OwnedFd,
}

/// What came of the wish to change a container.
#[derive(Debug)]
pub(crate) enum Locked {
    /// It may be changed.
    Held(OpLock),
    /// Somebody else changes it.
    Busy,
    /// There is no such container any more.
    Gone,
}

impl Engine {
    /// The container that the user means.
    pub(crate) fn find(&self, who: &NameOrId) -> Result<Container, EngineError> {
        self.find_as(who, Container::read)
    }

    /// The same as [`Container::read_or_salvage`] reads it.
    pub(crate) fn find_to_remove(&self, who: &NameOrId) -> Result<Container, EngineError> {
        self.find_as(who, Container::read_or_salvage)
    }

    fn find_as(
        &self,
        who: &NameOrId,
        read: impl FnOnce(ContainerRow) -> Result<Container, EngineError>,
    ) -> Result<Container, EngineError> {
        match self.store().containers().find(who)? {
            Found::One(row) => read(row),
            Found::None => Err(EngineError::NoSuchContainer(who.to_string())),
            Found::Ambiguous => Err(EngineError::Ambiguous(who.to_string())),
        }
    }

    /// The container as its row is now.
    pub(crate) fn reread(&self, id: &ContainerId) -> Result<Container, EngineError> {
        match self.store().containers().get(id)? {
            Some(row) => Container::read(row),
            None => Err(EngineError::NoSuchContainer(id.to_string())),
        }
    }

    /// Waits for the right to change a container, then reads its row.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<(OpLock, Container), EngineError> {
        match self.lock_file(id, FlockOperation::LockExclusive)? {
            Locked::Held(lock) => Ok((lock, self.reread(id)?)),
            Locked::Busy | Locked::Gone => Err(EngineError::NoSuchContainer(id.to_string())),
        }
    }

    /// The same as [`Container::read_or_salvage`] reads it.
    pub(crate) fn lock_to_remove(
        &self,
        id: &ContainerId,
    ) -> Result<(OpLock, Container), EngineError> {
        let gone = || EngineError::NoSuchContainer(id.to_string());
        let Locked::Held(lock) = self.lock_file(id, FlockOperation::LockExclusive)? else {
            return Err(gone());
        };
        let row = self.store().containers().get(id)?.ok_or_else(gone)?;
        Ok((lock, Container::read_or_salvage(row)?))
    }

    /// Removes the lock of a container that has no row.
    pub(crate) fn remove_lock(&self, id: &ContainerId) {
        let dir = self.paths().container_dir(id);
        // What fails here is found by the next collection.
        let _ = std::fs::remove_file(dir.join("op.lock"));
        let _ = std::fs::remove_dir(dir);
    }

    /// The right to change a container, unless somebody has it.
    pub(crate) fn try_lock(&self, id: &ContainerId) -> Result<Locked, EngineError> {
        self.lock_file(id, FlockOperation::NonBlockingLockExclusive)
    }

    /// A removal takes the file away while its owner holds it, so whoever waited for that one looks
    /// whether it still has its name.
    fn lock_file(&self, id: &ContainerId, how: FlockOperation) -> Result<Locked, EngineError> {
        let path = self.op_lock(id);
        loop {
            let Some(file) = self.open_lock(id, &path)? else { return Ok(Locked::Gone) };
            match rustix::fs::flock(&file, how) {
                Ok(()) if is_named(&file, &path) => {
                    return Ok(Locked::Held(OpLock { _file: file }));
                }
                Ok(()) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Locked::Busy),
                Err(errno) => return Err(EngineError::file("lock", &path)(errno.into())),
            }
        }
    }

    /// `None` if there is no such container.
    fn open_lock(&self, id: &ContainerId, path: &Path) -> Result<Option<OwnedFd>, EngineError> {
        loop {
            match open_lock(path) {
                Ok(file) => return Ok(Some(file)),
                Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(EngineError::file("open", path)(errno.into())),
            }
            // It has been removed, or a power cut has taken its directory: the row decides.
            if self.store().container_dir(id).map_err(store_error)?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The lock of a container that nobody knows yet, in the directory that is made for it.
    pub(crate) fn make_locked(&self, id: &ContainerId) -> Result<OpLock, EngineError> {
        let dir = self.paths().container_dir(id);
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(EngineError::file("make", &dir))?;
        let path = self.op_lock(id);
        let locked = open_lock(&path).and_then(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(OpLock { _file: file })
        });
        locked.map_err(|errno| EngineError::file("lock", &path)(errno.into()))
    }

    fn op_lock(&self, id: &ContainerId) -> PathBuf {
        self.paths().container_dir(id).join("op.lock")
    }

    /// Replaces a container's record.
    pub(crate) fn save(&self, container: &Container) -> Result<(), EngineError> {
        let json = to_json(&container.record);
        let saved =
            self.store().containers().set_record(&container.id, &json, durability(&container.row));
        Ok(saved?)
    }

    /// How a container lives, from the lock, the shim's files and the row, in that order.
    pub(crate) fn life(&self, container: &Container) -> Result<Life, EngineError> {
        let mut watch = Watch::new(self.shim_paths(&container.id));
        let liveness = self.liveness_at(&mut watch, &container.id)?;
        self.life_at(container.record.begun().as_ref(), (&container.id, &mut watch), liveness)
    }

    /// The same for one that may not be readable: what is counted is counted all the same. `None` if a shim guards
    /// it and what that one says cannot be read.
    pub(crate) fn life_of_row(&self, row: ContainerRow) -> Result<Option<Life>, EngineError> {
        let id = row.id;
        match Container::read(row) {
            Ok(container) => known_life(self.life(&container)),
            Err(_) => self.life_unread(&id),
        }
    }

    /// The same for one whose lock has just been looked at.
    pub(crate) fn life_at(
        &self,
        begun: Option<&Begun>,
        (id, watch): (&ContainerId, &mut Watch),
        liveness: Liveness,
    ) -> Result<Life, EngineError> {
        let guarded = liveness == Liveness::Held;
        if guarded && let Some(life) = watch.state().map_err(|error| file_error(id, &error))? {
            return Ok(life);
        }
        let Some(start) = begun else { return Ok(Life::NEW) };
        if let Some(why) = &start.failed {
            return Ok(Life::Created { failed: Some(why.clone()) });
        }
        Ok(match seen_end(id, watch)? {
            Some(exit) if exit.since >= start.at => exit.life(),
            // It is just being started. `state.json` may be written at this very moment, and is no
            // sign of a death.
            Some(_) | None if guarded && !watch.has_last_words() => Life::NEW,
            // The shim was killed, or the machine went down: nobody saw the end.
            Some(_) | None => {
                Life::Exited { code: UNSEEN_EXIT, since: start.at, at: start.at, oom: false }
            }
        })
    }

    /// How a container lives whose record cannot be read: what its shim says alone; `None` if that cannot be read
    /// either.
    pub(crate) fn life_unread(&self, id: &ContainerId) -> Result<Option<Life>, EngineError> {
        let mut watch = Watch::new(self.shim_paths(id));
        if self.liveness_at(&mut watch, id)? == Liveness::Held {
            let state = watch.state().map_err(|error| file_error(id, &error));
            match known_life(state)? {
                Some(Some(life)) => return Ok(Some(life)),
                // It is just being started.
                Some(None) => {}
                None => return Ok(None),
            }
        }
        let exit = seen_end(id, &mut watch)?;
        Ok(Some(exit.map_or(Life::NEW, |exit| exit.life())))
    }
}

/// How a container ended last, if anybody saw it and that can be read.
fn seen_end(id: &ContainerId, watch: &mut Watch) -> Result<Option<ExitRecord>, EngineError> {
    match watch.exit() {
        // A record that a full disk or a power cut has left is as none: the end is not known.
        Err(RecordError::Damaged { .. }) => Ok(None),
        exit => exit.map_err(|error| file_error(id, &error)),
    }
}

/// `None` for what a shim's damaged file would have said. Whatever else is wrong stays an error: a shortage that
/// passes is no answer.
pub(crate) fn known_life<T>(life: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match life {
        Err(EngineError::Damaged { .. }) => Ok(None),
        life => life.map(Some),
    }
}

fn open_lock(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
}

/// Whether a file that was locked is the one that others will find.
fn is_named(file: &OwnedFd, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (rustix::fs::fstat(file), rustix::fs::lstat(path)) else {
        return false;
    };
    (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
}

/// A container's row is worth a sync unless the container goes with its process.
pub(crate) fn durability(row: &ContainerRow) -> store::Durability {
    if row.auto_remove { store::Durability::Eventual } else { store::Durability::Now }
}

/// A record as its row keeps it.
pub(crate) fn to_json(record: &Record) -> String {
    // Every map in a record has text keys, so this cannot fail.
    serde_json::to_string(record).unwrap_or_default()
}

/// Whether a failure leaves Docker's 126 or 127.
pub(crate) fn start_failure(code: u8, message: impl Into<String>) -> StartFailure {
    StartFailure { code: ExitCode(code), message: message.into() }
}

/// Reads a small file of the engine's own; `None` if there is none.
pub(crate) fn read_own(path: &Path) -> Result<Option<String>, EngineError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::file("read", path)(error)),
    }
}

/// The time now; the engine is where the clock is read.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Writes a small file of the engine's own by rename; it survives a killed process whole or not
/// at all.
pub(crate) fn write_own(path: &Path, text: &str) -> Result<(), EngineError> {
    write_with(OpenOptions::new().mode(0o666), path, text)
}

/// The same, for the owner's eyes alone.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), EngineError> {
    write_with(OpenOptions::new().mode(0o600), path, text)
}

fn write_with(options: &mut OpenOptions, path: &Path, text: &str) -> Result<(), EngineError> {
    // A name of its own: two that write the same file at once must not write into each other's.
    let partial = path.with_added_extension(format!("{:08x}.new", random::number()?));
    let written = options
        .write(true)
        .create_new(true)
        .open(&partial)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        EngineError::file("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use crate::Paths;

    fn engine(dir: &Path) -> Engine {
        Engine::open(Paths::new(dir.join("root"), dir.join("run"))).unwrap()
    }

    /// A row alone: enough to be locked and removed.
    fn row(engine: &Engine, byte: u8) -> ContainerId {
        let id = ContainerId::from_random([byte; 32]);
        let row = ContainerRow {
            id,
            name: format!("c{byte}").parse().unwrap(),
            image: None,
            created_ns: 1,
            auto_remove: false,
            record: "{}".to_owned(),
        };
        engine.store().containers().insert(&row, store::Durability::Eventual).unwrap();
        id
    }

    #[test]
    fn a_file_that_many_write_at_once_is_whole_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let text = |writer: usize| writer.to_string().repeat(100_000);
        std::thread::scope(|scope| {
            let write = |writer| (0..50).for_each(|_| write_own(&path, &text(writer)).unwrap());
            (0..4).for_each(|writer| drop(scope.spawn(move || write(writer))));
        });
        let read = std::fs::read_to_string(&path).unwrap();
        assert!((0..4).any(|writer| text(writer) == read));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// A removal is half-way: the directory is away, and the row is still there.
    #[test]
    fn who_waited_for_a_lock_that_was_moved_away_has_the_one_that_others_find() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let id = row(&engine, 1);
        let Locked::Held(ours) = engine.try_lock(&id).unwrap() else { panic!() };
        assert!(matches!(engine.try_lock(&id).unwrap(), Locked::Busy));
        let (say, hear) = mpsc::channel();
        let waiter = engine.clone();
        let waiting = std::thread::spawn(move || {
            say.send(waiter.lock_file(&id, FlockOperation::LockExclusive).unwrap()).unwrap();
        });
        // The kernel tells of those who wait.
        let lock = engine.paths().container_dir(&id).join("op.lock");
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(lock).unwrap());
        let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            assert!(Instant::now() < deadline, "nobody waits");
            std::thread::yield_now();
        }
        assert!(hear.try_recv().is_err(), "it waits");
        std::fs::rename(engine.paths().container_dir(&id), dir.path().join("away")).unwrap();
        drop(ours);
        let Locked::Held(_theirs) = hear.recv().unwrap() else { panic!() };
        assert!(matches!(engine.try_lock(&id).unwrap(), Locked::Busy), "two own it");
        waiting.join().unwrap();
    }

    #[test]
    fn nothing_is_made_for_a_container_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let id = row(&engine, 1);
        let Locked::Held(_ours) = engine.try_lock(&id).unwrap() else { panic!() };
        engine.store().remove_container(&id, &[], store::Durability::Eventual).unwrap();
        assert!(matches!(engine.try_lock(&id).unwrap(), Locked::Gone));
        assert!(matches!(engine.lock(&id), Err(EngineError::NoSuchContainer(_))));
        assert!(!engine.paths().container_dir(&id).exists());
    }

    #[test]
    fn a_lock_is_one_however_often_its_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let id = row(&engine, 2);
        let Locked::Held(old) = engine.try_lock(&id).unwrap() else { panic!() };
        // A removal that fails may put back the directory, and a power cut may lose it.
        std::fs::remove_dir_all(engine.paths().container_dir(&id)).unwrap();
        let Locked::Held(_new) = engine.try_lock(&id).unwrap() else { panic!() };
        drop(old);
        assert!(matches!(engine.try_lock(&id).unwrap(), Locked::Busy));
    }
}
