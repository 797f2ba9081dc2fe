//! OCI's `linux.resources` as the limits of a cgroup.
//!
//! Pure. A field that has no counterpart is an error, never passed over in silence.

use cgroup::{
    Access, Cpu, DeviceKind, DeviceNumber, DeviceRule, DeviceRules, DeviceWeight, Effect,
    HugePages, Io, Limits, Max, Memory, Network, Rdma, Throttle, ThrottleKind,
};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxNetwork,
    LinuxResources, LinuxThrottleDevice,
};

/// What a specification asks for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// No kernel that dhow runs on has it.
    #[error("linux.resources.{0} is not supported")]
    Unsupported(&'static str),
    /// A number outside of what the kernel takes.
    #[error("linux.resources.{field}: {value} is out of range")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// As given.
        value: i64,
    },
    /// A device rule is not made of `rwm`.
    #[error("linux.resources.devices")]
    Access(#[from] cgroup::BadAccess),
    /// A device rule is about what can have none.
    #[error("linux.resources.devices: a rule is for character devices, block devices or all")]
    DeviceType,
}

type Result<T> = std::result::Result<T, ResourceError>;

/// Tasks that a cgroup has to take while a container is made: who keeps a scope of systemd's, and a process that
/// is born twice.
const ROOM: Max = Max::At(3);

/// The limits with room for what a container is made by.
#[must_use]
pub fn with_room(limits: Limits) -> Limits {
    Limits { pids: limits.pids.map(|pids| pids.max(ROOM)), ..limits }
}

/// What takes that room back, once the container's own process is the only one in there; `None` if none was
/// given.
#[must_use]
pub fn without_room(limits: &Limits) -> Option<Limits> {
    let pids = limits.pids.filter(|pids| *pids < ROOM)?;
    Some(Limits { pids: Some(pids), ..Limits::default() })
}

/// The limits of a specification.
///
/// # Errors
/// It asks for what cgroups do not have.
pub fn limits(resources: &LinuxResources) -> Result<Limits> {
    let hugepages = resources.hugepage_limits().iter().flatten().map(|limit| {
        let bytes = signed("hugepageLimits.limit", limit.limit())?;
        Ok(HugePages { page_size: limit.page_size().clone(), limit: bytes })
    });
    let rdma = resources.rdma().iter().flatten().map(|(device, limit)| Rdma {
        device: device.clone(),
        handles: limit.hca_handles(),
        objects: limit.hca_objects(),
    });
    let unified = resources.unified().iter().flatten();
    Ok(Limits {
        memory: resources.memory().as_ref().map_or_else(|| Ok(Memory::default()), memory)?,
        cpu: resources.cpu().as_ref().map_or_else(|| Ok(Cpu::default()), cpu)?,
        pids: resources.pids().as_ref().map(|pids| pids_limit(pids.limit())),
        io: resources.block_io().as_ref().map_or_else(|| Ok(Io::default()), io)?,
        huge_pages: hugepages.collect::<Result<_>>()?,
        network: resources.network().as_ref().map(network).unwrap_or_default(),
        rdma: rdma.collect(),
        unified: unified.map(|(file, value)| (file.clone(), value.clone())).collect(),
    })
}

/// One process can always be there. systemd takes no 0, so runtimes write 1 for it everywhere.
fn pids_limit(limit: i64) -> Max {
    if limit == 0 { Max::At(1) } else { Max::from_signed(limit) }
}

/// What every container of an OCI runtime may use besides what its specification says: to make nodes, and
/// the devices that the runtime makes for it (config-linux.md, "Default Devices"). As kind, major, minor.
const ALWAYS: [(DeviceKind, Option<u32>, Option<u32>); 10] = [
    (DeviceKind::Char, None, None),
    (DeviceKind::Block, None, None),
    (DeviceKind::Char, Some(1), Some(3)),
    (DeviceKind::Char, Some(1), Some(5)),
    (DeviceKind::Char, Some(1), Some(7)),
    (DeviceKind::Char, Some(1), Some(8)),
    (DeviceKind::Char, Some(1), Some(9)),
    (DeviceKind::Char, Some(5), Some(0)),
    (DeviceKind::Char, Some(5), Some(2)),
    // The terminals of its devpts.
    (DeviceKind::Char, Some(136), None),
];

