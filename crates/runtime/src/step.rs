//! The vocabulary of plans: what an init can be told to do.
//!
//! Data alone, with names for people. `plan` writes lists of these, `init` carries them out.

use std::ffi::CString;
use std::fmt;

use sys::mount::{Attributes, Depth, MountAttrFlags, Propagation};
use sys::process::Namespaces;
use sys::pty::Size;

/// One thing that the child does, in order, without asking anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Enter the control groups of version 1, and version 2 where `clone3` did not.
    JoinCgroup,
    /// Join these namespaces of the running container; its root becomes the root.
    EnterContainer(Namespaces),
    /// Join the user namespace that the parent opened, and become its root.
    EnterUserNamespace(Slot),
    /// Go on as a child of the parent's, born into these new namespaces.
    BeBorn(Namespaces),
    /// Become the root of the user namespace that was entered.
    BecomeRoot(Groups),
    /// Give the pipes that will be the standard streams to this user, seen from the host.
    GiveStreams(Uid),
    /// Join the namespace of this kind that the parent opened.
    JoinNamespace(Namespaces, Slot),
    /// Let those who are born from now on have clocks of their own, that far from the host's.
    NewTimeNamespace(CString),
    /// Leave the cgroup namespace, so that the control group of now is shown as the root.
    NewCgroupNamespace,
    /// Bring the loopback interface of a new network namespace up.
    LoopbackUp,
    /// Cut all mounts of the copied mount namespace off from those of the host.
    IsolateMounts,
    /// Make the file system that masked paths are covered with.
    MakeMask(MaskFile),
    /// Mount a tmpfs at this path of the host; what is mounted later is mounted below it.
    MakeBench(CString),
    /// Attach the root file system.
    AttachRoot,
    /// Attach it at this directory of the host, where hooks find it.
    AttachRootAt(CString),
    /// Attach it at this directory of a mount namespace that is not the container's own. What is mounted in it stays
    /// there, however others share the directory.
    AttachRootInPlace(CString),
    /// Tell the parent that hooks may be run, and wait until they have been.
    AwaitHooks,
    /// Make a mount and attach it below the root.
    Mount(Box<MountStep>),
    /// Make a device node in the root file system.
    Node(Place, Node),
    /// Make a symbolic link that leads there; the same one may be there already.
    Link(Place, CString),
    /// Make the working directory if there is none.
    MakeWorkingDirectory(Place),
    /// Open the terminal in the container's devpts.
    OpenTerminal(Option<Size>),
    /// Show the terminal as `/dev/console` too.
    BindConsole,
    /// Make a procfs that only this process sees, for its own writes.
    OwnProc,
    /// Write a kernel parameter; the path is one of procfs, as `sys/net/core/somaxconn`.
    Sysctl(CString, CString),
    /// Set the host name.
    HostName(String),
    /// Set the NIS domain name.
    DomainName(String),
    /// Take a new session keyring.
    SessionKeyring(CString),
    /// Make a path unwritable, if it exists.
    ReadOnlyPath(Place),
    /// Cover a path, if it exists.
    MaskPath(Place),
    /// Make the root file system unwritable.
    ReadOnlyRoot,
    /// Make the root file system the root, and let go of the host's mounts.
    EnterRoot,
    /// The same without pivot_root, for a root on the initial ramfs or one among the mounts of others: those of the
    /// host at these paths are let go of, or covered where they cannot be.
    EnterRootByChroot(Vec<CString>),
    /// Set how mounts reach the root file system's copies.
    RootPropagation(Propagation),
    /// Limit a resource.
    Limit(Limit),
    /// Set how the kernel runs this process.
    Conduct(Conduct),
    /// Set how likely the OOM killer chooses this process.
    OomScore(CString),
    /// Take the terminal, or the pipes, as standard streams, owned by this user.
    StandardStreams(Uid),
    /// Set the file creation mask.
    Umask(u32),
    /// Let no program gain privileges.
    NoNewPrivileges,
    /// Give up capabilities for all programs to come. A mask.
    DropBounding(u64),
    /// Become the user.
    Become(Identity),
    /// Set the three capability sets of this process. Masks.
    SetCapabilities(Capabilities),
    /// Let programs inherit these. A mask.
    RaiseAmbient(u64),
    /// Set the AppArmor profile of the program.
    AppArmor(CString),
    /// Let the program run with this label of SELinux.
    SeLinux(CString),
    /// Go to a directory that the process's user may not enter, while all rights are there, as runc does.
    ApproachDirectory(CString),
    /// Go to the working directory.
    ChangeDirectory(CString),
    /// Find the program as the user who will run it.
    FindProgram,
    /// Die if the parent dies.
    DieWithParent,
    /// Let the program inherit the descriptors below this number alone.
    KeepDescriptors(u32),
    /// Let the program inherit this descriptor of the parent's as well.
    Inherit(Slot),
    /// Tell the parent that all is set up, and wait until it says go.
    AwaitGo,
    /// Wait at the door until somebody says go.
    AwaitStart(u32),
    /// Load the seccomp filter.
    LoadFilter,
    /// Become the program.
    Execute,
}

