//! Making a cgroup: its directories, its controllers, its limits and its device rules.
//!
//! A cgroup that cannot be made in full is not made at all.

use rustix::fs::{Mode, mkdirat};
use std::os::fd::BorrowedFd;
use std::path::Path;

use sys::Errno;

use crate::detect::{Controller, Hierarchies, Legacy, Unified, Version};
use crate::devices::{self, DeviceRules};
use crate::error::CgroupError;
use crate::group::{Cgroup, roots};
use crate::limits::Limits;
use crate::plan::{self, Current, Homes, LimitError};
use crate::realtime::{self, Lent};
use crate::{file, name, tree};

/// What every cgroup on v2 should have, for limits that come later and for statistics.
const CORE: [Controller; 4] =
    [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Io];

/// Where the processes of a container go whose engine needs their cgroup for its own.
const TENANTS: &str = "init";

/// A parent that another process removes, being empty, at the moment when it is needed is made again
/// this many times.
const ATTEMPTS: usize = 8;

impl Cgroup {
    /// Makes `<parent>/<name>` in every hierarchy, and the parents that are missing.
    ///
    /// The processes that will be in it enter by [`Cgroup::clone_into`] and [`Cgroup::entry`], or by
    /// [`Cgroup::add`]. A cgroup namespace has its root where a process is when it unshares it: enter
    /// first.
    pub fn create(
        hierarchies: &Hierarchies,
        parent: &str,
        name: &str,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Self, CgroupError> {
        let (mut cgroup, parent) = Self::named(hierarchies, parent, name)?;
        cgroup.make_directories(parent)?;
        // The first failure is the one to tell; nobody is in the cgroup who could keep it.
        let made = cgroup.furnish(parent, limits, devices);
        made.inspect_err(|_| drop(cgroup.remove()))?;
        Ok(cgroup)
    }

    /// Takes up a cgroup that somebody else has just made, in the hierarchies that he cares for, and makes
    /// what of it is missing in the others.
    ///
    /// What fails leaves it as far as it has come: who has made it takes it away.
    pub(crate) fn adopt(
        hierarchies: &Hierarchies,
        parent: &str,
        name: &str,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Self, CgroupError> {
        let (mut cgroup, parent) = Self::named(hierarchies, parent, name)?;
        for (root, mount) in roots(hierarchies) {
            match make(root, mount, parent, &cgroup.path) {
                Ok(()) | Err(CgroupError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        cgroup.furnish(parent, limits, devices)?;
        Ok(cgroup)
    }

    /// One that is not made yet, and its parent without a leading slash.
    fn named<'a>(
        hierarchies: &Hierarchies,
        parent: &'a str,
        name: &str,
    ) -> Result<(Self, &'a str), CgroupError> {
        let path = name::join(parent, name)?;
        let cgroup = Self { hierarchies: hierarchies.clone(), path, unified: None };
        Ok((cgroup, name::parent(parent)?))
    }

    /// Gives one whose directories are there all that it is to have.
    fn furnish(
        &mut self,
        parent: &str,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<(), CgroupError> {
        let mut lent = Lent::default();
        let made = self
            .open_made()
            .and_then(|()| self.limit(parent, limits, &mut lent))
            .and_then(|()| self.restrict_devices(devices));
        if made.is_err() {
            realtime::give_up(&self.hierarchies, &self.path, lent);
        }
        made
    }

    fn make_directories(&self, parent: &str) -> Result<(), CgroupError> {
        let mut made: Vec<BorrowedFd<'_>> = Vec::new();
        for (root, mount) in roots(&self.hierarchies) {
            match make(root, mount, parent, &self.path) {
                Ok(()) => made.push(root),
                Err(error) => {
                    self.unmake(&made);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes back what was just made, and only that: what was there before stays.
    fn unmake(&self, made: &[BorrowedFd<'_>]) {
        for root in made {
            let _ = tree::remove(*root, &self.path, tree::Reach::Whole);
        }
    }

    fn open_made(&mut self) -> Result<(), CgroupError> {
        if let Some(legacy) = self.hierarchies.legacy_of(Controller::Cpuset) {
            fill_cpuset(legacy, &self.path)?;
        }
        self.unified = match self.hierarchies.unified() {
            Some(unified) => self.open_unified(unified)?,
            None => None,
        };
        Ok(())
    }

    fn limit(&self, parent: &str, limits: &Limits, lent: &mut Lent) -> Result<(), CgroupError> {
        let _turn = realtime::lend(&self.hierarchies, &self.path, &limits.cpu, lent)?;
        let mut homes = self.homes()?;
        let mut writes = plan::writes(limits, &homes, &Current::NEW);
        if let Some(unified) = self.hierarchies.unified() {
            let lacks = matches!(writes, Err(LimitError::NoController { .. })) || !has_core(&homes);
            if lacks {
                enable_controllers(unified, parent, &homes)?;
                homes = self.homes()?;
                writes = plan::writes(limits, &homes, &Current::NEW);
            }
        }
        self.apply(&writes?)
    }

    fn restrict_devices(&self, rules: &DeviceRules) -> Result<(), CgroupError> {
        if rules.is_unrestricted() {
            return Ok(());
        }
        if let Some(legacy) = self.hierarchies.legacy_of(Controller::Devices) {
            return self.write_device_lists(legacy, rules);
        }
        let Some(cgroup) = self.clone_into() else { return Err(CgroupError::NoDeviceController) };
        let Some(program) = devices::program(rules) else { return Ok(()) };
        sys::bpf::load_device_program(&program)
            .and_then(|program| sys::bpf::attach_device_program(cgroup, program))
            .map_err(|source| CgroupError::AttachDevices { path: self.place(), source })
    }

    fn write_device_lists(&self, legacy: &Legacy, rules: &DeviceRules) -> Result<(), CgroupError> {
        let writes = devices::v1_writes(rules)?;
        for group in writes.chunk_by(|(one, _), (next, _)| one == next) {
            let Some((name, _)) = group.first() else { continue };
            let values = group.iter().map(|(_, value)| value.as_str());
            let path = format!("{}/{name}", self.path);
            file::write_each(legacy.root(), &path, values).map_err(|(value, source)| {
                let path = self.file_path(Version::V1, Some(Controller::Devices), name);
                CgroupError::Write { value: value.to_owned(), path, source }
            })?;
        }
        Ok(())
    }
}

fn has_core(homes: &Homes) -> bool {
    CORE.iter().all(|controller| homes.v1.contains(controller) || homes.v2.contains(controller))
}

/// One directory, with its parents where they are missing.
fn make(root: BorrowedFd<'_>, mount: &Path, parent: &str, path: &str) -> Result<(), CgroupError> {
    let mode = Mode::from_raw_mode(0o755);
    let failed = |path: &str, source| CgroupError::Create { path: mount.join(path), source };
    for _ in 0..ATTEMPTS {
        match mkdirat(root, path, mode) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(CgroupError::Exists(mount.join(path))),
            Err(Errno::NOENT) => {}
            Err(source) => return Err(failed(path, source)),
        }
        for above in prefixes(parent) {
            match mkdirat(root, above, mode) {
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(source) => return Err(failed(above, source)),
            }
        }
    }
    Err(failed(path, Errno::NOENT))
}

/// `a`, `a/b` and `a/b/c` of `a/b/c`.
pub(crate) fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.chain((!path.is_empty()).then_some(path.len())).map(|end| &path[..end])
}

/// Gives a new v1 cpuset what its parent has: until it has processors and memory nodes, nobody can
/// enter it. The parent is told to do the same for its children from then on, so that this happens
/// once.
fn fill_cpuset(legacy: &Legacy, path: &str) -> Result<(), CgroupError> {
    const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
    let read = |file: &str| {
        file::read(legacy.root(), file)
            .map_err(|source| CgroupError::Read { path: legacy.mount.join(file), source })
    };
    let write = |file: &str, value: &str| {
        file::write(legacy.root(), file, value).map_err(|source| CgroupError::Write {
            value: value.to_owned(),
            path: legacy.mount.join(file),
            source,
        })
    };
    let mut was_empty = false;
    for file in FILES {
        if !read(&format!("{path}/{file}"))?.trim().is_empty() {
            continue;
        }
        was_empty = true;
        let mut inherited = read(file)?;
        for level in prefixes(path) {
            let level = format!("{level}/{file}");
            let own = read(&level)?;
            if own.trim().is_empty() {
                write(&level, inherited.trim())?;
            } else {
                inherited = own;
            }
        }
    }
    match path.rsplit_once('/') {
        // Last of all, so that a child which others make meanwhile inherits all or nothing.
        Some((parent, _)) if was_empty => write(&format!("{parent}/cgroup.clone_children"), "1"),
        _ => Ok(()),
    }
}

/// Hands the controllers that v2 has down to the children of `parent`. One that cannot be handed down
/// is missed when a limit needs it.
fn enable_controllers(unified: &Unified, parent: &str, homes: &Homes) -> Result<(), CgroupError> {
    for level in std::iter::once("").chain(prefixes(parent)) {
        let file =
            |name| if level.is_empty() { String::from(name) } else { format!("{level}/{name}") };
        let read = |name| {
            let path = file(name);
            file::read(unified.root(), &path)
                .map_err(|source| CgroupError::Read { path: unified.mount.join(path), source })
        };
        let available = read("cgroup.controllers")?;
        let enabled = read("cgroup.subtree_control")?;
        let missing: Vec<String> = missing_controllers(&available, &enabled, homes);
        if missing.is_empty() {
            continue;
        }
        let control = file("cgroup.subtree_control");
        let enable = || file::write(unified.root(), &control, &missing.join(" "));
        let enabled = match enable() {
            // In a container: only the host's own root may have processes beside groups with controllers.
            Err(Errno::BUSY) if level.is_empty() => vacate(unified).and_then(|()| enable()),
            enabled => enabled,
        };
        // The kernel takes all or none of a line.
        if enabled.is_err() {
            for one in &missing {
                let _ = file::write(unified.root(), &control, one);
            }
        }
    }
    Ok(())
}

/// Moves the processes of the topmost cgroup into one below it, where Docker's own image for engines in
/// containers has them too. They may start others meanwhile.
fn vacate(unified: &Unified) -> Result<(), Errno> {
    let root = unified.root();
    match mkdirat(root, TENANTS, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let into = format!("{TENANTS}/cgroup.procs");
    for _ in 0..ATTEMPTS {
        let procs = file::read(root, "cgroup.procs")?;
        if procs.trim().is_empty() {
            return Ok(());
        }
        // One that has ended meanwhile need not be moved.
        for pid in procs.lines() {
            let _ = file::write(root, &into, pid);
        }
    }
    Err(Errno::BUSY)
}

fn missing_controllers(available: &str, enabled: &str, homes: &Homes) -> Vec<String> {
    let is_enabled = |name: &str| enabled.split_whitespace().any(|other| other == name);
    let wanted = |name: &str| {
        Controller::from_name(name, Version::V2)
            .is_some_and(|controller| !homes.v1.contains(&controller))
    };
    available
        .split_whitespace()
        .filter(|name| wanted(name) && !is_enabled(name))
        .map(|name| format!("+{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_grow_by_one_component() {
        assert_eq!(prefixes("").count(), 0);
        assert_eq!(prefixes("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn only_known_controllers_that_are_not_yet_enabled_are_handed_down() {
        let homes = Homes { v1: vec![Controller::Memory], v2: vec![] };
        let missing = missing_controllers("cpuset cpu io memory pids dmem", "cpu", &homes);
        assert_eq!(missing, ["+cpuset", "+io", "+pids"]);
    }
}
