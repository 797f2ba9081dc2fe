//! What of a container's limits this host can keep: what its kernel lacks is discarded with a
//! warning, or refused, in Docker's words; devices are found by their paths.

use std::path::Path;

use cgroup::{Ability, Hierarchies};
use model::block_limits::{BlockLimits, DeviceRate};
use model::container::{Limits, PidsLimit, SwapLimit};
use rustix::fs::FileType;

use crate::EngineError;

/// Takes away what these hierarchies cannot limit; what the user should know of that.
///
/// # Errors
/// It is of a kind that must not be discarded.
pub(crate) fn settle(
    hierarchies: Option<&Hierarchies>,
    limits: &mut Limits,
) -> Result<Vec<String>, EngineError> {
    let has = |ability| hierarchies.is_some_and(|hierarchies| hierarchies.can(ability));
    let mut settling = Settling { limits, has, warnings: Vec::new() };
    settling.memory();
    settling.oom_switch();
    settling.processors().map_err(|error| EngineError::Invalid(error.to_owned()))?;
    settling.block_devices();
    Ok(settling.warnings)
}

struct Settling<'a, H> {
    limits: &'a mut Limits,
    has: H,
    warnings: Vec<String>,
}

impl<H: Fn(Ability) -> bool> Settling<'_, H> {
    /// Whether something is asked for and cannot be had; then it is said.
    fn lacks(&mut self, asked: bool, ability: Ability, warning: &str) -> bool {
        let lacks = asked && !(self.has)(ability);
        if lacks {
            self.warnings.push(warning.to_owned());
        }
        lacks
    }

    fn memory(&mut self) {
        let wished = |limits: &Limits| limits.memory.is_some();
        if self.lacks(
            wished(self.limits),
            Ability::Memory,
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
        ) {
            (self.limits.memory, self.limits.memory_swap) = (None, None);
        }
        let swap = matches!(self.limits.memory_swap, Some(SwapLimit::Bytes(_)));
        if self.lacks(
            swap && wished(self.limits),
            Ability::Swap,
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
        ) {
            self.limits.memory_swap = Some(SwapLimit::Unlimited);
        }
        if self.lacks(
            self.limits.memory_swappiness.is_some(),
            Ability::Swappiness,
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
        ) {
            self.limits.memory_swappiness = None;
        }
        if self.lacks(
            self.limits.memory_reservation.is_some(),
            Ability::Reservation,
            "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
        ) {
            self.limits.memory_reservation = None;
        }
        if self.lacks(
            matches!(self.limits.pids, PidsLimit::At(_)),
            Ability::Pids,
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
        ) {
            self.limits.pids = PidsLimit::Unlimited;
        }
    }

    /// A switch that only the memory controller of cgroup v1 has is off unless it was turned on; on
    /// other hosts there is none (Docker).
    fn oom_switch(&mut self) {
        let has_switch = (self.has)(Ability::OomKillDisable);
        let wished = self.limits.oom_kill_disable.unwrap_or_default();
        self.limits.oom_kill_disable = has_switch.then_some(wished);
        let warning = match (wished, has_switch, self.limits.memory) {
            (false, _, _) | (true, true, Some(_)) => return,
            (true, false, _) => {
                "Your kernel does not support OomKillDisable. OomKillDisable discarded."
            }
            (true, true, None) => {
                "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
            }
        };
        self.warnings.push(warning.to_owned());
    }

    fn processors(&mut self) -> Result<(), &'static str> {
        let realtime =
            self.limits.cpu_realtime_period.is_some() || self.limits.cpu_realtime_runtime.is_some();
        if realtime && !(self.has)(Ability::CpuRealtime) {
            return Err("Your kernel does not support CPU real-time scheduler");
        }
        if self.limits.nano_cpus.is_some() && !(self.has)(Ability::CpuQuota) {
            return Err(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
            );
        }
        if self.lacks(
            self.limits.cpu_shares.is_some(),
            Ability::CpuShares,
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
        ) {
            self.limits.cpu_shares = None;
        }
        if self.lacks(
            self.limits.cpu_period.is_some() || self.limits.cpu_quota.is_some(),
            Ability::CpuQuota,
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
        ) {
            (self.limits.cpu_period, self.limits.cpu_quota) = (None, None);
        }
        if self.lacks(
            self.limits.cpuset_cpus.is_some() || self.limits.cpuset_mems.is_some(),
            Ability::Cpuset,
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
        ) {
            (self.limits.cpuset_cpus, self.limits.cpuset_mems) = (None, None);
        }
        Ok(())
    }

    fn block_devices(&mut self) {
        if self.lacks(
            self.limits.blkio_weight.is_some(),
            Ability::IoWeight,
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ) {
            self.limits.blkio_weight = None;
        }
        if self.lacks(
            !self.limits.block_devices.weights.is_empty(),
            Ability::IoDeviceWeight,
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        ) {
            self.limits.block_devices.weights.clear();
        }
        for (list, ability, warning) in RATES {
            let asked = !list(&mut self.limits.block_devices).is_empty();
            if self.lacks(asked, *ability, warning) {
                list(&mut self.limits.block_devices).clear();
            }
        }
    }
}