/// Index of a descriptor that the parent hands down.
pub type Slot = usize;

/// What files are masked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskFile {
    /// The null device.
    Null,
    /// An empty file: all that can be made in a user namespace.
    Empty,
}

/// A path inside of the root file system, and how symlinks in it are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute, without `.`, `..` or doubled slashes.
    pub path: CString,
    /// See there.
    pub symlinks: Symlinks,
}

/// How symlinks on the way to a place are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// Followed, inside of the root file system (`/var/run -> /run`).
    InRoot,
    /// An error: below `/dev`, `/proc` and `/sys` an image has no business to redirect what we
    /// mount, mask or create (CVE-2019-19921, CVE-2025-31133, CVE-2026-41579).
    Refuse,
    /// Followed, if what they lead to is in a file system of the kernel's own, as those of
    /// `/sys/class`: nothing of the image's is masked in place of what was meant.
    Kernels,
}

/// A mount to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// What is mounted.
    pub source: Source,
    /// Where.
    pub target: Place,
    /// Of the mount itself.
    pub attributes: Attributes,
    /// Of it and all below it.
    pub recursive: Attributes,
    /// Set last, before it is attached.
    pub propagation: Option<(Propagation, Depth)>,
    /// What is put in before it is attached.
    pub content: Vec<Entry>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A new file system.
    New {
        /// Its kind.
        kind: CString,
        /// Keys, and values where they have one.
        params: Vec<(CString, Option<CString>)>,
    },
    /// What is mounted there already, which gets other attributes and these parameters.
    Present(Vec<(CString, Option<CString>)>),
    /// A copy of what is in the root by then, shown with the ids of a user namespace or its own.
    Inside {
        /// Where.
        from: Place,
        /// With the mounts below it or without.
        depth: Depth,
        /// The namespace, and how deep its ids go.
        ids: Option<(Slot, Depth)>,
    },
    /// A tree that the parent has detached, and what it is to people.
    Tree(Slot, String),
}

/// Something in a new file system; paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory, with mode 0755.
    Directory(CString),
    /// An empty file.
    File(CString),
    /// A symlink: path and target.
    Link(CString, CString),
    /// A device node or fifo; missing directories above it are made.
    Node(CString, Node),
}

/// A device node or fifo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device, major and minor.
    Character(u32, u32),
    /// A block device, major and minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One resource limit; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Which resource.
    pub resource: Resource,
    /// What the program gets.
    pub soft: Option<u64>,
    /// How far it may raise that.
    pub hard: Option<u64>,
}

pub use rustix::process::{Gid, Resource, Uid};
pub use sys::task::Scheduling;

/// How the kernel runs a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conduct {
    /// Which Linux it sees.
    Personality(u32),
    /// Where its memory lies.
    MemoryPolicy(MemoryPolicy),
    /// How it shares processors.
    Scheduling(Scheduling),
    /// Its turn at disks: class and level, as ioprio_set(2) has them.
    IoPriority(u32),
    /// The processors that it runs on.
    Affinity(Vec<usize>),
    /// Wherever its control group may, whatever its parent is kept to.
    AnyProcessor,
}

