//! What a cgroup has used: one shape for both versions, rich enough for what Docker's `stats` shows
//! of either.
//!
//! The parsers are pure. Nothing is derived: percentages and the like are made by whoever shows them.

use std::collections::BTreeMap;

use sys::Errno;

use crate::detect::{Controller, Version};
use crate::error::CgroupError;
use crate::group::{Cgroup, parse_memory};
use crate::limits::{DeviceNumber, Max};
use crate::plan::Homes;
use crate::pressure::{self, Pressure};

/// A snapshot of what a cgroup has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Where processor time is counted; Docker's clients read some numbers differently on v2.
    pub version: Version,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory, where there is a controller.
    pub memory: Option<MemoryStats>,
    /// Tasks, where there is a controller.
    pub pids: Option<PidsStats>,
    /// Block devices, where there is a controller.
    pub io: Option<IoStats>,
    /// What its tasks have waited for, where the kernel tells.
    pub pressure: Pressure,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub usage: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// By processor; empty on v2.
    pub per_cpu: Vec<u64>,
    /// Periods of a quota that have passed.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// Time spent waiting for the next.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use, with caches.
    pub usage: u64,
    /// The most that was ever in use, where the kernel tells (v2 since 5.19).
    pub max_usage: Option<u64>,
    /// The limit.
    pub limit: Max,
    /// How often the limit was hit; on v2, how often that left nothing but to kill (Docker).
    pub failures: u64,
    /// Swap in use, where the kernel tells. On v1 together with memory.
    pub swap_usage: Option<u64>,
    /// `memory.stat` as it is. What is cache is `total_inactive_file` on v1, `inactive_file` on v2.
    pub stat: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most.
    pub limit: Max,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoStats {
    /// Bytes by device and operation.
    pub bytes: Vec<IoEntry>,
    /// Operations by device and operation.
    pub operations: Vec<IoEntry>,
}

/// One number about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoEntry {
    /// Which.
    pub device: DeviceNumber,
    /// The kernel's word, and Docker's: `Read`, `Write`, `Sync` … on v1, `read` and `write` on v2.
    pub operation: String,
    /// How much.
    pub value: u64,
}

