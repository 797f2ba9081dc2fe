//! Servers on other machines: the ways to them that the command line is given.

mod ssh;
mod tcp;

use cli::Remote;
use docker_api::Transport;

/// The way to a server. What it takes to speak with it is read at once.
pub(crate) fn reach(remote: &Remote) -> anyhow::Result<Transport> {
    match remote {
        Remote::Tcp(host) => tcp::transport(host),
        Remote::Ssh(host) => Ok(ssh::transport(host)),
    }
}
