//! What a container may do: capabilities, system calls, devices, resource limits; decided from
//! its specification and what this host has to give.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::container::{DeviceMapping, Limits, SeccompPolicy, SecuritySpec};
use model::ulimit::{Ulimit, UlimitKind};
use oci_spec::runtime::{
    Capability, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder,
    LinuxDeviceType, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};
use runtime::capabilities::{CapSet, Named, tweak};
use runtime::seccomp::{self, Arch, Foreign, KernelVersion, Program, Target};

use crate::{Engine, EngineError};

/// What current systemd gives to a Docker service: enough for most, and no loop over a million
/// descriptors at each fork.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// What this binary, and so the kernel below it, is built for.
const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

fn invalid(error: impl std::fmt::Display) -> EngineError {
    EngineError::Invalid(error.to_string())
}

/// The bounding set of a container.
pub(crate) fn capabilities(security: &SecuritySpec) -> Result<CapSet, EngineError> {
    let available = available_capabilities()?;
    if security.privileged {
        return Ok(available);
    }
    let add = Named::parse(&security.cap_add)
        .map_err(|error| invalid(format_args!("invalid CapAdd: {error}")))?;
    let drop = Named::parse(&security.cap_drop)
        .map_err(|error| invalid(format_args!("invalid CapDrop: {error}")))?;
    tweak(CapSet::DOCKER_DEFAULT, add, drop, available).map_err(invalid)
}

fn available_capabilities() -> Result<CapSet, EngineError> {
    let own = rustix::thread::capabilities(None).map_err(invalid)?;
    Ok(CapSet::from_bits(own.permitted.bits()))
}

/// All that this host can give.
pub(crate) fn every_capability() -> Result<CapSet, EngineError> {
    available_capabilities()
}

/// A set as the OCI types have it.
pub(crate) fn oci_capabilities(set: CapSet) -> HashSet<Capability> {
    // Names that this version of the types does not know cannot be granted either.
    set.names().iter().filter_map(|name| name.trim_start_matches("CAP_").parse().ok()).collect()
}

impl Engine {
    /// The compiled filter of a container; `None` if it has none.
    pub(crate) fn seccomp(
        &self,
        security: &SecuritySpec,
        caps: CapSet,
    ) -> Result<Option<Program>, EngineError> {
        let json = match &security.seccomp {
            SeccompPolicy::Unconfined => return Ok(None),
            SeccompPolicy::Default if security.privileged => return Ok(None),
            SeccompPolicy::Default => seccomp::DEFAULT,
            SeccompPolicy::Profile(json) => json.as_bytes(),
        };
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy();
        let kernel = KernelVersion::from_release(&release).ok_or_else(|| {
            invalid(format_args!("the kernel's release {release:?} has no version"))
        })?;
        let target = Target { arch: ARCH, caps, kernel, foreign: Foreign::Refused };
        let dir = self.paths().seccomp_cache();
        std::fs::create_dir_all(&dir).map_err(EngineError::file("make", &dir))?;
        seccomp::cached(&dir, json, &target)
            .map(Some)
            .map_err(|error| invalid(format_args!("seccomp: {error}")))
    }
}

/// rlimits of a container: the user's, and dhow's for open files.
pub(crate) fn rlimits(limits: &Limits) -> Result<Vec<PosixRlimit>, EngineError> {
    let mut all = limits.ulimits.iter().map(ulimit).collect::<Result<Vec<_>, _>>()?;
    if !limits.ulimits.iter().any(|limit| limit.kind == UlimitKind::Nofile) {
        let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .maximum
            .unwrap_or(u64::MAX);
        let (soft, hard) = (OPEN_FILES.0.min(ours), OPEN_FILES.1.min(ours));
        all.push(rlimit(PosixRlimitType::RlimitNofile, soft, hard)?);
    }
    Ok(all)
}

fn rlimit(kind: PosixRlimitType, soft: u64, hard: u64) -> Result<PosixRlimit, EngineError> {
    PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build().map_err(invalid)
}

