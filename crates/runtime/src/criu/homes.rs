//! Which namespaces the processes of a restored container may be in.
//!
//! criu makes those that were written down. A container that shared one with the host has none of
//! that kind in its checkpoint: its processes would be where criu was started, whatever the record
//! says by now.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use sys::process::Namespaces;

use crate::plan::{InitPlan, Join, Origin};
use crate::step::Step;

const KINDS: [Namespaces; 7] = [
    Namespaces::MOUNT,
    Namespaces::PID,
    Namespaces::NET,
    Namespaces::IPC,
    Namespaces::UTS,
    Namespaces::CGROUP,
    Namespaces::USER,
];

/// Where the processes of a container may be, by its plan.
#[derive(Debug)]
pub(super) struct Homes(Vec<Home>);

/// Namespaces of one kind, by their inodes.
#[derive(Debug)]
struct Home {
    kind: Namespaces,
    /// Where no process may be.
    forbidden: Vec<u64>,
    /// Where the first has to be; the others may have made some of their own.
    first: Option<u64>,
}

impl Homes {
    /// `given` are those that the caller has open. What the plan leaves alone is the host's, and may
    /// be used.
    pub(super) fn of(plan: &InitPlan, given: &[(Namespaces, OwnedFd)]) -> io::Result<Self> {
        let mut homes = Vec::new();
        for kind in KINDS {
            let own = inode(Path::new("/proc/self"), kind)?;
            let is_new = plan.namespaces.contains(kind)
                || (kind == Namespaces::CGROUP && plan.steps.contains(&Step::NewCgroupNamespace));
            if is_new {
                homes.push(Home { kind, forbidden: vec![own], first: None });
            } else if let Some(join) = plan.joins.iter().chain(&plan.pid).find(|j| j.kind == kind) {
                let joined = joined(join, given)?;
                let forbidden = Some(own).filter(|own| *own != joined).into_iter().collect();
                homes.push(Home { kind, forbidden, first: Some(joined) });
            }
        }
        Ok(Self(homes))
    }

    /// Where criu is nobody else may be: it sees the host's files, and those of its bench.
    pub(super) fn without_mounts_of(mut self, criu: Pid) -> io::Result<Self> {
        let mounts = inode(&process(criu), Namespaces::MOUNT)?;
        for home in self.0.iter_mut().filter(|home| home.kind == Namespaces::MOUNT) {
            home.forbidden.push(mounts);
        }
        Ok(self)
    }

    /// What is wrong with the namespaces of a thread, by its directory in procfs.
    pub(super) fn check(&self, thread: &Path) -> Result<(), String> {
        for Home { kind, forbidden, .. } in &self.0 {
            let found = inode(thread, *kind).map_err(|error| unseen(*kind, &error))?;
            if forbidden.contains(&found) {
                return Err(format!(
                    "a process of the checkpoint is in the host's {kind} namespace"
                ));
            }
        }
        Ok(())
    }

    /// As [`Homes::check`], for the first process, by its directory in procfs.
    pub(super) fn check_first(&self, first: &Path) -> Result<(), String> {
        for Home { kind, first: wanted, .. } in &self.0 {
            let Some(wanted) = wanted else { continue };
            let found = inode(first, *kind).map_err(|error| unseen(*kind, &error))?;
            if found != *wanted {
                return Err(format!("the checkpoint is in another {kind} namespace"));
            }
        }
        Ok(())
    }
}

fn unseen(kind: Namespaces, error: &io::Error) -> String {
    format!("the {kind} namespace of a process cannot be looked at: {error}")
}

pub(super) fn process(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

fn joined(join: &Join, given: &[(Namespaces, OwnedFd)]) -> io::Result<u64> {
    match &join.origin {
        Origin::Path(path) => Ok(fs::metadata(path)?.ino()),
        Origin::Given => {
            let given = given.iter().find(|(kind, _)| *kind == join.kind);
            let (_, fd) = given.ok_or(io::ErrorKind::NotFound)?;
            Ok(fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd()))?.ino())
        }
    }
}

fn inode(process: &Path, kind: Namespaces) -> io::Result<u64> {
    Ok(fs::metadata(process.join("ns").join(kind.to_string()))?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(forbidden: Vec<u64>, first: Option<u64>) -> (bool, bool) {
        let homes = Homes(vec![Home { kind: Namespaces::NET, forbidden, first }]);
        let own = Path::new("/proc/self");
        (homes.check(own).is_ok(), homes.check_first(own).is_ok())
    }

    #[test]
    fn nobody_is_where_nobody_may_be_and_the_first_is_where_it_has_to_be() {
        let own = inode(Path::new("/proc/self"), Namespaces::NET).unwrap();
        assert_eq!(check(vec![own], None), (false, true));
        assert_eq!(check(vec![own + 1], Some(own)), (true, true));
        assert_eq!(check(Vec::new(), Some(own + 1)), (true, false));
        let homes = Homes(vec![Home { kind: Namespaces::NET, forbidden: Vec::new(), first: None }]);
        assert!(homes.check(Path::new("/nowhere")).is_err());
    }
}
