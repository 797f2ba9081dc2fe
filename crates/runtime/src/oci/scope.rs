//! Who makes a container's control group: dhow by itself, or systemd (`--systemd-cgroup`).
//!
//! Which systemd is asked is decided here: the host's as root, an ordinary user's own otherwise. How it is
//! asked is `cgroup`'s.

use std::env::var_os;
use std::path::PathBuf;

use cgroup::{Cgroup, CgroupError, DeviceRules, Keeper, Limits, Manager, Scope, Wish, Wished};
use oci_spec::runtime::{LinuxResources, Spec};
use sys::Errno;

use super::arguments::{CgroupManager, Globals};
use super::bundle;
use super::fault::Fault;
use super::record::{Group, Unit};
use super::state;
use crate::resources;

/// Who makes it.
#[derive(Debug)]
pub(super) enum Driver {
    /// dhow, by the kernel's files.
    Files,
    /// systemd.
    Systemd(Manager, Scope, PathBuf),
}

impl Driver {
    /// Whoever the command line says.
    pub(super) fn of(globals: &Globals, spec: &Spec, id: &str) -> Result<Self, Fault> {
        if !globals.systemd_cgroup && globals.cgroup_manager != CgroupManager::Systemd {
            return Ok(Self::Files);
        }
        let is_users = is_users()?;
        let slice = if is_users { "user.slice" } else { "system.slice" };
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
        let text = path.map(|path| path.to_string_lossy()).unwrap_or_default();
        let scope = match &*text {
            "" => Scope::new(slice, "runc", id),
            text => Scope::parse(text, slice),
        };
        let scope = scope.map_err(|error| Fault::Config(error.to_string()))?;
        let bus = bus(is_users)?;
        Ok(Self::Systemd(Manager::connect(&bus)?, scope, bus))
    }

    /// Where it will be.
    pub(super) fn group(&self, spec: &Spec, id: &str) -> Result<Group, Fault> {
        match self {
            Self::Files => bundle::group(spec, id),
            Self::Systemd(manager, scope, bus) => Ok(Group {
                parent: manager.parent(state::hierarchies()?, scope)?,
                name: scope.unit().to_owned(),
                number: None,
                unit: Some(Unit { name: scope.unit().to_owned(), bus: bus.clone() }),
                hierarchies: Vec::new(),
            }),
        }
    }

    /// Makes it. The process that keeps it is let go when the container's own is in it.
    pub(super) fn make(
        &mut self,
        group: &Group,
        spec: &Spec,
    ) -> Result<(Cgroup, Option<Keeper>), Fault> {
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        let resources = resources.unwrap_or_default();
        let limits = resources::with_room(resources::limits(&resources)?);
        let devices = devices(&resources)?;
        match self {
            Self::Files => Ok((by_files(group, &limits, &devices)?, None)),
            Self::Systemd(manager, scope, _) => {
                let properties = properties(spec)?;
                let wished = Wished { limits: &limits, devices: &devices, properties: &properties };
                let made = manager.create(state::hierarchies()?, scope, wished)?;
                Ok((made.0, Some(made.1)))
            }
        }
    }
}

/// Which devices it may use. The root of an ordinary user's namespace loads no program that says so: what keeps a
/// container there, as with runc and crun, are the user's own rights on the devices, and nobody makes new nodes.
fn devices(resources: &LinuxResources) -> Result<DeviceRules, Fault> {
    let is_users = sys::rootless::is_nested() && sys::userns::owner() != Some(0);
    if is_users {
        return Ok(DeviceRules::unrestricted());
    }
    Ok(resources::devices_with_defaults(resources)?)
}

/// Takes the room back, once the container's own process is the only one in there.
pub(super) fn settle(cgroup: &Cgroup, group: &Group, spec: &Spec) -> Result<(), Fault> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let limits = resources.map(resources::limits).transpose()?;
    match limits.and_then(|limits| resources::without_room(&limits)) {
        None => Ok(()),
        Some(limits) => update(cgroup, group, &limits),
    }
}

