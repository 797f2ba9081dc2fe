//! Forgets flows that were decided before a port was published or taken back.
//!
//! The kernel applies NAT to the first packet of a flow and remembers. A sender of UDP that never
//! pauses keeps its old flow alive for ever: to nobody if it began before the port was published,
//! to a former container's address after it was taken back, which may be another container's by
//! then. TCP needs none of this: a new connection is a new flow.
//!
//! Flows are chosen by who answers them, so none is touched that only has the port's number.

use std::net::{IpAddr, SocketAddr};

use model::port::Protocol;

use crate::address::{Family, from_octets, octets};
use crate::netlink::{
    Answer, Attribute, Attributes, Batch, Head, NetlinkError, Socket, Writer, flag,
};
use crate::nft::{PortRule, protocol_number};
use crate::rtnl;

const SUBSYSTEM: u16 = 1;
const GET: u16 = (SUBSYSTEM << 8) | 1;
const DELETE: u16 = (SUBSYSTEM << 8) | 2;
/// `nfgenmsg`: family, version, resource.
const HEADER: usize = 4;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE_V4: u16 = 1;
const IP_SOURCE_V6: u16 = 3;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const FILTER_ORIGINAL_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// The kernel compares source address, protocol and source port.
const FILTER_SOURCE: u32 = 1 | (1 << 3) | (1 << 4);
/// Each filtered deletion looks at the whole table (1.5 ms for 262144 buckets). From this many on
/// it is cheaper to list the table once, for which the kernel locks each bucket (14 ms).
const ONE_BY_ONE: usize = 10;

/// Ports of one address, from its own to the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Side {
    first: SocketAddr,
    last: u16,
}

impl Side {
    fn has(&self, place: SocketAddr) -> bool {
        self.first.ip() == place.ip() && (self.first.port()..=self.last).contains(&place.port())
    }
}

/// Forgets flows that the host itself would answer at the host's sides of these rules, where
/// nobody listens: senders that tried before the port was published.
pub(crate) fn to_host(socket: &Socket, rules: &[PortRule]) -> Result<(), NetlinkError> {
    let is_met = |rule: &&PortRule| rule.protocol == Protocol::Udp && !rule.is_direct();
    let udp = rules.iter().filter(is_met);
    let sides: Vec<Side> =
        udp.map(|rule| Side { first: rule.host, last: rule.last(rule.host) }).collect();
    if sides.is_empty() {
        return Ok(());
    }
    let own = own_addresses()?;
    let mut answering = Vec::new();
    for side in sides {
        if !side.first.ip().is_unspecified() {
            answering.push(side);
            continue;
        }
        let of_family = own.iter().filter(|own| own.is_ipv4() == side.first.is_ipv4());
        let at = |own: &IpAddr| Side { first: SocketAddr::new(*own, side.first.port()), ..side };
        answering.extend(of_family.map(at));
    }
    forget(socket, &answering, &[])
}

/// The addresses at which this host is reached from elsewhere: link-local senders never get
/// through to a container.
fn own_addresses() -> Result<Vec<IpAddr>, NetlinkError> {
    let all = rtnl::list_addresses(&Socket::route()?)?.into_iter().map(|(_, cidr)| cidr.address());
    Ok(all.filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())).collect())
}

/// Forgets flows that were rewritten to the containers' sides of these rules, and to none of those that stay.
pub(crate) fn to_containers(
    socket: &Socket,
    rules: &[PortRule],
    staying: &[PortRule],
) -> Result<(), NetlinkError> {
    let sides = |rules: &[PortRule]| -> Vec<Side> {
        let udp = rules.iter().filter(|rule| rule.protocol == Protocol::Udp);
        udp.map(|rule| Side { first: rule.container, last: rule.last(rule.container) }).collect()
    };
    forget(socket, &sides(rules), &sides(staying))
}

/// Forgets the UDP flows that are answered from these places, and from none of the others.
fn forget(socket: &Socket, answering: &[Side], but: &[Side]) -> Result<(), NetlinkError> {
    for family in [Family::V4, Family::V6] {
        let of_family = |side: &&Side| Family::of(side.first.ip()) == family;
        let answering: Vec<Side> = answering.iter().filter(of_family).copied().collect();
        // The kernel's own filter knows single ports.
        let single = |side: &Side| {
            side.last == side.first.port() && !but.iter().any(|but| but.has(side.first))
        };
        let one_by_one = answering.len() < ONE_BY_ONE && answering.iter().all(single);
        if answering.is_empty() || (one_by_one && delete_filtered(socket, family, &answering)?) {
            continue;
        }
        let is_meant = |place: SocketAddr| {
            let has = |sides: &[Side]| sides.iter().any(|side| side.has(place));
            has(&answering) && !has(but)
        };
        delete_listed(socket, family, is_meant)?;
    }
    Ok(())
}

