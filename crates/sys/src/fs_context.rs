//! A file-creation context of a thread's own.
//!
//! Owns the cases in which a thread leaves the process's shared umask and working directory, or makes
//! files that belong to others.
//! Nothing here changes what other threads see.
#![expect(
    unsafe_code,
    reason = "unshare(2) is unsafe in rustix because CLONE_FILES could break other code's fds; setfsuid(2) has no wrapper"
)]

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, UnshareFlags};

/// Gives the calling thread a private umask of 0, so that `open` and `mkdir` create with exactly
/// the mode asked for.
///
/// Call it on a thread that ends with the work: its working directory is private from here on as
/// well.
///
/// # Errors
/// `ENOMEM`.
pub fn private_umask_zero() -> Result<(), Errno> {
    // SAFETY: rustix demands that no fd is used that the thread would stop sharing; CLONE_FS alone
    // touches only the root, the working directory and the umask, never the fd table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// Lets what the calling thread makes belong to the user and the group `id`, and keeps its
/// capabilities, of which the kernel takes some away with the user.
///
/// # Errors
/// `EPERM` without the right to do so.
pub fn own_files_as(id: u32) -> Result<(), Errno> {
    let before = rustix::thread::capabilities(None)?;
    for (set, ask) in [(libc::SYS_setfsgid, u32::MAX), (libc::SYS_setfsuid, u32::MAX)] {
        // SAFETY: both calls take a number, and change this thread's credentials alone.
        unsafe { libc::syscall(set, id) };
        // They tell only what was before; asking is setting what cannot be set.
        // SAFETY: as above.
        let now = unsafe { libc::syscall(set, ask) };
        if now != libc::c_long::from(id) {
            return Err(Errno::PERM);
        }
    }
    rustix::thread::set_capabilities(None, before)
}

/// Lets the calling thread act on files as another user does, without capabilities over them: what
/// that user may not do fails, and what is made is that user's. For good: it ends with the work. A
/// caller with other supplementary groups than this process has is none to act as.
///
/// # Errors
/// `EPERM` without the right to do so.
pub fn act_as(uid: u32, gid: u32) -> Result<(), Errno> {
    for (set, id) in [(libc::SYS_setfsgid, gid), (libc::SYS_setfsuid, uid)] {
        // SAFETY: both calls take a number, and change this thread's credentials alone.
        unsafe { libc::syscall(set, id) };
        // They tell only what was before; asking is setting what cannot be set.
        // SAFETY: as above.
        let now = unsafe { libc::syscall(set, u32::MAX) };
        if now != libc::c_long::from(id) {
            return Err(Errno::PERM);
        }
    }
    if uid == 0 {
        return Ok(());
    }
    // The kernel takes these away with the user, unless it was told not to.
    let mut left = rustix::thread::capabilities(None)?;
    left.effective -= OVER_FILES;
    rustix::thread::set_capabilities(None, left)
}

/// Capabilities that lift what a file's mode and owner say.
const OVER_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD);

#[cfg(test)]
mod tests {
    use super::*;

    fn umask_of_this_thread() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned()
    }

    #[test]
    fn other_threads_keep_their_umask() {
        let before = umask_of_this_thread();
        let inside = std::thread::spawn(|| {
            private_umask_zero().unwrap();
            umask_of_this_thread()
        });
        assert_eq!(inside.join().unwrap(), "Umask:\t0000");
        assert_ne!(before, "Umask:\t0000", "the test shows nothing under a umask of 0");
        assert_eq!(umask_of_this_thread(), before);
    }
}
