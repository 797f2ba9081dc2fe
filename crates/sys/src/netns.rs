//! Network namespaces as descriptors.
//!
//! Owns their creation and running a closure in one. Each call uses a thread that ends with it, so
//! the caller's own thread never changes its namespace and no error can leave it in the wrong one.
//! So this is not for processes that must stay single-threaded (the shim).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::LinkNameSpaceType;

use crate::Errno;
use crate::process::{Namespaces, unshare};

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

fn on_thread<T: Send>(
    work: impl FnOnce() -> Result<T, NetnsError> + Send,
) -> Result<T, NetnsError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work);
        let joined = thread.map_err(NetnsError::Thread)?.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
