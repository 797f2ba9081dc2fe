//! Decides what an init does: a specification and facts about the host in, a list of steps out.
//!
//! Pure. Every `if` about namespaces, mounts, devices and capabilities is here; `init` has none.
//! A field that is not carried out is an error, never ignored. The cgroup and its limits are the
//! caller's (crate `cgroup`), and so is the compiling of seccomp profiles.

mod around;
mod dev;
mod entry;
mod error;
mod hierarchies;
mod inside;
mod lists;
mod mounts;
mod namespaces;
mod options;
mod process;
pub(crate) mod restoring;
mod sysctl;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod told;
mod turns;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, Mount, Process, Spec};
use sys::mount::Propagation;
use sys::process::Namespaces;

use crate::facts::{CgroupView, HostFacts, UserIds};
use crate::hooks;
use crate::step::{Conduct, Groups, MaskFile, Place, Step, Symlinks};

pub use around::Surroundings;
pub use error::PlanError;
pub(crate) use inside::binds as binds_inside;
pub(crate) use mounts::one as one_mount;
pub use mounts::{Ids, Params, Shown, Tree};
pub use namespaces::{Join, Origin, shares_mounts};
pub(crate) use options::{Asked, COPY_LINK, asked, is_attribute, words as mount_options};
pub(crate) use process::not_ambient;
pub use process::{Candidates, Program};
pub(crate) use turns::{Affinity, DEADLINE};

/// What a plan depends on besides the specification and the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extras {
    /// The container's id; names its session keyring.
    pub id: String,
    /// The namespaces that the caller has open, in place of what the specification says.
    pub given: Namespaces,
    /// Whether a compiled seccomp filter comes along.
    pub filter: Filter,
    /// What happens to the process when its parent dies.
    pub orphan: Orphan,
    /// Where on the host hooks find the root file system; a specification with hooks needs it.
    pub hooks_at: Option<PathBuf>,
    /// Whose session keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on its program inherits.
    pub preserved: u32,
    /// Who lets it run its program.
    pub starter: Starter,
    /// How the root file system becomes the root.
    pub entrance: Entrance,
    /// What is done in the place of another runtime.
    pub customs: Customs,
    /// The file that the process executes, if its first argument is only what it is called.
    pub program: Option<PathBuf>,
}

/// What an OCI runtime does in the place of runc or crun. Containers of the engine have none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customs {
    /// Where the root file system is on the host, if sources of binds may name places in it that earlier mounts bring.
    pub root_at: Option<PathBuf>,
    /// Where symbolic links lead that are made in place of binds, by index of the mounts.
    pub links: BTreeMap<usize, CString>,
    /// What becomes of the caller's supplementary groups.
    pub groups: Groups,
}

/// How the root file system becomes the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    /// The host's mounts are put away.
    Pivot,
    /// They stay below it, where the host's root is one that cannot be put away, but for these: mount points
    /// of the host's procfs and sysfs, the latest first.
    Chroot(Vec<CString>),
    /// The mount namespace is not the container's own: the root is attached at this path of it, and changed into.
    /// Nothing else is put away, since it is there for others.
    InPlace(PathBuf),
}

/// Whose session keyring a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyring {
    /// One of its own.
    New,
    /// That of whoever starts it.
    Callers,
}

/// Who lets a process that is set up run its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// Its parent.
    Parent,
    /// Whoever comes to a door that the parent leaves open.
    Visitor,
}

/// Whether a compiled seccomp filter comes along. The profile in the specification is not looked
/// at: compiling, and caching what was compiled, is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// There is none.
    None,
    /// There is one.
    Given,
}

/// What happens to a process when its parent dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It lives on.
    Lives,
    /// It is killed. Programs that gain privileges by being executed escape this.
    Dies,
}

/// The whole start of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitPlan {
    /// Namespaces that the child is born with.
    pub namespaces: Namespaces,
    /// The pid namespace that it is born into instead of a new one.
    pub pid: Option<Join>,
    /// Namespaces that it joins; their index is their slot.
    pub joins: Vec<Join>,
    /// Trees that the parent brings; their index is their slot.
    pub trees: Vec<Tree>,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What it becomes.
    pub program: Program,
    /// Whether its standard streams are a terminal.
    pub terminal: Terminal,
}

/// The start of one more process in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlan {
    /// What it does, in order, once it is in the container's namespaces.
    pub steps: Vec<Step>,
    /// What it becomes.
    pub program: Program,
    /// Whether its standard streams are a terminal.
    pub terminal: Terminal,
}

