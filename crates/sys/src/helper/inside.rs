//! A foreign program that runs in the namespaces of another process.
#![expect(unsafe_code, reason = "what is done between fork and exec has no safe wrapper")]

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Gid, Uid};

use crate::process::{Namespaces, setns};

/// Lets the program of `command` be executed in these namespaces of `process`, a pidfd. Its file has
/// the path that it has there: whoever wants one of the host's must enter a mount namespace whose root
/// is the host's still. In a user namespace it is run as its root. It begins in a directory of that mount
/// namespace.
pub fn inside(command: &mut Command, process: OwnedFd, kinds: Namespaces, directory: CString) {
    let enter = move || {
        setns(&process, kinds)?;
        // Whoever enters a mount namespace is at its root.
        rustix::process::chdir(&directory)?;
        if kinds.contains(Namespaces::USER) {
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(Some(Gid::ROOT), Some(Gid::ROOT), Some(Gid::ROOT))?;
            rustix::thread::set_thread_res_uid(Some(Uid::ROOT), Some(Uid::ROOT), Some(Uid::ROOT))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls with a descriptor and a path that it owns and with
    // numbers, and turns an error number into an error of the same number; it takes no lock and allocates
    // nothing.
    unsafe { command.pre_exec(enter) };
}
