//! Attributes of binds, as engines expect them of an OCI runtime: whoever names any attribute of a bind names all of
//! them, and a source's own stay only where nobody says anything.
//!
//! That is what runc and crun do, in whose place this runs. In a container of the engine, which knows who may ask for
//! what, a source's restrictions stay.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::StatVfsMountFlags as Found;
use sys::Errno;
use sys::mount::{Attributes, Depth, MountAttrFlags};

use super::fault::Fault;
use crate::LaunchError;
use crate::error::Reason;
use crate::plan::{self, Asked};

/// Attributes that are no mode of access times.
const PLAIN: MountAttrFlags = LOCKED.union(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW);

const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Those that the root of a user namespace may not take from a mount of the host.
const LOCKED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// All that a mode of access times is made of.
const ACCESS: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR__ATIME.union(MountAttrFlags::MOUNT_ATTR_NODIRATIME);

/// Opens the sources of binds that name attributes, and gives them those: by index of the specification's mounts,
/// which are left without them.
///
/// What is in the root only once earlier mounts are there is the plan's. With any attribute named, those that it has
/// besides stay.
pub(super) fn open(
    spec: &mut Spec,
    root: &Path,
    links: &BTreeMap<usize, CString>,
) -> Result<Vec<(usize, OwnedFd)>, Fault> {
    let holds = holds(spec);
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let inside = plan::binds_inside(mounts, Some(root)).map_err(LaunchError::from)?;
    let mut trees = Vec::new();
    for (index, mount) in spec.mounts_mut().iter_mut().flatten().enumerate() {
        if inside.contains_key(&index) || links.contains_key(&index) {
            continue;
        }
        let Some((asked, depth)) = wished(mount) else { continue };
        let Some(source) = mount.source().clone() else { continue };
        let tree =
            sys::mount::clone_tree(&source, depth).map_err(|errno| failed(mount, errno, ""))?;
        let found = rustix::fs::fstatvfs(&tree).map_err(|errno| failed(mount, errno, ""))?;
        let mut found = attributes(found.f_flag);
        let is_in_the_way = (asked.lifted & found).contains(READ_ONLY);
        if holds == Holds::Locked && is_in_the_way && is_the_file_systems(&source) {
            found -= READ_ONLY;
        }
        let settled = settled(asked, found, holds).map_err(|held| {
            failed(mount, Errno::PERM, &format!("in a user namespace it stays {}", named(held)))
        })?;
        sys::mount::set_attr(&tree, Depth::Single, &settled)
            .map_err(|errno| failed(mount, errno, ""))?;
        let words = mount.options().iter().flatten().filter(|word| !plan::is_attribute(word));
        let words = words.cloned().collect();
        mount.set_options(Some(words));
        trees.push((index, tree));
    }
    Ok(trees)
}

/// Sources that are links where a link was asked for instead of what it leads to (`copy-symlink`, as with crun): where
/// they lead, by index of the specification's mounts.
pub(super) fn links(spec: &Spec) -> Result<BTreeMap<usize, CString>, Fault> {
    let mut links = BTreeMap::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let words = mount.options().as_deref().unwrap_or_default();
        if !words.iter().any(|word| word == plan::COPY_LINK) {
            continue;
        }
        let Some(source) = mount.source() else { continue };
        match rustix::fs::readlink(source, Vec::new()) {
            Ok(target) => drop(links.insert(index, target)),
            // It is no link: a bind as any other.
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(failed(mount, errno, "")),
        }
    }
    Ok(links)
}

/// In a user namespace, the container's or the one that this process is in itself, the kernel locks what its mounts
/// have from outside, whoever its root is.
fn holds(spec: &Spec) -> Holds {
    let linux = spec.linux().as_ref();
    let maps = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    if maps.is_empty() && !sys::rootless::is_nested() { Holds::None } else { Holds::Locked }
}

/// Whether what is read-only is the file system: a mount of it that is not is so all the same. That restricts nobody
/// who makes a mount; one that the kernel has locked cannot be tried.
fn is_the_file_systems(source: &Path) -> bool {
    let clear = Attributes { clear: READ_ONLY, ..Attributes::NONE };
    let tried = sys::mount::clone_tree(source, Depth::Single).and_then(|tree| {
        sys::mount::set_attr(&tree, Depth::Single, &clear)?;
        rustix::fs::fstatvfs(&tree)
    });
    tried.is_ok_and(|found| found.f_flag.contains(Found::RDONLY))
}

/// What a source is; access times that are relative are no flag.
fn named(held: MountAttrFlags) -> String {
    let names = crate::step::attribute_names(&Attributes { set: held, ..Attributes::NONE });
    if names.is_empty() { "relatime".to_owned() } else { names }
}

