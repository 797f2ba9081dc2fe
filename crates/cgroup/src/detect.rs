//! Which cgroup hierarchies this host has, and where.
//!
//! Reads the list of mounts only if `/sys/fs/cgroup` is not simply cgroup v2, which one call
//! tells. The parsers are pure. Each hierarchy's root is opened once; all other work is relative to
//! it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use sys::Errno;
use sys::mount_table::entries;

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";
/// What most of them fit into.
const TABLE: usize = 8 << 10;
const SELF_CGROUP: &str = "/proc/thread-self/cgroup";
const USUAL: &str = "/sys/fs/cgroup";
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// A resource controller of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Weight and bandwidth of processor time.
    Cpu,
    /// Accounting of processor time; part of `cpu` on v2.
    Cpuacct,
    /// Placement on processors and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Access to devices; a program on v2.
    Devices,
    /// Freezing; built into v2.
    Freezer,
    /// Block input and output: `blkio` on v1, `io` on v2.
    Io,
    /// The number of tasks.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// Marks on packets; v1 only.
    NetCls,
    /// Priorities of packets; v1 only.
    NetPrio,
    /// Performance events.
    PerfEvent,
    /// Resources of remote memory access.
    Rdma,
    /// Scalar resources of other kinds.
    Misc,
}

impl Controller {
    const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Io,
        Self::Pids,
        Self::Hugetlb,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Rdma,
        Self::Misc,
    ];

    /// The kernel's name on a version.
    #[must_use]
    pub const fn name(self, version: Version) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Io => match version {
                Version::V1 => "blkio",
                Version::V2 => "io",
            },
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Rdma => "rdma",
            Self::Misc => "misc",
        }
    }

    pub(crate) fn from_name(name: &str, version: Version) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name(version) == name)
    }
}

/// A version of the kernel's cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// Why the hierarchies of a host are not known.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A file of `/proc`, or a hierarchy's root, cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Nothing is mounted.
    #[error("no cgroup hierarchy is mounted")]
    None,
}

/// A v1 hierarchy.
#[derive(Debug)]
pub struct Legacy {
    /// Its controllers; none for a named hierarchy.
    pub controllers: Vec<Controller>,
    /// What `mount -o` needs to mount it: `cpu,cpuacct` or `name=systemd`.
    pub options: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    root: OwnedFd,
}

/// The v2 hierarchy.
#[derive(Debug)]
pub struct Unified {
    /// Where it is mounted.
    pub mount: PathBuf,
    root: OwnedFd,
}

