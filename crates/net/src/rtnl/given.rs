//! What a bridge is given and gives back: an address, and the local route to `::1`.

use std::net::Ipv6Addr;

use super::{
    DELADDR, DELROUTE, IFA_ADDRESS, IFA_LOCAL, LATE, NEWROUTE, PROTOCOL_BOOT, RTA_DST, RTA_OIF,
    RTA_PRIORITY, TABLE_LOCAL, TYPE_LOCAL,
};
use crate::address::{Cidr, Family, octets};
use crate::netlink::{Batch, Head, flag};

/// Takes an address away.
pub(crate) fn delete_address(batch: &mut Batch, index: u32, cidr: Cidr) {
    let head = Head { kind: DELADDR, flags: flag::ACK, step: "take an address away" };
    let [a, b, c, d] = index.to_ne_bytes();
    let header = [cidr.family().number(), cidr.prefix(), 0, 0, a, b, c, d];
    batch.message(head, &header, |w| {
        let bytes = octets(cidr.address());
        w.bytes(IFA_LOCAL, &bytes);
        w.bytes(IFA_ADDRESS, &bytes);
    });
}

/// Lets packets that are rewritten to `::1` after they came in by this link be taken for local.
///
/// This does for IPv6 what `route_localnet` does for IPv4. The kernel looks for a route to `::1`
/// only at the link that a packet came in by (`rt6_need_strict`), and has one at `lo` alone.
/// Packets that arrive with the destination `::1` are still dropped before any routing.
pub(crate) fn add_loopback_route(batch: &mut Batch, index: u32) {
    // Each bridge has one; `EXCL` would take that of another for its own.
    let flags = flag::ACK | flag::CREATE;
    loopback_route(batch, Head { kind: NEWROUTE, flags, step: "add a local route to ::1" }, index);
}

/// Takes it away.
pub(crate) fn delete_loopback_route(batch: &mut Batch, index: u32) {
    let step = "take a local route to ::1 away";
    loopback_route(batch, Head { kind: DELROUTE, flags: flag::ACK, step }, index);
}

fn loopback_route(batch: &mut Batch, head: Head, index: u32) {
    let (family, bits) = (Family::V6.number(), Family::V6.bits());
    let header = [family, bits, 0, 0, TABLE_LOCAL, PROTOCOL_BOOT, 0, TYPE_LOCAL, 0, 0, 0, 0];
    batch.message(head, &header, |w| {
        w.bytes(RTA_DST, &Ipv6Addr::LOCALHOST.octets());
        w.native_u32(RTA_OIF, index);
        w.native_u32(RTA_PRIORITY, LATE);
    });
}