type Rates = fn(&mut BlockLimits) -> &mut Vec<DeviceRate>;

const RATES: &[(Rates, Ability, &str)] = &[
    (
        |limits| &mut limits.read_bytes,
        Ability::ReadBytes,
        "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
    ),
    (
        |limits| &mut limits.write_bytes,
        Ability::WriteBytes,
        "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
    ),
    (
        |limits| &mut limits.read_operations,
        Ability::ReadOperations,
        "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
    ),
    (
        |limits| &mut limits.write_operations,
        Ability::WriteOperations,
        "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
    ),
];

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) major: i64,
    pub(crate) minor: i64,
}

/// Limits of single devices, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) weights: Vec<(Device, u16)>,
    pub(crate) read_bytes: Vec<(Device, u64)>,
    pub(crate) write_bytes: Vec<(Device, u64)>,
    pub(crate) read_operations: Vec<(Device, u64)>,
    pub(crate) write_operations: Vec<(Device, u64)>,
}

impl Numbered {
    /// Looks every device up.
    ///
    /// # Errors
    /// One is not there, or is no block device.
    pub(crate) fn find(limits: &BlockLimits) -> Result<Self, EngineError> {
        let rates = |rates: &[DeviceRate]| -> Result<Vec<_>, EngineError> {
            rates.iter().map(|limit| Ok((device(&limit.path)?, limit.rate))).collect()
        };
        let weights = limits.weights.iter().map(|limit| Ok((device(&limit.path)?, limit.weight)));
        Ok(Self {
            weights: weights.collect::<Result<_, EngineError>>()?,
            read_bytes: rates(&limits.read_bytes)?,
            write_bytes: rates(&limits.write_bytes)?,
            read_operations: rates(&limits.read_operations)?,
            write_operations: rates(&limits.write_operations)?,
        })
    }
}

