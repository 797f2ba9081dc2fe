//! `rm`, and the removal of containers that go with their process.

use model::{ContainerId, Life, NameOrId, Signal};
use shim::LifeLock;
use shim::protocol::{Reach, Refusal};
use shim::{CallError, Shim};
use sys::failpoint::Point;

use crate::container::{Container, durability};
use crate::guard::{ATTEMPTS, call_error, shim_error};
use crate::prepare::store_error;
use crate::view::RemoveOptions;
use crate::{Engine, EngineError};

impl Engine {
    /// Removes a container with its files; its anonymous volumes too if asked.
    ///
    /// # Errors
    /// It runs and `force` is not given; somebody else removes it.
    pub fn remove(&self, who: &NameOrId, options: RemoveOptions) -> Result<(), EngineError> {
        let mut removed = self.remove_once(who, options);
        for _ in 1..ATTEMPTS {
            match removed {
                // Somebody has started it between its death and its removal.
                Err(EngineError::StillRunning { .. }) if options.force => {
                    removed = self.remove_once(who, options);
                }
                removed => return removed,
            }
        }
        removed
    }

    fn remove_once(&self, who: &NameOrId, options: RemoveOptions) -> Result<(), EngineError> {
        let container = self.find_to_remove(who)?;
        let life = self.life(&container)?;
        if life.is_up() {
            if !options.force {
                return Err(still_running(&container, &life));
            }
            if self.kill_for_removal(&container)? == Gone::Yes {
                return Ok(());
            }
        } else if options.force {
            self.end_if_silent(&container.id)?;
        }
        let (lock, container) = self.lock_to_remove(&container.id)?;
        let life = if options.force {
            self.take_life_by_force(&container)?
        } else {
            self.take_life(&container)?
        };
        EngineError::step(Point::RemoveLife)?;
        if self.may_have_left(&container)? {
            self.bury(&lock, &container)?;
        }
        let with_volumes = options.volumes || container.row.auto_remove;
        let volumes = if with_volumes { drawn_volumes(&container) } else { Vec::new() };
        self.remove_files(&container, &volumes)?;
        life.remove_dir();
        Ok(())
    }

    /// Removes a container that goes with its process, for who holds the claim: its shim still holds
    /// its life.
    ///
    /// # Errors
    /// It runs.
    pub(crate) fn reap(&self, id: &ContainerId) -> Result<(), EngineError> {
        let (lock, container) = match self.lock_to_remove(id) {
            // Somebody was faster: that is what was wanted.
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            locked => locked?,
        };
        let life = self.life(&container)?;
        if life.is_up() {
            return Err(still_running(&container, &life));
        }
        // Unless its shim was killed.
        self.bury_dead(&lock, &container)?;
        let orphaned = if self.is_free(id)? { self.try_take(id)? } else { None };
        self.remove_files(&container, &drawn_volumes(&container))?;
        if let Some(life) = orphaned {
            life.remove_dir();
        }
        Ok(())
    }

    /// A container whose making failed half-way.
    pub(crate) fn discard(&self, container: &Container) -> Result<(), EngineError> {
        self.remove_files(container, &drawn_volumes(container))
    }

    fn remove_files(&self, container: &Container, volumes: &[String]) -> Result<(), EngineError> {
        EngineError::step(Point::RemoveLocked)?;
        self.forget_execs(&container.id)?;
        self.keep_log(container);
        // Of a start that was killed before there was a shim.
        self.take_names(&container.id);
        let durability = durability(&container.row);
        let removed = self.store().remove_container(&container.id, volumes, durability);
        let removed = removed.map_err(store_error)?;
        // Not before: another would draw what this one still has.
        self.free_labels(&container.id, container.record.labels.as_ref());
        self.tell(container, "destroy", &[]);
        removed.volumes.iter().for_each(|name| self.tell_volume("destroy", name, &[]));
        EngineError::step(Point::RemoveFiles)
    }

