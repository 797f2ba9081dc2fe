//! Looks whether a container that criu has made is the one that its specification describes, before
//! any of it runs.
//!
//! criu makes credentials, filters, namespaces and attributes of mounts as they were written down, maybe of a
//! container that was allowed more. What is there may be less than the specification allows (a
//! process gives up what it does not need), never more.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::process::Pid;
use sys::Errno;
use sys::mount::MountAttrFlags;
use sys::root::{Final, Root};

use super::homes::{Homes, process};
use crate::plan::InitPlan;
use crate::step::{Place, Step, Symlinks};

/// `TMPFS_MAGIC` of linux/magic.h: what masks.
const TMPFS: u64 = 0x0102_1994;

/// What a process may have, by the plan of its container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    capabilities: u64,
    is_filtered: bool,
    gains_nothing: bool,
}

impl Bounds {
    /// `last` is the kernel's highest capability.
    pub(super) fn of(plan: &InitPlan, last: u8) -> Self {
        let all = u64::MAX >> (63 - u32::from(last.min(63)));
        let dropped = plan
            .steps
            .iter()
            .find_map(|step| if let Step::DropBounding(mask) = step { Some(*mask) } else { None });
        Self {
            capabilities: all & !dropped.unwrap_or_default(),
            is_filtered: plan.steps.contains(&Step::LoadFilter),
            gains_nothing: plan.steps.contains(&Step::NoNewPrivileges),
        }
    }

    /// What a thread has too much, by its `status`.
    fn excess(&self, status: &str) -> Option<String> {
        let field = |name| field(status, name);
        for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
            // What cannot be read is everything.
            let held = u64::from_str_radix(field(set), 16).unwrap_or(u64::MAX);
            if held & !self.capabilities != 0 {
                return Some(format!("{set} {held:x}"));
            }
        }
        let has_filter = field("Seccomp") == "2";
        if self.is_filtered && !has_filter {
            return Some("no filter of system calls".to_owned());
        }
        let gains_nothing = field("NoNewPrivs") == "1";
        (self.gains_nothing && !gains_nothing).then(|| "no no_new_privs".to_owned())
    }
}

/// Looks at all processes of a container, and at its mounts. An answer is what is wrong.
pub(super) fn verify(
    first: Pid,
    plan: &InitPlan,
    bounds: &Bounds,
    homes: &Homes,
) -> Result<(), String> {
    let proc = process(first);
    homes.check_first(&proc)?;
    let root = Root::open(proc.join("root")).map_err(|error| error.to_string())?;
    for step in &plan.steps {
        check_mount(&root, step)?;
    }
    let failed = |error: io::Error| format!("its processes cannot be looked at: {error}");
    let mut processes = vec![proc];
    while let Some(process) = processes.pop() {
        for thread in fs::read_dir(process.join("task")).map_err(failed)? {
            let thread = thread.map_err(failed)?.path();
            let status = fs::read_to_string(thread.join("status")).map_err(failed)?;
            if !has_ended(&status) {
                let excess = bounds
                    .excess(&status)
                    .map(|it| format!("a process of the checkpoint has {it}"));
                excess.map_or(Ok(()), Err)?;
                homes.check(&thread)?;
            }
            let children = fs::read_to_string(thread.join("children")).map_err(failed)?;
            processes.extend(children.split_whitespace().map(|pid| Path::new("/proc").join(pid)));
        }
    }
    Ok(())
}

/// The value of a line of `status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).unwrap_or_default()
}

/// It waits for its parent: criu made it for no more than that.
fn has_ended(status: &str) -> bool {
    field(status, "State").starts_with('Z')
}

/// Whether a mount is as restricted as a start would make it.
fn check_mount(root: &Root, step: &Step) -> Result<(), String> {
    if let Step::Mount(mount) = step {
        let attributes = mount.attributes.set | mount.recursive.set;
        check_flags(root, &mount.target, flags(attributes))
    } else if let Step::ReadOnlyPath(place) = step {
        check_flags(root, place, StatVfsMountFlags::RDONLY)
    } else if let Step::MaskPath(place) = step {
        check_mask(root, place)
    } else if *step == Step::ReadOnlyRoot {
        let place = Place { path: c"/".to_owned(), symlinks: Symlinks::InRoot };
        check_flags(root, &place, StatVfsMountFlags::RDONLY)
    } else {
        Ok(())
    }
}

/// As statvfs(3) shows them.
fn flags(attributes: MountAttrFlags) -> StatVfsMountFlags {
    [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, StatVfsMountFlags::RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, StatVfsMountFlags::NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, StatVfsMountFlags::NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, StatVfsMountFlags::NOEXEC),
    ]
    .into_iter()
    .filter(|(attribute, _)| attributes.contains(*attribute))
    .fold(StatVfsMountFlags::empty(), |all, (_, flag)| all | flag)
}

fn check_flags(root: &Root, place: &Place, wanted: StatVfsMountFlags) -> Result<(), String> {
    let Some(found) = open(root, place)? else { return Ok(()) };
    let found = rustix::fs::fstatvfs(found).map_err(|errno| format!("{place}: {errno}"))?;
    if found.f_flag.contains(wanted) {
        return Ok(());
    }
    Err(format!("{place} is less restricted in the checkpoint ({wanted:?} is wanted)"))
}

fn check_mask(root: &Root, place: &Place) -> Result<(), String> {
    let Some(found) = open(root, place)? else { return Ok(()) };
    let kind = rustix::fs::fstatfs(found).map_err(|errno| format!("{place}: {errno}"))?.f_type;
    if u64::try_from(kind) != Ok(TMPFS) {
        return Err(format!("{place} is not masked in the checkpoint"));
    }
    check_flags(root, place, StatVfsMountFlags::RDONLY)
}

/// `None`: nothing is there that could be less restricted.
fn open(root: &Root, place: &Place) -> Result<Option<OwnedFd>, String> {
    match root.resolve(OsStr::from_bytes(place.path.to_bytes()), Final::Follow) {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR)) => Ok(None),
        found => found.map(Some).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { capabilities: 0b1011, is_filtered: true, gains_nothing: true };

    fn status(bounding: &str, seccomp: u8, gains_nothing: u8) -> String {
        format!(
            "Name:\tsh\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000001\n\
             CapBnd:\t{bounding}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{gains_nothing}\n\
             Seccomp:\t{seccomp}\nSeccomp_filters:\t1\n"
        )
    }

    #[test]
    fn a_process_may_have_less_and_never_more() {
        assert_eq!(BOUNDS.excess(&status("000000000000000b", 2, 1)), None);
        assert_eq!(BOUNDS.excess(&status("0000000000000001", 2, 1)), None);
        let excess = |status: &str| BOUNDS.excess(status).unwrap();
        assert_eq!(excess(&status("000001ffffffffff", 2, 1)), "CapBnd 1ffffffffff");
        assert_eq!(excess(&status("000000000000000b", 0, 1)), "no filter of system calls");
        assert_eq!(excess(&status("000000000000000b", 2, 0)), "no no_new_privs");
        let zombie = status("000001ffffffffff", 0, 0).replace("sh\n", "sh\nState:\tZ (zombie)\n");
        assert!(has_ended(&zombie) && !has_ended(&status("0", 0, 0)));
        // What is not told is not believed.
        assert_eq!(excess(""), "CapBnd ffffffffffffffff");
        let free = Bounds { is_filtered: false, gains_nothing: false, ..BOUNDS };
        assert_eq!(free.excess(&status("000000000000000b", 0, 0)), None);
    }
}
