//! New limits in the kernel, and the way back.
//!
//! Of a scope systemd is told as well, which would write its own again at its next `daemon-reload`.

use cgroup::{Before, Cgroup, Change, Manager, own_socket};
use model::container::Limits;
use shim::protocol::CgroupName;

use super::in_kernels_words;
use crate::EngineError;
use crate::guard::chain;

/// A cgroup whose limits have been changed.
pub(super) struct Limited {
    group: Cgroup,
    place: CgroupName,
    new: cgroup::Limits,
    before: Before,
}

impl Limited {
    /// Changes them.
    pub(super) fn make(
        group: Cgroup,
        place: CgroupName,
        new: cgroup::Limits,
    ) -> Result<Self, EngineError> {
        let failed = |error: &dyn std::error::Error| EngineError::Cgroup(chain(error));
        let before = if place.slice.is_some() {
            let manager = Manager::connect(&own_socket());
            let changed = manager.and_then(|mut manager| manager.update(&group, &place.name, &new));
            changed.map_err(|error| failed(&error))?
        } else {
            group.update(&new).map_err(|error| failed(&error))?
        };
        Ok(Self { group, place, new, before })
    }

    /// Changes them back to what they were. Whoever does has an error to tell already.
    pub(super) fn take_back(self, old: &Limits) {
        let Self { group, place, new, before } = self;
        let told = place.slice.and_then(|_| {
            let old = in_kernels_words(old).ok()?;
            Some((Manager::connect(&own_socket()).ok()?, old))
        });
        match told {
            None => group.put_back(before),
            Some((mut manager, old)) => {
                manager.put_back(&group, &place.name, Change { before, old: &old, new: &new });
            }
        }
    }
}