impl Cgroup {
    /// Reads all statistics.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let homes = self.homes()?;
        // v2 counts processor time without any controller.
        let (version, cpu) = if homes.v1.contains(&Controller::Cpuacct) {
            (Version::V1, self.cpu_v1(&homes)?)
        } else {
            (
                Version::V2,
                cpu_v2(&self.optional(Version::V2, None, "cpu.stat")?.unwrap_or_default()),
            )
        };
        let home = |controller| {
            let v1 = homes.v1.contains(&controller).then_some(Version::V1);
            v1.or(homes.v2.contains(&controller).then_some(Version::V2))
        };
        let memory = match home(Controller::Memory) {
            Some(Version::V1) => Some(self.memory_v1()?),
            Some(Version::V2) => Some(self.memory_v2()?),
            None => None,
        };
        let io = match home(Controller::Io) {
            Some(Version::V1) => Some(self.io_v1()?),
            Some(Version::V2) => {
                let stat = self.optional(Version::V2, Some(Controller::Io), "io.stat")?;
                Some(io_v2(&stat.unwrap_or_default()))
            }
            None => None,
        };
        let pids = home(Controller::Pids).map(|version| self.pids_stats(version)).transpose()?;
        Ok(Stats { version, cpu, memory, pids, io, pressure: self.pressure()? })
    }

    /// On version 2 beside version 1 as well: no controller is needed.
    fn pressure(&self) -> Result<Pressure, CgroupError> {
        let read = |name| {
            let text = self.optional(Version::V2, None, name)?;
            Ok::<_, CgroupError>(text.as_deref().and_then(pressure::parse))
        };
        if self.clone_into().is_none() {
            return Ok(Pressure::default());
        }
        Ok(Pressure {
            cpu: read("cpu.pressure")?,
            memory: read("memory.pressure")?,
            io: read("io.pressure")?,
        })
    }

    /// A file that some kernels lack.
    fn optional(
        &self,
        version: Version,
        controller: Option<Controller>,
        name: &str,
    ) -> Result<Option<String>, CgroupError> {
        match self.read(version, controller, name) {
            Ok(text) => Ok(Some(text)),
            // `EOPNOTSUPP`: swap accounting is there and switched off.
            Err(CgroupError::Read { source: Errno::NOENT | Errno::OPNOTSUPP, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn number(
        &self,
        version: Version,
        controller: Controller,
        name: &str,
    ) -> Result<u64, CgroupError> {
        let content = self.read(version, Some(controller), name)?;
        content.trim().parse().map_err(|_| CgroupError::Content {
            path: self.file_path(version, Some(controller), name),
            content,
        })
    }

    fn cpu_v1(&self, homes: &Homes) -> Result<CpuStats, CgroupError> {
        let number = |name| self.number(Version::V1, Controller::Cpuacct, name);
        let per_cpu = self.read(Version::V1, Some(Controller::Cpuacct), "cpuacct.usage_percpu")?;
        let mut cpu = CpuStats {
            usage: number("cpuacct.usage")?,
            user: number("cpuacct.usage_user")?,
            system: number("cpuacct.usage_sys")?,
            per_cpu: per_cpu.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
            ..CpuStats::default()
        };
        if homes.v1.contains(&Controller::Cpu) {
            let stat = self.read(Version::V1, Some(Controller::Cpu), "cpu.stat")?;
            cpu.periods = value_of(&stat, "nr_periods").unwrap_or(0);
            cpu.throttled_periods = value_of(&stat, "nr_throttled").unwrap_or(0);
            cpu.throttled = value_of(&stat, "throttled_time").unwrap_or(0);
        }
        Ok(cpu)
    }

    fn memory_v1(&self) -> Result<MemoryStats, CgroupError> {
        let read = |name| self.read(Version::V1, Some(Controller::Memory), name);
        let number = |name| self.number(Version::V1, Controller::Memory, name);
        let memsw = "memory.memsw.usage_in_bytes";
        let swap = self.optional(Version::V1, Some(Controller::Memory), memsw)?;
        Ok(MemoryStats {
            usage: number("memory.usage_in_bytes")?,
            max_usage: Some(number("memory.max_usage_in_bytes")?),
            limit: parse_memory(&read("memory.limit_in_bytes")?),
            failures: number("memory.failcnt")?,
            swap_usage: swap.and_then(|text| text.trim().parse().ok()),
            stat: key_values(&read("memory.stat")?),
        })
    }

    fn memory_v2(&self) -> Result<MemoryStats, CgroupError> {
        let read = |name| self.read(Version::V2, Some(Controller::Memory), name);
        let optional = |name| -> Result<Option<u64>, CgroupError> {
            let text = self.optional(Version::V2, Some(Controller::Memory), name)?;
            Ok(text.and_then(|text| text.trim().parse().ok()))
        };
        Ok(MemoryStats {
            usage: self.number(Version::V2, Controller::Memory, "memory.current")?,
            max_usage: optional("memory.peak")?,
            limit: parse_memory(&read("memory.max")?),
            failures: value_of(&read("memory.events")?, "oom").unwrap_or(0),
            swap_usage: optional("memory.swap.current")?,
            stat: key_values(&read("memory.stat")?),
        })
    }

    fn pids_stats(&self, version: Version) -> Result<PidsStats, CgroupError> {
        let limit = self.read(version, Some(Controller::Pids), "pids.max")?;
        Ok(PidsStats {
            current: self.number(version, Controller::Pids, "pids.current")?,
            limit: limit.trim().parse().map_or(Max::Unlimited, Max::At),
        })
    }

    /// BFQ counts only what goes through it, and the throttling layer everything else; the one that has
    /// counted something is right.
    fn io_v1(&self) -> Result<IoStats, CgroupError> {
        let read = |name: &str| -> Result<Vec<IoEntry>, CgroupError> {
            let text = self.optional(Version::V1, Some(Controller::Io), name)?;
            Ok(io_entries_v1(&text.unwrap_or_default()))
        };
        let bytes = read("blkio.bfq.io_service_bytes_recursive")?;
        if !bytes.is_empty() {
            let operations = read("blkio.bfq.io_serviced_recursive")?;
            return Ok(IoStats { bytes, operations });
        }
        Ok(IoStats {
            bytes: read("blkio.throttle.io_service_bytes_recursive")?,
            operations: read("blkio.throttle.io_serviced_recursive")?,
        })
    }
}

/// The value of one key in a file of `key value` lines.
pub(crate) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn key_values(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// v2 counts microseconds.
fn cpu_v2(stat: &str) -> CpuStats {
    let value = |key| value_of(stat, key).unwrap_or(0);
    CpuStats {
        usage: value("usage_usec") * 1000,
        user: value("user_usec") * 1000,
        system: value("system_usec") * 1000,
        per_cpu: Vec::new(),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled: value("throttled_usec") * 1000,
    }
}

fn device(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Lines such as `8:0 Read 4096`; the sum in the last line is left out.
fn io_entries_v1(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        Some(IoEntry {
            device: device(words.next()?)?,
            operation: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_v2(text: &str) -> IoStats {
    let mut stats = IoStats::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let entry =
                |operation: &str| IoEntry { device, operation: operation.to_owned(), value };
            match key {
                "rbytes" => stats.bytes.push(entry("read")),
                "wbytes" => stats.bytes.push(entry("write")),
                "rios" => stats.operations.push(entry("read")),
                "wios" => stats.operations.push(entry("write")),
                _ => {}
            }
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn entries(entries: &[IoEntry]) -> String {
        let line = |entry: &IoEntry| {
            let IoEntry { device, operation, value } = entry;
            format!("{}:{} {operation} {value}\n", device.major, device.minor)
        };
        entries.iter().map(line).collect()
    }

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\n", "oom"), Some(2));
        assert_eq!(value_of(text, "oom"), None);
    }

    #[test]
    fn v1_block_devices() {
        let text = "8:0 Read 4096\n8:0 Write 0\n8:0 Discard 0\n8:0 Total 4096\nTotal 4096\n";
        expect![[r#"
            8:0 Read 4096
            8:0 Write 0
            8:0 Discard 0
            8:0 Total 4096
        "#]]
        .assert_eq(&entries(&io_entries_v1(text)));
    }

    #[test]
    fn v2_block_devices() {
        let stats = io_v2(
            "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
             253:0 \n7:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n",
        );
        expect![[r#"
            8:16 read 1459200
            8:16 write 314773504
            7:0 read 1
            7:0 write 2
        "#]]
        .assert_eq(&entries(&stats.bytes));
        expect![[r#"
            8:16 read 192
            8:16 write 353
            7:0 read 3
            7:0 write 4
        "#]]
        .assert_eq(&entries(&stats.operations));
    }

    #[test]
    fn v2_processor_time_is_in_nanoseconds() {
        let stat = "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\n\
                    throttled_usec 9\nnr_bursts 0\n";
        let expected = CpuStats {
            usage: 5000,
            user: 3000,
            system: 2000,
            per_cpu: vec![],
            periods: 7,
            throttled_periods: 1,
            throttled: 9000,
        };
        assert_eq!(cpu_v2(stat), expected);
    }

    #[test]
    fn no_limit_of_memory_reads_as_such_on_both_versions() {
        assert_eq!(parse_memory("9223372036854771712\n"), Max::Unlimited);
        assert_eq!(parse_memory("max\n"), Max::Unlimited);
        assert_eq!(parse_memory("1048576\n"), Max::At(1 << 20));
    }
}
