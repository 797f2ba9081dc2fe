//! The specification of a container: what the user wishes, every default filled in.
//!
//! Made by exactly one function (`docker_server::lower`), kept in the container's row, and
//! never changed but by `update`. What depends on the image (the merged command, the user's
//! numbers) is not here: `engine::resolve` adds it.

mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::block_limits::BlockLimits;
use crate::health::{HealthCheck, OnUnhealthy};
use crate::id::ContainerName;
use crate::log::LogSpec;
use crate::mount::Mount;
use crate::platform::Platform;
use crate::selinux::LabelWish;
use crate::signal::Signal;
use crate::systemd::SystemdMode;
use crate::ulimit::Ulimit;

pub use network::{Membership, NameOrIdText, NetworkMode, NetworkSpec};

/// Everything that the user wishes of one container.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// `None`: the engine draws `adjective_surname`.
    pub name: Option<ContainerName>,
    /// Where its root file system comes from.
    pub source: Source,
    /// `None`: the host's.
    pub platform: Option<Platform>,
    /// What runs.
    pub process: ProcessSpec,
    /// What it may.
    pub security: SecuritySpec,
    /// What it may use.
    pub limits: Limits,
    /// What it sees of files.
    pub files: FilesSpec,
    /// What it sees of networks.
    pub network: NetworkSpec,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// Free text for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// The file that its client wrote its id to, which is only shown. Empty for none, and for
    /// records of before it was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id_file: String,
    /// What its client called its isolation, which is only shown: there is one alone on Linux. Empty for none, and
    /// for records of before it was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub isolation: String,
    /// Where its output goes.
    pub log: LogSpec,
    /// What happens when it ends.
    pub removal: Removal,
    /// When it is started again.
    pub restart: RestartPolicy,
}

/// Where a container's root file system comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// An image, as typed.
    Image(String),
    /// A directory of the host (`--rootfs PATH`), used as it is.
    Directory(PathBuf),
    /// A directory of the host below a throw-away copy-on-write layer (`--rootfs PATH:O`).
    DirectoryOverlay(PathBuf),
}

/// What a container does when it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Removal {
    /// It stays until `rm`.
    Keep,
    /// `--rm`: it goes, with its anonymous volumes.
    Auto,
}

/// What runs in a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// `None`: the image's; an empty list clears the image's entrypoint and command.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's, unless an entrypoint is given.
    pub command: Option<Vec<String>>,
    /// `KEY=value`, the user's own; the image's are merged below them.
    pub env: Vec<String>,
    /// Absolute; `None`: the image's, else `/`.
    pub working_dir: Option<PathBuf>,
    /// `user[:group]`, names or numbers; `None`: the image's, else root.
    pub user: Option<String>,
    /// Supplementary groups, names or numbers.
    pub groups: Vec<String>,
    /// Whether it has a terminal, and its first size.
    pub terminal: Terminal,
    /// What its standard input is.
    pub stdin: Stdin,
    /// Which streams the creating client said it will attach; only shown in inspect.
    pub attached: AttachedStreams,
    /// `None`: the image's, else SIGTERM.
    pub stop_signal: Option<Signal>,
    /// `None`: 10 seconds.
    pub stop_timeout: Option<StopTimeout>,
    /// Whether an init of dhow's own runs as process 1 and reaps.
    pub init: InitProcess,
    /// Whether it is prepared for systemd as process 1; the first records say nothing about it.
    #[serde(default, skip_serializing_if = "SystemdMode::is_default")]
    pub systemd: SystemdMode,
    /// Whether somebody looks after its health.
    #[serde(default, skip_serializing_if = "HealthSpec::is_default")]
    pub health: HealthSpec,
    /// What happens when it becomes unhealthy; the first records have no word about it.
    #[serde(default, skip_serializing_if = "OnUnhealthy::is_nothing")]
    pub on_unhealthy: OnUnhealthy,
}

/// Which health check a container has.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HealthSpec {
    /// The image's, if it has one.
    #[default]
    FromImage,
    /// `--no-healthcheck`
    Nothing,
    /// This one; what it leaves open is the image's.
    Own(HealthCheck),
}

impl HealthSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether process 1 is the command itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InitProcess {
    /// The command is process 1.
    Command,
    /// `--init`: a small init is process 1 and reaps orphans.
    Reaper,
}

/// Whether a process has a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Terminal {
    /// Pipes.
    None,
    /// A pty; its first size if the client gave one.
    Pty {
        /// Rows and columns; `None`: 0 by 0, as the kernel has it.
        size: Option<TerminalSize>,
    },
}

/// A terminal's size in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// What standard input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// Open, and kept open when a client that wrote to it leaves.
    Open,
    /// Open, and closed with the first attached client (`StdinOnce`).
    OpenOnce,
}

/// Streams that the creating client attaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachedStreams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// How long `stop` waits before it kills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StopTimeout {
    /// So many seconds.
    Seconds(u32),
    /// For ever (-1).
    Forever,
}

/// Docker's default grace period.
pub const DEFAULT_STOP_TIMEOUT: StopTimeout = StopTimeout::Seconds(10);

