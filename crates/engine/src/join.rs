//! What a container takes from another one that runs: its namespaces, and with its network its
//! names and their files.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use model::container::{ContainerSpec, NamespaceSpec, NetworkMode, SecuritySpec};
use model::{ContainerId, NameOrId};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use shim::protocol::{FdRole, NamespaceKind};
use sys::Errno;
use sys::mount::Depth;
use sys::process::Namespaces;
use sys::root::Root;
use sys::userns::IdMap;

use crate::bundle;
use crate::container::Container;
use crate::guard::call_error;
use crate::{Engine, EngineError};

/// How far containers that share the network of one that shares the network of one are followed.
/// Only containers that run are joined, so there is no circle; their records alone may have one.
const MAX_OWNERS: usize = 64;

/// The first process of a container that runs, held so that its number cannot come to mean
/// another process.
#[derive(Debug)]
pub(crate) struct Init {
    container: ContainerId,
    pid: Pid,
    pidfd: OwnedFd,
}

/// The files of a container that runs. While they are held, what is mounted there stays, whatever
/// becomes of the container.
#[derive(Debug)]
pub(crate) struct LiveFiles {
    namespace: OwnedFd,
    /// What its user namespace says, which may be the host's.
    pub(crate) ids: Option<IdMap>,
}

/// What a thread in a container's mount namespace has of it.
#[derive(Debug)]
pub(crate) struct Inside {
    /// The root of the namespace, whatever its processes have as theirs.
    pub(crate) root: Root,
    table: File,
}

impl Inside {
    /// The list of the mounts below the root as they are now, for [`sys::mount_table`].
    ///
    /// # Errors
    /// What reading gives.
    pub(crate) fn mount_table(&self) -> Result<Vec<u8>, EngineError> {
        let mut table = Vec::new();
        let mut file = &self.table;
        file.rewind()
            .and_then(|()| file.read_to_end(&mut table))
            .map_err(EngineError::file("read", "the mounts of a container"))?;
        Ok(table)
    }
}

impl LiveFiles {
    /// Does something to the files on a thread in the container's mount namespace: the kernel keeps
    /// what is mounted somewhere from being removed only for those that are in the same namespace. Paths
    /// of the host mean there what they mean elsewhere, and nothing of the container is executed.
    ///
    /// # Errors
    /// The namespace cannot be entered; what `work` says.
    pub(crate) fn with<T: Send>(
        &self,
        work: impl FnOnce(&Inside) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let inside = || {
            let inside = enter_mounts(&self.namespace).map_err(|errno| {
                EngineError::file("enter", "a container's mount namespace")(errno.into())
            })?;
            work(&inside)
        };
        // A panic aborts the program, so that there is always an outcome.
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Takes the calling thread into a mount namespace and leaves it its root and working directory.
///
/// Who enters has the namespace's root as its own for a moment. A process in there may have another
/// one, whose list of mounts would lack all that lies above.
fn enter_mounts(namespace: &OwnedFd) -> Result<Inside, Errno> {
    let open = |path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    // What is mounted on the container's `/proc` is the container's affair.
    let (root, proc, here) = (open("/")?, open("/proc")?, open("."));
    // A thread that shares its working directory with others may not leave its namespace.
    sys::fs_context::private_umask_zero()?;
    sys::process::setns(namespace, Namespaces::MOUNT)?;
    let inside = Root::from_fd(open("/")?);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let table = rustix::fs::openat(&proc, "thread-self/mountinfo", flags, Mode::empty())?;
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    // Where the program was started may be gone.
    here.map_or(Ok(()), |here| rustix::process::fchdir(&here))?;
    Ok(Inside { root: inside, table: table.into() })
}

/// The first line of a file like `uid_map`.
fn first_range(text: &str) -> Option<IdMap> {
    let mut fields = text.lines().next()?.split_whitespace().skip(1);
    Some(IdMap { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? })
}

impl Init {
    /// One of its namespaces.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn namespace(&self, kind: NamespaceKind) -> Result<OwnedFd, EngineError> {
        let name = file_name(kind);
        let path = PathBuf::from(format!("/proc/{}/ns/{name}", self.pid.as_raw_nonzero()));
        let opened = File::open(&path);
        // Asked after the file was opened: whose number it was then, it was all the time before.
        if self.has_ended()? {
            return Err(EngineError::NotRunning(self.container));
        }
        Ok(opened.map_err(EngineError::file("open", &path))?.into())
    }

    /// A mount as it sees it, without those below. Only who is in a mount namespace may clone a
    /// mount of it, so a thread goes there.
    pub(crate) fn clone_tree(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let clone = || {
            // A thread that shares its working directory with others may not leave its namespace.
            sys::fs_context::private_umask_zero()?;
            sys::process::setns(&self.pidfd, Namespaces::MOUNT)?;
            sys::mount::clone_tree(path, Depth::Single)
        };
        let cloned = std::thread::scope(|scope| scope.spawn(clone).join());
        cloned.unwrap_or(Err(Errno::INTR))
    }

    /// The files of its mount namespace.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn files(&self) -> Result<LiveFiles, EngineError> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid.as_raw_nonzero()));
        let namespace = File::open(proc.join("ns/mnt"));
        let ids = std::fs::read_to_string(proc.join("uid_map"));
        // As for a namespace: whose number it was then, it was all the time before.
        if self.has_ended()? {
            return Err(EngineError::NotRunning(self.container));
        }
        let namespace = namespace.map_err(EngineError::file("open", proc.join("ns/mnt")))?;
        let ids = ids.map_err(EngineError::file("read", proc.join("uid_map")))?;
        Ok(LiveFiles { namespace: namespace.into(), ids: first_range(&ids) })
    }