/// `false` if the kernel cannot: older ones take the filter for the whole name of a flow, which
/// lacks an address.
fn delete_filtered(
    socket: &Socket,
    family: Family,
    answering: &[Side],
) -> Result<bool, NetlinkError> {
    let head = Head { kind: DELETE, flags: flag::ACK, step: "forget flows" };
    let mut batch = Batch::default();
    for side in answering {
        batch.message(head, &[family.number(), 0, 0, 0], |w| write_filter(w, side.first));
    }
    match socket.execute(batch) {
        Ok(()) => Ok(true),
        Err(error) if unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn unsupported(error: &NetlinkError) -> bool {
    matches!(error.refusal(), Some(sys::Errno::INVAL | sys::Errno::OPNOTSUPP))
}

fn write_filter(w: &mut Writer, side: SocketAddr) {
    let address = if side.is_ipv4() { IP_SOURCE_V4 } else { IP_SOURCE_V6 };
    w.nest(TUPLE_REPLY, |w| {
        w.nest(TUPLE_IP, |w| w.bytes(address, &octets(side.ip())));
        w.nest(TUPLE_PROTOCOL, |w| {
            w.bytes(PROTOCOL_NUMBER, &[protocol_number(Protocol::Udp)]);
            w.bytes(PROTOCOL_SOURCE_PORT, &side.port().to_be_bytes());
        });
    });
    w.nest(FILTER, |w| {
        w.native_u32(FILTER_ORIGINAL_FLAGS, 0);
        w.native_u32(FILTER_REPLY_FLAGS, FILTER_SOURCE);
    });
}

/// Lists all flows of the family and deletes those that are meant.
fn delete_listed(
    socket: &Socket,
    family: Family,
    is_meant: impl Fn(SocketAddr) -> bool,
) -> Result<(), NetlinkError> {
    let head = Head { kind: GET, flags: flag::DUMP, step: "list flows" };
    let mut flows = socket.list(|| Batch::of(head, &[family.number(), 0, 0, 0], |_| {}))?;
    flows.retain(|flow| answerer(flow).is_some_and(&is_meant));
    if flows.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    flows.iter().for_each(|flow| write_delete(&mut batch, family, flow));
    let refused = socket.execute_all(batch)?;
    let gone = |error: &NetlinkError| error.refusal() == Some(sys::Errno::NOENT);
    refused.into_iter().map(|(_, error)| error).find(|error| !gone(error)).map_or(Ok(()), Err)
}

/// Deletes the very flow that was listed: its id tells it from a later one between the same ends.
fn write_delete(batch: &mut Batch, family: Family, flow: &Answer) {
    let head = Head { kind: DELETE, flags: flag::ACK, step: "forget a flow" };
    let attributes = Attributes::after(&flow.payload, HEADER);
    batch.message(head, &[family.number(), 0, 0, 0], |w| {
        for kind in [TUPLE_ORIGINAL, ZONE, ID] {
            if let Some(attribute) = attributes.find(kind) {
                copy(w, attribute);
            }
        }
    });
}

fn copy(w: &mut Writer, attribute: Attribute<'_>) {
    if attribute.kind != TUPLE_ORIGINAL {
        return w.bytes(attribute.kind, attribute.value);
    }
    w.nest(attribute.kind, |w| attribute.nested().for_each(|part| copy_part(w, part)));
}

fn copy_part(w: &mut Writer, part: Attribute<'_>) {
    w.nest(part.kind, |w| part.nested().for_each(|leaf| w.bytes(leaf.kind, leaf.value)));
}

/// Who answers a listed UDP flow.
fn answerer(flow: &Answer) -> Option<SocketAddr> {
    let tuple = Attributes::after(&flow.payload, HEADER).find(TUPLE_REPLY)?.nested();
    let protocol = tuple.find(TUPLE_PROTOCOL)?.nested();
    if protocol.find(PROTOCOL_NUMBER)?.value != [protocol_number(Protocol::Udp)] {
        return None;
    }
    let port = protocol.find(PROTOCOL_SOURCE_PORT)?.value.first_chunk()?;
    let ip = tuple.find(TUPLE_IP)?.nested();
    let address = ip.find(IP_SOURCE_V4).or_else(|| ip.find(IP_SOURCE_V6))?;
    Some(SocketAddr::new(from_octets(address.value)?, u16::from_be_bytes(*port)))
}
