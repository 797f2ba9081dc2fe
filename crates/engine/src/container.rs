//! One container as the verbs see it: its row and record, its lock, and how it lives.

use std::fs::File;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use model::life::{ExitCode, Life, StartFailure};
use model::{ContainerId, NameOrId};
use rustix::fs::{FlockOperation, Mode, OFlags};
use store::{ContainerRow, Found};

use crate::record::{Progress, Record};
use crate::{Engine, EngineError};

/// What Docker shows for a container whose end nobody saw.
const UNSEEN_EXIT: ExitCode = ExitCode(255);

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
        let record = serde_json::from_str(&row.record)
            .map_err(|source| EngineError::Record { id, source })?;
        Ok(Self { id, row, record })
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

impl Engine {
    /// The container that the user means.
    pub(crate) fn find(&self, who: &NameOrId) -> Result<Container, EngineError> {
        match self.store().containers().find(who)? {
            Found::One(row) => Container::read(row),
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
        let lock = self.lock_dir(id, FlockOperation::LockExclusive)?;
        let lock = lock.ok_or_else(|| EngineError::BeingRemoved(id.to_string()))?;
        match self.reread(id) {
            Ok(container) => Ok((lock, container)),
            Err(error) => {
                self.forget_lock(id, &error);
                Err(error)
            }
        }
    }

    /// A lock that was made for a container that has gone goes too.
    pub(crate) fn forget_lock(&self, id: &ContainerId, error: &EngineError) {
        if matches!(error, EngineError::NoSuchContainer(_)) {
            let dir = self.paths().container_dir(id);
            // What fails here is found by the next collection.
            let _ = std::fs::remove_file(dir.join("op.lock"));
            let _ = std::fs::remove_dir(dir);
        }
    }

    /// The right to change a container, unless somebody has it.
    pub(crate) fn try_lock(&self, id: &ContainerId) -> Result<Option<OpLock>, EngineError> {
        self.lock_dir(id, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_dir(
        &self,
        id: &ContainerId,
        how: FlockOperation,
    ) -> Result<Option<OpLock>, EngineError> {
        let dir = self.paths().container_dir(id);
        std::fs::create_dir_all(&dir).map_err(EngineError::file("make", &dir))?;
        let path = dir.join("op.lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let locked = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).and_then(|file| {
            rustix::fs::flock(&file, how)?;
            Ok(file)
        });
        match locked {
            Ok(file) => Ok(Some(OpLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(EngineError::file("lock", &path)(errno.into())),
        }
    }

    /// Replaces a container's record.
    pub(crate) fn save(&self, container: &Container) -> Result<(), EngineError> {
        let json = to_json(&container.record);
        let saved =
            self.store().containers().set_record(&container.id, &json, durability(&container.row));
        saved.map_err(crate::create::row_error)
    }

    /// How a container lives, from the lock, the shim's files and the row, in that order.
    pub(crate) fn life(&self, container: &Container) -> Result<Life, EngineError> {
        let guarded = !self.is_free(&container.id)?;
        if guarded && let Some(life) = self.guarded_life(&container.id)? {
            return Ok(life);
        }
        let Progress::Started(start) = &container.record.progress else { return Ok(Life::NEW) };
        if let Some(failed) = &start.failed {
            return Ok(Life::Created { failed: Some(failed.clone()) });
        }
        Ok(match self.last_exit(&container.id)? {
            Some(exit) if exit.since >= start.at => exit.life(),
            // It is just being started.
            Some(_) | None if guarded => Life::NEW,
            // The shim was killed, or the machine went down: nobody saw the end.
            Some(_) | None => {
                Life::Exited { code: UNSEEN_EXIT, since: start.at, at: start.at, oom: false }
            }
        })
    }
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
pub(crate) fn read_own(path: &std::path::Path) -> Result<Option<String>, EngineError> {
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
pub(crate) fn write_own(path: &std::path::Path, text: &str) -> Result<(), EngineError> {
    let partial = path.with_extension("new");
    let written = File::create(&partial)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(EngineError::file("write", path))
}
