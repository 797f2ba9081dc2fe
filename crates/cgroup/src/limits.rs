//! What a caller wishes to limit: plain data, close to OCI's `linux.resources`.
//!
//! An absent field leaves the kernel's value alone. What a field becomes on each version is decided
//! in `plan`.

use std::collections::BTreeMap;

/// A quantity, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Max {
    /// At most this much.
    At(u64),
    /// No limit (`-1` in OCI).
    Unlimited,
}

impl Max {
    /// OCI's signed form: what is negative means no limit.
    #[must_use]
    pub fn from_signed(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Unlimited, Self::At)
    }
}

/// All limits of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory and swap.
    pub memory: Memory,
    /// Processors.
    pub cpu: Cpu,
    /// Tasks. At 0 nothing can be started.
    pub pids: Option<Max>,
    /// Block devices.
    pub io: Io,
    /// Huge pages by size.
    pub huge_pages: Vec<HugePages>,
    /// Packets.
    pub network: Network,
    /// Remote memory access by device.
    pub rdma: Vec<Rdma>,
    /// Raw files of v2 with their contents; an error on v1.
    pub unified: BTreeMap<String, String>,
}

/// Limits of memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Memory without swap.
    pub limit: Option<Max>,
    /// What reclaim tries to leave when memory is short.
    pub reservation: Option<Max>,
    /// Memory and swap together. Needs a limit of memory unless it is unlimited.
    pub with_swap: Option<Max>,
    /// Buffers of TCP alone; v1 only.
    pub tcp: Option<Max>,
    /// How eagerly to swap, up to 100 (200 from kernel 5.8 on); v1 only.
    pub swappiness: Option<u8>,
    /// What runs out of memory waits instead of being killed; v1 only.
    pub disable_oom_killer: bool,
    /// Refuse a limit below what is in use, instead of reclaiming or killing.
    pub check_before_update: bool,
}

/// Limits of processors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Relative weight, 2 to 262144, 1024 by default.
    pub shares: Option<u64>,
    /// Microseconds of processor time per period.
    pub quota: Option<Max>,
    /// Microseconds, 100000 by default.
    pub period: Option<u64>,
    /// Microseconds that may be saved up and used beyond the quota.
    pub burst: Option<u64>,
    /// Whether to run only when nobody else wants to (5.15).
    pub idle: Option<bool>,
    /// Microseconds of real-time scheduling per real-time period; v1 only.
    pub realtime_runtime: Option<i64>,
    /// Microseconds; v1 only.
    pub realtime_period: Option<u64>,
    /// Processors, such as `0-3,7`.
    pub cpus: Option<String>,
    /// Memory nodes, in the same form.
    pub mems: Option<String>,
}

impl Cpu {
    /// What Docker's `--cpus` means: this many billionths of a processor.
    #[must_use]
    pub fn from_nano_cpus(nano_cpus: u64) -> Self {
        const PERIOD: u64 = 100_000;
        let quota = nano_cpus / (1_000_000_000 / PERIOD);
        Self { quota: Some(Max::At(quota)), period: Some(PERIOD), ..Self::default() }
    }
}

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Of the driver.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
}

/// Limits of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Weights for single devices.
    pub device_weights: Vec<DeviceWeight>,
    /// Highest rates.
    pub throttles: Vec<Throttle>,
}

/// A weight for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Which.
    pub device: DeviceNumber,
    /// 10 to 1000.
    pub weight: u16,
}

/// A highest rate for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Which.
    pub device: DeviceNumber,
    /// Of what.
    pub kind: ThrottleKind,
    /// Per second; 0 takes the limit away.
    pub rate: u64,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Read operations.
    ReadOperations,
    /// Write operations.
    WriteOperations,
}

/// A limit of huge pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// The kernel's name of the size, such as `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// Marks on packets; v1 only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// For `tc`.
    pub class_id: Option<u32>,
    /// Priorities by interface.
    pub priorities: Vec<(String, u32)>,
}

/// Limits of remote memory access for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    /// The device's name, such as `mlx5_0`.
    pub device: String,
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}
