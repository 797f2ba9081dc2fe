//! Looks whether a container that criu has made is the one that its specification describes, before
//! any of it runs.
//!
//! criu makes credentials, filters, namespaces and attributes of mounts as they were written down, maybe of a
//! container that was allowed more. What is there may be less than the specification allows (a
//! process gives up what it does not need), never more.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::process::Pid;
use sys::Errno;
use sys::mount::MountAttrFlags;
use sys::root::{Final, Root};

use super::homes::{Homes, process};
use super::mounts::{self, Brought, Mounter};
use crate::plan::InitPlan;
use crate::step::{Gid, Identity, Place, Step, Symlinks, Uid};

/// `CAP_SETGID` and `CAP_SETUID` of linux/capability.h.
const SETGID: u32 = 6;
const SETUID: u32 = 7;
/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u32 = 21;

/// `TMPFS_MAGIC` of linux/magic.h: what masks.
const TMPFS: u64 = 0x0102_1994;

/// What a process may have, by the plan of its container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    capabilities: u64,
    is_filtered: bool,
    gains_nothing: bool,
    /// As whom the container's command is started.
    identity: Identity,
    /// What security modules call its processes, and the file that says so.
    labels: Vec<(&'static str, CString)>,
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
            identity: identity(plan),
            labels: plan.steps.iter().filter_map(label).collect(),
        }
    }

    /// Who of its processes may have mounted something.
    fn mounter(&self) -> Mounter {
        let may = self.capabilities & (1 << SYS_ADMIN) != 0;
        if may { Mounter::Anybody } else { Mounter::Nobody }
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
        if self.gains_nothing && !gains_nothing {
            return Some("no no_new_privs".to_owned());
        }
        self.foreign_ids(status)
    }

    /// Who it is and may not be. A program of its image that changes who it is (setuid) takes no capability
    /// for that, so where nothing forbids those it may be anybody. Else only who began as root, and has what
    /// it takes, may have become another.
    fn foreign_ids(&self, status: &str) -> Option<String> {
        let Identity { uid, gid, groups } = &self.identity;
        let may_change = |capability: u32| {
            let has = self.capabilities & (1 << capability) != 0;
            !self.gains_nothing || (has && uid.is_root())
        };
        // What cannot be read is anybody.
        let ids = |name| -> Vec<u32> {
            let ids = field(status, name).split_whitespace();
            ids.map(|id| id.parse().unwrap_or(u32::MAX)).collect()
        };
        let (uids, gids) = (ids("Uid"), ids("Gid"));
        let is_whole = uids.len() == 4 && gids.len() == 4;
        if !is_whole || (!may_change(SETUID) && uids.iter().any(|id| *id != uid.as_raw())) {
            return Some(format!("user {uids:?}, where {} is allowed", uid.as_raw()));
        }
        let known =
            |id: &u32| *id == gid.as_raw() || groups.iter().flatten().any(|g| g.as_raw() == *id);
        let all = gids.iter().copied().chain(ids("Groups"));
        let foreign = all.into_iter().find(|id| !known(id));
        foreign.filter(|_| !may_change(SETGID)).map(|id| format!("group {id}"))
    }

    /// What is wrong with the first process: the container's command, which was started as somebody, and
    /// is still known as that by its real ids.
    fn foreign_first(&self, status: &str) -> Option<String> {
        let Identity { uid, gid, .. } = &self.identity;
        if uid.is_root() {
            return None;
        }
        let real =
            |name| field(status, name).split_whitespace().next().and_then(|id| id.parse().ok());
        let wrong = |name, wanted: u32| {
            let found: Option<u32> = real(name);
            let found = found.unwrap_or(u32::MAX);
            (found != wanted).then(|| format!("{name} {found}, where {wanted} is started"))
        };
        wrong("Uid", uid.as_raw()).or_else(|| wrong("Gid", gid.as_raw()))
    }

    /// A label that is not the one that a start gives.
    fn foreign_label(&self, process: &Path) -> Option<String> {
        self.labels.iter().find_map(|(file, wanted)| {
            let found = fs::read(process.join(file)).unwrap_or_default();
            let found = found.trim_ascii_end();
            let found = found.strip_suffix(b"\0").unwrap_or(found);
            // AppArmor says behind the name how it is applied.
            let is_it = found == wanted.to_bytes()
                || found
                    .strip_prefix(wanted.to_bytes())
                    .is_some_and(|mode| mode.starts_with(b" ("));
            let found = String::from_utf8_lossy(found);
            (!is_it).then(|| format!("the label {found:?} instead of {wanted:?}"))
        })
    }
}