impl Legacy {
    pub(crate) fn new(
        controllers: Vec<Controller>,
        options: String,
        mount: PathBuf,
        root: OwnedFd,
    ) -> Self {
        Self { controllers, options, mount, root }
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Unified {
    pub(crate) fn new(mount: PathBuf, root: OwnedFd) -> Self {
        Self { mount, root }
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// How the host has its controllers.
#[derive(Debug)]
pub enum Layout {
    /// All on v2.
    V2(Unified),
    /// All on v1, with no v2 hierarchy mounted.
    V1(Vec<Legacy>),
    /// On v1, with a v2 hierarchy beside them that has none or a few. Processes are in both; the v2
    /// side knows when they are gone, and can kill and freeze all of them at once.
    Hybrid(Vec<Legacy>, Unified),
    /// None that this process may make anything in: an ordinary user to whom nothing was delegated.
    NotOurs,
}

/// The hierarchies of this host, opened. A clone shares them.
#[derive(Debug, Clone)]
pub struct Hierarchies(Arc<Layout>);

impl Hierarchies {
    /// Finds and opens the hierarchies that this process sees.
    pub fn detect() -> Result<Self, DetectError> {
        if let Some(unified) = usual_unified() {
            return Ok(Self(Arc::new(delegated(unified)?.map_or(Layout::NotOurs, Layout::V2))));
        }
        let mounts = parse_mountinfo(&mount_table()?);
        let mut legacy = Vec::new();
        for Mount { options, controllers, path } in mounts.v1 {
            let root = open_root(&path)?;
            legacy.push(Legacy { controllers, options, mount: path, root });
        }
        let unified = match mounts.v2 {
            Some(path) => Some(Unified { root: open_root(&path)?, mount: path }),
            None => None,
        };
        let is_mounted = unified.is_some() || !legacy.is_empty();
        // Version 1 is never delegated (systemd does not), and half of a container's groups is none.
        legacy.retain(|legacy| is_ours(&legacy.root));
        let unified = unified.filter(|unified| is_ours(&unified.root));
        let layout = match (legacy.is_empty(), unified) {
            (true, None) if is_mounted => Layout::NotOurs,
            (true, None) => return Err(DetectError::None),
            (true, Some(unified)) => Layout::V2(unified),
            (false, None) => Layout::V1(legacy),
            (false, Some(unified)) => Layout::Hybrid(legacy, unified),
        };
        Ok(Self(Arc::new(layout)))
    }

    pub(crate) fn of(layout: Layout) -> Self {
        Self(Arc::new(layout))
    }

    /// How the host has them.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0
    }

    /// The v1 hierarchies, in the order in which they are mounted.
    #[must_use]
    pub fn legacy(&self) -> &[Legacy] {
        match &*self.0 {
            Layout::V2(_) | Layout::NotOurs => &[],
            Layout::V1(legacy) | Layout::Hybrid(legacy, _) => legacy,
        }
    }

    /// The v2 hierarchy.
    #[must_use]
    pub fn unified(&self) -> Option<&Unified> {
        match &*self.0 {
            Layout::V2(unified) | Layout::Hybrid(_, unified) => Some(unified),
            Layout::V1(_) | Layout::NotOurs => None,
        }
    }

    /// Whether there is one that this process may make cgroups in.
    #[must_use]
    pub fn is_delegated(&self) -> bool {
        !self.is_none()
    }

    /// Which version has this host's controllers, whoever they belong to; `None` if nothing is mounted.
    ///
    /// # Errors
    /// procfs cannot be read.
    pub fn version_of_host() -> Result<Option<Version>, DetectError> {
        if usual_unified().is_some() {
            return Ok(Some(Version::V2));
        }
        let mounts = parse_mountinfo(&mount_table()?);
        let has_v1 = mounts.v1.iter().any(|mount| !mount.controllers.is_empty());
        Ok(if has_v1 { Some(Version::V1) } else { mounts.v2.map(|_| Version::V2) })
    }

    /// None, as for an ordinary user to whom nothing was delegated.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Layout::NotOurs))
    }

    /// Where the part of version 2 is that was delegated to this process's user; `None` where the process has
    /// the whole hierarchy, or nothing.
    #[must_use]
    pub fn part(&self) -> Option<&Path> {
        match &*self.0 {
            Layout::V2(unified) if unified.mount != Path::new(USUAL) => Some(&unified.mount),
            Layout::V2(_) | Layout::V1(_) | Layout::Hybrid(..) | Layout::NotOurs => None,
        }
    }

    /// A place below the host's hierarchy as it is called below what this process has of it; `None` if it is not in
    /// there. Neither begins with a slash.
    pub(crate) fn below_part<'a>(&self, place: &'a str) -> Option<&'a str> {
        let Some(part) = self.part() else { return Some(place) };
        let part = part.strip_prefix(USUAL).ok()?.to_str()?;
        let rest = place.strip_prefix(part)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    }

    /// A part that was delegated to this process's user, also for who is elsewhere: what is in it can be
    /// read, limited, frozen, killed and removed from anywhere, and only what is born in it has to be born there.
    /// `None` if it is not there any more, or is somebody else's.
    #[must_use]
    pub fn of_part(place: &Path) -> Option<Self> {
        let root = open_root(place).ok().filter(|root| is_unified(root) && is_ours(root))?;
        Some(Self(Arc::new(Layout::V2(Unified { mount: place.to_owned(), root }))))
    }

    /// Whether there is none that this process may use.
    pub(crate) fn is_none(&self) -> bool {
        matches!(&*self.0, Layout::NotOurs)
    }

    pub(crate) fn legacy_of(&self, controller: Controller) -> Option<&Legacy> {
        self.legacy().iter().find(|legacy| legacy.controllers.contains(&controller))
    }

    /// The v1 hierarchy that is asked who is in a cgroup.
    pub(crate) fn legacy_tracking(&self) -> Option<&Legacy> {
        let preferred = [Controller::Pids, Controller::Freezer, Controller::Memory];
        let found = preferred.into_iter().find_map(|controller| self.legacy_of(controller));
        found.or_else(|| self.legacy().first())
    }

