//! Process 1 of a container that asked for one (`--init`): starts the command, passes signals on,
//! reaps whoever is orphaned, and ends with the command's exit code.
//!
//! Runs inside of the container, from a read-only mount of this program, with the container's own
//! rights. It knows nothing of the engine.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use sys::Errno;
use sys::process::{Child, ExecStrings, Exit, execve, fork, pidfd_send_signal, reap};
use sys::signal::{Signal, SignalFd};

/// The shell's codes for a command that is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

const SIGCHLD: i32 = 17;
/// KILL and STOP cannot be taken; the two after 31 are the C library's own.
const NOT_OURS: [i32; 4] = [9, 19, 32, 33];

/// Runs the command after `--`.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let command = match arguments {
        [dashes, command @ ..] if dashes == "--" => command,
        all => all,
    };
    match run(command) {
        Ok(code) => ExitCode::from(code),
        Err(errno) => {
            crate::complain(&format!("dhow-init: {}", std::io::Error::from(errno)));
            ExitCode::from(NOT_EXECUTABLE)
        }
    }
}

fn run(command: &[OsString]) -> Result<u8, Errno> {
    let signals = SignalFd::block(&passed_on())?;
    let child = spawn(command)?;
    loop {
        if let Some(exit) = reap_all(&child)? {
            return Ok(exit.shell_code());
        }
        match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        while let Some(delivered) = signals.next()? {
            if i32::from(delivered.signal.number()) != SIGCHLD {
                // It may have ended since: then its end is what is reported.
                let _ = pidfd_send_signal(&child.pidfd, delivered.signal);
            }
        }
    }
}

fn passed_on() -> Vec<Signal> {
    (1..=64).filter(|number| !NOT_OURS.contains(number)).filter_map(Signal::from_number).collect()
}

/// Reaps everybody who has ended; the command's own end, if it was among them.
fn reap_all(child: &Child) -> Result<Option<Exit>, Errno> {
    let mut ended = None;
    while let Some((pid, exit)) = reap()? {
        if pid == child.pid {
            ended = Some(exit);
        }
    }
    Ok(ended)
}

fn spawn(command: &[OsString]) -> Result<Child, Errno> {
    let strings = |all: &[OsString]| -> Result<Vec<CString>, Errno> {
        all.iter()
            .map(|text| CString::new(text.clone().into_vec()).map_err(|_| Errno::INVAL))
            .collect()
    };
    let argv = ExecStrings::new(strings(command)?);
    let env: Vec<OsString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        })
        .collect();
    let envp = ExecStrings::new(strings(&env)?);
    let paths = candidates(command.first().map_or(OsStr::new(""), OsString::as_os_str));
    let paths = strings(&paths)?;
    fork(|| {
        take_terminal();
        sys::signal::reset_all();
        let (code, errno) = execute(&paths, &argv, &envp);
        crate::complain(&refusal(command.first(), errno));
        i32::from(code)
    })
}

/// Makes the command the terminal's foreground, if there is one: what is typed there reaches it
/// alone, and once. Signals are still blocked, so the change does not stop us.
fn take_terminal() {
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
}

/// Tries each candidate; the code and the kernel's word on why none could be executed.
fn execute(paths: &[CString], argv: &ExecStrings, envp: &ExecStrings) -> (u8, Errno) {
    let mut failed = (NOT_FOUND, Errno::NOENT);
    for path in paths {
        match execve(path, argv, envp) {
            Errno::NOENT | Errno::NOTDIR => {}
            errno => failed = (NOT_EXECUTABLE, errno),
        }
    }
    failed
}

/// In the words of a container without an init.
fn refusal(command: Option<&OsString>, errno: Errno) -> String {
    let name = command.map(|name| name.to_string_lossy()).unwrap_or_default();
    let why = match errno {
        Errno::NOENT if !name.contains('/') => "executable file not found in $PATH".to_owned(),
        errno => std::io::Error::from(errno).to_string(),
    };
    format!("dhow-init: exec: {name:?}: {why}")
}

/// Where a command may be: itself if it has a slash, else in each directory of `PATH`.
fn candidates(command: &OsStr) -> Vec<OsString> {
    if command.as_bytes().contains(&b'/') {
        return vec![command.to_owned()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.iter().map(|dir: &PathBuf| Path::new(dir).join(command).into_os_string()).collect()
}
