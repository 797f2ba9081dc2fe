//! A foreign program that works for this process for as long as this process lives, and not longer.
#![expect(unsafe_code, reason = "what is done between fork and exec has no safe wrapper")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit,
    setsid,
};

use crate::Errno;
use crate::process::close_on_exec_from;

/// Gives the program of `command` no descriptor but its three streams: not even those that this process was born
/// with, which are whoever's.
pub fn alone(command: &mut Command) {
    let close = || Ok(close_on_exec_from(3)?);
    // SAFETY: between fork and exec the closure makes one system call with numbers that it has, and turns an
    // error number into an error of the same number; it takes no lock and allocates nothing. It closes nothing
    // before the exec, so that what std has opened for its own use is there until then.
    unsafe { command.pre_exec(close) };
}

/// Gives the program of `command` this limit of open files.
pub(super) fn limited(command: &mut Command, limit: Rlimit) {
    let set = move || Ok(setrlimit(Resource::Nofile, limit)?);
    // SAFETY: between fork and exec the closure makes one system call with numbers that it has, and turns an error
    // number into an error of the same number; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(set) };
}

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

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::AsRawFd;
    use std::path::Path;

    use rustix::io::{FdFlags, fcntl_setfd};

    use crate::helper::{Helper, command};

    #[test]
    fn one_has_the_limit_of_open_files_that_we_began_with() {
        const OWN: &str = "DHOW_TEST_OWN_PROCESS";
        if std::env::var_os(OWN).is_some() {
            crate::open_files::allow_most();
            let mut program = command(Helper::OciHook(Path::new("/bin/sh")));
            program.args(["-c", "test $(ulimit -Sn) = 100 && test $(ulimit -Hn) = 200"]);
            assert!(program.status().unwrap().success());
            return;
        }
        // Limits are those of a whole process, so this is tried in another one.
        let tests = std::env::current_exe().unwrap();
        let mut own = command(Helper::Plugin(&tests));
        let name = "helper::guarded::tests::one_has_the_limit_of_open_files_that_we_began_with";
        own.args(["--exact", name]).env(OWN, "1");
        limited(&mut own, Rlimit { current: Some(100), maximum: Some(200) });
        let output = own.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn one_that_is_alone_has_no_descriptor_of_ours() {
        let file = std::fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let sees = |is_alone: bool| {
            let mut program = command(Helper::Plugin(Path::new("/bin/sh")));
            program.args(["-c", &format!("test -e /proc/self/fd/{}", file.as_raw_fd())]);
            if is_alone {
                alone(&mut program);
            }
            program.status().unwrap().success()
        };
        assert!(sees(false) && !sees(true));
    }
}
