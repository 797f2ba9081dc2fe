//! Forgets flows that were decided before a port was published or taken back.
//!
//! The kernel applies NAT to the first packet of a flow and remembers. A sender of UDP that never
//! pauses keeps its old flow alive for ever: to nobody if it began before the port was published,
//! to a former container's address after it was taken back, which may be another container's by
//! then. TCP needs none of this: a new connection is a new flow.

use std::net::SocketAddr;

use model::port::Protocol;

use crate::address::{Family, from_octets};
use crate::netlink::{
    Answer, Attribute, Attributes, Batch, Head, NetlinkError, Socket, Writer, flag,
};
use crate::nft::{PortRule, protocol_number};

const SUBSYSTEM: u16 = 1;
const GET: u16 = (SUBSYSTEM << 8) | 1;
const DELETE: u16 = (SUBSYSTEM << 8) | 2;
/// `nfgenmsg`: family, version, resource.
const HEADER: usize = 4;

const TUPLE_ORIGINAL: u16 = 1;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_DESTINATION_V4: u16 = 2;
const IP_DESTINATION_V6: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
const FILTER_ORIGINAL_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// The kernel compares protocol number and destination port only.
const FILTER_PROTOCOL_AND_PORT: u32 = (1 << 3) | (1 << 5);
/// Above this many ports, one look at all flows is cheaper than one filtered look for each.
const FILTERED: usize = 8;

/// Forgets the UDP flows to the hosts' sides of these rules.
///
/// Called after publishing (what came before was not rewritten) and after taking back (what was
/// rewritten must not stay so).
///
/// # Errors
/// If the kernel refuses; flows that end by themselves meanwhile are no error.
pub fn forget_flows(rules: &[PortRule]) -> Result<(), NetlinkError> {
    for family in [Family::V4, Family::V6] {
        let udp = |rule: &&PortRule| rule.protocol == Protocol::Udp && rule.family() == family;
        let sides: Vec<SocketAddr> = rules.iter().filter(udp).map(|rule| rule.host).collect();
        if !sides.is_empty() {
            forget(family, &sides)?;
        }
    }
    Ok(())
}

fn forget(family: Family, sides: &[SocketAddr]) -> Result<(), NetlinkError> {
    let socket = Socket::netfilter()?;
    let mut ports: Vec<u16> = sides.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut doomed = Vec::new();
    if ports.len() > FILTERED {
        doomed = list(&socket, family, None)?;
    } else {
        for port in ports {
            doomed.extend(list(&socket, family, Some(port))?);
        }
    }
    doomed.retain(|answer| is_to(answer, sides));
    if doomed.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for answer in &doomed {
        write_delete(&mut batch, family, answer);
    }
    let refused = socket.execute_all(batch)?;
    let gone = |error: &NetlinkError| error.refusal() == Some(sys::Errno::NOENT);
    refused.into_iter().map(|(_, error)| error).find(|error| !gone(error)).map_or(Ok(()), Err)
}

/// The UDP flows of a family, as far as the kernel can filter them: to one port. Kernels before
/// 5.8 list all, so what is listed is looked at again.
fn list(socket: &Socket, family: Family, port: Option<u16>) -> Result<Vec<Answer>, NetlinkError> {
    let head = Head { kind: GET, flags: flag::DUMP, step: "list flows" };
    socket.list(|| {
        Batch::of(head, &[family.number(), 0, 0, 0], |w| {
            if let Some(port) = port {
                write_filter(w, port);
            }
        })
    })
}

fn write_filter(w: &mut Writer, port: u16) {
    w.nest(TUPLE_ORIGINAL, |w| {
        w.nest(TUPLE_PROTOCOL, |w| {
            w.bytes(PROTOCOL_NUMBER, &[protocol_number(Protocol::Udp)]);
            w.bytes(PROTOCOL_DESTINATION_PORT, &port.to_be_bytes());
        });
    });
    w.nest(FILTER, |w| {
        w.native_u32(FILTER_ORIGINAL_FLAGS, FILTER_PROTOCOL_AND_PORT);
        w.native_u32(FILTER_REPLY_FLAGS, 0);
    });
}

/// Deletes the very flow that was listed: its id tells it from a later one between the same ends.
fn write_delete(batch: &mut Batch, family: Family, answer: &Answer) {
    let head = Head { kind: DELETE, flags: flag::ACK, step: "forget a flow" };
    let attributes = Attributes::after(&answer.payload, HEADER);
    batch.message(head, &[family.number(), 0, 0, 0], |w| {
        for kind in [TUPLE_ORIGINAL, ZONE, ID] {
            if let Some(attribute) = attributes.find(kind) {
                copy(w, kind, attribute);
            }
        }
    });
}

fn copy(w: &mut Writer, kind: u16, attribute: Attribute<'_>) {
    if kind != TUPLE_ORIGINAL {
        return w.bytes(kind, attribute.value);
    }
    w.nest(kind, |w| attribute.nested().for_each(|part| copy_part(w, part)));
}

fn copy_part(w: &mut Writer, part: Attribute<'_>) {
    w.nest(part.kind, |w| part.nested().for_each(|leaf| w.bytes(leaf.kind, leaf.value)));
}

/// Whether a listed flow is a UDP flow to one of the sides.
fn is_to(answer: &Answer, sides: &[SocketAddr]) -> bool {
    destination(answer).is_some_and(|to| {
        sides.iter().any(|side| {
            side.port() == to.port() && (side.ip().is_unspecified() || side.ip() == to.ip())
        })
    })
}

fn destination(answer: &Answer) -> Option<SocketAddr> {
    let attributes = Attributes::after(&answer.payload, HEADER);
    let tuple = attributes.find(TUPLE_ORIGINAL)?.nested();
    let protocol = tuple.find(TUPLE_PROTOCOL)?.nested();
    if protocol.find(PROTOCOL_NUMBER)?.value != [protocol_number(Protocol::Udp)] {
        return None;
    }
    let port = protocol.find(PROTOCOL_DESTINATION_PORT)?.value.first_chunk()?;
    let ip = tuple.find(TUPLE_IP)?.nested();
    let address = ip.find(IP_DESTINATION_V4).or_else(|| ip.find(IP_DESTINATION_V6))?;
    Some(SocketAddr::new(from_octets(address.value)?, u16::from_be_bytes(*port)))
}
