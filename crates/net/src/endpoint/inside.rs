//! A namespace that is in use, and a way to speak to the kernel in it: one for all that a change does there.
//!
//! A socket belongs to the namespace in which it was opened, which takes a thread of its own each time.

use std::os::fd::OwnedFd;

use super::EndpointError;
use crate::netlink::Socket;

/// A namespace that is in use.
#[derive(Debug)]
pub struct Inside<'a> {
    netns: &'a OwnedFd,
    socket: Socket,
}

impl<'a> Inside<'a> {
    /// Opens the way there.
    ///
    /// # Errors
    /// The namespace cannot be entered, or there is no socket.
    pub fn of(netns: &'a OwnedFd) -> Result<Self, EndpointError> {
        let socket = sys::netns::run_in(netns, Socket::route)?.map_err(EndpointError::Socket)?;
        Ok(Self { netns, socket })
    }

    pub(super) const fn netns(&self) -> &OwnedFd {
        self.netns
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }
}