/// What the specification's annotations wish of the unit.
fn properties(spec: &Spec) -> Result<Vec<Wish>, Fault> {
    let annotations = spec.annotations().iter().flatten();
    let wishes = annotations.map(|(name, value)| Wish::parse(name, value));
    let wishes = wishes.filter_map(Result::transpose).collect::<Result<_, _>>();
    wishes.map_err(|error| Fault::Config(error.to_string()))
}

fn by_files(group: &Group, limits: &Limits, devices: &DeviceRules) -> Result<Cgroup, Fault> {
    let hierarchies = state::hierarchies()?;
    let Group { parent, name, .. } = group;
    let create = || Cgroup::create(hierarchies, parent, name, limits, devices);
    match create() {
        // Engines make it beforehand, and a container whose start was killed leaves one.
        Err(CgroupError::Exists(_)) => {
            let there = Cgroup::open(hierarchies, parent, name)?;
            refuse_used(&there)?;
            there.remove()?;
            Ok(create()?)
        }
        made => Ok(made?),
    }
}

/// One that somebody is in is not the container's alone, and one that somebody has frozen would never start it. In
/// runc's words.
fn refuse_used(there: &Cgroup) -> Result<(), Fault> {
    match there.pids()?.len() {
        0 if is_frozen(there)? => Err(Fault::config("container's cgroup unexpectedly frozen")),
        0 => Ok(()),
        count => {
            let text = format!("container's cgroup is not empty: {count} process(es) found");
            Err(Fault::Config(text))
        }
    }
}

/// One that somebody has made in other hierarchies alone is not.
fn is_frozen(there: &Cgroup) -> Result<bool, CgroupError> {
    match there.is_frozen() {
        Err(CgroupError::Read { source: Errno::NOENT, .. }) => Ok(false),
        frozen => frozen,
    }
}

/// Kills whoever is in it and removes it.
pub(super) fn end(cgroup: &Cgroup, group: &Group) -> Result<(), Fault> {
    cgroup.kill()?;
    if let Some(unit) = &group.unit {
        Manager::connect(&unit.bus)?.end(&unit.name)?;
    }
    // It knows nothing of some hierarchies of version 1.
    Ok(cgroup.remove()?)
}

/// Changes limits, of which systemd is told so that it does not undo them.
pub(super) fn update(cgroup: &Cgroup, group: &Group, limits: &Limits) -> Result<(), Fault> {
    match &group.unit {
        None => Ok(cgroup.update(limits).map(drop)?),
        Some(unit) => {
            let mut manager = Manager::connect(&unit.bus)?;
            Ok(manager.update(cgroup, &unit.name, limits).map(drop)?)
        }
    }
}

/// Whether a user's own systemd is meant. Root in a user namespace is nobody to the host's.
fn is_users() -> Result<bool, Fault> {
    if !rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    let map = std::fs::read_to_string("/proc/self/uid_map");
    let map = map.map_err(Fault::file("read", "/proc/self/uid_map"))?;
    let all = ["0", "0", "4294967295"];
    Ok(!map.split_whitespace().eq(all))
}

/// The socket of its bus, as D-Bus's variables say it.
fn bus(is_users: bool) -> Result<PathBuf, Fault> {
    let (variable, usual) = if is_users {
        let directory = var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        ("DBUS_SESSION_BUS_ADDRESS", directory.map(|directory| directory.join("bus")))
    } else {
        ("DBUS_SYSTEM_BUS_ADDRESS", Some(cgroup::host_socket().to_owned()))
    };
    match var_os(variable).filter(|address| !address.is_empty()) {
        Some(address) => {
            let address = address.to_string_lossy();
            cgroup::bus_socket(&address).ok_or_else(|| {
                Fault::Config(format!("{variable}={address} names no socket by its path"))
            })
        }
        None => usual.ok_or_else(|| {
            Fault::config("XDG_RUNTIME_DIR is not set: there is no systemd of this user's to ask")
        }),
    }
}