/// What the standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Pipes or files of the caller.
    No,
    /// A pseudo terminal of the container.
    Yes,
}

/// Plans the start of a container.
///
/// # Errors
/// If the specification contradicts itself or asks for what is not there.
pub fn plan(spec: &Spec, facts: &HostFacts, extras: &Extras) -> Result<InitPlan, PlanError> {
    let linux = spec.linux().as_ref().ok_or(PlanError::Missing("linux"))?;
    let process = spec.process().as_ref().ok_or(PlanError::Missing("process"))?;
    refuse_unsupported(spec, linux, extras)?;
    let label = mount_label(linux, facts)?;
    let mut choice = namespaces::choose(linux, extras.given, &extras.entrance)?;
    let around = around(linux, &choice, extras)?;
    let users = around.users.as_ref();
    let hooks = hooks_at(spec, extras)?;
    let clocks = entry::clocks(linux, &choice)?;
    let terminal = process::terminal(process)?;
    let root = root_propagation(linux)?;
    let devices = linux.devices().as_deref().unwrap_or_default();
    // With a user namespace of its own, what is in /dev is made outside of it.
    let makers = if users.is_some() { UserIds::Hosts } else { facts.users };
    let devices = dev::plan(devices, terminal.is_some().into(), makers)?;
    let wanted = spec.mounts().as_deref().unwrap_or_default();
    let before = entry::before(process, facts, users, clocks.as_ref())?;
    let mut steps = entry::steps(&choice, before, clocks, around.groups);
    let is_shown = users.is_none() && facts.cgroups != CgroupView::Unified && show_cgroups(wanted);
    let shared_view = is_shown.then(|| choice.keep_cgroup()).flatten();
    let context = mounts::Context {
        cgroups: &facts.cgroups,
        shared_view,
        shares_groups: choice.shares_cgroup(),
        propagation: root,
        dev: devices.content,
        shown: devices.shown,
        users,
        label,
        inside: &inside::binds(wanted, extras.customs.root_at.as_deref())?,
        links: &extras.customs.links,
    };
    let mut mounts = mounts::plan(wanted, &context)?;
    if terminal.is_some() && !mounts.has_terminals {
        return Err(PlanError::Missing("a devpts mount on /dev/pts for process.terminal"));
    }
    let masked = linux.masked_paths().as_deref().unwrap_or_default();

    let makers = if users.is_some() { UserIds::Nested } else { facts.users };
    let mask = (!masked.is_empty()).then(|| make_mask(makers));
    // Hooks see the host's root, which the mask would cover.
    let (early, late) = if hooks.is_none() { (mask, None) } else { (None, mask) };
    steps.extend(early);
    steps.push(attach_root(&extras.entrance, hooks)?);
    for (target, node) in devices.elsewhere {
        mounts.add_node(target, node, makers);
    }
    steps.extend(mounts.steps);
    steps.extend(make_working_directory(process)?);
    if let Some(size) = terminal {
        steps.extend([Step::OpenTerminal(size), Step::BindConsole]);
    }
    let sysctls = linux.sysctl().as_ref().is_some_and(|sysctls| !sysctls.is_empty());
    let writes = users.is_none() && process::writes_to_proc(process);
    steps.extend((sysctls || writes).then_some(Step::OwnProc));
    steps.extend(kernel_steps(spec, linux, &choice, extras)?);
    // Before the root is read-only: what hooks change is the root file system.
    steps.extend(hooks.map(|_| Step::AwaitHooks));
    steps.extend(late);
    steps.extend(restrict_steps(spec, linux)?);
    steps.extend(enter_root(&extras.entrance, hooks));
    if let how @ (Propagation::Shared | Propagation::Unbindable | Propagation::Slave) = root {
        steps.push(Step::RootPropagation(how));
    }
    steps.extend(process::steps(process, facts, extras, &around)?);
    Ok(InitPlan {
        // In a user namespace they are made by whoever is in it already.
        namespaces: if choice.is_reborn() { Namespaces::NONE } else { choice.new },
        pid: choice.pid,
        joins: choice.joins,
        trees: mounts.trees,
        steps,
        program: process::program(process, extras)?,
        terminal: if terminal.is_some() { Terminal::Yes } else { Terminal::No },
    })
}

/// Whether a container is shown control groups.
fn show_cgroups(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| mount.typ().as_deref() == Some("cgroup"))
}

