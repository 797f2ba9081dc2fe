//! The process of a container: who it is, what it may do, what it runs.
//!
//! The same for the first process and for those that `exec` adds.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{
    Capabilities as Names, LinuxCapabilities, PosixRlimit, PosixRlimitType, Process,
};
use sys::pty::Size;
use sys::userns::IdMaps;

use super::around::Surroundings;
use super::text::c_string;
use super::{Extras, Filter, Orphan, PlanError, Starter, turns};
use crate::capabilities::{CapSet, Capability};
use crate::facts::HostFacts;
use crate::step::{Capabilities, Gid, Groups, Identity, Limit, Resource, Step, Uid};

/// What a process executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As it was asked for.
    pub name: String,
    /// Where it may be, in order.
    pub candidates: Candidates,
    /// All arguments, the name first.
    pub argv: Vec<CString>,
    /// `NAME=VALUE`.
    pub env: Vec<CString>,
}

/// Where a program may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// In one of the directories of the container's `PATH`.
    InPath(Vec<CString>),
    /// At this path, seen from the working directory.
    At(CString),
}

impl Candidates {
    /// The paths to try.
    #[must_use]
    pub fn paths(&self) -> &[CString] {
        match self {
            Self::InPath(paths) => paths,
            Self::At(path) => std::slice::from_ref(path),
        }
    }
}

pub(super) fn program(process: &Process, extras: &Extras) -> Result<Program, PlanError> {
    let args = process.args().as_deref().unwrap_or_default();
    let name = args.first().ok_or(PlanError::Missing("process.args"))?.clone();
    let argv = args.iter().map(|arg| c_string("process.args", arg)).collect::<Result<_, _>>()?;
    let env = process.env().as_deref().unwrap_or_default();
    let env = env.iter().map(|entry| env_entry(entry)).collect::<Result<Vec<_>, _>>()?;
    let candidates = match &extras.program {
        Some(path) => Candidates::At(c_string("hook.path", &path.to_string_lossy())?),
        None => candidates(&name, &env)?,
    };
    Ok(Program { name, candidates, argv, env })
}

fn env_entry(entry: &str) -> Result<CString, PlanError> {
    if entry.find('=').is_none_or(|at| at == 0) {
        return Err(PlanError::Environment(entry.to_owned()));
    }
    c_string("process.env", entry)
}

/// A name without a slash is looked for in the container's own `PATH`. Entries of it that are
/// relative are left out, as Go does: what they name depends on who looks. Nothing has no name.
fn candidates(name: &str, env: &[CString]) -> Result<Candidates, PlanError> {
    if name.contains('/') {
        return Ok(Candidates::At(c_string("process.args", name)?));
    }
    let path = env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let directories = path.unwrap_or_default().split(|byte| *byte == b':');
    let absolute = directories.filter(|directory| !name.is_empty() && directory.starts_with(b"/"));
    let joined = absolute.map(|directory| [directory, b"/", name.as_bytes()].concat());
    let paths = joined.map(|path| {
        CString::new(path)
            .map_err(|_| PlanError::Nul { field: "process.args", value: name.to_owned() })
    });
    Ok(Candidates::InPath(paths.collect::<Result<_, _>>()?))
}

/// What only a process of the host's own user namespace may do, and its children keep.
pub(super) fn outer_steps(
    process: &Process,
    facts: &HostFacts,
    maps: &IdMaps,
) -> Result<Vec<Step>, PlanError> {
    refuse_unsupported(process, facts)?;
    let mut steps = limits_and_score(process)?;
    steps.extend(turns::inherited(process)?);
    steps.extend(profile(process)?);
    let user = process.user();
    for group in std::iter::once(user.gid()).chain(user.additional_gids().iter().flatten().copied())
    {
        maps.group(group).ok_or_else(|| no_id("process.user.gid", group))?;
    }
    let outside = maps.user(user.uid()).ok_or_else(|| no_id("process.user.uid", user.uid()))?;
    if !process.terminal().unwrap_or(false) {
        steps.push(Step::GiveStreams(uid(outside)?));
    }
    Ok(steps)
}

fn limits_and_score(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = limits(process.rlimits().as_deref().unwrap_or_default())?;
    if let Some(score) = process.oom_score_adj() {
        steps.push(Step::OomScore(oom_score(score)?));
    }
    Ok(steps)
}

/// What security modules are told about the program that is executed next.
fn profile(process: &Process) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    let profile = process.apparmor_profile().as_deref().unwrap_or_default();
    if !profile.is_empty() && profile != "unconfined" {
        let value = c_string("process.apparmorProfile", &format!("exec {profile}"))?;
        steps.push(Step::AppArmor(value));
    }
    let label = process.selinux_label().as_deref().unwrap_or_default();
    if !label.is_empty() {
        steps.push(Step::SeLinux(c_string("process.selinuxLabel", label)?));
    }
    Ok(steps)
}

