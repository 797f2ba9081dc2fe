//! What is kept of execs: a small file each, `<run>/exec/<container>/<exec>`, and for how long.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::{ContainerId, ExecId, ExitCode};
use serde::{Deserialize, Serialize};

use crate::container::{read_own, write_private};
use crate::view::{ExecLife, ExecSpec};
use crate::{Engine, EngineError};

/// How long an exec whose process has ended is known at least, as in Docker.
const KEPT: Duration = Duration::from_secs(300);

/// How many are known however long ago they have ended: as many as their shim knows.
const LAST: usize = 16;

/// How often a container's execs are looked through at most.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Touched by whoever does. It cannot be an exec's id.
const LOOKED_THROUGH: &str = "looked-through";

/// What is kept of an exec.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExecRecord {
    pub(super) container: ContainerId,
    pub(super) spec: ExecSpec,
    pub(super) progress: ExecProgress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ExecProgress {
    Created,
    Started,
    /// Its process ended, or could not be started. Written when somebody saw that.
    Ended(ExitCode),
    /// The OOM killer took its process.
    OutOfMemory(ExitCode),
}

impl Engine {
    /// Removes the records of a container's execs.
    pub(crate) fn forget_execs(&self, container: &ContainerId) -> Result<(), EngineError> {
        let dir = self.exec_dir(container);
        match std::fs::remove_dir_all(&dir) {
            // Most containers never have one, and whoever else removes it may be faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(EngineError::file("remove", dir)),
        }
    }

    /// Removes the records of containers that are no more.
    pub(crate) fn clear_execs(&self) -> Result<(), EngineError> {
        let Ok(entries) = std::fs::read_dir(self.paths().run().join("exec")) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            if let Ok(id) = entry.file_name().to_string_lossy().parse::<ContainerId>()
                && self.store().containers().get(&id)?.is_none()
            {
                self.forget_execs(&id)?;
            }
        }
        Ok(())
    }

    /// Looks through a container's execs that nobody has touched for a while: one whose process has
    /// ended is marked, one that was marked goes. So an end can be asked about for at least
    /// [`KEPT`], however long the process ran (Docker does the same).
    pub(super) fn forget_old_execs(&self, container: &ContainerId) {
        for (id, path) in self.old_execs(container) {
            // Whoever else looks through them may be faster, and what fails now is tried again by
            // the next: it says nothing about the exec that is made.
            if let Ok(record) = Self::exec_record_at(&id, &path) {
                let _ = self.age_exec(&id, record, &path);
            }
        }
    }

    fn age_exec(
        &self,
        id: &ExecId,
        mut record: ExecRecord,
        path: &Path,
    ) -> Result<(), EngineError> {
        match record.progress {
            ExecProgress::Created => {}
            ExecProgress::Ended(_) | ExecProgress::OutOfMemory(_) => {
                // As above.
                let _ = std::fs::remove_file(path);
            }
            ExecProgress::Started => match self.exec_life(&record.container, id) {
                Ok(ExecLife::Exited { code, oom, .. }) => {
                    let ended = if oom { ExecProgress::OutOfMemory } else { ExecProgress::Ended };
                    record.progress = ended(code);
                    self.save_exec(id, &record)?;
                }
                Ok(ExecLife::Created | ExecLife::Running { .. }) => {}
                Err(EngineError::NoSuchExec(_)) => {
                    let _ = std::fs::remove_file(path);
                }
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn old_execs(&self, container: &ContainerId) -> Vec<(ExecId, PathBuf)> {
        let dir = self.exec_dir(container);
        if !is_due(&dir) {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let aged = |entry: std::fs::DirEntry| {
            let age = entry.metadata().ok()?.modified().ok()?.elapsed().unwrap_or_default();
            let id = entry.file_name().to_string_lossy().parse().ok()?;
            Some((age, id, entry.path()))
        };
        let mut all: Vec<(Duration, ExecId, PathBuf)> =
            entries.flatten().filter_map(aged).collect();
        all.sort_unstable();
        let old = all.into_iter().skip(LAST).filter(|(age, ..)| *age > KEPT);
        old.map(|(_, id, path)| (id, path)).collect()
    }

    pub(super) fn exec_dir(&self, container: &ContainerId) -> PathBuf {
        self.paths().run().join("exec").join(container.to_string())
    }

    /// Clients name an exec without its container.
    pub(super) fn exec_record(&self, id: &ExecId) -> Result<ExecRecord, EngineError> {
        let name = id.to_string();
        let dirs = std::fs::read_dir(self.paths().run().join("exec")).into_iter().flatten();
        let mut paths = dirs.flatten().map(|entry| entry.path().join(&name));
        let path = paths.find(|path| path.exists());
        let path = path.ok_or(EngineError::NoSuchExec(name))?;
        Self::exec_record_at(id, &path)
    }

    pub(super) fn exec_record_at(id: &ExecId, path: &Path) -> Result<ExecRecord, EngineError> {
        let gone = || EngineError::NoSuchExec(id.to_string());
        let text = read_own(path)?.ok_or_else(gone)?;
        serde_json::from_str(&text).map_err(|_| gone())
    }

    pub(super) fn make_exec_dir(&self, container: &ContainerId) -> Result<(), EngineError> {
        let dir = self.exec_dir(container);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(EngineError::file("make", dir))
    }

    pub(super) fn save_exec(&self, id: &ExecId, record: &ExecRecord) -> Result<(), EngineError> {
        let path = self.exec_dir(&record.container).join(id.to_string());
        let json = serde_json::to_string(record).unwrap_or_default();
        write_private(&path, &json)
    }
}

/// Whether a container's execs are to be looked through: if nobody has for a while. Whoever does
/// touches a file beside their records. Else each of many execs would look at all the others.
fn is_due(dir: &Path) -> bool {
    let path = dir.join(LOOKED_THROUGH);
    let age = || path.metadata().ok()?.modified().ok()?.elapsed().ok();
    if age().is_some_and(|age| age < LOOK_EVERY) {
        return false;
    }
    // Without the mark the next one looks as well, which is all that can happen.
    let mark = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
    let _ = mark.and_then(|file| file.set_modified(SystemTime::now()));
    true
}
