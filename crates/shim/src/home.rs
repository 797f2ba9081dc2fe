//! Where a shim itself is among the cgroups.
//!
//! Whoever starts it (a shell's session, a service) may be ended by its service manager with
//! everything in its cgroup, and a shim must survive that. So it is born in a cgroup of dhow's
//! own, `<parent>/shims`, in the hierarchies that service managers look at: v2, and on v1 the
//! named one. It must be born there: to move a process between cgroups of v2 costs a grace period
//! of the kernel (measured: 12 ms), to be born in one costs nothing.
//!
//! The cgroup stays when the last shim has left, as its parent does, until [`remove_home`].

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cgroup::{Cgroup, CgroupError, Hierarchies};
use rustix::fs::{CWD, Mode, OFlags};

const NAME: &str = "shims";
/// Below the runtime root: a line for each part of a hierarchy.
const PARTS: &str = "cgroups";
/// What systemd mounts its own v1 hierarchy with.
const SYSTEMD: &str = "name=systemd";

/// The cgroup of all shims of a state root, below each hierarchy's mount. `parent` is that of the
/// root's containers.
#[must_use]
pub fn home(parent: &str) -> String {
    format!("{}/{NAME}", parent.trim_start_matches('/'))
}

/// Removes the cgroup of a state root's shims, when none is left, and the parents that are empty
/// then. A shim that has given its container up may still be on its way out, and is waited for.
///
/// # Errors
/// A shim still lives there.
pub fn remove_home(hierarchies: &Hierarchies, parent: &str) -> Result<(), CgroupError> {
    match Cgroup::open(hierarchies, parent, NAME) {
        Ok(home) => home.remove()?,
        Err(CgroupError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    Cgroup::prune(hierarchies, parent)
}

/// Kills every shim of a state root that is in that cgroup, and by that their containers: for those
/// that no longer answer or that nobody finds.
///
/// # Errors
/// One cannot be killed.
pub fn end_home(hierarchies: &Hierarchies, parent: &str) -> Result<(), CgroupError> {
    match Cgroup::open(hierarchies, parent, NAME) {
        Ok(home) => home.kill(),
        Err(CgroupError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where control groups may be that an ordinary user's containers were started with: each part of the
/// hierarchy that was delegated to one who started a shim, in the order of their first use. Whoever manages
/// containers from elsewhere, from a login session say, finds them by that.
///
/// Those that are not there any more are left out: a user's service manager takes its own with it.
#[must_use]
pub fn delegated_parts(run: &Path) -> Vec<Hierarchies> {
    let text = std::fs::read(run.join(PARTS)).unwrap_or_default();
    let mut seen: Vec<&OsStr> = Vec::new();
    // No name of a cgroup has a line break in it.
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let place = OsStr::from_bytes(line);
        if !seen.contains(&place) {
            seen.push(place);
        }
    }
    seen.into_iter().filter_map(|place| Hierarchies::of_part(Path::new(place))).collect()
}

/// Removes the note of [`delegated_parts`].
///
/// # Errors
/// It cannot be removed.
pub fn forget_parts(run: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(run.join(PARTS)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Notes where the control groups will be, before there is one.
pub(crate) fn note_part(run: &Path, hierarchies: &Hierarchies) -> std::io::Result<()> {
    let Some(place) = hierarchies.part() else { return Ok(()) };
    let line = [place.as_os_str().as_bytes(), b"\n"].concat();
    let file = run.join(PARTS);
    let noted = std::fs::read(&file).unwrap_or_default();
    if noted.split_inclusive(|byte| *byte == b'\n').any(|other| other == line) {
        return Ok(());
    }
    // One write: two that come at once note it twice.
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?.write_all(&line)
}

/// The directory to be born in, where there is v2. Where it cannot be made, a shim is born where
/// its starter is: it works there as well, if not as long.
pub(crate) fn birthplace(hierarchies: &Hierarchies, parent: &str) -> Option<OwnedFd> {
    let dir = hierarchies.unified()?.mount.join(home(parent));
    std::fs::create_dir_all(&dir).ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, &dir, flags, Mode::empty()).ok()
}

/// Moves this process on v1, where a thread that moves itself waits for nobody. It has one thread.
pub(crate) fn settle(hierarchies: &Hierarchies, parent: &str) {
    let named = hierarchies.legacy().iter().find(|legacy| legacy.options.contains(SYSTEMD));
    if let Some(named) = named {
        let _ = join(&named.mount.join(home(parent)));
    }
}

/// The kernel takes 0 for the thread that writes it.
fn join(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::OpenOptions::new().write(true).open(dir.join("tasks"))?.write_all(b"0")
}
