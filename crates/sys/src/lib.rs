//! The only unsafe code and the only launcher of foreign programs.
//!
//! Owns thin, safe calls for what the kernel offers and `rustix` lacks: `clone3` into a cgroup, the
//! fd-based mount calls with their attributes, seccomp, keyrings, descriptor passing; and the few
//! helpers that must be careful the same way everywhere (users of an image, network namespaces, the
//! sealed image of this program).
//!
//! Owns no policy: what is mounted, which capabilities stay and which filter is loaded is decided
//! by the callers. What `rustix` has is called there directly (prctl, capset, setns, rlimits).

pub mod bpf;
pub mod clock;
pub mod entry;
pub mod exe;
pub mod failpoint;
pub mod fdpass;
pub mod fs_context;
pub mod heap;
pub mod helper;
pub mod inherited;
pub mod kernel_fs;
pub mod keyring;
pub mod lock;
pub mod mount;
pub mod mount_table;
pub mod netlink;
pub mod netns;
pub mod open_files;
pub mod process;
pub mod pty;
pub mod root;
pub mod rootless;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stayed;
pub mod task;
pub mod userns;
pub mod users;
pub mod xattr;

pub use rustix::io::Errno;

/// Turns the result of a raw system call into a value or the thread's `errno`.
fn check(returned: libc::c_long) -> Result<libc::c_long, Errno> {
    if returned >= 0 {
        return Ok(returned);
    }
    let raw = std::io::Error::last_os_error().raw_os_error();
    Err(Errno::from_raw_os_error(raw.unwrap_or(libc::EIO)))
}