    /// The hierarchy that is asked who is in a cgroup, alone.
    pub(crate) fn tracking(&self) -> Result<Self, Errno> {
        let layout = match &*self.0 {
            Layout::V2(_) | Layout::NotOurs => return Ok(self.clone()),
            Layout::Hybrid(_, unified) => {
                Layout::V2(Unified { mount: unified.mount.clone(), root: again(unified.root())? })
            }
            Layout::V1(_) => {
                let legacy = self.legacy_tracking().ok_or(Errno::NOENT)?;
                Layout::V1(vec![Legacy {
                    controllers: legacy.controllers.clone(),
                    options: legacy.options.clone(),
                    mount: legacy.mount.clone(),
                    root: again(legacy.root())?,
                }])
            }
        };
        Ok(Self(Arc::new(layout)))
    }

    /// Where this process is in the v2 hierarchy: what a user's session was delegated lies there.
    pub fn own_unified_path() -> Result<Option<String>, DetectError> {
        let text = std::fs::read(SELF_CGROUP).map_err(|error| unread(SELF_CGROUP, &error))?;
        Ok(parse_unified_path(&String::from_utf8_lossy(&text)))
    }
}

/// Whether this process may make cgroups in one. Anything but a lack of rights shows when it is tried.
pub(crate) fn is_ours(dir: &OwnedFd) -> bool {
    let access = rustix::fs::accessat(dir, c".", Access::WRITE_OK, AtFlags::EACCESS);
    !matches!(access, Err(Errno::ACCESS | Errno::PERM))
}

/// The hierarchy as far as it is ours: whole, or the topmost part of it that this process is in and that was
/// delegated, as systemd gives each user's own services one (`user@.service`). To be moved between two cgroups
/// needs rights in the one above both, so other parts are of no use.
fn delegated(unified: Unified) -> Result<Option<Unified>, DetectError> {
    if is_ours(&unified.root) {
        return Ok(Some(unified));
    }
    let Some(own) = Hierarchies::own_unified_path()? else { return Ok(None) };
    let mut mount = unified.mount;
    for name in own.split('/').filter(|name| !name.is_empty()) {
        mount.push(name);
        // One of another cgroup namespace is not below.
        let Ok(root) = open_root(&mount) else { return Ok(None) };
        let joins =
            rustix::fs::accessat(&root, c"cgroup.procs", Access::WRITE_OK, AtFlags::EACCESS);
        if is_ours(&root) && joins.is_ok() {
            return Ok(Some(Unified { mount, root }));
        }
    }
    Ok(None)
}

fn again(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(root, 3)
}

fn unread(path: impl Into<PathBuf>, error: &std::io::Error) -> DetectError {
    let source = Errno::from_io_error(error).unwrap_or(Errno::IO);
    DetectError::Read { path: path.into(), source }
}

/// `/sys/fs/cgroup`, if that is where v2 is mounted: nothing is on v1 then.
fn usual_unified() -> Option<Unified> {
    let root = open_root(Path::new(USUAL)).ok()?;
    is_unified(&root).then(|| Unified { mount: USUAL.into(), root })
}

fn is_unified(root: &OwnedFd) -> bool {
    let magic = rustix::fs::fstatfs(root).ok().and_then(|found| u64::try_from(found.f_type).ok());
    magic == Some(CGROUP2_SUPER_MAGIC)
}

pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, DetectError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|source| DetectError::Read { path: path.to_owned(), source })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Mounts {
    v1: Vec<Mount>,
    v2: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    options: String,
    controllers: Vec<Controller>,
    path: PathBuf,
}

/// The kernel tells no length of it, so the standard library begins with reads of 32 bytes, each of which takes the
/// lock of all mounts: eight for a table that fits into one.
fn mount_table() -> Result<Vec<u8>, DetectError> {
    let mut table = Vec::with_capacity(TABLE);
    let read = File::open(MOUNTINFO).and_then(|mut file| file.read_to_end(&mut table));
    read.map_err(|error| unread(MOUNTINFO, &error))?;
    Ok(table)
}

