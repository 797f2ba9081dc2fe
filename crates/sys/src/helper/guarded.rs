//! A foreign program that works for this process for as long as this process lives, and not longer.
#![expect(unsafe_code, reason = "what is done between fork and exec has no safe wrapper")]

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, getpid, getppid, pidfd_open,
    set_parent_process_death_signal, setrlimit, setsid,
};
use rustix::thread::set_name;

use crate::Errno;
use crate::process::{
    Child, CloneArgs, Namespaces, clone3, close_from, close_on_exec_from, exit_now, wait,
};

/// Gives the program of `command` no descriptor but its three streams: not even those that this process was born
/// with, which are whoever's.
pub fn alone(command: &mut Command) {
    let close = || Ok(close_on_exec_from(3)?);
    // SAFETY: between fork and exec the closure makes one system call with numbers that it has, and turns an
    // error number into an error of the same number; it takes no lock and allocates nothing. It closes nothing
    // before the exec, so that what std has opened for its own use is there until then.
    unsafe { command.pre_exec(close) };
}

/// Keeps the program of `command` apart from the terminal: interrupts from there are not for it, and there is
/// nobody whom it could ask. It is asked to end when the thread that starts it does, however that happens.
pub fn apart(command: &mut Command) {
    let parent = getpid();
    let settle = move || {
        setsid()?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have ended before that.
        if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec the closure makes three system calls with numbers that it has, and turns error
    // numbers into errors of the same numbers; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(settle) };
}

/// Gives the program of `command` this limit of open files.
pub(super) fn limited(command: &mut Command, limit: Rlimit) {
    let set = move || Ok(setrlimit(Resource::Nofile, limit)?);
    // SAFETY: between fork and exec the closure makes one system call with numbers that it has, and turns an error
    // number into an error of the same number; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Starts the program of `command` below a process of ours, its keeper, which is the first one of a pid namespace and
/// dies with the thread that calls this, however that ends: then the kernel kills the program, with all that it has
/// started. The keeper ends when the program does, and has no descriptor. Both are apart from the terminal.
///
/// The program could be made to die with us by itself (`PR_SET_PDEATHSIG`), but for AppArmor: where a profile is laid
/// on a program as it is executed, as Debian 13's on pasta, the kernel takes that wish back.
///
/// Only a process with one thread can, that may make pid namespaces.
///
/// # Errors
/// There is no such program, it cannot be executed, or the kernel starts no process.
pub fn kept(mut command: Command) -> Result<Child, Errno> {
    let parent = pidfd_open(getpid(), PidfdFlags::empty())?;
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let args = CloneArgs { namespaces: Namespaces::PID, cgroup: None };
    let keeper = clone3(&args, move || {
        let started = settle(&parent).and_then(|()| {
            command.spawn().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        });
        let code = started.as_ref().map_or_else(|errno| errno.raw_os_error(), |_| 0);
        let _ = rustix::io::write(&tell, &code.to_ne_bytes());
        if let Ok(program) = started {
            keep(Pid::from_child(&program));
        }
        // Nothing is dropped: what is owned here has been closed.
        exit_now(code)
    })?;
    let mut code = [0_u8; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut code))?;
    match i32::from_ne_bytes(code) {
        0 if count == code.len() => Ok(keeper),
        code => {
            let _ = wait(&keeper.pidfd);
            // Killed before it could tell.
            Err(if count == 4 { Errno::from_raw_os_error(code) } else { Errno::CHILD })
        }
    }
}

/// What the keeper does before there is a program.
fn settle(parent: &OwnedFd) -> Result<(), Errno> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that.
    let mut fds = [PollFd::new(parent, PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec::default()))? > 0 {
        return Err(Errno::SRCH);
    }
    setsid().map(drop)
}

/// Waits for the end of the program. Whoever it leaves behind is this process's child as well.
fn keep(program: Pid) {
    let _ = set_name(c"dhow-keeper");
    if close_from(0).is_err() {
        return;
    }
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == program => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::process::Stdio;

    use rustix::io::{FdFlags, fcntl_setfd};

    use crate::helper::{Helper, command};
    use crate::process::Exit;

    const OWN: &str = "DHOW_TEST_OWN_PROCESS";

    #[test]
    fn one_has_the_limit_of_open_files_that_we_began_with() {
        if std::env::var_os(OWN).is_some() {
            crate::open_files::allow_most();
            let mut program = command(Helper::OciHook(Path::new("/bin/sh")));
            program.args(["-c", "test $(ulimit -Sn) = 100 && test $(ulimit -Hn) = 200"]);
            assert!(program.status().unwrap().success());
            return;
        }
        // Limits are those of a whole process, so this is tried in another one.
        let mut own = own_process("one_has_the_limit_of_open_files_that_we_began_with");
        limited(&mut own, Rlimit { current: Some(100), maximum: Some(200) });
        let output = own.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// This test once more in a process of its own, with one thread.
    fn own_process(test: &str) -> Command {
        let tests = std::env::current_exe().unwrap();
        let mut own = command(Helper::Plugin(&tests));
        let name = format!("helper::guarded::tests::{test}");
        own.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(OWN, "1");
        own
    }

    #[test]
    fn one_that_is_kept_dies_with_us() {
        dies_with_us("one_that_is_kept_dies_with_us", "sleep 1000", |program| {
            kept(program).unwrap();
        });
    }

    #[test]
    fn one_that_is_apart_dies_with_us() {
        // What it has started itself does not.
        dies_with_us("one_that_is_apart_dies_with_us", "exec sleep 1000", |mut program| {
            apart(&mut program);
            program.spawn().unwrap().wait().unwrap();
        });
    }

    /// In a process of its own a program is started, says so, and does what it is told; then that process is killed.
    fn dies_with_us(test: &str, script: &str, start: impl FnOnce(Command)) {
        if std::env::var_os(OWN).is_some() {
            let mut program = command(Helper::Plugin(Path::new("/bin/sh")));
            program.args(["-c", &format!("echo it runs; {script}")]);
            start(program);
            loop {
                std::thread::park();
            }
        }
        let mut own = own_process(test);
        let mut own = own.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(own.stdout.take().unwrap());
        let mut lines = said.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("it runs")));
        own.kill().unwrap();
        own.wait().unwrap();
        // The program, and what it has started, hold the other end as long as they live.
        let mut fds = [PollFd::new(said.get_ref(), PollFlags::IN)];
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&minute)), Ok(1), "it lives on");
        assert_eq!(said.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn who_keeps_one_ends_with_it() {
        if std::env::var_os(OWN).is_some() {
            let begin = |path: &str, script: &str| {
                let mut program = command(Helper::Plugin(Path::new(path)));
                program.args(["-c", script]);
                kept(program)
            };
            assert_eq!(begin("/nosuch/program", "").unwrap_err(), Errno::NOENT);
            // What it leaves behind does not hold the keeper up, and ends.
            let keeper = begin("/bin/sh", "sleep 1000 & exit 7").unwrap();
            assert_eq!(wait(&keeper.pidfd), Ok(Exit::Code(0)));
            return;
        }
        let output = own_process("who_keeps_one_ends_with_it").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn one_that_is_apart_is_in_a_session_of_its_own() {
        let session = |is_apart: bool| {
            let mut program = command(Helper::Plugin(Path::new("/bin/sh")));
            // The sixth word of proc(5)'s `stat` is the session; the shell's name has no space.
            program
                .args(["-c", "read -r pid _ _ _ _ session _ </proc/$$/stat; test $pid = $session"]);
            if is_apart {
                apart(&mut program);
            }
            program.status().unwrap().success()
        };
        assert!(session(true) && !session(false));
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