fn ulimit(limit: &Ulimit) -> Result<PosixRlimit, EngineError> {
    let kind = match limit.kind {
        UlimitKind::Core => PosixRlimitType::RlimitCore,
        UlimitKind::Cpu => PosixRlimitType::RlimitCpu,
        UlimitKind::Data => PosixRlimitType::RlimitData,
        UlimitKind::Fsize => PosixRlimitType::RlimitFsize,
        UlimitKind::Locks => PosixRlimitType::RlimitLocks,
        UlimitKind::Memlock => PosixRlimitType::RlimitMemlock,
        UlimitKind::Msgqueue => PosixRlimitType::RlimitMsgqueue,
        UlimitKind::Nice => PosixRlimitType::RlimitNice,
        UlimitKind::Nofile => PosixRlimitType::RlimitNofile,
        UlimitKind::Nproc => PosixRlimitType::RlimitNproc,
        UlimitKind::Rss => PosixRlimitType::RlimitRss,
        UlimitKind::Rtprio => PosixRlimitType::RlimitRtprio,
        UlimitKind::Rttime => PosixRlimitType::RlimitRttime,
        UlimitKind::Sigpending => PosixRlimitType::RlimitSigpending,
        UlimitKind::Stack => PosixRlimitType::RlimitStack,
    };
    // -1 is no limit, which the kernel writes with all bits set.
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    rlimit(kind, value(limit.soft), value(limit.hard))
}

/// Devices and the rules that let them be used.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// Nodes to make beside the standard ones.
    pub(crate) nodes: Vec<LinuxDevice>,
    /// For the device controller, in order.
    pub(crate) rules: Vec<LinuxDeviceCgroup>,
}

/// Character devices of every container: null, zero, full, random, urandom, tty, ptmx, pts.
const STANDARD: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];
/// tun, whose node images with a VPN make themselves. Docker allows it to all; without
/// `CAP_NET_ADMIN` it is only good for interfaces that somebody has left without an owner.
const TUN: (i64, Option<i64>) = (10, Some(200));

/// The devices of a container.
pub(crate) fn devices(security: &SecuritySpec, held: CapSet) -> Result<Devices, EngineError> {
    let mut devices = Devices::default();
    if security.privileged {
        devices.rules.push(rule(true, LinuxDeviceType::A, None, None, "rwm")?);
        let mut mapped = Devices::default();
        security.devices.iter().try_for_each(|mapping| add_mapping(&mut mapped, mapping))?;
        // One that is mapped over another is the one that is meant.
        let is_free = |node: &LinuxDevice| mapped.nodes.iter().all(|own| own.path() != node.path());
        devices.nodes = host_devices(Path::new("/dev"))?;
        devices.nodes.retain(is_free);
        devices.nodes.append(&mut mapped.nodes);
        return Ok(devices);
    }
    devices.rules.push(rule(false, LinuxDeviceType::A, None, None, "rwm")?);
    for kind in [LinuxDeviceType::C, LinuxDeviceType::B] {
        // Making a node is harmless while using it is not allowed.
        devices.rules.push(rule(true, kind, None, None, "m")?);
    }
    let tun = held.contains(model::capability::Capability::NET_ADMIN).then_some(TUN);
    for (major, minor) in STANDARD.into_iter().chain(tun) {
        devices.rules.push(rule(true, LinuxDeviceType::C, Some(major), minor, "rwm")?);
    }
    for mapping in &security.devices {
        add_mapping(&mut devices, mapping)?;
    }
    for text in &security.device_rules {
        devices.rules.push(parse_rule(text)?);
    }
    Ok(devices)
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup, EngineError> {
    let mut builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access);
    if let Some(major) = major {
        builder = builder.major(major);
    }
    if let Some(minor) = minor {
        builder = builder.minor(minor);
    }
    builder.build().map_err(invalid)
}

