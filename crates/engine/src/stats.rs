//! `stats`: what a container uses right now.

use std::collections::BTreeMap;

use cgroup::{Cgroup, IoEntry, MemoryStats, Stats, Version};
use model::NameOrId;
use runtime::ps::TICKS;
pub(crate) use runtime::ps::total_memory;

use crate::container::{Container, now, read_own};
use crate::reconcile::cgroup_error;
use crate::view::{BlockIo, CgroupVersion, StatsView, Traffic, Usage};
use crate::{Engine, EngineError};

impl Engine {
    /// Reads a container's cgroup and network counters.
    ///
    /// # Errors
    /// There is no such container.
    pub fn stats(&self, who: &NameOrId) -> Result<StatsView, EngineError> {
        let container = self.find(who)?;
        let usage = match self.life(&container)?.pid() {
            Some(pid) => self.usage(&container, pid)?,
            None => None,
        };
        Ok(StatsView { id: container.id, name: container.row.name.clone(), at: now(), usage })
    }

    /// `None` if the container ends meanwhile.
    fn usage(&self, container: &Container, pid: u32) -> Result<Option<Usage>, EngineError> {
        let read = |group: Cgroup| group.stats().map_err(|error| cgroup_error(&error));
        let stats = match self.group_of(container).and_then(read) {
            Ok(stats) => stats,
            Err(_) if !self.life(container)?.is_running() => return Ok(None),
            Err(error) => return Err(error),
        };
        let host = Host::read()?;
        Ok(Some(Usage { networks: traffic(pid)?, ..usage(stats, &host) }))
    }
}

fn usage(stats: Stats, host: &Host) -> Usage {
    let memory = stats.memory.unwrap_or(MemoryStats {
        usage: 0,
        max_usage: None,
        limit: cgroup::Max::Unlimited,
        failures: 0,
        swap_usage: None,
        stat: BTreeMap::new(),
    });
    let io = stats.io.unwrap_or_default();
    Usage {
        cgroup: match stats.version {
            Version::V1 => CgroupVersion::V1,
            Version::V2 => CgroupVersion::V2,
        },
        cpu_total: stats.cpu.usage,
        cpu_each: stats.cpu.per_cpu,
        cpu_kernel: stats.cpu.system,
        cpu_user: stats.cpu.user,
        system_cpu: host.cpu_time,
        online_cpus: host.cpus,
        throttled: (stats.cpu.periods, stats.cpu.throttled_periods, stats.cpu.throttled),
        memory: memory.usage,
        memory_limit: limit(memory.limit).unwrap_or(host.memory).min(host.memory),
        memory_max: memory.max_usage,
        memory_failures: memory.failures,
        memory_details: memory.stat,
        pids: stats.pids.map_or(0, |pids| pids.current),
        pids_limit: stats.pids.and_then(|pids| limit(pids.limit)),
        block_bytes: block_io(io.bytes),
        block_operations: block_io(io.operations),
        networks: BTreeMap::new(),
        pressure: stats.pressure,
    }
}

fn limit(max: cgroup::Max) -> Option<u64> {
    match max {
        cgroup::Max::At(limit) => Some(limit),
        cgroup::Max::Unlimited => None,
    }
}

fn block_io(entries: Vec<IoEntry>) -> Vec<BlockIo> {
    let entry = |IoEntry { device, operation, value }| BlockIo {
        major: u64::from(device.major),
        minor: u64::from(device.minor),
        operation,
        value,
    };
    entries.into_iter().map(entry).collect()
}

/// What the host has, in the units of the counters.
struct Host {
    cpu_time: u64,
    cpus: u32,
    memory: u64,
}

impl Host {
    fn read() -> Result<Self, EngineError> {
        let stat = read_own("/proc/stat".as_ref())?.unwrap_or_default();
        let meminfo = read_own("/proc/meminfo".as_ref())?.unwrap_or_default();
        Ok(Self { cpu_time: cpu_time(&stat), cpus: cpus(&stat), memory: total_memory(&meminfo) })
    }
}

/// The first seven columns are all time there was, guest time being part of user time.
fn cpu_time(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: u64 =
        line.split_whitespace().take(7).filter_map(|text| text.parse::<u64>().ok()).sum();
    ticks * (1_000_000_000 / TICKS)
}

fn cpus(stat: &str) -> u32 {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(stat.lines().filter(is_cpu).count()).unwrap_or(1)
}

/// Counters of every interface in the network namespace of a process, but loopback.
fn traffic(pid: u32) -> Result<BTreeMap<String, Traffic>, EngineError> {
    let table = read_own(format!("/proc/{pid}/net/dev").as_ref())?.unwrap_or_default();
    Ok(table.lines().skip(2).filter_map(interface).filter(|(name, _)| name != "lo").collect())
}

fn interface(line: &str) -> Option<(String, Traffic)> {
    let (name, columns) = line.split_once(':')?;
    let numbers: Vec<u64> =
        columns.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    let four = |from: usize| -> Option<[u64; 4]> { numbers.get(from..from + 4)?.try_into().ok() };
    Some((name.trim().to_owned(), Traffic { received: four(0)?, sent: four(8)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_counters_are_read() {
        let stat = "cpu  10 1 5 80 2 1 1 0 3 0\ncpu0 5 0 0 0\ncpu1 5 0 0 0\nintr 1\n";
        assert_eq!((cpu_time(stat), cpus(stat)), (1_000_000_000, 2));
        assert_eq!(total_memory("MemTotal:        2048 kB\nMemFree: 1 kB\n"), 2 << 20);
    }

    #[test]
    fn interfaces_are_read() {
        let line = "  eth0: 100 2 0 1 0 0 0 0 200 3 0 0 0 0 0 0";
        let (name, traffic) = interface(line).unwrap();
        assert_eq!(name, "eth0");
        assert_eq!(traffic, Traffic { received: [100, 2, 0, 1], sent: [200, 3, 0, 0] });
    }
}