/// The cgroup mounts in `/proc/<pid>/mountinfo`; of several of one hierarchy, the first: others are
/// binds of parts of it into chroots and the like.
fn parse_mountinfo(table: &[u8]) -> Mounts {
    let mut mounts = Mounts::default();
    for entry in entries(table) {
        match entry.kind {
            b"cgroup2" if mounts.v2.is_none() => mounts.v2 = Some(entry.path()),
            b"cgroup" => {
                let mount = legacy_mount(&String::from_utf8_lossy(entry.options), entry.path());
                let known = mounts.v1.iter().any(|other| other.options == mount.options);
                if !known && !mount.options.is_empty() {
                    mounts.v1.push(mount);
                }
            }
            _ => {}
        }
    }
    mounts
}

/// Of the super block's options, those that choose the hierarchy.
fn legacy_mount(options: &str, path: PathBuf) -> Mount {
    let is_choice = |option: &&str| {
        option.starts_with("name=") || Controller::from_name(option, Version::V1).is_some()
    };
    let chosen: Vec<&str> = options.split(',').filter(is_choice).collect();
    let controllers =
        chosen.iter().filter_map(|option| Controller::from_name(option, Version::V1)).collect();
    Mount { options: chosen.join(","), controllers, path }
}

/// The path of the v2 line in `/proc/<pid>/cgroup`.
fn parse_unified_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(mountinfo: &str, expected: &Expect) {
        let mounts = parse_mountinfo(mountinfo.as_bytes());
        let mut lines: Vec<String> = mounts
            .v1
            .iter()
            .map(|mount| {
                format!("v1 {} {:?} {}", mount.options, mount.controllers, mount.path.display())
            })
            .collect();
        lines.extend(mounts.v2.map(|path| format!("v2 {}", path.display())));
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn systemd_on_v2() {
        check(
            "22 1 0:21 / /proc rw - proc proc rw\n\
             29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
            &expect!["v2 /sys/fs/cgroup"],
        );
    }

    #[test]
    fn systemd_on_v1_and_hybrid() {
        check(
            "30 23 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n\
             31 30 0:26 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
             32 30 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct\n\
             34 30 0:31 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup cgroup rw,net_cls,net_prio\n\
             35 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             36 30 0:33 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n",
            &expect![[r#"
                v1 name=systemd [] /sys/fs/cgroup/systemd
                v1 cpu,cpuacct [Cpu, Cpuacct] /sys/fs/cgroup/cpu,cpuacct
                v1 net_cls,net_prio [NetCls, NetPrio] /sys/fs/cgroup/net_cls,net_prio
                v1 memory [Memory] /sys/fs/cgroup/memory
                v1 blkio [Io] /sys/fs/cgroup/blkio
                v2 /sys/fs/cgroup/unified"#]],
        );
    }

    #[test]
    fn v1_alone_with_controllers_of_one_mount_each() {
        check(
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
             33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n",
            &expect![[r#"
                v1 cpu [Cpu] /sys/fs/cgroup/cpu
                v1 cpuacct [Cpuacct] /sys/fs/cgroup/cpuacct
                v1 memory [Memory] /sys/fs/cgroup/memory"#]],
        );
    }

    #[test]
    fn in_a_container_the_first_mount_of_a_hierarchy_counts() {
        check(
            "1 0 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
             2 0 0:32 / /var/lib/my\\040chroot/memory rw - cgroup cgroup rw,memory\n\
             3 0 0:33 / /odd\\134name rw - cgroup cgroup rw,pids\n",
            &expect![[r#"
                v1 memory [Memory] /sys/fs/cgroup/memory
                v1 pids [Pids] /odd\name"#]],
        );
    }

    #[test]
    fn lines_that_are_none_say_nothing() {
        check("\n- -\n1 2 3\n1 2 3 4 5 - cgroup\n1 2 3 4 5 - cgroup cgroup rw\n", &expect![""]);
    }

    #[test]
    fn the_own_path_is_the_one_of_hierarchy_zero() {
        let text = "8:pids:/a\n1:name=systemd:/b\n0::/user.slice/user-1000.slice/session-1.scope\n";
        let path = parse_unified_path(text);
        assert_eq!(path.as_deref(), Some("/user.slice/user-1000.slice/session-1.scope"));
        assert_eq!(parse_unified_path("8:pids:/a\n"), None);
    }
}
