//! How a process takes its turn on processors and at disks: `scheduler`, `ioPriority`, `execCPUAffinity`.

use oci_spec::runtime::{
    IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process, Scheduler,
};
use sys::task::Scheduling;

use super::{PlanError, lists};
use crate::step::{Conduct, Step};

/// `SCHED_DEADLINE` of linux/sched.h.
pub(crate) const DEADLINE: u32 = 6;
const RESET_ON_FORK: u64 = 1;

/// What only the host's root may ask for, and a process hands on to what it becomes in a user namespace.
pub(super) fn inherited(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = own(process)?;
    steps.retain(|step| !is_of_one_process(step));
    Ok(steps)
}

/// What it cannot hand on.
pub(super) fn not_inherited(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = own(process)?;
    steps.retain(is_of_one_process);
    Ok(steps)
}

/// Children do not have it, or there can be none.
fn is_of_one_process(step: &Step) -> bool {
    matches!(step, Step::Conduct(Conduct::Scheduling(how)) if how.policy == DEADLINE || how.flags & RESET_ON_FORK != 0)
}

/// All of it.
pub(super) fn own(process: &Process) -> Result<Vec<Step>, PlanError> {
    let scheduling = process.scheduler().as_ref().map(scheduling).transpose()?;
    let io = process.io_priority().as_ref().map(|io| {
        let class = match io.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let level = u32::try_from(io.priority()).ok().filter(|level| *level < 8);
        let wrong = out_of_range("process.ioPriority.priority", io.priority());
        Ok(Conduct::IoPriority(class << 13 | level.ok_or(wrong)?))
    });
    Ok(scheduling
        .map(Conduct::Scheduling)
        .into_iter()
        .chain(io.transpose()?)
        .map(Step::Conduct)
        .collect())
}

fn out_of_range(field: &'static str, value: i64) -> PlanError {
    PlanError::OutOfRange { field, value }
}

/// Numbers of linux/sched.h.
fn scheduling(wished: &Scheduler) -> Result<Scheduling, PlanError> {
    use LinuxSchedulerPolicy as Policy;
    let policy = match wished.policy() {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => return Err(PlanError::Unsupported("process.scheduler: SCHED_ISO")),
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => DEADLINE,
    };
    let flags = wished.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => RESET_ON_FORK,
        LinuxSchedulerFlag::SchedFlagReclaim => 2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    });
    let nice = wished.nice().unwrap_or(0);
    if !(-20..20).contains(&nice) {
        return Err(out_of_range("process.scheduler.nice", nice.into()));
    }
    let priority = wished.priority().unwrap_or(0);
    let times =
        [*wished.runtime(), *wished.deadline(), *wished.period()].map(Option::unwrap_or_default);
    if priority != 0 && !matches!(policy, 1 | 2) {
        let what = "process.scheduler.priority without SCHED_FIFO or SCHED_RR";
        return Err(PlanError::Unsupported(what));
    }
    if times != [0; 3] && policy != DEADLINE {
        let what = "process.scheduler.runtime, deadline and period without SCHED_DEADLINE";
        return Err(PlanError::Unsupported(what));
    }
    let priority = u32::try_from(priority)
        .map_err(|_| out_of_range("process.scheduler.priority", priority.into()))?;
    let [runtime, deadline, period] = times;
    let flags = flags.fold(0, |all, flag| all | flag);
    Ok(Scheduling { policy, flags, nice, priority, runtime, deadline, period })
}

/// The processors that an exec begins on and those that it goes on with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Before it is in the container's control group.
    pub(crate) first: Option<Vec<usize>>,
    /// From then on.
    pub(crate) last: Option<Vec<usize>>,
}

impl Affinity {
    pub(crate) fn of(process: &Process) -> Result<Self, PlanError> {
        let Some(wished) = process.exec_cpu_affinity() else { return Ok(Self::default()) };
        let list = |field, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| lists::numbers(field, text, MOST_PROCESSORS)).transpose()
        };
        Ok(Self {
            first: list("process.execCPUAffinity.initial", wished.initial())?,
            last: list("process.execCPUAffinity.final", wished.cpu_affinity_final())?,
        })
    }
}

/// How many a set of processors has room for.
const MOST_PROCESSORS: usize = rustix::thread::CpuSet::MAX_CPU;
