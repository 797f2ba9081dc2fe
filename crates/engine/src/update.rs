//! `update`: a container gets other limits and another restart policy, whether it runs or not.
//!
//! The kernel is told first and the row is written last; where the kernel refuses, what it had
//! taken is taken back, and the row stays as it was.

mod merge;
mod texts;

use std::collections::BTreeMap;

use cgroup::{Cgroup, CgroupError};
use model::NameOrId;
use model::container::{Limits, PidsLimit, RestartPolicy, SwapLimit};

use self::merge::{merge, to_apply, to_undo};
use crate::bundle::resources;
use crate::container::Container;
use crate::limits::{Numbered, settle};
use crate::reconcile::{cgroup_error, hierarchies};
use crate::{Engine, EngineError, processors};

/// What an update changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Limits.
    pub limits: LimitChanges,
    /// Labels and environment.
    pub texts: TextChanges,
    /// `None`: it stays.
    pub restart: Option<RestartPolicy>,
}

/// The labels and variables that an update adds, changes and takes away; those of the image among
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextChanges {
    /// Heeded at once.
    pub label_add: BTreeMap<String, String>,
    /// Heeded at once.
    pub label_rm: Vec<String>,
    /// `NAME=value`, for processes of the next start.
    pub env_add: Vec<String>,
    /// For processes of the next start.
    pub env_rm: Vec<String>,
}

/// The limits that an update gives; `None` stays as it is. Units are those of [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the same name of `Limits`")]
pub struct LimitChanges {
    pub memory: Option<u64>,
    pub memory_swap: Option<SwapLimit>,
    pub memory_reservation: Option<u64>,
    pub cpu_shares: Option<u64>,
    pub nano_cpus: Option<u64>,
    pub cpu_period: Option<u64>,
    /// -1 takes it away.
    pub cpu_quota: Option<i64>,
    pub cpu_realtime_period: Option<u64>,
    pub cpu_realtime_runtime: Option<u64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub pids: Option<PidsLimit>,
    pub blkio_weight: Option<u16>,
}

/// Why a container does not get what an update gives; in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// Swap must grow with memory.
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    )]
    MemoryAboveSwap,
    /// Swap must not shrink below memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    /// Swap is counted beside memory, which has no limit.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapAlone,
    /// A number of processors is a quota in other words.
    #[error("Conflicting options: Nano CPUs cannot be updated as CPU {0} has already been set")]
    NanoCpus(&'static str),
    /// The same the other way.
    #[error("Conflicting options: CPU {0} cannot be updated as NanoCPUs has already been set")]
    HasNanoCpus(&'static str),
}

impl LimitChanges {
    /// As the limits of a container that has no others.
    fn alone(&self) -> Limits {
        Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            cpu_shares: self.cpu_shares,
            nano_cpus: self.nano_cpus,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_realtime_period: self.cpu_realtime_period,
            cpu_realtime_runtime: self.cpu_realtime_runtime,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids.unwrap_or_default(),
            blkio_weight: self.blkio_weight,
            ..Limits::default()
        }
    }

    /// What is left of them when the host has taken away what it lacks.
    fn settled(self, alone: Limits) -> Self {
        Self {
            memory: alone.memory,
            memory_swap: alone.memory_swap,
            memory_reservation: alone.memory_reservation,
            cpu_shares: alone.cpu_shares,
            nano_cpus: alone.nano_cpus,
            cpu_period: alone.cpu_period,
            cpu_quota: alone.cpu_quota,
            cpu_realtime_period: alone.cpu_realtime_period,
            cpu_realtime_runtime: alone.cpu_realtime_runtime,
            cpuset_cpus: alone.cpuset_cpus,
            cpuset_mems: alone.cpuset_mems,
            pids: self.pids.map(|_| alone.pids),
            blkio_weight: alone.blkio_weight,
        }
    }
}

impl Engine {
    /// Changes a container; what the user should know comes back.
    ///
    /// # Errors
    /// There is no such container, the changes do not suit what stays, or the kernel refuses them.
    pub fn update(&self, who: &NameOrId, changes: Changes) -> Result<Vec<String>, EngineError> {
        let mut alone = changes.limits.alone();
        processors::check(&alone)?;
        let (_lock, mut container) = self.lock(&self.find(who)?.id)?;
        let warnings = settle(&mut alone)?;
        let limits = changes.limits.settled(alone);
        let refused = |source| EngineError::Update { id: container.id, source };
        let old = container.record.spec.limits.clone();
        let new = merge(&old, &limits).map_err(refused)?;
        if container.row.auto_remove && changes.restart.is_some_and(|it| it != RestartPolicy::No) {
            return Err(EngineError::RestartOfAutoRemoved(container.id));
        }
        let before = to_undo(&limits, &old);
        self.limit(&container, (&to_apply(&limits, &new), &before))?;
        container.record.spec.limits = new;
        if let Some(policy) = changes.restart {
            container.record.spec.restart = policy;
        }
        texts::apply(&changes.texts, &mut container.record);
        if let Err(error) = self.save(&container) {
            self.take_back(&container, &before);
            return Err(error);
        }
        if changes.texts != TextChanges::default() && self.life(&container)?.is_up() {
            // Its shim tells its labels with all that happens to it.
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            self.leave_about(&container, endpoint);
        }
        if changes.restart.is_some() {
            self.pass_on_restarts(&container)?;
        }
        self.tell(&container, "update", &[]);
        Ok(warnings)
    }

    /// Tells the kernel, if the container runs. What it refuses in the middle is taken back.
    fn limit(
        &self,
        container: &Container,
        (new, old): (&Limits, &cgroup::Limits),
    ) -> Result<(), EngineError> {
        if !self.life(container)?.is_running() {
            return Ok(());
        }
        let place = self.cgroup_name(container);
        let group = match Cgroup::open(&hierarchies()?, &place.parent, &place.name) {
            Ok(group) => group,
            // It has ended meanwhile.
            Err(CgroupError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(cgroup_error(&error)),
        };
        let applied = group.update(&in_kernels_words(new)?);
        if applied.is_err() && self.life(container)?.is_running() {
            // The first failure is the one to tell.
            let _ = group.update(old);
            return applied.map_err(|error| cgroup_error(&error));
        }
        Ok(())
    }
}

impl Engine {
    /// What could not be written down does not hold. Whoever hears of that failure need not hear of another.
    fn take_back(&self, container: &Container, before: &cgroup::Limits) {
        let place = self.cgroup_name(container);
        let Ok(hierarchies) = hierarchies() else { return };
        if let Ok(group) = Cgroup::open(&hierarchies, &place.parent, &place.name) {
            let _ = group.update(before);
        }
    }
}

/// What is given, and nothing of what a new container gets without asking.
fn in_kernels_words(limits: &Limits) -> Result<cgroup::Limits, EngineError> {
    let invalid = |error: &dyn std::error::Error| EngineError::Invalid(error.to_string());
    let words = resources::changed(limits, &Numbered::default()).map_err(|e| invalid(&e))?;
    shim::cgroup_limits(&words).map_err(|e| invalid(&e))
}
