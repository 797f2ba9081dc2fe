//! `update`: a container gets other limits and another restart policy, whether it runs or not.
//!
//! The kernel is told first and the row is written last; what the kernel refuses changes nothing, and
//! what cannot be written down is taken back.

mod limited;
mod live;
mod merge;
mod mounts;
mod ports;
mod texts;
mod unmount;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cgroup::Cgroup;
use model::NameOrId;
use model::container::{Limits, PidsLimit, RestartPolicy, SwapLimit};
use model::mount::Mount;
use model::port::{ContainerPort, PortBinding};
use sys::failpoint::Point;

use self::limited::Limited;
use self::merge::{merge, to_apply};
use self::mounts::{At, MountPlan};
use self::ports::PortPlan;
use crate::bundle::resources;
use crate::container::Container;
use crate::limits::{Numbered, settle};
use crate::{Engine, EngineError, processors};

/// What an update changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Limits.
    pub limits: LimitChanges,
    /// Labels and environment.
    pub texts: TextChanges,
    /// What is mounted.
    pub mounts: MountChanges,
    /// What is published.
    pub ports: PortChanges,
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

/// The mounts that an update adds and takes away, at once where the container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountChanges {
    /// What is mounted.
    pub add: Vec<Mount>,
    /// Of these, what was typed in the form of `-v` with a source, for inspect.
    pub binds: Vec<String>,
    /// Of these, what was asked in the form of `--mount`, in the words of the door, for inspect.
    pub asked: Vec<String>,
    /// Places in the container, absolute and normalised.
    pub rm: Vec<PathBuf>,
}