fn add_mapping(devices: &mut Devices, mapping: &DeviceMapping) -> Result<(), EngineError> {
    let found = if mapping.host.is_dir() {
        host_devices(&mapping.host)?
    } else {
        vec![node(&mapping.host)?]
    };
    if found.is_empty() {
        return Err(no_device(&mapping.host, "not a device node"));
    }
    for mut device in found {
        let below = device.path().strip_prefix(&mapping.host).unwrap_or(Path::new(""));
        let inside = if below.as_os_str().is_empty() {
            mapping.container.clone()
        } else {
            mapping.container.join(below)
        };
        device.set_path(inside);
        devices.rules.push(rule_for(&device, &mapping.permissions)?);
        // Of two at one place the first is there, as in Docker; either may be used.
        if devices.nodes.iter().all(|there| there.path() != device.path()) {
            devices.nodes.push(device);
        }
    }
    Ok(())
}

/// Docker's words.
fn no_device(path: &Path, why: &str) -> EngineError {
    let path = path.display();
    invalid(format_args!(
        "error gathering device information while adding custom device \"{path}\": {why}"
    ))
}

/// One device of the host.
pub(crate) fn node(path: &Path) -> Result<LinuxDevice, EngineError> {
    let failed = |why: &str| no_device(path, why);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed("no such file or directory"));
        }
        Err(error) => return Err(EngineError::file("look at the device", path)(error)),
    };
    let kind = if metadata.file_type().is_char_device() {
        LinuxDeviceType::C
    } else if metadata.file_type().is_block_device() {
        LinuxDeviceType::B
    } else {
        return Err(failed("not a device node"));
    };
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(kind)
        .major(i64::from(rustix::fs::major(metadata.rdev())))
        .minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build()
        .map_err(invalid)
}

/// A device that somebody describes instead of the host's node.
pub(crate) fn device(
    path: &Path,
    kind: LinuxDeviceType,
    major: i64,
    minor: i64,
) -> Result<LinuxDevice, EngineError> {
    let builder = LinuxDeviceBuilder::default().path(path).typ(kind).major(major).minor(minor);
    builder.file_mode(0o666_u32).uid(0_u32).gid(0_u32).build().map_err(invalid)
}

/// What lets a container use a device.
pub(crate) fn rule_for(
    device: &LinuxDevice,
    access: &str,
) -> Result<LinuxDeviceCgroup, EngineError> {
    rule(true, device.typ(), Some(device.major()), Some(device.minor()), access)
}

/// Every device below a directory, but those that each container has of its own.
fn host_devices(dir: &Path) -> Result<Vec<LinuxDevice>, EngineError> {
    const OWN: [&str; 14] = [
        "pts", "shm", "fd", "mqueue", "console", ".udev", ".lxc", "null", "zero", "full", "random",
        "urandom", "tty", "ptmx",
    ];
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).map_err(EngineError::file("list", &folder))?.flatten()
        {
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if OWN.iter().any(|own| name == *own) || kind.is_symlink() {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_char_device() || kind.is_block_device() {
                found.extend(node(&entry.path()));
            }
        }
    }
    Ok(found)
}

/// Reads `c 1:3 rwm`, where a number may be `*`.
fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup, EngineError> {
    let bad = || invalid(format_args!("invalid device cgroup format: '{text}'"));
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(bad()) };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(bad()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    if access.is_empty() || !access.bytes().all(|b| b"rwm".contains(&b)) {
        return Err(bad());
    }
    rule(true, kind, number(major)?, number(minor)?, access)
}
/// The compiled filter as a file, so that it can be passed on.
pub(crate) fn filter_file(filter: &Program) -> Result<OwnedFd, EngineError> {
    let failed =
        |errno: rustix::io::Errno| EngineError::file("write", "the seccomp filter")(errno.into());
    let file = rustix::fs::memfd_create(c"dhow-seccomp", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(failed)?;
    let mut file = std::fs::File::from(file);
    std::io::Write::write_all(&mut file, &filter.to_bytes())
        .map_err(EngineError::file("write", "the seccomp filter"))?;
    Ok(file.into())
}