/// Everything between the mounts and the program; `outer` was done before.
pub(super) fn steps(
    process: &Process,
    facts: &HostFacts,
    extras: &Extras,
    around: &Surroundings,
) -> Result<Vec<Step>, PlanError> {
    refuse_unsupported(process, facts)?;
    let sets = CapabilitySets::plan(process.capabilities().as_ref(), facts)?;
    let user = process.user();
    let is_hosts = around.users.is_none();
    let mut steps = Vec::new();
    if is_hosts {
        steps.extend(limits_and_score(process)?);
        steps.extend(turns::own(process)?);
    } else {
        steps.extend(turns::not_inherited(process)?);
    }
    steps.extend(around.steps());
    steps.push(Step::StandardStreams(uid(user.uid())?));
    steps.push(Step::Umask(user.umask().unwrap_or(0o022) & 0o777));
    if is_hosts {
        steps.extend(profile(process)?);
    }
    let directory = c_string("process.cwd", &working_directory(process)?)?;
    steps.push(Step::ApproachDirectory(directory.clone()));
    let locked = process.no_new_privileges().unwrap_or(false);
    if locked {
        steps.push(Step::NoNewPrivileges);
    }
    steps.push(Step::DropBounding(sets.dropped(facts.last_capability)));
    steps.push(Step::Become(identity(process, around.groups)?));
    // Without no_new_privs the kernel takes a filter only from CAP_SYS_ADMIN, which is kept until
    // the filter is loaded. It is loaded last, so that the filter need not allow our own calls.
    let until_filter = extras.filter == Filter::Given && !locked;
    let final_sets = sets.of_process();
    steps.push(Step::SetCapabilities(if until_filter {
        let admin = facts.capabilities.bits() & SYS_ADMIN;
        Capabilities {
            effective: final_sets.effective | admin,
            permitted: final_sets.permitted | admin,
            ..final_sets
        }
    } else {
        final_sets
    }));
    if !sets.ambient.is_empty() {
        steps.push(Step::RaiseAmbient(sets.ambient.bits()));
    }
    steps.push(Step::ChangeDirectory(directory));
    steps.push(Step::FindProgram);
    if extras.orphan == Orphan::Dies {
        steps.push(Step::DieWithParent);
    }
    steps.extend([Step::KeepDescriptors(extras.preserved.saturating_add(3)), Step::AwaitGo]);
    if extras.starter == Starter::Visitor {
        steps.push(Step::AwaitStart(extras.preserved.saturating_add(3)));
    }
    if extras.filter == Filter::Given {
        steps.push(Step::LoadFilter);
    }
    if until_filter {
        steps.push(Step::SetCapabilities(final_sets));
    }
    steps.push(Step::Execute);
    Ok(steps)
}

const SYS_ADMIN: u64 = 1 << 21;

fn refuse_unsupported(process: &Process, facts: &HostFacts) -> Result<(), PlanError> {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let confined = process.apparmor_profile().as_deref().is_some_and(|p| p != "unconfined");
    let asked = [
        (
            set(process.selinux_label()) && !facts.selinux,
            "process.selinuxLabel without SELinux in the kernel",
        ),
        (
            set(process.apparmor_profile()) && confined && !facts.apparmor,
            "process.apparmorProfile without AppArmor in the kernel",
        ),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, field)) => Err(PlanError::Unsupported(field)),
        None => Ok(()),
    }
}

/// Whether a step writes to this process's own files of procfs.
pub(super) fn writes_to_proc(process: &Process) -> bool {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    process.oom_score_adj().is_some()
        || set(process.apparmor_profile())
        || set(process.selinux_label())
}

/// The working directory, which must be absolute.
pub(super) fn working_directory(process: &Process) -> Result<String, PlanError> {
    let cwd = process.cwd();
    let text = cwd.to_string_lossy().into_owned();
    if cwd.is_absolute() { Ok(text) } else { Err(PlanError::WorkingDirectory(text)) }
}

/// The size of the terminal, if there is one.
pub(super) fn terminal(process: &Process) -> Result<Option<Option<Size>>, PlanError> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let cells = |number: u64| {
        u16::try_from(number).map_err(|_| PlanError::OutOfRange {
            field: "process.consoleSize",
            value: i64::try_from(number).unwrap_or(i64::MAX),
        })
    };
    let size = process
        .console_size()
        .map(|size| Ok(Size { rows: cells(size.height())?, columns: cells(size.width())? }));
    Ok(Some(size.transpose()?))
}