/// What a process joins of a container. The pid namespace it is born into.
const ENTERED: Namespaces = Namespaces::MOUNT
    .union(Namespaces::UTS)
    .union(Namespaces::IPC)
    .union(Namespaces::NET)
    .union(Namespaces::CGROUP);

/// Plans one more process in a running container.
///
/// # Errors
/// As [`plan`].
pub fn plan_exec(
    process: &Process,
    facts: &HostFacts,
    around: &Surroundings,
    extras: &Extras,
) -> Result<ExecPlan, PlanError> {
    let mut steps = vec![Step::JoinCgroup];
    let affinity = Affinity::of(process)?;
    match affinity.last {
        Some(processors) => steps.push(Step::Conduct(Conduct::Affinity(processors))),
        None if affinity.first.is_none() => steps.push(Step::Conduct(Conduct::AnyProcessor)),
        // It goes on where it has begun.
        None => {}
    }
    // Before anything is the container's: where the kernel makes no new one, it is the host's.
    steps.extend(process::writes_to_proc(process).then_some(Step::OwnProc));
    let enter = Step::EnterContainer(ENTERED | around.entered());
    if let Some(maps) = &around.users {
        steps.extend(process::outer_steps(process, facts, maps)?);
        steps.extend([enter, Step::BecomeRoot(around.groups)]);
    } else {
        steps.push(enter);
    }
    // Who joins a mount namespace arrives at its root, which is the container's only if the namespace is.
    steps.extend(around.shares_mounts.then(|| Step::EnterRootByChroot(Vec::new())));
    steps.extend(keyring(extras)?);
    let terminal = process::terminal(process)?;
    if let Some(size) = terminal {
        steps.push(Step::OpenTerminal(size));
    }
    steps.extend(process::steps(process, facts, extras, around)?);
    Ok(ExecPlan {
        steps,
        program: process::program(process, extras)?,
        terminal: if terminal.is_some() { Terminal::Yes } else { Terminal::No },
    })
}

fn refuse_unsupported(spec: &Spec, linux: &Linux, extras: &Extras) -> Result<(), PlanError> {
    // They are in the network namespace that the caller brings.
    let is_left = linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())
        && !extras.given.contains(Namespaces::NET);
    let asked = [
        (spec.vm().is_some(), "vm"),
        (linux.intel_rdt().is_some(), "linux.intelRdt"),
        (is_left, "linux.netDevices that nobody has moved"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, field)) => Err(PlanError::Unsupported(field)),
        None => Ok(()),
    }
}

/// Where the program begins, if it is not the root itself.
fn make_working_directory(process: &Process) -> Result<Option<Step>, PlanError> {
    let cwd = process::working_directory(process)?;
    if process::is_root(&cwd) {
        return Ok(None);
    }
    // Symlinks are followed here, as they are when the directory is entered.
    let place = text::place("process.cwd", Path::new(&cwd))?;
    Ok(Some(Step::MakeWorkingDirectory(Place { symlinks: Symlinks::InRoot, ..place })))
}

/// The label of SELinux that the files of new mounts have.
fn mount_label<'a>(linux: &'a Linux, facts: &HostFacts) -> Result<Option<&'a str>, PlanError> {
    let label = linux.mount_label().as_deref().filter(|label| !label.is_empty());
    if label.is_some() && !facts.selinux {
        return Err(PlanError::Unsupported("linux.mountLabel without SELinux in the kernel"));
    }
    Ok(label)
}

/// Binds without a propagation of their own, and the root itself, follow this one. Nothing said
/// is what runc makes of it: mounts of the host arrive, the container's stay inside.
fn root_propagation(linux: &Linux) -> Result<Propagation, PlanError> {
    match linux.rootfs_propagation().as_deref() {
        None | Some("") => Ok(Propagation::Slave),
        Some(word) => options::propagation(word)
            .map(|(how, _)| how)
            .ok_or_else(|| PlanError::RootPropagation(word.to_owned())),
    }
}

fn around(
    linux: &Linux,
    choice: &namespaces::Choice,
    extras: &Extras,
) -> Result<Surroundings, PlanError> {
    let around = Surroundings::of(linux)?.with_groups(extras.customs.groups);
    if matches!(extras.entrance, Entrance::InPlace(_)) {
        refuse_with_others_mounts(linux, &around)?;
    }
    if around.users.is_some() != choice.user().is_some() {
        return Err(PlanError::Missing("either linux.uidMappings or a user namespace"));
    }
    Ok(around)
}

