//! Volumes, networks, the host itself, and what containers use of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use cgroup::{Pressure, Stall, Waited};
use jiff::Timestamp;
use model::network::{Configuration, Pool};
use model::{ContainerId, ContainerName, NetworkId};

use super::EndpointView;

/// What a container uses right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsView {
    /// Whose.
    pub id: ContainerId,
    /// Whose.
    pub name: ContainerName,
    /// When it was read.
    pub at: Timestamp,
    /// `None` unless it runs.
    pub usage: Option<Usage>,
}

/// The readings of a container's cgroup and network namespace. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Whose counters these are; some are called otherwise by Docker on the other.
    pub cgroup: CgroupVersion,
    /// CPU time of all its processes.
    pub cpu_total: u64,
    /// The same by CPU; empty on v2.
    pub cpu_each: Vec<u64>,
    /// Of that, in the kernel.
    pub cpu_kernel: u64,
    /// Of that, outside.
    pub cpu_user: u64,
    /// CPU time of the whole host, idle time included.
    pub system_cpu: u64,
    /// CPUs of the host.
    pub online_cpus: u32,
    /// How often and how long it was throttled: periods, throttled periods, time.
    pub throttled: (u64, u64, u64),
    /// Bytes.
    pub memory: u64,
    /// Bytes; the host's memory if there is no limit.
    pub memory_limit: u64,
    /// The highest ever, where the kernel counts it.
    pub memory_max: Option<u64>,
    /// How often the limit was hit (v1), or somebody was to be killed for it (v2).
    pub memory_failures: u64,
    /// By the kernel's names.
    pub memory_details: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// `None`: no limit.
    pub pids_limit: Option<u64>,
    /// Bytes by device and operation.
    pub block_bytes: Vec<BlockIo>,
    /// Operations by device and kind.
    pub block_operations: Vec<BlockIo>,
    /// By interface.
    pub networks: BTreeMap<String, Traffic>,
    /// What its tasks have waited for, where the kernel tells.
    pub pressure: Pressure,
}

/// One number about a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// The kernel's word: `Read`, `Sync`, `Total` and others on v1, `read` and `write` on v2.
    pub operation: String,
    /// How much.
    pub value: u64,
}

/// What went over one interface, seen from the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes, packets, errors, drops received.
    pub received: [u64; 4],
    /// Bytes, packets, errors, drops sent.
    pub sent: [u64; 4],
}

/// Everything about one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// Its name.
    pub name: String,
    /// Its files.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: Timestamp,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Containers that have it mounted, running or not.
    pub used_by: Vec<ContainerId>,
}

/// Everything about one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkView {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its ranges of addresses, with their gateways.
    pub pools: Vec<Pool>,
    /// Whether containers have addresses of the older kind.
    pub ipv4: bool,
    /// Whether containers have addresses of the newer kind.
    pub ipv6: bool,
    /// Whether it is always there.
    pub is_built_in: bool,
    /// Nothing leads out of it.
    pub internal: bool,
    /// What only a swarm asks.
    pub attachable: bool,
    /// What it has to do with networks that are only a configuration.
    pub configuration: Configuration,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// Running containers on it.
    pub members: BTreeMap<ContainerId, (ContainerName, EndpointView)>,
}

/// What the engine is and runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoView {
    /// Where its state is.
    pub root: PathBuf,
    /// Containers that run, are paused, are stopped.
    pub containers: (u64, u64, u64),
    /// Images.
    pub images: u64,
    /// The file system below the root: `extfs`, `xfs`.
    pub backing_filesystem: String,
    /// Who makes cgroups, in Docker's words.
    pub cgroup_driver: &'static str,
    /// The cgroup hierarchy in use.
    pub cgroup: CgroupVersion,
    /// What this host can limit.
    pub limits: LimitSupport,
    /// `6.1.0`
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub operating_system: String,
    /// `12`
    pub os_version: String,
    /// uname's `x86_64`.
    pub machine: String,
    /// The host's name.
    pub hostname: String,
    /// Processors.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    /// Whether the kernel forwards between interfaces.
    pub ipv4_forwarding: bool,
    /// `seccomp`, `apparmor`, `selinux`, `cgroupns`, `rootless`: what protects containers here.
    pub security: Vec<String>,
    /// What the user should know about this host.
    pub warnings: Vec<String>,
    /// Where specifications of devices are looked for.
    pub cdi_dirs: Vec<PathBuf>,
    /// The devices that they name.
    pub cdi_devices: Vec<String>,
    /// When this was read; `None` only in a default.
    pub at: Option<Timestamp>,
}

/// The cgroup hierarchy that containers are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupVersion {
    /// v1, or v1 beside an empty v2.
    V1,
    /// v2.
    #[default]
    V2,
}

/// What a host can limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSupport {
    /// Memory.
    pub memory: bool,
    /// Swap.
    pub swap: bool,
    /// CPU time each period.
    pub cpu_quota: bool,
    /// CPU weight.
    pub cpu_shares: bool,
    /// CPUs and memory nodes.
    pub cpuset: bool,
    /// Processes.
    pub pids: bool,
    /// Whether the OOM killer can be turned off.
    pub oom_kill_disable: bool,
}
