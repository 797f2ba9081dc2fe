//! Brings what is wished, what lives and what is together, after anything may have died at any
//! moment.
//!
//! Nothing waits for this: what the dead have left is passed over by every verb. It gives back
//! space, names and kernel objects.

use cgroup::{Cgroup, CgroupError, Hierarchies};
use model::ContainerId;
use shim::LifeLock;
use shim::protocol::CgroupName;

use crate::bury;
use crate::container::Locked;
use crate::guard::{chain, shim_error};
use crate::prepare::store_error;
use crate::record::Progress;
use crate::{Engine, EngineError};

impl Engine {
    /// Removes what processes that were killed have left.
    ///
    /// # Errors
    /// The first that happens; what was done stays done.
    pub fn reconcile(&self) -> Result<(), EngineError> {
        self.at_networks_there((), || {
            self.firewall()?.unpublish_dead(|owner| self.is_free(owner))?;
            self.remove_strange_bridges()?;
            self.remove_strange_parents()?;
            self.pass_others()
        })?;
        let mut settled = Ok(());
        for row in self.store().containers().list()? {
            // One that cannot be read must not keep what the others have left.
            settled = settled.and(self.settle_dead(&row.id));
        }
        self.remove_strange_cgroups()?;
        self.clear_run()?;
        self.clear_execs()?;
        crate::volume_filling::clear_locks(self.paths())?;
        self.free_dead_labels()?;
        self.store().gc().map_err(store_error)?;
        settled
    }

    /// A container that nobody guards: half-made ones and those that go with their process are
    /// removed, others give back what they no longer need.
    pub(crate) fn settle_dead(&self, id: &ContainerId) -> Result<(), EngineError> {
        let Locked::Held(lock) = self.try_lock(id)? else { return Ok(()) };
        // As it is under the lock: whoever made it may have finished since.
        let container = self.reread(id)?;
        let has_died = self.has_died(id)?;
        if has_died {
            self.bury(&lock, &container)?;
        }
        if !self.is_free(id)? {
            return Ok(());
        }
        let has_ended = container.record.last_start().is_some();
        if has_ended && !has_died {
            // One that its shim could not remove.
            self.end_orphans(&container)?;
        }
        let goes = container.record.progress == Progress::Creating
            || (container.row.auto_remove && has_ended);
        // Who only looks for a shim must not meet a lock that is held for a moment.
        let left = goes || has_died || self.is_leftover(id)?;
        let life = if left { self.try_take(id)? } else { None };
        if goes && life.is_some() {
            self.unpublish_leftovers(&container)?;
            self.discard(&container)?;
        } else if has_ended {
            self.store().release(id)?;
        }
        if let Some(life) = life {
            life.remove_dir();
        }
        Ok(())
    }

    /// The life of a container that nobody guards.
    pub(crate) fn try_take(&self, id: &ContainerId) -> Result<Option<LifeLock>, EngineError> {
        LifeLock::try_take(&self.shim_paths(id)).map_err(|error| shim_error(id, &error))
    }

    /// Directories of containers that are no more.
    fn clear_run(&self) -> Result<(), EngineError> {
        for id in self.run_dirs() {
            // A row comes before its directory, so one without a row is of the dead.
            if self.store().containers().get(&id)?.is_some() || !self.is_free(&id)? {
                continue;
            }
            if let Some(life) = self.try_take(&id)? {
                life.remove_dir();
            }
        }
        Ok(())
    }

    /// Cgroups of containers that are no more.
    fn remove_strange_cgroups(&self) -> Result<(), EngineError> {
        self.all_hierarchies()?.iter().try_for_each(|one| self.remove_strange_cgroups_of(one))
    }

    fn remove_strange_cgroups_of(&self, hierarchies: &Hierarchies) -> Result<(), EngineError> {
        for (id, place) in self.cgroups(hierarchies)? {
            // A row comes before its cgroup, and whoever has the life starts nothing.
            if self.store().containers().get(&id)?.is_some() {
                continue;
            }
            let Some(life) = self.try_take(&id)? else { continue };
            bury::end(hierarchies, &place)?;
            life.remove_dir();
        }
        Ok(())
    }

    /// The cgroups of this root's containers, as far as their names tell whose they are: those in its own
    /// place and scopes in whichever slice.
    pub(crate) fn cgroups(
        &self,
        hierarchies: &Hierarchies,
    ) -> Result<Vec<(ContainerId, CgroupName)>, EngineError> {
        let failed = |error: CgroupError| cgroup_error(&error);
        let parent = self.paths().cgroup_parent();
        let own = Cgroup::list(hierarchies, &parent).map_err(failed)?.into_iter();
        let own = own.filter_map(|name| {
            let place = CgroupName { parent: parent.clone(), name, slice: None };
            Some((place.name.parse().ok()?, place))
        });
        let is_ours = |unit: &str| self.owner_of_scope(unit).is_some();
        let scopes = Cgroup::scopes(hierarchies, is_ours).map_err(failed)?.into_iter();
        let scopes = scopes.filter_map(|(parent, name)| {
            // The last part of a slice's path is its whole name; the root's is that of none.
            let slice =
                Some(parent.rsplit('/').next().filter(|it| !it.is_empty()).unwrap_or("-.slice"));
            let id = self.owner_of_scope(&name)?;
            Some((id, CgroupName { slice: slice.map(str::to_owned), parent, name }))
        });
        Ok(own.chain(scopes).collect())
    }
}

/// The cgroup hierarchies of this host.
pub(crate) fn hierarchies() -> Result<Hierarchies, EngineError> {
    Hierarchies::detect().map_err(|error| EngineError::Cgroup(error.to_string()))
}

/// What the cgroups say, and why.
pub(crate) fn cgroup_error(error: &CgroupError) -> EngineError {
    EngineError::Cgroup(chain(error))
}