fn make_mask(makers: UserIds) -> Step {
    Step::MakeMask(match makers {
        UserIds::Hosts => MaskFile::Null,
        UserIds::Nested => MaskFile::Empty,
    })
}

/// Where the root file system is attached for hooks; `None` if there are none.
fn hooks_at<'a>(spec: &Spec, extras: &'a Extras) -> Result<Option<&'a Path>, PlanError> {
    if !hooks::any(spec) {
        return Ok(None);
    }
    if let Some((moment, path, why)) = hooks::wrong(spec) {
        return Err(PlanError::Hook { moment: moment.name(), path, why });
    }
    extras.hooks_at.as_deref().map(Some).ok_or(PlanError::Missing("a bundle for hooks"))
}

/// What needs mounts that nobody else has.
fn refuse_with_others_mounts(linux: &Linux, around: &Surroundings) -> Result<(), PlanError> {
    let has_some = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(|all| !all.is_empty());
    let asked = [
        // As runc: the container's root could take such a cover away, or the host's would be left with it.
        (has_some(linux.masked_paths()), "linux.maskedPaths"),
        (has_some(linux.readonly_paths()), "linux.readonlyPaths"),
        // The kernel lets nobody mount in a namespace of other users.
        (around.users.is_some(), "a user namespace"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, setting)) => {
            let (setting, namespace) = ((*setting).to_owned(), "mount");
            Err(PlanError::NeedsNamespace { setting, namespace })
        }
        None => Ok(()),
    }
}

/// On `/` no directory of the host is needed; hooks want to find it by a path, and so do those whose mounts these are.
fn attach_root(entrance: &Entrance, hooks: Option<&Path>) -> Result<Step, PlanError> {
    let path = |path: &Path| text::c_string("root.path", &path.to_string_lossy());
    match (entrance, hooks) {
        (Entrance::InPlace(place), _) => Ok(Step::AttachRootInPlace(path(place)?)),
        (Entrance::Pivot | Entrance::Chroot(_), Some(place)) => {
            Ok(Step::AttachRootAt(path(place)?))
        }
        (Entrance::Pivot | Entrance::Chroot(_), None) => Ok(Step::AttachRoot),
    }
}

/// Who enters the mount namespace later arrives at what lies on top of `/`.
fn enter_root(entrance: &Entrance, hooks: Option<&Path>) -> Vec<Step> {
    match entrance {
        Entrance::Pivot => vec![Step::EnterRoot],
        Entrance::Chroot(covered) => {
            let moved = hooks.map(|_| Step::AttachRoot);
            moved.into_iter().chain([Step::EnterRootByChroot(covered.clone())]).collect()
        }
        Entrance::InPlace(_) => vec![Step::EnterRootByChroot(Vec::new())],
    }
}

/// Names, parameters and keys of the new namespaces.
fn kernel_steps(
    spec: &Spec,
    linux: &Linux,
    choice: &namespaces::Choice,
    extras: &Extras,
) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    if let Some(sysctls) = linux.sysctl() {
        steps.extend(sysctl::steps(sysctls, choice)?);
    }
    let host = spec.hostname().as_deref().filter(|name| !name.is_empty());
    let domain = spec.domainname().as_deref().filter(|name| !name.is_empty());
    if (host.is_some() || domain.is_some()) && !choice.owns(Namespaces::UTS) {
        let setting = if host.is_some() { "hostname" } else { "domainname" };
        return Err(PlanError::NeedsNamespace { setting: setting.to_owned(), namespace: "uts" });
    }
    steps.extend(host.map(|name| Step::HostName(name.to_owned())));
    steps.extend(domain.map(|name| Step::DomainName(name.to_owned())));
    steps.extend(keyring(extras)?);
    Ok(steps)
}

fn keyring(extras: &Extras) -> Result<Option<Step>, PlanError> {
    match extras.keyring {
        Keyring::Callers => Ok(None),
        Keyring::New => {
            let name = text::c_string("id", &format!("_ses.{}", extras.id))?;
            Ok(Some(Step::SessionKeyring(name)))
        }
    }
}

/// What the program must not write or see.
fn restrict_steps(spec: &Spec, linux: &Linux) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for path in linux.readonly_paths().iter().flatten() {
        steps.push(Step::ReadOnlyPath(text::covered("linux.readonlyPaths", Path::new(path))?));
    }
    for path in linux.masked_paths().iter().flatten() {
        steps.push(Step::MaskPath(text::covered("linux.maskedPaths", Path::new(path))?));
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        steps.push(Step::ReadOnlyRoot);
    }
    Ok(steps)
}