/// What a container may do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecuritySpec {
    /// Everything is allowed.
    pub privileged: bool,
    /// As typed, without order: `ALL`, `NET_ADMIN`, `CAP_NET_ADMIN`.
    pub cap_add: Vec<String>,
    /// As typed.
    pub cap_drop: Vec<String>,
    /// Which system calls are filtered.
    pub seccomp: SeccompPolicy,
    /// `no-new-privileges`
    pub no_new_privileges: bool,
    /// As typed, for inspect.
    pub security_opt: Vec<String>,
    /// Whether the root file system refuses writing.
    pub read_only_root: bool,
    /// `None`: dhow's own list.
    pub masked_paths: Option<Vec<String>>,
    /// `None`: dhow's own list.
    pub readonly_paths: Option<Vec<String>>,
    /// `--device`
    pub devices: Vec<DeviceMapping>,
    /// `--gpus`, and devices by their names in the container device interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// `--device-cgroup-rule`, as typed and checked.
    pub device_rules: Vec<String>,
    /// Namespaced kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// `None`: a private one.
    pub pid: NamespaceSpec,
    /// IPC namespace.
    pub ipc: NamespaceSpec,
    /// UTS namespace.
    pub uts: NamespaceSpec,
    /// cgroup namespace.
    pub cgroup: NamespaceSpec,
    /// Whose users it has.
    #[serde(default, skip_serializing_if = "UserNamespace::is_default")]
    pub userns: UserNamespace,
    /// The AppArmor profile; `None`: dhow's own, where the host has AppArmor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// `label=…`; the first records said nothing.
    #[serde(default, skip_serializing_if = "LabelWish::is_default")]
    pub label: LabelWish,
    /// `writable-cgroups`, where somebody has said; else only who is privileged may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_cgroups: Option<bool>,
}

/// Which system calls are filtered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SeccompPolicy {
    /// The profile that is built in.
    Default,
    /// None at all.
    Unconfined,
    /// A profile of the user's, its JSON as given.
    Profile(String),
}

/// Which user namespace a container is in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UserNamespace {
    /// The host's.
    #[default]
    Host,
    /// Its own, with ids of the host that no other container has.
    Auto,
}

impl UserNamespace {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a namespace of a container comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamespaceSpec {
    /// Its own, for nobody else.
    Private,
    /// Its own, which other containers may join; of IPC namespaces alone is this a wish.
    Shareable,
    /// Its own, for nobody else, and without `/dev/shm`; of IPC namespaces alone.
    Bare,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// One device of the host in a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceMapping {
    /// On the host, absolute.
    pub host: PathBuf,
    /// In the container, absolute.
    pub container: PathBuf,
    /// Of `rwm`.
    pub permissions: String,
}

/// Devices that somebody else knows by name or number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// `cdi`, or whose they are; empty is for whoever has them.
    pub driver: String,
    /// How many; -1 is all.
    pub count: i64,
    /// Or which.
    pub ids: Vec<String>,
    /// One of these lists, all of each.
    pub capabilities: Vec<Vec<String>>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
}

/// What a container may use. `None` is no limit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<SwapLimit>,
    /// Bytes.
    pub memory_reservation: Option<u64>,
    /// 0..=100
    pub memory_swappiness: Option<u8>,
    /// Whether the OOM killer is off; `None` where the kernel has no such switch (cgroup v2), or
    /// nobody has asked it yet.
    pub oom_kill_disable: Option<bool>,
    /// -1000..=1000
    pub oom_score_adj: i32,
    /// Relative weight, 2..=262144; the kernel's default is 1024.
    pub cpu_shares: Option<u64>,
    /// Billionths of a processor (`--cpus`).
    pub nano_cpus: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds each period.
    pub cpu_quota: Option<i64>,
    /// `0-3,5`
    pub cpuset_cpus: Option<String>,
    /// `0-1`
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: PidsLimit,
    /// Microseconds; like the next two, the first records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_realtime_period: Option<u64>,
    /// Microseconds of real-time scheduling each real-time period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_realtime_runtime: Option<u64>,
    /// 10..=1000
    pub blkio_weight: Option<u16>,
    /// Of single block devices.
    #[serde(default, skip_serializing_if = "BlockLimits::is_empty")]
    pub block_devices: BlockLimits,
    /// rlimits.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Parent cgroup; `None`: dhow's own.
    pub cgroup_parent: Option<String>,
}

/// Docker's size of `/dev/shm`.
pub const DEFAULT_SHM_SIZE: u64 = 64 << 20;

/// How much swap beside memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SwapLimit {
    /// Memory and swap together, bytes.
    Bytes(u64),
    /// -1
    Unlimited,
}

/// How many processes and threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum PidsLimit {
    /// dhow's generous default, which ends a fork bomb.
    #[default]
    Default,
    /// `--pids-limit -1`
    Unlimited,
    /// So many.
    At(u64),
}

/// The pids limit of a container that asked for none.
pub const DEFAULT_PIDS_LIMIT: u64 = 4096;

/// What a container sees of files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesSpec {
    /// From `-v`, `--mount`, `--tmpfs`; no two have the same target.
    pub mounts: Vec<Mount>,
    /// `-v` as typed, for inspect.
    pub binds: Vec<String>,
    /// `--mount` in the words of the door that took it, for inspect; the first records have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// `--tmpfs` as typed, target and options, for inspect.
    pub tmpfs: BTreeMap<String, String>,
    /// Which container's mounts come along, as typed (`NAME[:ro]`).
    pub volumes_from: Vec<String>,
    /// What makes the volumes that `-v` and the image ask for. Empty for `local`, which is the only one, and for
    /// records of before it was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub volume_driver: String,
}

/// When a container is started again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// Always, unless it was stopped by hand.
    UnlessStopped,
    /// When it fails; 0 tries without end.
    OnFailure {
        /// At most so many times.
        retries: u32,
    },
}
