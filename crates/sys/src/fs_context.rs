//! A file-creation context of a thread's own.
//!
//! Owns the one case in which a thread leaves the process's shared umask and working directory.
//! Nothing here changes what other threads see.
#![expect(
    unsafe_code,
    reason = "unshare(2) is unsafe in rustix because CLONE_FILES could break other code's fds"
)]

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

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