/// The ports that an update publishes and takes back, at once where the container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortChanges {
    /// What is published.
    pub add: Vec<PortBinding>,
    /// Ports of the container, wherever they are published.
    pub rm: Vec<ContainerPort>,
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// One place has one mount.
    #[error("Duplicate mount point: {}", .0.display())]
    DuplicateMount(PathBuf),
    /// Nothing of the user's is mounted there.
    #[error("nothing is mounted at {}", .0.display())]
    NotMounted(PathBuf),
    /// At a start a parent is mounted before what is below it.
    #[error("a mount at {} would hide that at {} while the container runs: stop it first", .target.display(), .below.display())]
    Hides {
        /// What was asked for.
        target: PathBuf,
        /// What is there.
        below: PathBuf,
    },
    /// It goes with its parent.
    #[error("what is mounted at {} would go with {}: remove that first", .below.display(), .target.display())]
    Holds {
        /// What was asked for.
        target: PathBuf,
        /// What is below it.
        below: PathBuf,
    },
    /// The container may have moved it, or put something in its place.
    #[error("what is mounted at {} cannot be told from other mounts of the container: stop it first", .0.display())]
    UnknownMount(PathBuf),
    /// The container has covered it.
    #[error("something else is mounted over {}", .0.display())]
    Covered(PathBuf),
    /// There is no such binding.
    #[error("port {0} is not published")]
    NotPublished(ContainerPort),
    /// At a start one of them would fail.
    #[error("port {0} is published there already")]
    PublishedTwice(ContainerPort),
    /// What has no place on a bridge publishes nothing.
    #[error("conflicting options: port publishing and the network mode {0}")]
    NoBridge(&'static str),
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

/// What is to be done beside limits and texts.
struct Work {
    mounts: MountPlan,
    ports: PortPlan,
    /// Volumes that did not exist before.
    made: Vec<String>,
}

impl Engine {
    /// Changes a container; what the user should know comes back.
    ///
    /// What is new is in the row before it is there, and what goes is in it until it is gone: whoever
    /// is killed in between leaves what the next start mounts and publishes.
    ///
    /// # Errors
    /// There is no such container, the changes do not suit what stays, or the kernel refuses them. The
    /// container is then as before, but for mounts and ports that had gone already.
    pub fn update(&self, who: &NameOrId, changes: Changes) -> Result<Vec<String>, EngineError> {
        let mut alone = changes.limits.alone();
        processors::check(&alone)?;
        let (_lock, mut container) = self.lock(&self.find(who)?.id)?;
        let warnings = match self.group_that_runs(&container)? {
            Some(group) => settle(Some(group.hierarchies()), &mut alone)?,
            None => settle(self.hierarchies().ok(), &mut alone)?,
        };
        let limits = changes.limits.clone().settled(alone);
        let refused = |source| EngineError::Update { id: container.id, source };
        let old = container.record.spec.limits.clone();
        let new = merge(&old, &limits).map_err(refused)?;
        if container.row.auto_remove && changes.restart.is_some_and(|it| it != RestartPolicy::No) {
            return Err(EngineError::RestartOfAutoRemoved(container.id));
        }
        let mut work = self.plan(&container, &changes)?;
        let before = container.clone();
        let limited = self.limit(&container, &to_apply(&limits, &new));
        let limited = limited.inspect_err(|_| self.drop_plan(&container, &work.ports))?;
        container.record.spec.limits = new;
        if let Some(policy) = changes.restart {
            container.record.spec.restart = policy;
        }
        texts::apply(&changes.texts, &mut container.record);
        if let Err(error) = self.carry_out(&mut container, &changes, &mut work) {
            // This error is the one to tell, not that of what follows from it.
            self.take_back(&before, &work);
            if let Some(limited) = limited {
                limited.take_back(&old);
            }
            return Err(error);
        }
        // It is done; leases that are not given back are those of a container that ended without a word.
        let given = self.give_back(&container, &work.ports);
        self.pass_on(&container, &changes)?;
        given?;
        self.tell(&container, "update", &[]);
        Ok(warnings)
    }

    /// Finds out what is to be done to mounts and ports; ports that are new are reserved.
    fn plan(&self, container: &Container, changes: &Changes) -> Result<Work, EngineError> {
        let at = if self.life(container)?.is_running() { At::Work } else { At::Rest };
        let mounts = self.plan_mounts(container, &changes.mounts, at)?;
        let ports = self.plan_ports(container, &changes.ports, at)?;
        Ok(Work { mounts, ports, made: Vec::new() })
    }

    /// Writes the row, and does what is to be done to a container that runs.
    fn carry_out(
        &self,
        container: &mut Container,
        changes: &Changes,
        work: &mut Work,
    ) -> Result<(), EngineError> {
        if changes.mounts == MountChanges::default() && changes.ports == PortChanges::default() {
            return self.save(container);
        }
        mounts::add(&mut container.record, &changes.mounts, &work.mounts);
        ports::add(&mut container.record, &work.ports);
        work.made = self.save_with_volumes(container, &work.mounts.added, &[])?;
        EngineError::step(Point::UpdateSaved)?;
        self.mount_added(container, &work.mounts)?;
        self.publish_added(container, &work.ports)?;
        EngineError::step(Point::UpdateAdded)?;
        self.unmount_removed(container, &mut work.mounts)?;
        self.unpublish_removed(container, &mut work.ports)?;
        EngineError::step(Point::UpdateTaken)?;
        mounts::remove(&mut container.record, &work.mounts.removed);
        ports::remove(&mut container.record, &work.ports);
        let unused = mounts::unused(&container.record, &work.mounts.removed);
        self.save_with_volumes(container, &[], &unused).map(drop)
    }

    /// Tells the container's shim what it has to know.
    fn pass_on(&self, container: &Container, changes: &Changes) -> Result<(), EngineError> {
        let is_told =
            changes.texts != TextChanges::default() || changes.mounts != MountChanges::default();
        if is_told && self.life(container)?.is_up() {
            // Its shim tells its labels with all that happens to it, and at its end what it used.
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            self.leave_about(container, endpoint);
        }
        if changes.restart.is_some() { self.pass_on_restarts(container) } else { Ok(()) }
    }

    /// The groups of a container that runs; `None` if it does not.
    fn group_that_runs(&self, container: &Container) -> Result<Option<Cgroup>, EngineError> {
        if !self.life(container)?.is_running() {
            return Ok(None);
        }
        match self.group_of(container) {
            Ok(group) => Ok(Some(group)),
            Err(error) if self.life(container)?.is_running() => Err(error),
            // It has ended meanwhile.
            Err(_) => Ok(None),
        }
    }

    /// Tells the kernel, if the container runs; what it had before.
    fn limit(&self, container: &Container, new: &Limits) -> Result<Option<Limited>, EngineError> {
        let group = self.group_that_runs(container)?;
        // One of nowhere has nothing to be told to, and the user has been told that.
        let Some(group) = group.filter(|group| group.hierarchies().is_delegated()) else {
            return Ok(None);
        };
        match Limited::make(group, self.cgroup_name(container), in_kernels_words(new)?) {
            Ok(limited) => Ok(Some(limited)),
            Err(error) if self.life(container)?.is_running() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// What could not be done in whole does not hold; only what has gone has gone. Whoever hears of that
    /// failure need not hear of another; what cannot be taken back now is gone with the container's next
    /// start.
    fn take_back(&self, before: &Container, work: &Work) {
        self.unmount_again(before, &work.mounts);
        self.unpublish_again(before, &work.ports);
        let mut left = before.clone();
        mounts::remove(&mut left.record, &work.mounts.gone);
        ports::remove_gone(&mut left.record, &work.ports);
        let mut unused = mounts::unused(&left.record, &work.mounts.added);
        unused.extend(mounts::unused(&left.record, &work.mounts.gone));
        let _ = self.save_with_volumes(&left, &[], &unused);
        for name in &work.made {
            let _ = self.store().volumes().remove(name);
        }
    }
}

/// What is given, and nothing of what a new container gets without asking.
fn in_kernels_words(limits: &Limits) -> Result<cgroup::Limits, EngineError> {
    let invalid = |error: &dyn std::error::Error| EngineError::Invalid(error.to_string());
    let words = resources::changed(limits, &Numbered::default()).map_err(|e| invalid(&e))?;
    runtime::resources::limits(&words).map_err(|e| invalid(&e))
}
