//! Where a container asks: sockets at 127.0.0.11 in its own namespace.
//!
//! A container may run a DNS server of its own at port 53 of all addresses, which the kernel would refuse it beside
//! ours. So ours have ports that the kernel chooses, as Docker's, and what is sent to port 53 is rewritten.

use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use sys::Errno;

use super::{ADDRESS, PORT};
use crate::netlink::{NetlinkError, Socket};
use crate::nft::redirect::{self, Redirect};

/// The table in the container's namespace.
const TABLE: &str = "dhow_dns";
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 64;

/// Why a container cannot ask for names.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// Its namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] sys::netns::NetnsError),
    /// A socket.
    #[error("listen for questions at {ADDRESS}")]
    Listen(#[source] Errno),
    /// The rules that lead to it.
    #[error("lead port {PORT} of {ADDRESS} to the resolver")]
    Redirect(#[source] NetlinkError),
}

/// Where a container's questions come in.
#[derive(Debug)]
pub struct Sockets {
    /// Single packets.
    pub udp: OwnedFd,
    /// It listens.
    pub tcp: OwnedFd,
}

/// Makes the sockets in a namespace whose loopback link is up, and leads port 53 there.
///
/// # Errors
/// See [`SocketsError`].
pub fn open(netns: impl AsFd) -> Result<Sockets, SocketsError> {
    sys::netns::run_in(netns, || {
        let udp = bound(SocketType::DGRAM).map_err(SocketsError::Listen)?;
        let tcp = bound(SocketType::STREAM).map_err(SocketsError::Listen)?;
        listen(&tcp.0, BACKLOG).map_err(SocketsError::Listen)?;
        let known = PORT;
        let redirects = [
            Redirect { protocol: 17, checksum: 6, known, real: udp.1 },
            Redirect { protocol: 6, checksum: 16, known, real: tcp.1 },
        ];
        let socket = Socket::netfilter().map_err(SocketsError::Redirect)?;
        redirect::add(&socket, TABLE, ADDRESS, &redirects).map_err(SocketsError::Redirect)?;
        Ok(Sockets { udp: udp.0, tcp: tcp.0 })
    })?
}

/// The same in a namespace where somebody may have begun with it and was killed.
///
/// # Errors
/// See [`SocketsError`].
pub fn open_again(netns: impl AsFd) -> Result<Sockets, SocketsError> {
    let remove = || Socket::netfilter().and_then(|socket| redirect::remove(&socket, TABLE));
    sys::netns::run_in(&netns, remove)?.map_err(SocketsError::Redirect)?;
    open(netns)
}

fn bound(kind: SocketType) -> Result<(OwnedFd, u16), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    bind(&socket, &SocketAddrV4::new(ADDRESS, 0))?;
    let address = getsockname(&socket).and_then(SocketAddrV4::try_from)?;
    Ok((socket, address.port()))
}
