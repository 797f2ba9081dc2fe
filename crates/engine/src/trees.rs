//! The detached trees of a container's binds, and whose ids each of them shows.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::container::InitProcess;
use model::mount::{Ids, MountSource};
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{AtFlags, StatxFlags};
use shim::protocol::FdRole;
use sys::Errno;
use sys::mount::Depth;

use crate::EngineError;
use crate::bundle::{self, Attached, AttachedMount};
use crate::container_files::mount_id;
use crate::idmap::Shown;
use crate::record::{Mounted, NamedMount, Record};

/// This program, which is the init of containers that ask for one.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Where dhow's own init comes from in a container that asked for one.
pub(crate) fn init_source(init: InitProcess) -> Option<&'static str> {
    match init {
        InitProcess::Command => None,
        InitProcess::Reaper => Some(OWN_PROGRAM),
    }
}

/// What is mounted as it is on the host, also where there is a user namespace: the user's binds that
/// do not ask for the container's ids, and what devices bring along. Its root has no more rights over
/// the host's files than anybody. Our own init can be executed whoever it belongs to.
pub(crate) fn with_host_ids(attached: &Attached) -> HashSet<&Path> {
    let users = attached
        .mounts
        .iter()
        .filter(|mount| has_host_ids(mount))
        .map(|mount| mount.wish.target.as_path());
    let devices = attached.more_mounts.iter().map(|mount| mount.destination().as_path());
    users.chain(devices).chain([Path::new(bundle::INIT_PATH)]).collect()
}

/// Whether that is so of one of the user's. An image's tree has the container's ids already: its layers
/// have.
pub(crate) fn has_host_ids(mount: &AttachedMount) -> bool {
    let source = &mount.wish.source;
    matches!(source, MountSource::Bind { ids: Ids::Host, .. } | MountSource::Image { .. })
}

/// The detached sources of all binds of a specification; that of shared memory may be there.
pub(crate) fn trees<'a>(
    spec: &Spec,
    mut shm: Option<OwnedFd>,
    mut ready: Vec<(PathBuf, OwnedFd)>,
    shown: impl Fn(&Path) -> Option<Shown<'a>>,
) -> Result<Vec<(FdRole, OwnedFd)>, EngineError> {
    let mut trees = Vec::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        if mount.typ().as_deref() != Some("bind") {
            continue;
        }
        if mount.destination() == Path::new(bundle::SHM)
            && let Some(shm) = shm.take()
        {
            trees.push((FdRole::Tree(index), shm));
            continue;
        }
        let at = ready.iter().position(|(target, _)| target == mount.destination());
        let ready = at.map(|at| ready.swap_remove(at).1);
        trees.push((FdRole::Tree(index), tree(mount, ready, shown(mount.destination()))?));
    }
    Ok(trees)
}

/// The detached source of a bind, with the ids of `shown` if there is one.
pub(crate) fn tree(
    mount: &Mount,
    ready: Option<OwnedFd>,
    shown: Option<Shown<'_>>,
) -> Result<OwnedFd, EngineError> {
    let source = mount.source().clone().unwrap_or_default();
    let is_recursive = mount.options().iter().flatten().any(|option| option == "rbind");
    let depth = if is_recursive { Depth::Recursive } else { Depth::Single };
    let tree = match ready {
        Some(tree) => tree,
        None if source == Path::new(OWN_PROGRAM) => {
            sys::exe::tree().map_err(|errno| EngineError::file("bind", &source)(errno.into()))?
        }
        None => sys::mount::clone_tree(source.as_path(), depth)
            .map_err(|errno| EngineError::file("bind", &source)(errno.into()))?,
    };
    shown.map_or(Ok(()), |shown| shown.show(&tree, depth, &source))?;
    Ok(tree)
}

/// By what the kernel will know the user's mounts: a detached tree keeps its number where it goes.
pub(crate) fn mounted(
    record: &Record,
    spec: &Spec,
    fds: &[(FdRole, OwnedFd)],
) -> Result<Vec<Mounted>, EngineError> {
    let mut all = Vec::new();
    for (role, tree) in fds {
        let FdRole::Tree(index) = role else { continue };
        let target = spec.mounts().iter().flatten().nth(*index).map(Mount::destination);
        let is_users =
            |target: &&PathBuf| record.mounts.iter().any(|it| it.mount.target == **target);
        let Some(target) = target.filter(is_users) else { continue };
        let noted = note(target, tree)
            .map_err(|errno| EngineError::file("look at the mount for", target)(errno.into()))?;
        all.push(noted);
    }
    Ok(all)
}

/// Where the init will make a tmpfs that the user wished.
pub(crate) fn unseen(record: &Record) -> Vec<PathBuf> {
    let is_tmpfs = |it: &&NamedMount| matches!(it.mount.source, MountSource::Tmpfs { .. });
    record.mounts.iter().filter(is_tmpfs).map(|it| it.mount.target.clone()).collect()
}

/// By what the kernel knows the mount that something is in.
///
/// # Errors
/// What `statx(2)` gives.
pub(crate) fn note(target: &Path, at: impl AsFd) -> Result<Mounted, Errno> {
    // STATX_MNT_ID_UNIQUE, in place of the number that is used again.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let at = at.as_fd();
    let stat = rustix::fs::statx(at, c"", AtFlags::EMPTY_PATH, UNIQUE | StatxFlags::INO)?;
    let unique = (stat.stx_mask & UNIQUE.bits() != 0).then_some(stat.stx_mnt_id);
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let root = unique.is_none().then_some((device, stat.stx_ino));
    Ok(Mounted { target: target.to_owned(), id: mount_id(at)?, unique, root })
}
