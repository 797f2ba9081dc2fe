//! Which limits this host's kernel has at all, asked before anything is promised.
//!
//! A hierarchy's root has most of the files that its cgroups will have; where it lacks one, another
//! file tells.

use rustix::fs::{Access, AtFlags, accessat};

use crate::detect::{Controller, Hierarchies, Version};
use crate::file;

/// Something that a kernel can limit, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// Memory.
    Memory,
    /// Memory and swap together.
    Swap,
    /// What reclaim tries to leave.
    Reservation,
    /// How eagerly to swap.
    Swappiness,
    /// Turning the out-of-memory killer off.
    OomKillDisable,
    /// Tasks.
    Pids,
    /// Weight of processor time.
    CpuShares,
    /// Processor time in a period.
    CpuQuota,
    /// Real-time processor time in a period.
    CpuRealtime,
    /// Placement on processors and memory nodes.
    Cpuset,
    /// Weight of block input and output.
    IoWeight,
    /// The same for one device.
    IoDeviceWeight,
    /// Bytes read from a device.
    ReadBytes,
    /// Bytes written to a device.
    WriteBytes,
    /// Read operations on a device.
    ReadOperations,
    /// Write operations on a device.
    WriteOperations,
}

impl Ability {
    const fn controller(self) -> Controller {
        match self {
            Self::Memory
            | Self::Swap
            | Self::Reservation
            | Self::Swappiness
            | Self::OomKillDisable => Controller::Memory,
            Self::Pids => Controller::Pids,
            Self::CpuShares | Self::CpuQuota | Self::CpuRealtime => Controller::Cpu,
            Self::Cpuset => Controller::Cpuset,
            Self::IoWeight
            | Self::IoDeviceWeight
            | Self::ReadBytes
            | Self::WriteBytes
            | Self::ReadOperations
            | Self::WriteOperations => Controller::Io,
        }
    }

    /// Files of a v1 hierarchy's root of which one tells that its cgroups have it; none: the
    /// controller always has it.
    const fn files_v1(self) -> &'static [&'static str] {
        match self {
            Self::Memory | Self::Pids | Self::Cpuset => &[],
            Self::Swap => &["memory.memsw.limit_in_bytes"],
            Self::Reservation => &["memory.soft_limit_in_bytes"],
            Self::Swappiness => &["memory.swappiness"],
            Self::OomKillDisable => &["memory.oom_control"],
            Self::CpuShares => &["cpu.shares"],
            Self::CpuQuota => &["cpu.cfs_quota_us"],
            Self::CpuRealtime => &["cpu.rt_runtime_us"],
            // BFQ's weights are in every cgroup but the root, its counters in all.
            Self::IoWeight => &["blkio.weight", "blkio.bfq.io_service_bytes"],
            Self::IoDeviceWeight => &["blkio.weight_device", "blkio.bfq.io_service_bytes"],
            Self::ReadBytes => &["blkio.throttle.read_bps_device"],
            Self::WriteBytes => &["blkio.throttle.write_bps_device"],
            Self::ReadOperations => &["blkio.throttle.read_iops_device"],
            Self::WriteOperations => &["blkio.throttle.write_iops_device"],
        }
    }
}

impl Hierarchies {
    /// Where a controller is; `None` if this host has it not.
    #[must_use]
    pub fn home(&self, controller: Controller) -> Option<Version> {
        if self.legacy_of(controller).is_some() {
            return Some(Version::V1);
        }
        let listed = file::read(self.unified()?.root(), "cgroup.controllers").unwrap_or_default();
        let name = controller.name(Version::V2);
        listed.split_whitespace().any(|word| word == name).then_some(Version::V2)
    }

    /// Whether the kernel can limit something here.
    #[must_use]
    pub fn can(&self, ability: Ability) -> bool {
        let controller = ability.controller();
        if let Some(legacy) = self.legacy_of(controller) {
            let files = ability.files_v1();
            let exists = |file: &str| {
                accessat(legacy.root(), file, Access::EXISTS, AtFlags::empty()).is_ok()
            };
            return files.is_empty() || files.iter().copied().any(exists);
        }
        match (self.home(controller), ability) {
            (None, _)
            | (_, Ability::Swappiness | Ability::OomKillDisable | Ability::CpuRealtime) => false,
            (Some(_), Ability::IoWeight | Ability::IoDeviceWeight) => has_weights_v2(self),
            // A kernel without swap has no such list, and its cgroups no such file.
            (Some(_), Ability::Swap) => std::path::Path::new("/proc/swaps").exists(),
            (Some(_), _) => true,
        }
    }
}

/// Whether anything in this kernel heeds weights: the cost model, which has a file in the root, or
/// BFQ, whose files are in every cgroup but the root, but which a disk can then have as its scheduler.
fn has_weights_v2(hierarchies: &Hierarchies) -> bool {
    let Some(unified) = hierarchies.unified() else { return false };
    let has_model =
        accessat(unified.root(), "io.cost.qos", Access::EXISTS, AtFlags::empty()).is_ok();
    has_model
        || std::fs::read_dir("/sys/block").into_iter().flatten().flatten().any(|disk| {
            let schedulers = std::fs::read_to_string(disk.path().join("queue/scheduler"));
            schedulers.is_ok_and(|text| has_word(&text, "bfq"))
        })
}

/// Of a list in which the chosen one stands in brackets.
fn has_word(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|word| word.trim_matches(['[', ']']) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_use_is_one_of_those_that_there_are() {
        assert!(has_word("none mq-deadline [bfq]\n", "bfq") && has_word("[none] bfq", "bfq"));
        assert!(!has_word("[none] mq-deadline\n", "bfq"));
    }
}
