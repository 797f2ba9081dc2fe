//! Which ports the kernel's sockets have, asked for all at once.
//!
//! A range is not reserved by sockets of its own, so whoever has one of its ports already has to be looked for.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use model::port::Protocol;
use rustix::net::getsockname;

use super::bind_one;
use crate::address::Family;
use crate::netlink::{Batch, Head, NetlinkError, Socket, flag};
use crate::nft::protocol_number;

const BY_FAMILY: u16 = 20;
/// `inet_diag_req_v2`: family, protocol, extensions, padding, states, and an `inet_diag_sockid` of 48 bytes.
const REQUEST: usize = 8 + 48;
/// Where `inet_diag_msg` has the port of its own side, in network order.
const OWN_PORT: usize = 4;
/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` are no sockets that keep anybody from a port.
const REMAINS: u32 = (1 << 6) | (1 << 12);

/// The ports that sockets of a protocol have, at whatever address; `None` if the kernel does not tell all of them:
/// those of TCP that are bound and nothing else it does from 6.8 on.
pub(super) fn ports_in_use(protocol: Protocol) -> Option<BTreeSet<u16>> {
    // One such, to see whether it is told.
    let probe = bind_one(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), protocol).ok()??;
    let probed = SocketAddr::try_from(getsockname(&probe).ok()?).ok()?.port();
    let mut ports = list(protocol).ok()?;
    // Nothing else has its port.
    ports.remove(&probed).then_some(ports)
}

fn list(protocol: Protocol) -> Result<BTreeSet<u16>, NetlinkError> {
    let socket = Socket::diagnosis()?;
    let mut ports = BTreeSet::new();
    for family in [Family::V4, Family::V6] {
        let head = Head { kind: BY_FAMILY, flags: flag::DUMP, step: "list sockets" };
        let answers = socket.list(|| Batch::of(head, &request(family, protocol), |_| {}))?;
        let port =
            |payload: &[u8]| Some(u16::from_be_bytes(*payload.get(OWN_PORT..)?.first_chunk()?));
        ports.extend(answers.iter().filter_map(|answer| port(&answer.payload)));
    }
    Ok(ports)
}

fn request(family: Family, protocol: Protocol) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    let [a, b, c, d] = (!REMAINS).to_ne_bytes();
    let head = [family.number(), protocol_number(protocol), 0, 0, a, b, c, d];
    bytes.iter_mut().zip(head).for_each(|(byte, value)| *byte = value);
    bytes
}
