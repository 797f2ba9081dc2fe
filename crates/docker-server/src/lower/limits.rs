//! What a container may use: memory, CPU, processes, rlimits.

use std::path::PathBuf;

use docker_api::types::host_config::{HostConfig, ThrottleDevice, Ulimit as WireUlimit};
use engine::view::LimitChanges;
use model::NumberSet;
use model::block_limits::{BlockLimits, DeviceRate, DeviceWeight};
use model::container::{DEFAULT_SHM_SIZE, Limits, PidsLimit, SwapLimit};
use model::ulimit::{Ulimit, UlimitKind, UnknownUlimit};

use super::{LowerError, filled, text};

/// The least memory that Docker lets a container have.
const MIN_MEMORY: i64 = 6 << 20;

/// Limits that contradict each other, the kernel or Docker.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LimitsError {
    #[error("Minimum memory limit allowed is 6MB")]
    Memory,
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapAlone,
    #[error("invalid memory swap limit: {0}")]
    Swap(i64),
    #[error("Minimum memory reservation allowed is 6MB")]
    Reservation,
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    #[error("invalid value: {0}, valid memory swappiness range is 0-100")]
    Swappiness(i64),
    #[error("Invalid value {0}, range for oom score adj is [-1000, 1000]")]
    OomScore(i64),
    #[error("invalid CPU shares ({0}): the range is 2 to 262144")]
    Shares(i64),
    #[error("invalid CPU shares ({0}): value must be a positive integer")]
    NegativeShares(i64),
    #[error("range of CPUs is from 0.01 on, and {} is asked for", decimal(*.0))]
    NanoCpus(i64),
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set")]
    NanoAnd(&'static str),
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    Period,
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    Quota,
    #[error("Invalid value {text} for cpuset {what}")]
    Cpuset { what: &'static str, text: String },
    #[error("invalid cpu real-time {what}: {microseconds}")]
    Realtime { what: &'static str, microseconds: i64 },
    #[error("cpu real-time runtime cannot be higher than cpu real-time period")]
    RealtimeOrder,
    #[error("Range of blkio weight is from 10 to 1000")]
    BlkioWeight,
    #[error("bad format for device path: {0}")]
    DevicePath(String),
    #[error("SHM size can not be less than 0")]
    ShmSize,
    #[error(transparent)]
    UlimitName(#[from] UnknownUlimit),
    #[error("ulimit {name}: soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    UlimitOrder { name: UlimitKind, soft: i64, hard: i64 },
    #[error("ulimit {0} is given twice")]
    UlimitTwice(UlimitKind),
    #[error("invalid cgroup parent {0:?}: it must not climb above its root")]
    CgroupParent(String),
}

/// Lowers the limits of a container.
pub(super) fn lower(host: &HostConfig) -> Result<Limits, LowerError> {
    let memory = memory(host)?;
    cpu_conflicts(host)?;
    Ok(Limits {
        memory,
        memory_swap: swap(host, memory)?,
        memory_reservation: reservation(host)?,
        memory_swappiness: swappiness(host.memory_swappiness)?,
        oom_kill_disable: host.oom_kill_disable,
        oom_score_adj: oom_score(host.oom_score_adj)?,
        cpu_shares: shares(host.cpu_shares)?,
        nano_cpus: nano_cpus(host.nano_cpus)?,
        cpu_period: period(host.cpu_period)?,
        cpu_quota: quota(host.cpu_quota)?,
        cpu_realtime_period: realtime("period", host.cpu_realtime_period)?,
        cpu_realtime_runtime: realtime("runtime", host.cpu_realtime_runtime)?,
        cpuset_cpus: cpuset("cpus", &host.cpuset_cpus)?,
        cpuset_mems: cpuset("mems", &host.cpuset_mems)?,
        pids: pids(host.pids_limit),
        blkio_weight: weight(host.blkio_weight)?,
        block_devices: block_devices(host)?,
        ulimits: ulimits(host.ulimits.as_deref().unwrap_or_default())?,
        shm_size: shm_size(host.shm_size)?,
        cgroup_parent: cgroup_parent(&host.cgroup_parent)?,
    })
}

/// Lowers the limits that an update gives. Whether they suit those that stay, the engine sees.
pub(super) fn changes(host: &HostConfig) -> Result<LimitChanges, LowerError> {
    cpu_conflicts(host)?;
    Ok(LimitChanges {
        memory: memory(host)?,
        memory_swap: swap_change(host)?,
        memory_reservation: reservation(host)?,
        cpu_shares: shares(host.cpu_shares)?,
        nano_cpus: nano_cpus(host.nano_cpus)?,
        cpu_period: period(host.cpu_period)?,
        cpu_quota: match host.cpu_quota {
            ..0 => Some(-1),
            microseconds => quota(microseconds)?,
        },
        cpu_realtime_period: realtime("period", host.cpu_realtime_period)?,
        cpu_realtime_runtime: realtime("runtime", host.cpu_realtime_runtime)?,
        cpuset_cpus: cpuset("cpus", &host.cpuset_cpus)?,
        cpuset_mems: cpuset("mems", &host.cpuset_mems)?,
        pids: match pids(host.pids_limit) {
            PidsLimit::Default => None,
            limit @ (PidsLimit::Unlimited | PidsLimit::At(_)) => Some(limit),
        },
        blkio_weight: weight(host.blkio_weight)?,
    })
}

fn swap_change(host: &HostConfig) -> Result<Option<SwapLimit>, LimitsError> {
    match host.memory_swap {
        0 => Ok(None),
        -1 => Ok(Some(SwapLimit::Unlimited)),
        swap if swap < 0 => Err(LimitsError::Swap(swap)),
        swap if swap < host.memory => Err(LimitsError::SwapBelowMemory),
        swap => Ok(positive(swap).map(SwapLimit::Bytes)),
    }
}

/// A positive number; zero says nothing.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn memory(host: &HostConfig) -> Result<Option<u64>, LimitsError> {
    match host.memory {
        0 => Ok(None),
        bytes if bytes < MIN_MEMORY => Err(LimitsError::Memory),
        bytes => Ok(positive(bytes)),
    }
}

/// Without a word about swap, a container gets as much of it as of memory.
fn swap(host: &HostConfig, memory: Option<u64>) -> Result<Option<SwapLimit>, LimitsError> {
    match (host.memory_swap, memory) {
        (0, None) => Ok(None),
        (0, Some(memory)) => Ok(Some(SwapLimit::Bytes(memory.saturating_mul(2)))),
        (-1, _) => Ok(Some(SwapLimit::Unlimited)),
        (swap, _) if swap < 0 => Err(LimitsError::Swap(swap)),
        (_, None) => Err(LimitsError::SwapAlone),
        (swap, Some(memory)) => match positive(swap) {
            Some(swap) if swap >= memory => Ok(Some(SwapLimit::Bytes(swap))),
            Some(_) | None => Err(LimitsError::SwapBelowMemory),
        },
    }
}

fn reservation(host: &HostConfig) -> Result<Option<u64>, LimitsError> {
    match host.memory_reservation {
        0 => Ok(None),
        bytes if bytes < MIN_MEMORY => Err(LimitsError::Reservation),
        bytes if host.memory > 0 && host.memory < bytes => Err(LimitsError::ReservationAboveMemory),
        bytes => Ok(positive(bytes)),
    }
}

fn swappiness(percent: Option<i64>) -> Result<Option<u8>, LimitsError> {
    match percent {
        None | Some(-1) => Ok(None),
        Some(percent) => match u8::try_from(percent) {
            Ok(percent @ 0..=100) => Ok(Some(percent)),
            Ok(_) | Err(_) => Err(LimitsError::Swappiness(percent)),
        },
    }
}

fn oom_score(score: i64) -> Result<i32, LimitsError> {
    match i32::try_from(score) {
        Ok(score @ -1000..=1000) => Ok(score),
        Ok(_) | Err(_) => Err(LimitsError::OomScore(score)),
    }
}

fn shares(shares: i64) -> Result<Option<u64>, LimitsError> {
    match shares {
        0 => Ok(None),
        2..=262_144 => Ok(positive(shares)),
        ..0 => Err(LimitsError::NegativeShares(shares)),
        _ => Err(LimitsError::Shares(shares)),
    }
}

fn cpu_conflicts(host: &HostConfig) -> Result<(), LimitsError> {
    let (period, runtime) = (host.cpu_realtime_period, host.cpu_realtime_runtime);
    if period != 0 && runtime > period {
        return Err(LimitsError::RealtimeOrder);
    }
    match (host.nano_cpus, host.cpu_period, host.cpu_quota) {
        (0, _, _) | (_, 0, 0) => Ok(()),
        (_, 0, _) => Err(LimitsError::NanoAnd("Quota")),
        (_, _, _) => Err(LimitsError::NanoAnd("Period")),
    }
}

fn nano_cpus(nano: i64) -> Result<Option<u64>, LimitsError> {
    match nano {
        0 => Ok(None),
        10_000_000.. => Ok(positive(nano)),
        _ => Err(LimitsError::NanoCpus(nano)),
    }
}

/// Billionths as people write them.
fn decimal(nano: i64) -> String {
    let (sign, nano) = (if nano < 0 { "-" } else { "" }, nano.unsigned_abs());
    let text = format!("{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn period(microseconds: i64) -> Result<Option<u64>, LimitsError> {
    match microseconds {
        0 => Ok(None),
        1000..=1_000_000 => Ok(positive(microseconds)),
        _ => Err(LimitsError::Period),
    }
}

fn quota(microseconds: i64) -> Result<Option<i64>, LimitsError> {
    match microseconds {
        // A negative quota is none.
        ..=0 => Ok(None),
        1..1000 => Err(LimitsError::Quota),
        _ => Ok(Some(microseconds)),
    }
}

fn cpuset(what: &'static str, text: &str) -> Result<Option<String>, LimitsError> {
    let Some(text) = filled(Some(text)) else { return Ok(None) };
    match text.parse::<NumberSet>() {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(LimitsError::Cpuset { what, text: text.to_owned() }),
    }
}

/// The command line sends zero when it has nothing to say.
fn pids(limit: Option<i64>) -> PidsLimit {
    match limit {
        None | Some(0) => PidsLimit::Default,
        Some(limit) => positive(limit).map_or(PidsLimit::Unlimited, PidsLimit::At),
    }
}

fn weight(weight: u16) -> Result<Option<u16>, LimitsError> {
    match weight {
        0 => Ok(None),
        10..=1000 => Ok(Some(weight)),
        _ => Err(LimitsError::BlkioWeight),
    }
}

fn realtime(what: &'static str, microseconds: i64) -> Result<Option<u64>, LimitsError> {
    match microseconds {
        ..0 => Err(LimitsError::Realtime { what, microseconds }),
        _ => Ok(positive(microseconds)),
    }
}

fn block_devices(host: &HostConfig) -> Result<BlockLimits, LowerError> {
    let mut weights = Vec::new();
    for device in host.blkio_weight_device.iter().flatten() {
        let weight = weight(device.weight)?.ok_or(LimitsError::BlkioWeight)?;
        weights.push(DeviceWeight { path: device_path(&device.path)?, weight });
    }
    let rates = |wire: &Option<Vec<ThrottleDevice>>| -> Result<Vec<DeviceRate>, LowerError> {
        let rate = |device: &ThrottleDevice| {
            Ok(DeviceRate { path: device_path(&device.path)?, rate: device.rate })
        };
        wire.iter().flatten().map(rate).collect()
    };
    Ok(BlockLimits {
        weights,
        read_bytes: rates(&host.blkio_device_read_bps)?,
        write_bytes: rates(&host.blkio_device_write_bps)?,
        read_operations: rates(&host.blkio_device_read_iops)?,
        write_operations: rates(&host.blkio_device_write_iops)?,
    })
}

fn device_path(path: &str) -> Result<PathBuf, LowerError> {
    text::plain("device path", path)?;
    if !path.starts_with('/') {
        return Err(LimitsError::DevicePath(path.to_owned()).into());
    }
    Ok(PathBuf::from(path))
}

fn ulimits(wire: &[WireUlimit]) -> Result<Vec<Ulimit>, LimitsError> {
    let mut ulimits: Vec<Ulimit> = Vec::with_capacity(wire.len());
    for WireUlimit { name, soft, hard } in wire {
        let (kind, soft, hard) = (name.parse::<UlimitKind>()?, *soft, *hard);
        if ulimits.iter().any(|known| known.kind == kind) {
            return Err(LimitsError::UlimitTwice(kind));
        }
        // -1 is no limit, on either side.
        if hard >= 0 && (soft < 0 || soft > hard) {
            return Err(LimitsError::UlimitOrder { name: kind, soft, hard });
        }
        ulimits.push(Ulimit { kind, soft: soft.max(-1), hard: hard.max(-1) });
    }
    Ok(ulimits)
}

fn shm_size(bytes: i64) -> Result<u64, LimitsError> {
    match bytes {
        0 => Ok(DEFAULT_SHM_SIZE),
        _ => positive(bytes).ok_or(LimitsError::ShmSize),
    }
}

fn cgroup_parent(parent: &str) -> Result<Option<String>, LowerError> {
    let Some(parent) = filled(Some(parent)) else { return Ok(None) };
    text::plain("HostConfig.CgroupParent", parent)?;
    if parent.split('/').any(|part| part == "..") {
        return Err(LimitsError::CgroupParent(parent.to_owned()).into());
    }
    Ok(Some(parent.to_owned()))
}