/// What a bind asks for, if it names any attribute.
fn wished(mount: &Mount) -> Option<(Asked, Depth)> {
    let words = mount.options().as_deref().unwrap_or_default();
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let is_bind = has("bind")
        || has("rbind")
        || matches!(mount.typ().as_deref(), None | Some("" | "none" | "bind"));
    if !is_bind || has("remount") || !mount.source().as_deref().is_some_and(Path::is_absolute) {
        return None;
    }
    let depth = if has("bind") && !has("rbind") { Depth::Single } else { Depth::Recursive };
    Some((plan::asked(words)?, depth))
}

fn failed(mount: &Mount, errno: Errno, detail: &str) -> Fault {
    let source = mount.source().as_deref().unwrap_or(Path::new("")).display();
    let step = format!("mount {source} on {}", mount.destination().display());
    LaunchError::Init { step, errno: Reason { errno, detail: detail.to_owned() } }.into()
}

/// What a source is.
fn attributes(found: Found) -> MountAttrFlags {
    let pairs = [
        (Found::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (Found::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (Found::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (Found::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (Found::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (Found::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ];
    let all = pairs.iter().filter(|(flag, _)| found.contains(*flag));
    let all = all.fold(MountAttrFlags::empty(), |all, (_, attribute)| all | *attribute);
    // `ST_RELATIME`, which not every C library names.
    let is_strict = !found.intersects(Found::NOATIME | Found::from_bits_retain(4096));
    if is_strict { all | MountAttrFlags::MOUNT_ATTR_STRICTATIME } else { all }
}

/// Who can take attributes from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The host's root, for a container without users of its own: all of them.
    None,
    /// The root of a user namespace, none that the kernel locks for it.
    Locked,
}

/// What is done to a source, or what of it cannot be undone.
fn settled(
    asked: Asked,
    source: MountAttrFlags,
    holds: Holds,
) -> Result<Attributes, MountAttrFlags> {
    let mut clear = PLAIN - asked.set;
    if holds == Holds::Locked {
        let held = asked.lifted & source & LOCKED;
        let access = asked.access.filter(|wanted| *wanted != source & ACCESS);
        if !held.is_empty() || access.is_some() {
            return Err(held | access.map_or(MountAttrFlags::empty(), |_| source & ACCESS));
        }
        clear -= LOCKED;
    }
    let mut set = asked.set;
    if let Some(access) = asked.access {
        set |= access;
        clear |= ACCESS - (access & MountAttrFlags::MOUNT_ATTR_NODIRATIME);
    }
    Ok(Attributes { set, clear, propagation: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::attribute_names;

    fn told(words: &str, source: &[MountAttrFlags], holds: Holds) -> String {
        let words: Vec<String> = words.split(',').map(str::to_owned).collect();
        let source = source.iter().fold(MountAttrFlags::empty(), |all, one| all | *one);
        match settled(plan::asked(&words).unwrap(), source, holds) {
            Ok(attributes) => attribute_names(&attributes),
            Err(held) => format!("held: {}", named(held)),
        }
    }

    const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
    const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
    const NOATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOATIME;

    #[test]
    fn who_names_one_attribute_names_them_all() {
        assert_eq!(told("ro,nodev", &[NOEXEC], Holds::None), "ro,nodev,-nosuid,-noexec");
        assert_eq!(told("ro", &[NOEXEC], Holds::Locked), "ro");
    }

    #[test]
    fn what_the_kernel_locks_is_not_lifted_silently() {
        assert_eq!(told("rw", &[RO], Holds::None), "-ro,-nosuid,-nodev,-noexec");
        assert_eq!(told("rw", &[RO], Holds::Locked), "held: ro");
        assert_eq!(told("rw", &[], Holds::Locked), "");
        assert_eq!(told("relatime", &[NOATIME], Holds::Locked), "held: noatime");
        assert_eq!(told("noatime", &[NOATIME], Holds::Locked), "noatime");
        assert_eq!(told("noatime", &[], Holds::Locked), "held: relatime");
    }

    #[test]
    fn access_times_change_by_a_mode_that_is_named() {
        let access = |words: &str| {
            let words: Vec<String> = words.split(',').map(str::to_owned).collect();
            let done = settled(plan::asked(&words).unwrap(), NOATIME, Holds::None).unwrap();
            (done.set & ACCESS, done.clear & ACCESS)
        };
        let none = MountAttrFlags::empty();
        let without_entries = MountAttrFlags::MOUNT_ATTR_NODIRATIME;
        assert_eq!(access("atime"), (none, none));
        assert_eq!(access("relatime"), (none, ACCESS));
        assert_eq!(access("nodiratime"), (without_entries, MountAttrFlags::MOUNT_ATTR__ATIME));
    }
}