/// The device rules of a specification, and behind them those that every container has.
pub(crate) fn devices_with_defaults(resources: &LinuxResources) -> Result<DeviceRules> {
    let rules = resources.devices().iter().flatten().map(device);
    let always = ALWAYS.iter().map(|(kind, major, minor)| {
        let access = if major.is_some() { "rwm" } else { "m" };
        Ok(DeviceRule {
            effect: Effect::Allow,
            kind: *kind,
            major: *major,
            minor: *minor,
            access: Access::parse(access)?,
        })
    });
    rules.chain(always).collect::<Result<Vec<_>>>().map(DeviceRules::new)
}

/// The device rules of a specification. Without any, every device is denied.
pub fn devices(resources: &LinuxResources) -> Result<DeviceRules> {
    let rules = resources.devices().iter().flatten().map(device);
    rules.collect::<Result<Vec<_>>>().map(DeviceRules::new)
}

fn memory(memory: &LinuxMemory) -> Result<Memory> {
    // Go programs write 0 for what they do not want to say.
    let said = |value: Option<i64>| value.filter(|value| *value != 0).map(Max::from_signed);
    // `kernel` limits nothing in any kernel since 5.16, and the specification recommends against it: like
    // runc, passed over, and told by whoever reads a specification.
    if memory.use_hierarchy() == Some(false) {
        return Err(ResourceError::Unsupported("memory.useHierarchy"));
    }
    let swappiness = memory.swappiness().map(|value| {
        let out = ResourceError::OutOfRange {
            field: "memory.swappiness",
            value: i64::try_from(value).unwrap_or(i64::MAX),
        };
        u8::try_from(value).map_err(|_| out)
    });
    Ok(Memory {
        limit: said(memory.limit()),
        reservation: said(memory.reservation()),
        with_swap: said(memory.swap()),
        tcp: said(memory.kernel_tcp()),
        swappiness: swappiness.transpose()?,
        disable_oom_killer: memory.disable_oom_killer().unwrap_or(false),
        check_before_update: memory.check_before_update().unwrap_or(false),
    })
}

fn cpu(cpu: &LinuxCpu) -> Result<Cpu> {
    let idle = match cpu.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(value) => return Err(ResourceError::OutOfRange { field: "cpu.idle", value }),
    };
    let list = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(Cpu {
        // 0 means the kernel's own, in Docker and runc.
        shares: cpu.shares().filter(|shares| *shares != 0),
        quota: cpu.quota().filter(|quota| *quota != 0).map(Max::from_signed),
        period: cpu.period().filter(|period| *period != 0),
        burst: cpu.burst(),
        idle,
        realtime_runtime: cpu.realtime_runtime().filter(|runtime| *runtime != 0),
        realtime_period: cpu.realtime_period().filter(|period| *period != 0),
        cpus: list(cpu.cpus()),
        mems: list(cpu.mems()),
    })
}

fn io(io: &LinuxBlockIo) -> Result<Io> {
    if io.leaf_weight().is_some_and(|weight| weight != 0) {
        return Err(ResourceError::Unsupported("blockIO.leafWeight"));
    }
    let mut device_weights = Vec::new();
    for device in io.weight_device().iter().flatten() {
        if device.leaf_weight().is_some_and(|weight| weight != 0) {
            return Err(ResourceError::Unsupported("blockIO.weightDevice.leafWeight"));
        }
        if let Some(weight) = device.weight() {
            let number = device_number(device.major(), device.minor())?;
            device_weights.push(DeviceWeight { device: number, weight });
        }
    }
    let throttles = [
        (io.throttle_read_bps_device(), ThrottleKind::ReadBytes),
        (io.throttle_write_bps_device(), ThrottleKind::WriteBytes),
        (io.throttle_read_iops_device(), ThrottleKind::ReadOperations),
        (io.throttle_write_iops_device(), ThrottleKind::WriteOperations),
    ];
    let throttles = throttles
        .iter()
        .flat_map(|(devices, kind)| devices.iter().flatten().map(|device| throttle(device, *kind)));
    Ok(Io {
        weight: io.weight().filter(|weight| *weight != 0),
        device_weights,
        throttles: throttles.collect::<Result<_>>()?,
    })
}