    fn has_ended(&self) -> Result<bool, EngineError> {
        let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut ends, Some(&at_once));
        ready.map(|ready| ready > 0).map_err(|errno| EngineError::Shim {
            id: self.container,
            what: format!("ask whether its process lives: {errno}"),
        })
    }
}

impl Engine {
    /// The first process of a container.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn init_of(&self, container: &Container) -> Result<Init, EngineError> {
        let gone = || EngineError::NotRunning(container.id);
        let number = self.life(container)?.pid().ok_or_else(gone)?;
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        // Its shim is its parent: while that has not reaped it, nobody else can have its number.
        let mut shim = self.running_shim(&container.id)?;
        let state = shim.state().map_err(|error| call_error(&container.id, error))?;
        if state.life.pid() != Some(number) {
            return Err(gone());
        }
        Ok(Init { container: container.id, pid, pidfd })
    }

    /// Containers that a new one joins are meant as they are now, whatever they are called later
    /// (Docker).
    ///
    /// # Errors
    /// One of them does not exist.
    pub(crate) fn pin_joined(&self, spec: &mut ContainerSpec) -> Result<(), EngineError> {
        if let NetworkMode::Container(name) = &mut spec.network.mode {
            name.0 = self.pinned(&name.0)?;
        }
        let SecuritySpec { pid, ipc, uts, cgroup, .. } = &mut spec.security;
        for namespace in [pid, ipc, uts, cgroup] {
            if let NamespaceSpec::Container(name) = namespace {
                *name = self.pinned(name)?;
            }
        }
        Ok(())
    }

    /// A mistake in the wish, as in Docker: clients take "not found" for a missing image, and pull.
    fn pinned(&self, name: &str) -> Result<String, EngineError> {
        match self.find(&NameOrId::new(name)) {
            Ok(container) => Ok(container.id.to_string()),
            Err(error @ EngineError::NoSuchContainer(_)) => {
                Err(EngineError::Invalid(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// The namespaces of other containers that this one joins, its network's excepted.
    pub(crate) fn joined_namespaces(
        &self,
        container: &Container,
    ) -> Result<Vec<(FdRole, OwnedFd)>, EngineError> {
        let security = &container.record.spec.security;
        let wished = [
            (NamespaceKind::Pid, "PID", &security.pid),
            (NamespaceKind::Ipc, "IPC", &security.ipc),
            (NamespaceKind::Uts, "UTS", &security.uts),
            (NamespaceKind::Cgroup, "cgroup", &security.cgroup),
        ];
        let mut joined = Vec::new();
        for (kind, what, from) in wished {
            if let NamespaceSpec::Container(name) = from {
                let other = self.find(&NameOrId::new(name.clone()))?;
                refuse_private(kind, &other)?;
                joined.push((FdRole::Namespace(kind), self.join(&other, kind, what)?));
            }
        }
        Ok(joined)
    }

    /// The network namespace of a container.
    pub(crate) fn network_of(&self, other: &Container) -> Result<OwnedFd, EngineError> {
        match self.join(other, NamespaceKind::Net, "network") {
            Err(EngineError::CannotJoin { id, .. }) => Err(EngineError::CannotJoinNetwork(id)),
            joined => joined,
        }
    }

    /// What processes that share an IPC namespace share besides: `/dev/shm` of the container whose
    /// namespace this one joins. `None` if it joins none.
    pub(crate) fn joined_shm(&self, container: &Container) -> Result<Option<OwnedFd>, EngineError> {
        let NamespaceSpec::Container(name) = &container.record.spec.security.ipc else {
            return Ok(None);
        };
        let other = self.find(&NameOrId::new(name.clone()))?;
        let shm = self.init_of(&other)?.clone_tree(Path::new(bundle::SHM));
        shm.map(Some).map_err(|errno| EngineError::file("share", bundle::SHM)(errno.into()))
    }

    fn join(
        &self,
        other: &Container,
        kind: NamespaceKind,
        what: &'static str,
    ) -> Result<OwnedFd, EngineError> {
        match self.init_of(other).and_then(|init| init.namespace(kind)) {
            Err(EngineError::NotRunning(id)) => Err(EngineError::CannotJoin { what, id }),
            joined => joined,
        }
    }

    /// The container whose network this one shares: that whose names and files it has. `None` if
    /// its network is its own, or the host's.
    pub(crate) fn network_owner(
        &self,
        container: &Container,
    ) -> Result<Option<Container>, EngineError> {
        let mut owner: Option<Container> = None;
        for _ in 0..MAX_OWNERS {
            let mode = &owner.as_ref().unwrap_or(container).record.spec.network.mode;
            let NetworkMode::Container(name) = mode else { break };
            match self.find(&name.name_or_id()) {
                Ok(next) => owner = Some(next),
                // Who joined it lives on when it has been removed.
                Err(EngineError::NoSuchContainer(_)) if owner.is_some() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(owner)
    }
}

/// Docker's default keeps shared memory to the container.
fn refuse_private(kind: NamespaceKind, other: &Container) -> Result<(), EngineError> {
    let own = &other.record.spec.security.ipc;
    let is_private = matches!(own, NamespaceSpec::Private | NamespaceSpec::Bare);
    if kind == NamespaceKind::Ipc && is_private {
        return Err(EngineError::NotShareable(other.id));
    }
    Ok(())
}

const fn file_name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::User => "user",
        NamespaceKind::Net => "net",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::Cgroup => "cgroup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any process that ends will do")]
    fn init_that_has_ended() -> OwnedFd {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        pidfd
    }

    /// The number is that of a living process by now, this very one: its namespace is not given.
    #[test]
    fn a_number_that_means_another_process_by_now_gives_no_namespace() {
        let container = ContainerId::from_random([7; 32]);
        let init = Init { container, pid: rustix::process::getpid(), pidfd: init_that_has_ended() };
        let given = init.namespace(NamespaceKind::Net);
        assert!(matches!(given, Err(EngineError::NotRunning(id)) if id == container), "{given:?}");
    }
}