fn device(path: &Path) -> Result<Device, EngineError> {
    let shown = path.display();
    let stat = rustix::fs::stat(path).map_err(|errno| {
        let reason = std::io::Error::from(errno);
        let reason = match errno {
            rustix::io::Errno::NOENT => "no such file or directory".to_owned(),
            _ => reason.to_string(),
        };
        EngineError::Invalid(format!("stat {shown}: {reason}"))
    })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(EngineError::Invalid(format!("{shown} is not a block device")));
    }
    let number = stat.st_rdev;
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    Ok(Device { major: i64::from(major), minor: i64::from(minor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(limits: &mut Limits, has: impl Fn(Ability) -> bool) -> Vec<String> {
        let mut settling = Settling { limits, has, warnings: Vec::new() };
        settling.memory();
        settling.processors().unwrap();
        settling.block_devices();
        settling.warnings
    }

    fn everything() -> Limits {
        let rate = || vec![DeviceRate { path: "/dev/sda".into(), rate: 1 }];
        Limits {
            memory: Some(1 << 30),
            memory_swap: Some(SwapLimit::Bytes(2 << 30)),
            memory_reservation: Some(1 << 20),
            memory_swappiness: Some(5),
            pids: PidsLimit::At(5),
            cpu_shares: Some(2),
            cpu_period: Some(1000),
            cpuset_cpus: Some("0".to_owned()),
            blkio_weight: Some(10),
            block_devices: BlockLimits {
                weights: vec![model::block_limits::DeviceWeight {
                    path: "/dev/sda".into(),
                    weight: 10,
                }],
                read_bytes: rate(),
                write_bytes: rate(),
                read_operations: rate(),
                write_operations: rate(),
            },
            ..Limits::default()
        }
    }

    #[test]
    fn what_the_kernel_has_stays_without_a_word() {
        let mut limits = everything();
        assert_eq!(settled(&mut limits, |_| true), Vec::<String>::new());
        assert_eq!(limits, everything());
    }

    #[test]
    fn what_the_kernel_lacks_goes_and_is_told() {
        let mut limits = everything();
        let warnings = settled(&mut limits, |_| false);
        assert_eq!(warnings.len(), 13, "{warnings:#?}");
        assert_eq!(limits, Limits { pids: PidsLimit::Unlimited, ..Limits::default() });
        let mut limits = everything();
        let warnings = settled(&mut limits, |ability| ability != Ability::Swap);
        assert_eq!(warnings.len(), 1);
        assert_eq!(limits.memory_swap, Some(SwapLimit::Unlimited), "memory is limited without it");
    }

    #[test]
    fn nothing_is_looked_up_for_who_asks_for_nothing() {
        assert!(settled(&mut Limits::default(), |ability| panic!("{ability:?}")).is_empty());
    }

    #[test]
    fn realtime_is_never_discarded() {
        let refused = |mut limits: Limits| {
            let mut settling =
                Settling { limits: &mut limits, has: |_| false, warnings: Vec::new() };
            settling.processors().unwrap_err()
        };
        let realtime = Limits { cpu_realtime_period: Some(1), ..Limits::default() };
        assert_eq!(refused(realtime), "Your kernel does not support CPU real-time scheduler");
        let cpus = Limits { nano_cpus: Some(1), ..Limits::default() };
        assert!(refused(cpus).starts_with("NanoCPUs can not be set"));
    }

    #[test]
    fn a_switch_for_the_oom_killer_is_where_the_kernel_has_one() {
        let switched = |wished, has_switch, memory| {
            let mut limits = Limits { oom_kill_disable: wished, memory, ..Limits::default() };
            let has = |ability| ability != Ability::OomKillDisable || has_switch;
            let mut settling = Settling { limits: &mut limits, has, warnings: Vec::new() };
            settling.oom_switch();
            let warnings = settling.warnings.len();
            (limits.oom_kill_disable, warnings)
        };
        assert_eq!(switched(None, true, None), (Some(false), 0));
        assert_eq!(switched(Some(false), false, None), (None, 0));
        assert_eq!(switched(Some(true), false, Some(1)), (None, 1));
        assert_eq!(switched(Some(true), true, None), (Some(true), 1));
        assert_eq!(switched(Some(true), true, Some(1)), (Some(true), 0));
    }

    #[test]
    fn only_block_devices_have_limits_of_devices() {
        let refused = |path: &str| device(path.as_ref()).unwrap_err().to_string();
        assert_eq!(refused("/dev/nosuch"), "stat /dev/nosuch: no such file or directory");
        assert_eq!(refused("/dev/null"), "/dev/null is not a block device");
    }
}