/// Without a word about it, root.
fn identity(plan: &InitPlan) -> Identity {
    let find = |step: &Step| {
        if let Step::Become(identity) = step { Some(identity.clone()) } else { None }
    };
    let root = Identity { uid: Uid::ROOT, gid: Gid::ROOT, groups: None };
    plan.steps.iter().find_map(find).unwrap_or(root)
}

fn label(step: &Step) -> Option<(&'static str, CString)> {
    if let Step::SeLinux(label) = step {
        Some(("attr/current", label.clone()))
    } else if let Step::AppArmor(profile) = step {
        // It is told with the word for when it counts, and shown without.
        let profile = profile.to_bytes();
        let name = profile.strip_prefix(b"exec ").unwrap_or(profile);
        CString::new(name).ok().map(|name| ("attr/apparmor/current", name))
    } else {
        None
    }
}

/// Looks at all processes of a container, and at its mounts. An answer is what is wrong.
pub(super) fn verify(
    first: Pid,
    plan: &InitPlan,
    bounds: &Bounds,
    homes: &Homes,
    brought: &Brought,
) -> Result<(), String> {
    let proc = process(first);
    homes.check_first(&proc)?;
    let mut seen = BTreeSet::new();
    let failed = |error: io::Error| format!("its processes cannot be looked at: {error}");
    let status = fs::read_to_string(proc.join("status")).map_err(failed)?;
    let foreign = bounds.foreign_first(&status);
    foreign.map_or(Ok(()), |it| Err(format!("the first process of the checkpoint has {it}")))?;
    let mut processes = vec![proc];
    while let Some(process) = processes.pop() {
        for thread in fs::read_dir(process.join("task")).map_err(failed)? {
            let thread = thread.map_err(failed)?.path();
            let status = fs::read_to_string(thread.join("status")).map_err(failed)?;
            if !has_ended(&status) {
                let excess = bounds
                    .excess(&status)
                    .or_else(|| bounds.foreign_label(&thread))
                    .map(|it| format!("a process of the checkpoint has {it}"));
                excess.map_or(Ok(()), Err)?;
                homes.check(&thread)?;
                check_mounts(&thread.join("ns/mnt"), &mut seen, (plan, brought), bounds)?;
            }
            let children = fs::read_to_string(thread.join("children")).map_err(failed)?;
            processes.extend(children.split_whitespace().map(|pid| Path::new("/proc").join(pid)));
        }
    }
    Ok(())
}

