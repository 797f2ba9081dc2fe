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
        let failed = LaunchError::prepare("send the seccomp descriptor to", self.path.display());
        let message = json!({
            "ociVersion": self.state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid.as_raw_nonzero().get(),
            "metadata": self.metadata,
            "state": self.state,
        });
        let connected = UnixStream::connect(&self.path)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let sent = connected.and_then(|socket| {
            let bytes = message.to_string().into_bytes();
            let sent = sys::fdpass::send(&socket, &bytes, &[fd.as_fd()]);
            let sent = sent.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
            if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
        });
        sent.map_err(failed)
    }
}
