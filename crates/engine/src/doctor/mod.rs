//! What this host gives and lacks for containers, what each lack costs, and what mends it.
//!
//! `survey` looks, and changes nothing; `checks` decides over what it has seen, and does no I/O. Neither
//! needs an engine: whoever asks may have a host on which none starts.

mod checks;
mod firewall;
mod survey;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use checks::check;
pub use survey::survey;

/// How many ids the user of a container's programs may have: what images count on.
const SUBIDS: u64 = 1 << 16;
/// Where those begin that are given to users, by login.defs(5).
const FIRST_SUBID: u64 = 100_000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All is there.
    Fine,
    /// Something does not work, or not as well.
    Limited,
    /// Containers do not run.
    Missing,
}

impl Verdict {
    /// As it is shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How much it matters.
    pub verdict: Verdict,
    /// What is there.
    pub found: String,
    /// What a lack costs.
    pub cost: Option<String>,
    /// What mends it: a command, or what to do where there is none.
    pub mend: Option<String>,
}

/// Whose containers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The host's root.
    Root,
    /// An ordinary user, by number.
    User(u32),
}

/// The disk behind the data root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory, or the nearest above it that is there.
    pub path: PathBuf,
    /// The file system's magic number.
    pub magic: u64,
    /// Bytes for whoever asks.
    pub free: u64,
    /// Inodes that are free, and how many there are; no count on file systems that make them as needed.
    pub inodes: Option<(u64, u64)>,
}

/// Where the control groups of the caller's containers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// Here.
    Here,
    /// Not for what is started from here; what the user's service manager starts has some.
    InServices,
    /// Nowhere.
    Nowhere,
}

/// The device by which packets of an ordinary user's containers are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// The caller may open it.
    Open,
    /// The caller may not.
    Closed,
    /// There is none.
    Missing,
}

/// What other programs' firewalls do with what is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// Only root may look.
    NotSeen,
    /// The kernel has no nftables, or refuses.
    NoFirewall(String),
    /// Chains that refuse what they do not know.
    Seen(Vec<Refusing>),
}

/// A chain of another program's firewall that refuses what it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusing {
    /// What it is called.
    pub chain: String,
    /// What that is to containers.
    pub containers: Containers,
}

/// What becomes of containers' packets in a chain that does not know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containers {
    /// They pass: rules for them are added.
    Pass,
    /// They do not: `firewall = "respect"` leaves it to the administrator.
    Respect,
    /// They do not, and only the program may change that that has made the table.
    Owned,
}

/// Everything that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Who asks.
    pub caller: Caller,
    /// The kernel's release.
    pub kernel: String,
    /// Kinds of namespaces.
    pub namespaces: Vec<String>,
    /// Kernel parameters by name, as they read.
    pub sysctls: BTreeMap<&'static str, String>,
    /// File systems that the kernel has now.
    pub filesystems: Vec<String>,
    /// Modules that are loaded, built in, or could be loaded.
    pub modules: Vec<&'static str>,
    /// Which version of cgroups has the controllers; `None` if nothing is mounted.
    pub cgroup: Option<cgroup::Version>,
    /// Where the caller's containers have control groups.
    pub groups: Groups,
    /// Controllers that the caller's containers can be limited by, there.
    pub controllers: Vec<String>,
    /// How many ids the caller has to give, of users and of groups.
    pub subids: (u64, u64),
    /// What the caller is called, if an ordinary user has a name.
    pub login: Option<String>,
    /// The first of as many ids as a user needs that nobody has been given, neither of users nor of groups.
    pub free_ids: u64,
    /// `/dev/net/tun`
    pub tunnel: Tunnel,
    /// What is on the way to the state roots and could be changed by others.
    pub foreign: Vec<PathBuf>,
    /// Programs that were found.
    pub programs: Vec<&'static str>,
    /// Security modules that are active.
    pub lsms: Vec<String>,
    /// What seccomp can do.
    pub seccomp: Vec<String>,
    /// Other programs' firewalls.
    pub forwarding: Forwarding,
    /// Whether iptables' own tables, which are older than nftables, are loaded: they may have rules.
    pub legacy_iptables: bool,
    /// The data root's disk.
    pub disk: Option<Disk>,
    /// Seconds of the wall clock since 1970.
    pub clock: i64,
    /// Most open files that a process may have.
    pub open_files: u64,
}