fn identity(process: &Process, groups: Groups) -> Result<Identity, PlanError> {
    let user = process.user();
    let listed = || user.additional_gids().iter().flatten().map(|group| gid(*group));
    Ok(Identity {
        uid: uid(user.uid())?,
        gid: gid(user.gid())?,
        groups: match groups {
            Groups::Dropped => Some(listed().collect::<Result<_, _>>()?),
            Groups::Kept => None,
        },
    })
}

/// The highest number means "no change" to the kernel, which would leave the process as root.
fn uid(raw: u32) -> Result<Uid, PlanError> {
    if raw == u32::MAX { Err(no_id("process.user.uid", raw)) } else { Ok(Uid::from_raw(raw)) }
}

fn gid(raw: u32) -> Result<Gid, PlanError> {
    if raw == u32::MAX { Err(no_id("process.user.gid", raw)) } else { Ok(Gid::from_raw(raw)) }
}

fn no_id(field: &'static str, raw: u32) -> PlanError {
    PlanError::OutOfRange { field, value: i64::from(raw) }
}

fn oom_score(score: i32) -> Result<CString, PlanError> {
    if !(-1000..=1000).contains(&score) {
        return Err(PlanError::OutOfRange {
            field: "process.oomScoreAdj",
            value: i64::from(score),
        });
    }
    c_string("process.oomScoreAdj", &score.to_string())
}

fn limits(limits: &[PosixRlimit]) -> Result<Vec<Step>, PlanError> {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let step = |limit: &PosixRlimit| {
        if limit.soft() > limit.hard() {
            let value = i64::try_from(limit.soft()).unwrap_or(i64::MAX);
            return Err(PlanError::OutOfRange { field: "process.rlimits[].soft", value });
        }
        let (soft, hard) = (finite(limit.soft()), finite(limit.hard()));
        Ok(Step::Limit(Limit { resource: resource(limit.typ()), soft, hard }))
    };
    limits.iter().map(step).collect()
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// The five sets, cut down to what this host can give: a capability that cannot be granted is left
/// out, as the specification demands since 1.1.
struct CapabilitySets {
    bounding: CapSet,
    effective: CapSet,
    permitted: CapSet,
    inheritable: CapSet,
    ambient: CapSet,
}

impl CapabilitySets {
    /// A process without capabilities in its specification has none.
    fn plan(wished: Option<&LinuxCapabilities>, facts: &HostFacts) -> Result<Self, PlanError> {
        let set = |names: Option<&Names>| -> Result<CapSet, PlanError> {
            let numbers = names.into_iter().flatten().map(number);
            let all = numbers.collect::<Result<CapSet, _>>()?;
            Ok(all.intersection(facts.capabilities))
        };
        let permitted = set(wished.and_then(|w| w.permitted().as_ref()))?;
        let inheritable = set(wished.and_then(|w| w.inheritable().as_ref()))?;
        // The kernel raises no other (capabilities(7)).
        let can_be_ambient = permitted.intersection(inheritable);
        Ok(Self {
            bounding: set(wished.and_then(|w| w.bounding().as_ref()))?,
            effective: set(wished.and_then(|w| w.effective().as_ref()))?,
            permitted,
            inheritable,
            ambient: set(wished.and_then(|w| w.ambient().as_ref()))?.intersection(can_be_ambient),
        })
    }

    /// Everything that the kernel has and the bounding set has not, also what has no name yet.
    fn dropped(&self, last: u8) -> u64 {
        let every = u64::MAX >> (63 - last.min(63));
        every & !self.bounding.bits()
    }

    fn of_process(&self) -> Capabilities {
        Capabilities {
            effective: self.effective.bits(),
            permitted: self.permitted.bits(),
            inheritable: self.inheritable.bits(),
        }
    }
}

/// Capabilities that a process is to have in its ambient set and cannot, since the specification does not have them in
/// the two sets that they come from.
pub(crate) fn not_ambient(process: &Process) -> Vec<String> {
    let Some(sets) = process.capabilities() else { return Vec::new() };
    let (permitted, inheritable) = (sets.permitted().as_ref(), sets.inheritable().as_ref());
    let has = |set: Option<&Names>, name: &_| set.is_some_and(|set| set.contains(name));
    let ambient = sets.ambient().iter().flatten();
    let ambient = ambient.filter(|name| !has(permitted, name) || !has(inheritable, name));
    let mut names: Vec<String> = ambient.map(|name| format!("CAP_{name}")).collect();
    names.sort_unstable();
    names
}

fn number(name: &oci_spec::runtime::Capability) -> Result<Capability, PlanError> {
    // The crate prints its names without the CAP_ that specifications have.
    Capability::parse_loosely(&name.to_string())
        .map_err(|_| PlanError::Unsupported("process.capabilities: a capability without a number"))
}

/// Whether a path is the root itself, where no directory has to be made.
pub(super) fn is_root(path: &str) -> bool {
    Path::new(path) == Path::new("/")
}
