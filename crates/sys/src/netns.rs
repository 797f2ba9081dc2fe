//! Network namespaces as descriptors.
//!
//! Owns their creation and running a closure in one. Each call uses a thread that ends with it, so
//! the caller's own thread never changes its namespace and no error can leave it in the wrong one.
//! So this is not for processes that must stay single-threaded (the shim).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::LinkNameSpaceType;

use crate::Errno;
use crate::process::{Namespaces, fork, unshare, wait};

/// Why a network namespace could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No thread could be started.
    #[error("start a thread for a network namespace")]
    Thread(#[source] std::io::Error),
    /// `ENOSPC` at the limit of /proc/sys/user/max_net_namespaces.
    #[error("create a network namespace")]
    Create(#[source] Errno),
    /// The new namespace could not be opened.
    #[error("open /proc/thread-self/ns/net")]
    Open(#[source] Errno),
    /// The descriptor is none of a network namespace, or this process may not enter it.
    #[error("enter a network namespace")]
    Enter(#[source] Errno),
}

/// A new network namespace, which lives as long as the descriptor and whoever joins it.
pub fn create() -> Result<OwnedFd, NetnsError> {
    create_with(|| ()).map(|(netns, ())| netns)
}

/// A new network namespace, and what `work` returned from inside of it: one thread instead of the
/// two that `create` and `run_in` would take.
pub fn create_with<T: Send>(work: impl FnOnce() -> T + Send) -> Result<(OwnedFd, T), NetnsError> {
    on_thread(|| {
        unshare(Namespaces::NET).map_err(NetnsError::Create)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let netns = rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", flags, Mode::empty())
            .map_err(NetnsError::Open)?;
        Ok((netns, work()))
    })
}

/// Runs `work` on a thread inside of the namespace. A panic of `work` is carried on.
///
/// Sockets opened there stay in that namespace wherever they are used.
pub fn run_in<T: Send>(netns: impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let netns = netns.as_fd();
    on_thread(move || {
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(netns, kind).map_err(NetnsError::Enter)?;
        Ok(work())
    })
}

/// Runs `work` inside of the namespace on this very thread, which is back afterwards: for a process that has no
/// other thread and may not start one. It ends if it cannot go back, since all that it does next would happen in
/// the wrong place.
///
/// # Errors
/// The namespace cannot be entered; then nothing has run.
pub fn step_into<T>(netns: impl AsFd, work: impl FnOnce() -> T) -> Result<T, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", flags, Mode::empty())?;
    let kind = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(netns.as_fd(), kind)?;
    let done = work();
    if rustix::thread::move_into_link_name_space(home.as_fd(), kind).is_err() {
        std::process::abort();
    }
    Ok(done)
}

/// Runs `work` inside of the namespace in a child of this process, and waits for it: for a process that has no
/// other thread and could not come back. An ordinary user's root may enter no namespace of the host's.
///
/// # Errors
/// No child can be made, it cannot enter the namespace, or what `work` says.
pub fn run_in_child(
    netns: impl AsFd,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(), ChildError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(ChildError::Start)?;
    let child = fork(|| {
        let kind = Some(LinkNameSpaceType::Network);
        let entered = rustix::thread::move_into_link_name_space(netns.as_fd(), kind);
        let entered = entered.map_err(|errno| format!("enter a network namespace: {errno}"));
        let Err(said) = entered.and_then(|()| work()) else { return 0 };
        let end = said.len().min(SAID);
        let _ = rustix::io::write(&write, said.as_bytes().get(..end).unwrap_or_default());
        1
    });
    let child = child.map_err(ChildError::Start)?;
    drop(write);
    if wait(&child.pidfd).map_err(ChildError::Start)?.shell_code() == 0 {
        return Ok(());
    }
    let mut said = vec![0; SAID];
    let length = rustix::io::read(&read, &mut said[..]).unwrap_or(0);
    said.truncate(length);
    Err(ChildError::Said(String::from_utf8_lossy(&said).into_owned()))
}

/// Makes a descriptor inside of the namespace by such a child.
///
/// # Errors
/// As [`run_in_child`].
pub fn open_in_child(
    netns: impl AsFd,
    make: impl FnOnce() -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, ChildError> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(ChildError::Start)?;
    run_in_child(netns, || {
        let made = make().map_err(|errno| errno.to_string())?;
        let sent = crate::fdpass::send(&theirs, &[0], &[made.as_fd()]);
        sent.map(drop).map_err(|error| error.to_string())
    })?;
    let mut fds = Vec::new();
    let received = crate::fdpass::recv(&ours, &mut [0], &mut fds);
    received.map_err(|error| ChildError::Said(error.to_string()))?;
    fds.pop().ok_or(ChildError::Start(Errno::BADF))
}

/// How much of what a child says is told.
const SAID: usize = 512;

/// Why a child did not do its work in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is none.
    #[error("start a process for a network namespace")]
    Start(#[source] Errno),
    /// Its words.
    #[error("{0}")]
    Said(String),
}

fn on_thread<T: Send>(
    work: impl FnOnce() -> Result<T, NetnsError> + Send,
) -> Result<T, NetnsError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work);
        let joined = thread.map_err(NetnsError::Thread)?.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
