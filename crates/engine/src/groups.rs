//! Which control groups a container has: looked for where this process would make them, and, for an ordinary
//! user, wherever else this user's containers were started.
//!
//! An ordinary user's command in a login session makes none, and one in a user's service does. Each manages
//! what the other has started: what is in a group can be read, limited, frozen and killed from anywhere.

use cgroup::{Cgroup, CgroupError, Hierarchies};
use shim::protocol::CgroupName;

use crate::container::Container;
use crate::reconcile::{cgroup_error, hierarchies};
use crate::{Engine, EngineError};

impl Engine {
    /// Where containers of this root may have groups: this process's own hierarchies first.
    ///
    /// # Errors
    /// The host's hierarchies cannot be found.
    pub(crate) fn all_hierarchies(&self) -> Result<Vec<Hierarchies>, EngineError> {
        let own = hierarchies()?;
        if own.is_delegated() && own.part().is_none() {
            // All of the host's, or all that a container shows as such.
            return Ok(vec![own]);
        }
        let others = shim::delegated_parts(self.paths().run());
        let mut all = vec![own];
        for other in others {
            if all.iter().all(|known| known.part() != other.part()) {
                all.push(other);
            }
        }
        Ok(all)
    }

    /// The groups of a container that runs. Those of one that was started where an ordinary user has none
    /// are of [`Hierarchies::none`].
    ///
    /// # Errors
    /// `NotFound` if the container has ended meanwhile; they cannot be opened.
    pub(crate) fn group_of(&self, container: &Container) -> Result<Cgroup, EngineError> {
        let CgroupName { parent, name, .. } = self.cgroup_name(container);
        let all = self.all_hierarchies()?;
        let is_whole = all.iter().all(|one| one.is_delegated() && one.part().is_none());
        for one in all.iter().filter(|one| one.is_delegated()) {
            match Cgroup::open(one, &parent, &name) {
                Err(CgroupError::NotFound(_)) if !is_whole => {}
                opened => return opened.map_err(|error| cgroup_error(&error)),
            }
        }
        Cgroup::open(&Hierarchies::none(), &parent, &name).map_err(|error| cgroup_error(&error))
    }
}
