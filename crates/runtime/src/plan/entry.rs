//! The way of a container's first process into its control groups and namespaces.

use std::collections::BTreeMap;
use std::ffi::CString;

use oci_spec::runtime::{Linux, Process};
use sys::process::Namespaces;
use sys::userns::IdMaps;

use super::namespaces::Choice;
use super::text::c_string;
use super::{PlanError, process};
use crate::facts::HostFacts;
use crate::step::{Conduct, Groups, Step};

/// What it does while it is still the host's root.
pub(super) fn before(
    process: &Process,
    facts: &HostFacts,
    users: Option<&IdMaps>,
    clocks: Option<&CString>,
) -> Result<Vec<Step>, PlanError> {
    let sets_clocks = clocks.is_some_and(|offsets| !offsets.is_empty());
    let writes_early = users.is_some() && process::writes_to_proc(process);
    let mut before = Vec::from_iter((writes_early || sets_clocks).then_some(Step::OwnProc));
    if let Some(maps) = users {
        before.extend(process::outer_steps(process, facts, maps)?);
    }
    Ok(before)
}

/// How far the clocks of a new time namespace are from the host's, as `/proc/<pid>/timens_offsets` takes
/// it; empty for not at all, `None` without such a namespace.
pub(super) fn clocks(linux: &Linux, choice: &Choice) -> Result<Option<CString>, PlanError> {
    let offsets: BTreeMap<_, _> = linux.time_offsets().iter().flatten().collect();
    if !choice.new_time && !offsets.is_empty() {
        let (setting, namespace) = ("linux.timeOffsets".to_owned(), "time");
        return Err(PlanError::NeedsNamespace { setting, namespace });
    }
    let mut text = String::new();
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(PlanError::Unsupported(
                "linux.timeOffsets: a clock that is neither monotonic nor boottime",
            ));
        }
        let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        text.push_str(&format!("{clock} {secs} {nanos}\n"));
    }
    let text = c_string("linux.timeOffsets", &text)?;
    Ok(choice.new_time.then_some(text))
}

/// Into cgroup and namespaces. What others have is joined while this process is the host's root, who may
/// enter namespaces of every owner.
pub(super) fn steps(
    choice: &Choice,
    before: Vec<Step>,
    clocks: Option<CString>,
    groups: Groups,
) -> Vec<Step> {
    // Who starts it may be kept to processors that are its own affair; the control group says what the container has.
    let mut steps = vec![Step::JoinCgroup, Step::Conduct(Conduct::AnyProcessor)];
    steps.extend(before);
    let joins = choice.joins.iter().enumerate();
    let joins = joins.filter(|(_, join)| join.kind != Namespaces::USER);
    steps.extend(joins.map(|(slot, join)| Step::JoinNamespace(join.kind, slot)));
    steps.extend(clocks.map(Step::NewTimeNamespace));
    if let Some(slot) = choice.user() {
        steps.extend([Step::EnterUserNamespace(slot), Step::BecomeRoot(groups)]);
    }
    if choice.is_reborn() {
        steps.push(Step::BeBorn(choice.new));
    }
    if choice.new_cgroup {
        steps.push(Step::NewCgroupNamespace);
    }
    // As every runtime does: nobody else is there to do it.
    steps.extend(choice.new.contains(Namespaces::NET).then_some(Step::LoopbackUp));
    // Others' mounts are left as they are.
    steps.extend(choice.new.contains(Namespaces::MOUNT).then_some(Step::IsolateMounts));
    steps
}