    /// Kills a container that is to be removed.
    fn kill_for_removal(&self, container: &Container) -> Result<Gone, EngineError> {
        let id = &container.id;
        let Some(mut shim) = self.shim_to_kill(id)? else { return Ok(Gone::No) };
        let claimed =
            match (container.row.auto_remove, container.row.auto_remove.then(|| shim.claim())) {
                (_, Some(Ok(()))) => Claim::Ours,
                (true, Some(Err(CallError::Refused(Refusal::Claimed)))) => Claim::Others,
                (_, Some(Err(CallError::Gone))) => return Ok(Gone::No),
                (_, Some(Err(CallError::Silent(_)))) => {
                    return self.end_silent(id).map(|()| Gone::No);
                }
                (_, Some(Err(error))) => return Err(call_error(id, error)),
                (_, None) => Claim::None,
            };
        match shim.kill(Signal::KILL, Reach::Everyone) {
            Ok(()) | Err(CallError::Gone | CallError::Refused(Refusal::NotRunning)) => {}
            Err(CallError::Silent(_)) => return self.end_silent(id).map(|()| Gone::No),
            Err(error) => return Err(call_error(id, error)),
        }
        match claimed {
            Claim::None => Ok(Gone::No),
            Claim::Ours => {
                self.reap(id)?;
                self.release(shim, container)?;
                Ok(Gone::Yes)
            }
            // Whoever holds the claim would remove it, but may be stopped or slow: whoever comes
            // second finds nothing to do.
            Claim::Others => self.reap(id).map(|()| Gone::Yes),
        }
    }

    /// Tells the shim that its container is gone. One that does not answer is ended, and what it has not taken
    /// back is.
    fn release(&self, mut shim: Shim, container: &Container) -> Result<(), EngineError> {
        let id = &container.id;
        match shim.release() {
            Ok(()) | Err(CallError::Gone) => Ok(()),
            Err(CallError::Silent(_)) => {
                shim::end_silent(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))?;
                self.end_orphans(container)?;
                if let Some(life) = self.try_take(id)? {
                    life.remove_dir();
                }
                Ok(())
            }
            Err(error) => Err(call_error(id, error)),
        }
    }

    /// Takes the life of a container that does not run; an idle shim leaves for it.
    pub(crate) fn take_life(&self, container: &Container) -> Result<LifeLock, EngineError> {
        self.take_life_from(container, Silent::Told)
    }

    /// The same for whoever wants the container gone. Its shim may have stopped to answer after it told of the
    /// container's end.
    fn take_life_by_force(&self, container: &Container) -> Result<LifeLock, EngineError> {
        self.take_life_from(container, Silent::Ended)
    }

    fn take_life_from(
        &self,
        container: &Container,
        silent: Silent,
    ) -> Result<LifeLock, EngineError> {
        let id = &container.id;
        let paths = self.shim_paths(id);
        loop {
            if let Some(lock) =
                LifeLock::try_take(&paths).map_err(|error| shim_error(id, &error))?
            {
                return Ok(lock);
            }
            let shim = match silent {
                Silent::Told => self.shim(id)?,
                Silent::Ended => self.shim_to_kill(id)?,
            };
            // One that no longer answers leaves, but has not let go yet.
            let Some(shim) = shim else {
                return LifeLock::take(&paths).map_err(|error| shim_error(id, &error));
            };
            match shim.quit() {
                Ok(()) => {}
                Err(CallError::Refused(Refusal::AlreadyRunning)) => {
                    return Err(still_running(container, &self.life(container)?));
                }
                Err(CallError::Silent(_)) if silent == Silent::Ended => {
                    self.end_silent_shim(container)?;
                }
                Err(error) => return Err(call_error(id, error)),
            }
        }
    }
}

fn still_running(container: &Container, life: &Life) -> EngineError {
    // It may have ended since: what was seen of it was that it runs.
    let state = if life.is_up() { life.word() } else { "running" };
    EngineError::StillRunning { name: container.name().to_owned(), state }
}

/// Whether a container is gone already.
#[derive(PartialEq, Eq)]
enum Gone {
    Yes,
    No,
}

/// Who removes a container after its end.
enum Claim {
    None,
    Ours,
    Others,
}

/// What becomes of a shim that does not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silent {
    Told,
    Ended,
}

/// The volumes that were made for a container's mounts without a name.
fn drawn_volumes(container: &Container) -> Vec<String> {
    let mounts = container.record.mounts.iter().filter(|mount| mount.is_drawn());
    mounts.filter_map(|mount| mount.volume.clone()).collect()
}