fn throttle(throttle: &LinuxThrottleDevice, kind: ThrottleKind) -> Result<Throttle> {
    let device = device_number(throttle.major(), throttle.minor())?;
    Ok(Throttle { device, kind, rate: throttle.rate() })
}

fn network(network: &LinuxNetwork) -> Network {
    let priorities = network.priorities().iter().flatten();
    Network {
        class_id: network.class_id(),
        priorities: priorities.map(|one| (one.name().clone(), one.priority())).collect(),
    }
}

fn device(rule: &LinuxDeviceCgroup) -> Result<DeviceRule> {
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::P) => return Err(ResourceError::DeviceType),
    };
    // -1 is how Go programs write "all".
    let number = |value: Option<i64>| {
        value.filter(|value| *value != -1).map(|value| part("devices", value)).transpose()
    };
    Ok(DeviceRule {
        effect: if rule.allow() { Effect::Allow } else { Effect::Deny },
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access: match rule.access().as_deref() {
            // A rule that names no access is about all of it, as runc has it.
            None | Some("") => Access::ALL,
            Some(letters) => Access::parse(letters)?,
        },
    })
}

fn device_number(major: i64, minor: i64) -> Result<DeviceNumber> {
    Ok(DeviceNumber { major: part("blockIO", major)?, minor: part("blockIO", minor)? })
}

fn part(field: &'static str, value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| ResourceError::OutOfRange { field, value })
}

fn signed(field: &'static str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| ResourceError::OutOfRange { field, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn dockers_limits_are_read() {
        let resources = parse(
            r#"{"memory":{"limit":6291456,"swap":-1},"cpu":{"shares":0,"quota":50000,"period":100000},
                "pids":{"limit":-1},"blockIO":{"weight":0}}"#,
        );
        let limits = limits(&resources).unwrap();
        assert_eq!(limits.memory.limit, Some(Max::At(6_291_456)));
        assert_eq!(limits.memory.with_swap, Some(Max::Unlimited));
        assert_eq!(limits.cpu.quota, Some(Max::At(50_000)));
        assert_eq!((limits.cpu.shares, limits.io.weight), (None, None), "0 is no wish");
        assert_eq!(limits.pids, Some(Max::Unlimited));
        assert_eq!((pids_limit(0), pids_limit(7)), (Max::At(1), Max::At(7)));
    }

    #[test]
    fn device_rules_keep_their_order_and_wildcards() {
        let resources = parse(
            r#"{"devices":[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},
                {"allow":true,"type":"c","major":136,"minor":-1,"access":"rwm"}]}"#,
        );
        let rule = |kind, major, minor, access| DeviceRule {
            effect: Effect::Allow,
            kind,
            major,
            minor,
            access,
        };
        let expected = vec![
            DeviceRule::everything(Effect::Deny),
            rule(DeviceKind::Char, Some(1), Some(3), Access::READ.union(Access::WRITE)),
            rule(DeviceKind::Char, Some(136), None, Access::ALL),
        ];
        assert_eq!(devices(&resources).unwrap(), DeviceRules::new(expected));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (json, error) in [
            (
                r#"{"memory":{"useHierarchy":false}}"#,
                "linux.resources.memory.useHierarchy is not supported",
            ),
            (
                r#"{"memory":{"swappiness":300}}"#,
                "linux.resources.memory.swappiness: 300 is out of range",
            ),
            (r#"{"cpu":{"idle":2}}"#, "linux.resources.cpu.idle: 2 is out of range"),
            (
                r#"{"blockIO":{"leafWeight":10}}"#,
                "linux.resources.blockIO.leafWeight is not supported",
            ),
        ] {
            assert_eq!(limits(&parse(json)).unwrap_err().to_string(), error);
        }
        let bad = parse(r#"{"devices":[{"allow":true,"type":"p"}]}"#);
        assert_eq!(devices(&bad).unwrap_err(), ResourceError::DeviceType);
    }
}
