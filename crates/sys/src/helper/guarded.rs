//! A foreign program that works for this process for as long as this process lives, and not longer.
#![expect(unsafe_code, reason = "what is done between fork and exec has no safe wrapper")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};

use crate::Errno;

/// Lets the program of `command` be killed by the kernel when the thread that starts it ends, however that
/// happens, and keeps it apart from the terminal. A program that gains rights by being executed would lose
/// this: those that it is for have none to gain.
pub fn guarded(command: &mut Command) {
    let parent: Pid = getpid();
    let settle = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that.
        if getppid() != Some(parent) {
            return Err(io::Error::from(Errno::SRCH));
        }
        setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes three system calls with numbers that it has, and turns
    // error numbers into errors of the same numbers; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(settle) };
}
