//! Who decides on the calls that a filter asks about: an agent at a Unix socket.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::Pid;
use serde_json::{Value, json};
use sys::Errno;

use crate::error::LaunchError;

/// An agent, and what it is told of the container.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its socket, as the host sees it.
    pub path: PathBuf,
    /// What it is told for its own use.
    pub metadata: String,
    /// The container's state (runtime.md of the specification, "State").
    pub state: Value,
}

impl Listener {
    /// Sends the descriptor with the state of the process that is asked about (config-linux.md, "The Container
    /// Process State").
    pub(crate) fn hand_over(&self, fd: &OwnedFd, pid: Pid) -> Result<(), LaunchError> {
        let agent = format!("seccomp agent {}", self.path.display());
        // runc's words, which engines pass on.
        let lost = LaunchError::prepare("failed to connect with", &agent);
        let failed = LaunchError::prepare("send the seccomp descriptor to", &agent);
        let message = json!({
            "ociVersion": self.state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid.as_raw_nonzero().get(),
            "metadata": self.metadata,
            "state": self.state,
        });
        let socket = UnixStream::connect(&self.path)
            .map_err(|error| lost(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let bytes = message.to_string().into_bytes();
        match sys::fdpass::send(&socket, &bytes, &[fd.as_fd()]) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(failed(Errno::MSGSIZE)),
            Err(error) => Err(failed(error.errno().unwrap_or(Errno::IO))),
        }
    }
}
