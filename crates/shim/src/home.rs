//! Where a shim itself is among the cgroups.
//!
//! Whoever started it (a shell's session, a service) may be ended by its service manager with
//! everything in its cgroup, and a shim must survive that. So it moves to a cgroup of dhow's own,
//! `<parent>/shims`, in the hierarchies that service managers look at: v2, and on v1 the named
//! one. The last one to leave takes the cgroup with it.

use std::io::Write;
use std::path::{Path, PathBuf};

use cgroup::Hierarchies;

const NAME: &str = "shims";
/// What systemd mounts its own v1 hierarchy with.
const SYSTEMD: &str = "name=systemd";
/// A cgroup that the last one leaves at the moment when it is entered is made again this often.
const ATTEMPTS: usize = 8;

/// A shim's own cgroup.
#[derive(Debug)]
pub(crate) struct Home {
    parent: String,
    /// Of each hierarchy.
    mounts: Vec<PathBuf>,
}

impl Home {
    /// Moves this process below `parent`. Where that is refused it stays where it is: it works
    /// there as well, if not as long.
    pub(crate) fn move_in(hierarchies: &Hierarchies, parent: &str) -> Self {
        let unified = hierarchies.unified().map(|unified| &unified.mount);
        let named = hierarchies.legacy().iter().find(|legacy| legacy.options.contains(SYSTEMD));
        let mounts = unified.into_iter().chain(named.map(|legacy| &legacy.mount));
        let home = Self {
            parent: parent.trim_start_matches('/').to_owned(),
            mounts: mounts.cloned().collect(),
        };
        home.mounts.iter().for_each(|mount| enter(&mount.join(&home.parent).join(NAME)));
        home
    }

    /// Whether it is below this parent.
    pub(crate) fn is_below(&self, parent: &str) -> bool {
        self.parent == parent.trim_start_matches('/')
    }

    /// Leaves, for the hierarchies' roots. The parent stays: to make it again, with its
    /// controllers, would cost the next start more than it costs to keep it.
    pub(crate) fn move_out(&self) {
        for mount in &self.mounts {
            let _ = join(mount);
            // One that others are in cannot be removed.
            let _ = std::fs::remove_dir(mount.join(&self.parent).join(NAME));
        }
    }
}

fn enter(dir: &Path) {
    for _ in 0..ATTEMPTS {
        let _ = std::fs::create_dir_all(dir);
        match join(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(()) | Err(_) => return,
        }
    }
}

/// The kernel takes 0 for the process that writes it.
fn join(dir: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?.write_all(b"0")
}
