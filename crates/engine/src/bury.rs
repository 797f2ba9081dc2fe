//! What a shim that was killed has left in the kernel: seen by its last words, and taken back.
//!
//! A shim removes `state.json` when its container ends. One that is there while nobody guards the
//! container, or that a later shim has set aside, is of a shim that died.

use std::path::Path;

use cgroup::{Cgroup, CgroupError, Hierarchies};
use model::{ContainerId, Life};
use shim::protocol::{ByHand, CgroupName, ExitRecord};

use crate::container::{Container, OpLock, UNSEEN_EXIT, now};
use crate::reconcile::cgroup_error;
use crate::{Engine, EngineError};

impl Engine {
    /// Whether a shim was killed and what it left is still there.
    pub(crate) fn has_died(&self, id: &ContainerId) -> Result<bool, EngineError> {
        let paths = self.shim_paths(id);
        Ok(paths.last_words().exists() || (paths.state().exists() && self.is_free(id)?))
    }

    /// The same, asked by one who owns the container's life.
    pub(crate) fn has_left_words(&self, id: &ContainerId) -> bool {
        let paths = self.shim_paths(id);
        paths.last_words().exists() || paths.state().exists()
    }

    /// Takes back what a shim that was killed has left: its ports, its cgroup with whatever
    /// process is in there, and its last words in the end. Under the container's lock nothing is
    /// launched meanwhile, so a shim that may be there by now is idle.
    pub(crate) fn bury(&self, _lock: &OpLock, container: &Container) -> Result<(), EngineError> {
        self.unpublish_leftovers(container)?;
        self.end_orphans(container)?;
        self.write_end(container)?;
        let paths = self.shim_paths(&container.id);
        // In this order: a shim that starts now makes the one the other.
        remove(&paths.state())?;
        remove(&paths.last_words())
    }

    /// Writes down and tells the end that nobody saw. Before this a new shim, which knows of no end,
    /// makes the container look as if it had never been started.
    fn write_end(&self, container: &Container) -> Result<(), EngineError> {
        let id = &container.id;
        let Some(start) = container.record.last_start().filter(|start| start.failed.is_none())
        else {
            return Ok(());
        };
        let paths = self.shim_paths(id);
        let seen = self.last_exit(id)?.filter(|exit| exit.since >= start.at);
        let exit = if let Some(exit) = seen {
            exit
        } else {
            let exit = ExitRecord {
                code: UNSEEN_EXIT,
                oom: false,
                since: start.at,
                // A clock that was set back makes nothing end before it began.
                at: now().max(start.at),
                by_hand: ByHand::No,
            };
            // As its shim would do it: on a full disk nobody knows the end, and it can be removed.
            let _ = shim::write_exit(&paths, &exit);
            exit
        };
        // One that never came to run has not died. Twice is better than never: the shim may have
        // been killed after it told it.
        if self.has_left_words(id) && !self.was_between_lives(id) {
            shim::tell_end(&paths, &exit);
        }
        Ok(())
    }

    /// Whether a shim that was killed had told the end already, and waited for the next start.
    fn was_between_lives(&self, id: &ContainerId) -> bool {
        let paths = self.shim_paths(id);
        let words = shim::read_last_words(&paths).ok().flatten();
        let words = words.or_else(|| shim::read_state(&paths).ok().flatten());
        matches!(words, Some(Life::Restarting { .. }))
    }

    /// Whether nobody has seen the end of the last start, so that something of it may be left even
    /// without last words: a start and a shim can be killed before there are any.
    pub(crate) fn may_have_left(&self, container: &Container) -> Result<bool, EngineError> {
        let id = &container.id;
        if self.has_left_words(id) || !container.record.resolved.published.is_empty() {
            return Ok(true);
        }
        let Some(start) = container.record.last_start() else { return Ok(false) };
        let is_of_it = |exit: ExitRecord| start.failed.is_none() && exit.since >= start.at;
        Ok(!self.last_exit(id)?.is_some_and(is_of_it))
    }

    /// The same as [`Engine::bury_dead`], for a container whose start or shim is about to be asked
    /// for. One that goes with its process goes here, if its shim was killed.
    pub(crate) fn settle_death(
        &self,
        lock: &OpLock,
        container: &Container,
    ) -> Result<(), EngineError> {
        if !self.has_died(&container.id)? {
            return Ok(());
        }
        self.bury(lock, container)?;
        if !container.row.auto_remove || container.record.last_start().is_none() {
            return Ok(());
        }
        let life = self.take_life(container)?;
        self.discard(container)?;
        life.remove_dir();
        Err(EngineError::NoSuchContainer(container.id.to_string()))
    }

    /// Buries a shim, if one has died.
    pub(crate) fn bury_dead(
        &self,
        lock: &OpLock,
        container: &Container,
    ) -> Result<(), EngineError> {
        if self.has_died(&container.id)? { self.bury(lock, container) } else { Ok(()) }
    }

    /// Ends what is left in the cgroup of a container that nobody guards, and removes it. It is called nothing any
    /// more.
    pub(crate) fn end_orphans(&self, container: &Container) -> Result<(), EngineError> {
        self.take_names(&container.id);
        let place = self.cgroup_name(container);
        self.all_hierarchies()?.iter().try_for_each(|one| end(one, &place))
    }
}

/// Kills all processes of a cgroup, if it is there, and removes it.
pub(crate) fn end(hierarchies: &Hierarchies, place: &CgroupName) -> Result<(), EngineError> {
    let ended = match Cgroup::open(hierarchies, &place.parent, &place.name) {
        Ok(cgroup) => cgroup.kill().and_then(|()| shim::remove_group(&cgroup, place)),
        Err(CgroupError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    };
    ended.map_err(|error| cgroup_error(&error))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
