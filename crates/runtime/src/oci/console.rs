//! The standard streams of a process: the caller's own, or a terminal whose master goes to a socket.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::fcntl_dupfd_cloexec;
use sys::Errno;

use super::create::Company;
use super::fault::Fault;
use crate::Stdio;

/// What engines read beside the master.
const NAME: &[u8] = b"/dev/ptmx";

/// The streams for a process with or without a terminal.
pub(super) fn streams(terminal: bool) -> Result<Stdio, Fault> {
    if terminal {
        return Ok(Stdio::Pty);
    }
    let copy = |fd: BorrowedFd<'_>| {
        fcntl_dupfd_cloexec(fd, 3).map_err(|errno| Fault::Call("copy the standard streams", errno))
    };
    Ok(Stdio::Pipes {
        stdin: copy(rustix::stdio::stdin())?,
        stdout: copy(rustix::stdio::stdout())?,
        stderr: copy(rustix::stdio::stderr())?,
    })
}

/// Connects to a socket that a descriptor will be sent to, before anything is made.
pub(super) fn connect(path: Option<&Path>) -> Result<Option<UnixStream>, Fault> {
    path.map(|path| UnixStream::connect(path).map_err(Fault::file("connect to", path))).transpose()
}

/// Where the master of a terminal goes: to a socket, or nowhere if whoever asked stays.
pub(super) fn of(
    path: Option<&Path>,
    terminal: bool,
    company: Company,
) -> Result<Option<UnixStream>, Fault> {
    match (company, terminal, path) {
        (Company::Detached, true, None) => {
            Err(Fault::config("a terminal of a process that is left alone needs --console-socket"))
        }
        (_, false, Some(_)) => {
            Err(Fault::config("--console-socket is for a process with a terminal"))
        }
        _ => connect(path),
    }
}

/// Sends a descriptor.
pub(super) fn send(socket: &UnixStream, fd: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    let sent = sys::fdpass::send(socket, name, &[fd.as_fd()]);
    let failed = |errno| Fault::Call("send a descriptor", errno);
    sent.map(drop).map_err(|error| failed(error.errno().unwrap_or(Errno::IO)))
}

/// Sends the master of a terminal.
pub(super) fn send_master(socket: &UnixStream, master: &OwnedFd) -> Result<(), Fault> {
    send(socket, master, NAME)
}

/// Writes a process id where an engine looks for it, whole or not at all.
pub(super) fn write_pid(path: Option<&Path>, pid: i32) -> Result<(), Fault> {
    let Some(path) = path else { return Ok(()) };
    let staged = path.with_added_extension("new");
    fs::write(&staged, pid.to_string()).map_err(Fault::file("write", &staged))?;
    fs::rename(&staged, path).map_err(Fault::file("write", path))
}
