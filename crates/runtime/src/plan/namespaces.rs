//! Which namespaces are new, which are joined, which stay the caller's.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxNamespaceType};
use sys::process::Namespaces;

use super::{Entrance, PlanError};

/// Where a namespace to join comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The caller has it open.
    Given,
    /// A file of procfs, or a bind of one.
    Path(PathBuf),
}

/// A namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its kind.
    pub kind: Namespaces,
    /// Where it comes from.
    pub origin: Origin,
}

/// The namespaces of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Choice {
    /// Created by `clone3`. The cgroup namespace is made later, once the cgroup has been joined:
    /// a namespace made by `clone3` would have the parent's cgroup as its root.
    pub(super) new: Namespaces,
    /// A new cgroup namespace.
    pub(super) new_cgroup: bool,
    /// A new time namespace: its clocks are set before anybody is born into it.
    pub(super) new_time: bool,
    /// Joined by the child, in this order.
    pub(super) joins: Vec<Join>,
    /// The pid namespace that the child is born into.
    pub(super) pid: Option<Join>,
}

impl Choice {
    /// Where the user namespace is among those to be joined.
    pub(super) fn user(&self) -> Option<usize> {
        self.joins.iter().position(|join| join.kind == Namespaces::USER)
    }

    /// Whether the container has the caller's cgroup namespace.
    pub(super) fn shares_cgroup(&self) -> bool {
        !self.new_cgroup && self.joins.iter().all(|join| join.kind != Namespaces::CGROUP)
    }

    /// Where the caller's cgroup namespace is, to come back to it, if the container has no other.
    pub(super) fn keep_cgroup(&mut self) -> Option<usize> {
        let kind = Namespaces::CGROUP;
        self.shares_cgroup().then(|| {
            self.joins.push(Join { kind, origin: Origin::Path("/proc/self/ns/cgroup".into()) });
            self.joins.len() - 1
        })
    }

    /// Whether the process goes on as another, since nobody can make or enter such a namespace and be the
    /// first process of a pid namespace in it.
    pub(super) fn is_reborn(&self) -> bool {
        self.new_time || self.user().is_some()
    }

    /// Whether the container does not share this kind with the host.
    pub(super) fn owns(&self, kind: Namespaces) -> bool {
        self.new.contains(kind) || self.joins.iter().any(|join| join.kind == kind)
    }
}

/// The kinds that a caller may bring.
const BROUGHT: [Namespaces; 7] = [
    Namespaces::USER,
    Namespaces::TIME,
    Namespaces::NET,
    Namespaces::PID,
    Namespaces::IPC,
    Namespaces::UTS,
    Namespaces::CGROUP,
];

/// Whether a container's mount namespace is none of its own: its caller's, or one that it joins.
#[must_use]
pub fn shares_mounts(linux: &Linux) -> bool {
    let mut all = linux.namespaces().iter().flatten();
    !all.any(|one| {
        one.typ() == LinuxNamespaceType::Mount
            && one.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
    })
}

/// What the caller has open comes in place of what the specification says. Mounts are shared with others only if the
/// caller has said how such a container gets its root.
pub(super) fn choose(
    linux: &Linux,
    given: Namespaces,
    entrance: &Entrance,
) -> Result<Choice, PlanError> {
    let mut choice = Choice::default();
    let mut seen = Namespaces::NONE;
    for namespace in linux.namespaces().iter().flatten() {
        let (kind, name) = kind_of(namespace.typ())?;
        if seen.contains(kind) {
            return Err(PlanError::DuplicateNamespace(name));
        }
        seen = seen | kind;
        let origin = match namespace.path() {
            _ if given.contains(kind) => Some(Origin::Given),
            Some(path) if path.as_os_str().is_empty() => None,
            path => path.clone().map(Origin::Path),
        };
        choice.add(kind, origin)?;
    }
    for kind in BROUGHT.into_iter().filter(|kind| given.contains(*kind) && !seen.contains(*kind)) {
        choice.add(kind, Some(Origin::Given))?;
    }
    match (choice.new.contains(Namespaces::MOUNT), entrance) {
        (true, Entrance::Pivot | Entrance::Chroot(_)) | (false, Entrance::InPlace(_)) => Ok(choice),
        (true, Entrance::InPlace(_)) => {
            Err(PlanError::Unsupported("a root in place, with a mount namespace of its own"))
        }
        (false, Entrance::Pivot | Entrance::Chroot(_)) => {
            Err(PlanError::Missing("a mount namespace in linux.namespaces"))
        }
    }
}

impl Choice {
    fn add(&mut self, kind: Namespaces, origin: Option<Origin>) -> Result<(), PlanError> {
        match origin {
            // What belongs to it has to be made in it, and so before the container.
            None if kind == Namespaces::USER => {
                return Err(PlanError::Unsupported("a user namespace that is not brought"));
            }
            None if kind == Namespaces::CGROUP => self.new_cgroup = true,
            None if kind == Namespaces::TIME => self.new_time = true,
            None => self.new = self.new | kind,
            Some(Origin::Path(_)) if kind == Namespaces::USER => {
                return Err(PlanError::Unsupported("joining a user namespace by its path"));
            }
            Some(origin) if kind == Namespaces::PID => self.pid = Some(Join { kind, origin }),
            Some(origin) => self.joins.push(Join { kind, origin }),
        }
        Ok(())
    }
}

fn kind_of(kind: LinuxNamespaceType) -> Result<(Namespaces, &'static str), PlanError> {
    match kind {
        LinuxNamespaceType::Mount => Ok((Namespaces::MOUNT, "mount")),
        LinuxNamespaceType::Cgroup => Ok((Namespaces::CGROUP, "cgroup")),
        LinuxNamespaceType::Uts => Ok((Namespaces::UTS, "uts")),
        LinuxNamespaceType::Ipc => Ok((Namespaces::IPC, "ipc")),
        LinuxNamespaceType::Pid => Ok((Namespaces::PID, "pid")),
        LinuxNamespaceType::Network => Ok((Namespaces::NET, "network")),
        LinuxNamespaceType::User => Ok((Namespaces::USER, "user")),
        LinuxNamespaceType::Time => Ok((Namespaces::TIME, "time")),
    }
}