/// Looks at a mount namespace, once.
fn check_mounts(
    namespace: &Path,
    seen: &mut BTreeSet<u64>,
    (plan, brought): (&InitPlan, &Brought),
    bounds: &Bounds,
) -> Result<(), String> {
    let unseen = |error: io::Error| format!("its mounts cannot be looked at: {error}");
    if !seen.insert(fs::metadata(namespace).map_err(unseen)?.ino()) {
        return Ok(());
    }
    let root = mounts::check(namespace, plan, brought, bounds.mounter())?;
    // Who may mount may have made others, with fewer masks.
    let is_like_first = seen.len() == 1 || bounds.mounter() == Mounter::Nobody;
    let mut steps = plan.steps.iter().filter(|_| is_like_first);
    steps.try_for_each(|step| check_mount(&root, step))
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

    const IDENTITY: Identity = Identity { uid: Uid::ROOT, gid: Gid::ROOT, groups: None };
    const BOUNDS: Bounds = Bounds {
        capabilities: 0b1011,
        is_filtered: true,
        gains_nothing: true,
        identity: IDENTITY,
        labels: Vec::new(),
    };

    fn status(bounding: &str, seccomp: u8, gains_nothing: u8) -> String {
        format!(
            "Name:\tsh\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000001\n\
             CapBnd:\t{bounding}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{gains_nothing}\n\
             Seccomp:\t{seccomp}\nSeccomp_filters:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n\
             Groups:\t\n"
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

    fn ids(uid: [u32; 4], gid: [u32; 4], groups: &[u32]) -> String {
        let row = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join("\t");
        format!("Uid:\t{}\nGid:\t{}\nGroups:\t{}\n", row(&uid), row(&gid), row(groups))
    }

    #[test]
    fn who_it_is_has_to_be_somebody_that_it_could_have_become() {
        let user = Identity {
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            groups: Some(vec![Gid::from_raw(50)]),
        };
        let changes = (1 << SETUID) | (1 << SETGID);
        let bounds = |capabilities, gains_nothing, identity: &Identity| Bounds {
            capabilities,
            gains_nothing,
            identity: identity.clone(),
            ..BOUNDS
        };
        let own = ids([1000; 4], [1000; 4], &[50, 1000]);
        let root = ids([0; 4], [0; 4], &[0]);
        let sudo = ids([1000, 0, 0, 0], [1000; 4], &[50]);
        let more = ids([1000; 4], [1000; 4], &[50, 998]);
        let locked = bounds(changes, true, &user);
        assert_eq!(locked.foreign_ids(&own), None);
        for other in [&root, &sudo, &more] {
            assert!(locked.foreign_ids(other).is_some(), "{other}");
        }
        // Programs of its image may have made it another, but not its first process' real self.
        let free = bounds(changes, false, &user);
        assert_eq!([&own, &root, &sudo, &more].map(|it| free.foreign_ids(it)), [const { None }; 4]);
        assert_eq!(free.foreign_first(&sudo), None);
        assert!(free.foreign_first(&root).is_some());
        // Who began as root may be anybody, with what that takes.
        assert_eq!(bounds(changes, true, &IDENTITY).foreign_ids(&own), None);
        assert_eq!(bounds(changes, true, &IDENTITY).foreign_first(&own), None);
        assert!(bounds(0, true, &IDENTITY).foreign_ids(&own).is_some());
        // Programs that change who they are need no capability.
        assert_eq!(bounds(0, false, &user).foreign_ids(&sudo), None);
        assert_eq!(bounds(0, false, &IDENTITY).foreign_ids(&own), None);
        assert!(locked.foreign_ids("").is_some(), "what is not told is not believed");
    }

    #[test]
    fn a_label_of_the_plan_is_what_the_kernel_shows_of_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("attr/apparmor")).unwrap();
        let plan = crate::plan::tests::confined("strict");
        let check = |found: &str| {
            fs::write(dir.path().join("attr/apparmor/current"), found).unwrap();
            Bounds::of(&plan, 40).foreign_label(dir.path())
        };
        assert_eq!(check("strict (enforce)\n"), None);
        for other in ["unconfined\n", "stricter (enforce)\n", "exec strict\n", ""] {
            assert!(check(other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_label_is_the_one_of_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let label = "system_u:system_r:container_t:s0:c1,c2";
        let labels = vec![("current", CString::new(label).unwrap())];
        let bounds = Bounds { labels, ..BOUNDS };
        let check = |found: &str| {
            fs::write(dir.path().join("current"), found).unwrap();
            bounds.foreign_label(dir.path()).is_none()
        };
        assert!(
            check(label) && check(&format!("{label}\0")) && check(&format!("{label} (enforce)\n"))
        );
        assert!(!check("system_u:system_r:spc_t:s0") && !check(&format!("{label}3")) && !check(""));
    }
}
