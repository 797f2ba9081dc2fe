//! The standard streams of a process: the caller's own, or a terminal whose master goes to a socket.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::fcntl_dupfd_cloexec;
use sys::Errno;

use super::arguments::Handles;
use super::create::Company;
use super::fault::Fault;
use crate::Stdio;

/// What engines read beside the master of a terminal.
const MASTER: &[u8] = b"/dev/ptmx";
/// The same beside a pidfd.
const PIDFD: &[u8] = b"pidfd";

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

/// Where an engine waits for descriptors, connected before anything is made.
#[derive(Debug)]
pub(super) struct Sockets {
    console: Option<UnixStream>,
    pidfd: Option<UnixStream>,
}

impl Sockets {
    /// The master of a terminal goes to a socket, or nowhere if whoever asked stays.
    pub(super) fn connect(
        handles: &Handles,
        terminal: bool,
        company: Company,
    ) -> Result<Self, Fault> {
        match (company, terminal, &handles.console_socket) {
            (Company::Detached, true, None) => {
                return Err(Fault::config(
                    "a terminal of a process that is left alone has to go to somebody: use --console-socket",
                ));
            }
            (_, false, Some(_)) => {
                return Err(Fault::config("--console-socket is for a process with a terminal"));
            }
            _ => {}
        }
        let connect = |path: &PathBuf| {
            UnixStream::connect(path).map_err(Fault::file("connect to", path.clone()))
        };
        Ok(Self {
            console: handles.console_socket.as_ref().map(connect).transpose()?,
            pidfd: handles.pidfd_socket.as_ref().map(connect).transpose()?,
        })
    }

    /// Sends what is waited for.
    pub(super) fn hand_over(
        &self,
        master: Option<BorrowedFd<'_>>,
        pidfd: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        if let (Some(socket), Some(master)) = (&self.console, master) {
            send(socket, master, MASTER)?;
        }
        self.pidfd.as_ref().map_or(Ok(()), |socket| send(socket, pidfd, PIDFD))
    }

    /// Whether the terminal is somebody else's.
    pub(super) const fn takes_terminal(&self) -> bool {
        self.console.is_some()
    }
}

fn send(socket: &UnixStream, fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Fault> {
    let sent = sys::fdpass::send(socket, name, &[fd]);
    let failed = |errno| Fault::Call("send a descriptor", errno);
    sent.map(drop).map_err(|error| failed(error.errno().unwrap_or(Errno::IO)))
}

/// Writes a process id where an engine looks for it, whole or not at all.
pub(super) fn write_pid(path: Option<&Path>, pid: i32) -> Result<(), Fault> {
    let Some(path) = path else { return Ok(()) };
    let staged = path.with_added_extension("new");
    fs::write(&staged, pid.to_string()).map_err(Fault::file("write", &staged))?;
    fs::rename(&staged, path).map_err(Fault::file("write", path))
}