/// Where memory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with its flags.
    pub mode: u32,
    /// A mask of nodes; empty for none.
    pub nodes: Vec<u64>,
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: Uid,
    /// Group id.
    pub gid: Gid,
    /// Supplementary groups; `None` for those that it has.
    pub groups: Option<Vec<Gid>>,
}

/// What becomes of the supplementary groups of whoever starts a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Groups {
    /// The container's processes have what their specification lists.
    #[default]
    Dropped,
    /// They have those, and no others.
    Kept,
}

/// Capability masks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What it can use.
    pub effective: u64,
    /// What it may use.
    pub permitted: u64,
    /// What it passes on to programs that ask for it.
    pub inheritable: u64,
}

impl Step {
    /// The place of the root file system that it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        if let Self::Mount(mount) = self {
            return Some(&mount.target);
        }
        if let Self::MaskPath(place)
        | Self::ReadOnlyPath(place)
        | Self::MakeWorkingDirectory(place)
        | Self::Link(place, _)
        | Self::Node(place, _) = self
        {
            return Some(place);
        }
        None
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.to_string_lossy())
    }
}

impl fmt::Display for Step {
    /// The operation and its object. Attributes are in the `Debug` form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinCgroup => f.write_str("join the cgroup"),
            Self::EnterContainer(_) => f.write_str("enter the container's namespaces"),
            Self::EnterUserNamespace(_) => f.write_str("enter the user namespace"),
            Self::BeBorn(kinds) => write!(f, "be born into new namespaces {kinds}"),
            Self::BecomeRoot(_) => f.write_str("become root of the user namespace"),
            Self::GiveStreams(owner) => {
                write!(f, "give the pipes to user {} of the host", owner.as_raw())
            }
            Self::JoinNamespace(kind, _) => write!(f, "join {kind} namespace"),
            Self::NewTimeNamespace(_) => f.write_str("new time namespace"),
            Self::NewCgroupNamespace => f.write_str("new cgroup namespace"),
            Self::LoopbackUp => f.write_str("bring up the loopback interface"),
            Self::IsolateMounts => f.write_str("isolate mounts"),
            Self::MakeMask(_) => f.write_str("make the mask"),
            Self::MakeBench(path) => write!(f, "mount a tmpfs on {}", path.to_string_lossy()),
            Self::AttachRoot => f.write_str("attach the root file system"),
            Self::AttachRootAt(path) => {
                write!(f, "attach the root file system at {}", path.to_string_lossy())
            }
            Self::AttachRootInPlace(path) => {
                write!(f, "attach the root file system in place at {}", path.to_string_lossy())
            }
            Self::AwaitHooks => f.write_str("await hooks"),
            Self::Mount(mount) => write!(f, "mount {} on {}", mount.source, mount.target),
            Self::Node(place, node) => write!(f, "make {node} {place}"),
            Self::Link(place, target) => {
                write!(f, "make link {place} to {}", target.to_string_lossy())
            }
            Self::MakeWorkingDirectory(place) => write!(f, "make working directory {place}"),
            Self::OpenTerminal(_) => f.write_str("open a terminal"),
            Self::BindConsole => f.write_str("bind /dev/console"),
            Self::OwnProc => f.write_str("make a procfs of its own"),
            Self::Sysctl(path, _) => write!(f, "set {}", path.to_string_lossy()),
            Self::HostName(name) => write!(f, "set host name {name:?}"),
            Self::DomainName(name) => write!(f, "set domain name {name:?}"),
            Self::SessionKeyring(_) => f.write_str("new session keyring"),
            Self::ReadOnlyPath(place) => write!(f, "make {place} read-only"),
            Self::MaskPath(place) => write!(f, "mask {place}"),
            Self::ReadOnlyRoot => f.write_str("make the root file system read-only"),
            Self::EnterRoot => f.write_str("enter the root file system"),
            Self::EnterRootByChroot(_) => f.write_str("enter the root file system by chroot"),
            Self::RootPropagation(how) => write!(f, "make / {}", propagation_name(*how)),
            Self::Limit(limit) => write!(f, "set limit {:?}", limit.resource),
            Self::Conduct(conduct) => write!(f, "set {conduct}"),
            Self::OomScore(score) => write!(f, "set oom_score_adj {}", score.to_string_lossy()),
            Self::StandardStreams(_) => f.write_str("take the standard streams"),
            Self::Umask(mask) => write!(f, "set umask {mask:04o}"),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::DropBounding(mask) => write!(f, "drop bounding capabilities {mask:x}"),
            Self::Become(who) => {
                write!(f, "become user {}:{}", who.uid.as_raw(), who.gid.as_raw())
            }
            Self::SetCapabilities(sets) => write!(f, "set capabilities {:x}", sets.permitted),
            Self::RaiseAmbient(mask) => write!(f, "raise ambient capabilities {mask:x}"),
            Self::AppArmor(profile) => {
                write!(f, "set AppArmor profile {:?}", profile.to_string_lossy())
            }
            Self::SeLinux(label) => write!(f, "set SELinux label {:?}", label.to_string_lossy()),
            Self::ApproachDirectory(path) => write!(f, "approach {}", path.to_string_lossy()),
            Self::ChangeDirectory(path) => write!(f, "go to {}", path.to_string_lossy()),
            Self::FindProgram => f.write_str("find the program"),
            Self::DieWithParent => f.write_str("die with the parent"),
            Self::KeepDescriptors(first) => write!(f, "keep the descriptors below {first} only"),
            Self::Inherit(slot) => write!(f, "let the program inherit descriptor {slot}"),
            Self::AwaitGo => f.write_str("await go"),
            Self::AwaitStart(first) => write!(f, "await start without descriptors from {first} on"),
            Self::LoadFilter => f.write_str("load the seccomp filter"),
            Self::Execute => f.write_str("execute the program"),
        }
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Personality(domain) => write!(f, "personality {domain:#x}"),
            Self::MemoryPolicy(policy) => {
                write!(f, "memory policy {:#x} {:x?}", policy.mode, policy.nodes)
            }
            Self::Scheduling(how) => write!(f, "scheduling policy {}", how.policy),
            Self::IoPriority(value) => write!(f, "I/O priority {}:{}", value >> 13, value & 7),
            Self::AnyProcessor => f.write_str("affinity to any processor"),
            Self::Affinity(processors) => write!(f, "affinity to processors {processors:?}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { kind, .. } => f.write_str(&kind.to_string_lossy()),
            Self::Present(_) => f.write_str("again what is mounted"),
            Self::Inside { from, .. } => write!(f, "{from} of the root"),
            Self::Tree(_, name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NodeKind::Character(major, minor) => write!(f, "character device {major}:{minor}"),
            NodeKind::Block(major, minor) => write!(f, "block device {major}:{minor}"),
            NodeKind::Fifo => f.write_str("fifo"),
        }
    }
}

pub(crate) fn propagation_name(how: Propagation) -> &'static str {
    match how {
        Propagation::Private => "private",
        Propagation::Slave => "slave",
        Propagation::Shared => "shared",
        Propagation::Unbindable => "unbindable",
    }
}

/// Names of mount attributes, as mount(8) has them.
pub(crate) fn attribute_names(attributes: &Attributes) -> String {
    const NAMES: [(MountAttrFlags, &str); 8] = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, "ro"),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, "nosuid"),
        (MountAttrFlags::MOUNT_ATTR_NODEV, "nodev"),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, "noexec"),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, "noatime"),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, "strictatime"),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, "nodiratime"),
        (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
    ];
    let named = NAMES.iter().filter(|(flag, _)| attributes.set.contains(*flag));
    let cleared = NAMES[..4].iter().filter(|(flag, _)| attributes.clear.contains(*flag));
    let mut names: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    names.extend(cleared.map(|(_, name)| format!("-{name}")));
    names.join(",")
}
