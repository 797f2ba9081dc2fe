//! User namespaces as descriptors: made with their map of ids, and with namespaces that they own.
//!
//! A namespace needs a process to be made by; a child of ours is it for a moment, and does nothing.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::Errno;
use crate::process::{CloneArgs, Namespaces, clone3, wait};

/// Ids of a namespace, from 0 on, and where they are outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// What 0 is outside.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What the kernel shows for ids that a namespace does not have.
const NOBODY: u32 = 65534;

impl IdMap {
    /// An id of the namespace as it is outside of it; `None` if it has no such id.
    #[must_use]
    pub fn outside(self, id: u32) -> Option<u32> {
        if id < self.count { self.first.checked_add(id) } else { None }
    }

    /// An id as the namespace sees it.
    #[must_use]
    pub fn inside(self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|id| *id < self.count).unwrap_or(NOBODY)
    }
}

impl fmt::Display for IdMap {
    /// As `/proc/<pid>/uid_map` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0 {} {}", self.first, self.count)
    }
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// `ENOSPC` at the limit of `/proc/sys/user/max_user_namespaces`, `EPERM` where they are off.
    #[error("create a user namespace")]
    Create(#[source] Errno),
    /// `EPERM` for ids that the caller may not map.
    #[error("write {map} to {file} of a user namespace")]
    Map {
        /// Which of the two files.
        file: &'static str,
        /// What was to be written.
        map: IdMap,
        /// Why not.
        source: Errno,
    },
    /// A new namespace could not be opened.
    #[error("open a new {0} namespace")]
    Open(&'static str, #[source] Errno),
}

/// A user namespace and what it owns. They live as long as somebody holds or joins them.
#[derive(Debug)]
pub struct Userns {
    /// The namespace.
    pub user: OwnedFd,
    /// A network namespace that belongs to it.
    pub net: OwnedFd,
}

/// Makes a user namespace whose users and groups are `map`, and a network namespace in it.
///
/// # Errors
/// See [`UsernsError`].
pub fn create(map: IdMap) -> Result<Userns, UsernsError> {
    let (theirs, ours) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(UsernsError::Create)?;
    let args = CloneArgs { namespaces: Namespaces::USER | Namespaces::NET, cgroup: None };
    let mut ours = Some(ours);
    let child = clone3(&args, || {
        // Without its own copy of our end it sees us let go.
        drop(ours.take());
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&theirs, &mut [0_u8; 1]));
        0
    });
    let child = child.map_err(UsernsError::Create)?;
    let dir = format!("/proc/{}", child.pid.as_raw_nonzero());
    let made = write_maps(&dir, map)
        .and_then(|()| Ok(Userns { user: open(&dir, "user")?, net: open(&dir, "net")? }));
    // It is our child and has not been reaped, so its number was its own all the time.
    drop(ours);
    let _ = wait(child.pidfd.as_fd());
    made
}

fn write_maps(dir: &str, map: IdMap) -> Result<(), UsernsError> {
    for file in ["uid_map", "gid_map"] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let text = map.to_string();
        rustix::fs::openat(CWD, format!("{dir}/{file}"), flags, Mode::empty())
            .and_then(|fd| rustix::io::write(&fd, text.as_bytes()))
            .map_err(|source| UsernsError::Map { file, map, source })?;
    }
    Ok(())
}

fn open(dir: &str, kind: &'static str) -> Result<OwnedFd, UsernsError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, format!("{dir}/ns/{kind}"), flags, Mode::empty())
        .map_err(|source| UsernsError::Open(kind, source))
}

/// Runs `work` on a thread whose files belong to the user and group `id`, with the rights of the
/// caller. What it makes through a mount that shows ids of a map is what the map's root makes.
///
/// # Errors
/// The thread could not be made so.
pub fn as_owner<T: Send>(id: u32, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            crate::fs_context::own_files_as(id)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
