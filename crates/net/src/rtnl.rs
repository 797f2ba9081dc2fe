//! The messages of route netlink that this crate sends, and what it reads of the answers.
//!
//! Owns numbers and layouts (`linux/rtnetlink.h`, `if_link.h`, `if_addr.h`, `neighbour.h`) and
//! nothing of when a message is sent.

mod given;
pub(crate) mod stacked;
mod way;

use std::net::IpAddr;

use crate::address::{Cidr, Family, LinkName, Mac, Subnet, from_octets, octets};
use crate::netlink::{
    Answer, Attributes, Batch, Head, NetlinkError, Socket, Writer, flag, native_u32,
};

pub(crate) use given::{add_loopback_route, delete_address, delete_loopback_route};
pub use way::Way;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
/// Counters are half of what the kernel says of a link.
const WITHOUT_COUNTERS: u32 = 1 << 3;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const DEVCONF_ARP_NOTIFY: u16 = 22;
const DEVCONF_FORWARDING: usize = 1;
const DEVCONF_ROUTE_LOCALNET: usize = 26;
const DEVCONF6_FORWARDING: usize = 0;
const IFF_UP: u32 = 1;
const LINK_HEADER: usize = 16;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const ADDRESS_HEADER: usize = 8;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
const PROTOCOL_BOOT: u8 = 3;
const TYPE_UNICAST: u8 = 1;
const TYPE_LOCAL: u8 = 2;
const SCOPE_LINK: u8 = 253;
/// Behind the kernel's own routes, which have 0.
const LATE: u32 = 2048;
const ROUTE_HEADER: usize = 12;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
const TO_TABLE: u8 = 1;
/// Behind those of the main table and of the default one (32766 and 32767).
const LAST: u32 = 32800;
const ONLINK: u32 = 4;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const STATE_STALE: u16 = 4;

/// `ifinfomsg`: index, flags, and which of the flags count.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    let fields = [index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()];
    for (to, from) in header.iter_mut().skip(4).zip(fields.iter().flatten()) {
        *to = *from;
    }
    header
}

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) kind: String,
    pub(crate) alias: String,
    pub(crate) master: Option<u32>,
    pub(crate) group: u32,
    pub(crate) mac: Option<Mac>,
    pub(crate) forwards_v4: bool,
    /// `None` if the link has no IPv6.
    pub(crate) forwards_v6: Option<bool>,
    pub(crate) route_localnet: bool,
}

impl Link {
    fn parse(answer: &Answer) -> Option<Self> {
        let payload = answer.payload.as_slice();
        let attributes = Attributes::after(payload, LINK_HEADER);
        let text = |kind| Some(attributes.find(kind)?.text()?.to_owned());
        let number = |kind| native_u32(attributes.find(kind)?.value);
        let kind = attributes.find_in(IFLA_LINKINFO, IFLA_INFO_KIND);
        let conf = |family: Family, conf: u16, place: usize| {
            let spec = attributes.find(IFLA_AF_SPEC)?.nested();
            let conf = spec.find_in(family.number().into(), conf)?.value;
            native_u32(conf.get(place * 4..)?)
        };
        // The array of IPv4 starts at number 1.
        let v4 = |place| conf(Family::V4, IFLA_INET_CONF, place - 1) == Some(1);
        let v6 = conf(Family::V6, IFLA_INET6_CONF, DEVCONF6_FORWARDING);
        Some(Self {
            index: native_u32(payload.get(4..)?)?,
            name: text(IFLA_IFNAME)?,
            up: native_u32(payload.get(8..)?)? & IFF_UP != 0,
            kind: kind.and_then(|kind| kind.text()).unwrap_or_default().to_owned(),
            alias: text(IFLA_IFALIAS).unwrap_or_default(),
            master: number(IFLA_MASTER),
            group: number(IFLA_GROUP).unwrap_or(0),
            mac: attributes
                .find(IFLA_ADDRESS)
                .and_then(|mac| Some(Mac::from_octets(mac.value.try_into().ok()?))),
            forwards_v4: v4(DEVCONF_FORWARDING),
            forwards_v6: v6.map(|value| value == 1),
            route_localnet: v4(DEVCONF_ROUTE_LOCALNET),
        })
    }
}

/// The link of this name.
pub(crate) fn find_link(socket: &Socket, name: &LinkName) -> Result<Option<Link>, NetlinkError> {
    let head = Head { kind: GETLINK, flags: 0, step: "look up a link" };
    let batch = Batch::of(head, &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, name.as_str());
        w.native_u32(IFLA_EXT_MASK, WITHOUT_COUNTERS);
    });
    let answers = socket.get(batch)?;
    Ok(answers.iter().flatten().find_map(Link::parse))
}

/// Makes the kernel act on carriers that came up a moment ago: first of a port, then of its bridge,
/// which has one if any port has.
///
/// It does so in a work queue otherwise, and until then drops what is sent by these links. Before it
/// answers a question for a link, a recent kernel catches up for that link (seen with 6.18).
pub(crate) fn settle(socket: &Socket, port: &LinkName, bridge: u32) -> Result<(), NetlinkError> {
    let head = Head { kind: GETLINK, flags: 0, step: "look up a link" };
    let mask = |w: &mut Writer| w.native_u32(IFLA_EXT_MASK, WITHOUT_COUNTERS);
    let mut batch = Batch::of(head, &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, port.as_str());
        mask(w);
    });
    batch.message(head, &link_header(bridge, 0, 0), mask);
    socket.get(batch).map(|_| ())
}

/// All links.
pub(crate) fn list_links(socket: &Socket) -> Result<Vec<Link>, NetlinkError> {
    let head = Head { kind: GETLINK, flags: flag::DUMP, step: "list links" };
    let answers = socket.list(|| {
        let mask = |w: &mut Writer| w.native_u32(IFLA_EXT_MASK, WITHOUT_COUNTERS);
        Batch::of(head, &link_header(0, 0, 0), mask)
    })?;
    Ok(answers.iter().filter_map(Link::parse).collect())
}

/// Adds a bridge, down, of this MTU and in this group.
pub(crate) fn add_bridge(
    batch: &mut Batch,
    name: &LinkName,
    mac: Mac,
    (mtu, group): (Option<u32>, u32),
) {
    let head = create("add a bridge");
    batch.message(head, &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, name.as_str());
        w.bytes(IFLA_ADDRESS, &mac.octets());
        w.native_u32(IFLA_GROUP, group);
        write_mtu(w, mtu);
        w.nest(IFLA_LINKINFO, |w| w.text(IFLA_INFO_KIND, "bridge"));
    });
}

const fn create(step: &'static str) -> Head {
    Head { kind: NEWLINK, flags: flag::ACK | flag::CREATE | flag::EXCL, step }
}

/// What a veth pair is made of.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    pub(crate) host: &'a LinkName,
    pub(crate) bridge: u32,
    pub(crate) group: u32,
    pub(crate) inside: &'a LinkName,
    pub(crate) netns: u32,
    pub(crate) mac: Mac,
    pub(crate) mtu: Option<u32>,
}

/// Adds a veth pair: the host's side up and in the bridge, its peer down in the other namespace,
/// under its final name and address (the kernel takes no peer that is up).
pub(crate) fn add_veth(batch: &mut Batch, pair: &VethPair<'_>) {
    let peer = |w: &mut Writer| {
        w.raw(&link_header(0, 0, 0));
        w.text(IFLA_IFNAME, pair.inside.as_str());
        w.native_u32(IFLA_NET_NS_FD, pair.netns);
        w.bytes(IFLA_ADDRESS, &pair.mac.octets());
        write_mtu(w, pair.mtu);
    };
    batch.message(create("add a veth pair"), &link_header(0, IFF_UP, IFF_UP), |w| {
        w.text(IFLA_IFNAME, pair.host.as_str());
        w.native_u32(IFLA_MASTER, pair.bridge);
        w.native_u32(IFLA_GROUP, pair.group);
        write_mtu(w, pair.mtu);
        w.nest(IFLA_LINKINFO, |w| {
            w.text(IFLA_INFO_KIND, "veth");
            w.nest(IFLA_INFO_DATA, |w| w.nest(VETH_INFO_PEER, peer));
        });
    });
}

fn write_mtu(w: &mut Writer, mtu: Option<u32>) {
    if let Some(mtu) = mtu {
        w.native_u32(IFLA_MTU, mtu);
    }
}

/// Lets a bridge port send back what came in by it.
pub(crate) fn set_hairpin(batch: &mut Batch, port: &LinkName) {
    set_port(batch, port, IFLA_BRPORT_MODE, "set a bridge port to hairpin");
}

/// Keeps a bridge port apart from others that are kept apart (Linux 4.18): the bridge passes nothing
/// between them.
pub(crate) fn set_isolated(batch: &mut Batch, port: &LinkName) {
    set_port(batch, port, IFLA_BRPORT_ISOLATED, "isolate a bridge port");
}

/// Turns a property of a bridge port on.
fn set_port(batch: &mut Batch, port: &LinkName, property: u16, step: &'static str) {
    let head = Head { kind: NEWLINK, flags: flag::ACK, step };
    batch.message(head, &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, port.as_str());
        w.nest(IFLA_LINKINFO, |w| {
            w.text(IFLA_INFO_SLAVE_KIND, "bridge");
            w.nest(IFLA_INFO_SLAVE_DATA, |w| w.bytes(property, &[1]));
        });
    });
}

/// Sets a link up.
pub(crate) fn set_up(batch: &mut Batch, index: u32) {
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "set a link up" };
    batch.message(head, &link_header(index, IFF_UP, IFF_UP), |_| {});
}

/// Sets the text that `ip link` shows as alias.
pub(crate) fn set_alias(batch: &mut Batch, index: u32, alias: &str) {
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "set the alias of a link" };
    batch.message(head, &link_header(index, 0, 0), |w| w.bytes(IFLA_IFALIAS, alias.as_bytes()));
}

/// Has the kernel announce changes of the link's addresses by gratuitous ARP.
pub(crate) fn set_arp_notify(batch: &mut Batch, index: u32) {
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "set arp_notify" };
    batch.message(head, &link_header(index, 0, 0), |w| {
        w.nest(IFLA_AF_SPEC, |w| {
            w.nest(Family::V4.number().into(), |w| {
                w.nest(IFLA_INET_CONF, |w| w.native_u32(DEVCONF_ARP_NOTIFY, 1));
            });
        });
    });
}

/// Sets the hardware address; the kernel tells the neighbours, even if it is the same.
pub(crate) fn set_mac(batch: &mut Batch, index: u32, mac: Mac) {
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "announce a hardware address" };
    batch.message(head, &link_header(index, 0, 0), |w| w.bytes(IFLA_ADDRESS, &mac.octets()));
}

/// Moves a link to a group.
pub(crate) fn set_group(batch: &mut Batch, link: &LinkName, group: u32) {
    let head = Head { kind: SETLINK, flags: flag::ACK, step: "move a link to a group" };
    batch.message(head, &link_header(0, 0, 0), |w| {
        w.text(IFLA_IFNAME, link.as_str());
        w.native_u32(IFLA_GROUP, group);
    });
}

/// Deletes all links of a group at once.
pub(crate) fn delete_group(batch: &mut Batch, group: u32) {
    let head = Head { kind: DELLINK, flags: flag::ACK, step: "delete a group of links" };
    batch.message(head, &link_header(0, 0, 0), |w| w.native_u32(IFLA_GROUP, group));
}

/// Deletes one link.
pub(crate) fn delete_link(batch: &mut Batch, index: u32) {
    let head = Head { kind: DELLINK, flags: flag::ACK, step: "delete a link" };
    batch.message(head, &link_header(index, 0, 0), |_| {});
}

/// Adds an address. IPv6 without duplicate detection, which would keep it tentative for a second;
/// the address is unique because we gave it out.
pub(crate) fn add_address(batch: &mut Batch, index: u32, cidr: Cidr) {
    let flags = flag::ACK | flag::CREATE | flag::EXCL;
    let head = Head { kind: NEWADDR, flags, step: "add an address" };
    let [a, b, c, d] = index.to_ne_bytes();
    let header = [cidr.family().number(), cidr.prefix(), 0, 0, a, b, c, d];
    batch.message(head, &header, |w| {
        let bytes = octets(cidr.address());
        w.bytes(IFA_LOCAL, &bytes);
        w.bytes(IFA_ADDRESS, &bytes);
        if cidr.family() == Family::V6 {
            w.native_u32(IFA_FLAGS, IFA_F_NODAD);
        }
    });
}

/// Adds a default route.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, way: Way) {
    let flags = flag::ACK | flag::CREATE;
    default_route(batch, Head { kind: NEWROUTE, flags, step: "add a default route" }, (index, way));
}

/// The same in place of the one that there is.
pub(crate) fn replace_default_route(batch: &mut Batch, index: u32, way: Way) {
    let flags = flag::ACK | flag::CREATE | flag::REPLACE;
    let head = Head { kind: NEWROUTE, flags, step: "replace the default route" };
    default_route(batch, head, (index, way));
}

fn default_route(batch: &mut Batch, head: Head, (index, way): (u32, Way)) {
    let family = way.family().number();
    let scope = if way == Way::Link(Family::V4) { SCOPE_LINK } else { 0 };
    let header = [family, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, TYPE_UNICAST, 0, 0, 0, 0];
    batch.message(head, &header, |w| {
        if let Way::Gateway(gateway) = way {
            w.bytes(RTA_GATEWAY, &octets(gateway));
        }
        w.native_u32(RTA_OIF, index);
    });
}

/// The default route of a table of its own, in place of the one that there is. The gateway is behind the link,
/// whatever the addresses of that are.
pub(crate) fn replace_route_of(batch: &mut Batch, table: u32, (index, gateway): (u32, IpAddr)) {
    let flags = flag::ACK | flag::CREATE | flag::REPLACE;
    let head = Head { kind: NEWROUTE, flags, step: "replace the default route of a table" };
    let [a, b, c, d] = ONLINK.to_ne_bytes();
    let family = Family::of(gateway).number();
    let header = [family, 0, 0, 0, 0, PROTOCOL_BOOT, 0, TYPE_UNICAST, a, b, c, d];
    batch.message(head, &header, |w| {
        w.bytes(RTA_GATEWAY, &octets(gateway));
        w.native_u32(RTA_OIF, index);
        w.native_u32(RTA_TABLE, table);
    });
}

/// Has packets from an address find their way by a table, where no other has one.
pub(crate) fn add_rule(batch: &mut Batch, source: IpAddr, table: u32) {
    let head =
        Head { kind: NEWRULE, flags: flag::ACK | flag::CREATE, step: "add a rule of routing" };
    let family = Family::of(source);
    let header = [family.number(), 0, family.bits(), 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    batch.message(head, &header, |w| {
        w.bytes(FRA_SRC, &octets(source));
        w.native_u32(FRA_PRIORITY, LAST);
        w.native_u32(FRA_TABLE, table);
    });
}

/// Deletes one such rule of an address, whatever its table.
pub(crate) fn delete_rule_of(batch: &mut Batch, source: IpAddr) {
    let family = Family::of(source);
    let header = [family.number(), 0, family.bits(), 0, 0, 0, 0, 0, 0, 0, 0, 0];
    batch.message(delete_rule(), &header, |w| {
        w.bytes(FRA_SRC, &octets(source));
        w.native_u32(FRA_PRIORITY, LAST);
    });
}

/// Deletes one such rule of a table, whatever its address.
pub(crate) fn delete_rule_to(batch: &mut Batch, family: Family, table: u32) {
    let header = [family.number(), 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    batch.message(delete_rule(), &header, |w| {
        w.native_u32(FRA_PRIORITY, LAST);
        w.native_u32(FRA_TABLE, table);
    });
}

const fn delete_rule() -> Head {
    Head { kind: DELRULE, flags: flag::ACK, step: "delete a rule of routing" }
}

/// Says under which hardware address a neighbour is found, in place of what was known.
pub(crate) fn set_neighbour(batch: &mut Batch, index: u32, address: IpAddr, mac: Mac) {
    let flags = flag::ACK | flag::CREATE | flag::REPLACE;
    let head = Head { kind: NEWNEIGH, flags, step: "set a neighbour" };
    let ([a, b, c, d], [low, high]) = (index.to_ne_bytes(), STATE_STALE.to_ne_bytes());
    let header = [Family::of(address).number(), 0, 0, 0, a, b, c, d, low, high, 0, 0];
    batch.message(head, &header, |w| {
        w.bytes(NDA_DST, &octets(address));
        w.bytes(NDA_LLADDR, &mac.octets());
    });
}

/// The addresses of all links, with the index of their link.
pub(crate) fn list_addresses(socket: &Socket) -> Result<Vec<(u32, Cidr)>, NetlinkError> {
    let head = Head { kind: GETADDR, flags: flag::DUMP, step: "list addresses" };
    let answers = socket.list(|| Batch::of(head, &[0; ADDRESS_HEADER], |_| {}))?;
    Ok(answers.iter().filter_map(parse_address).collect())
}

fn parse_address(answer: &Answer) -> Option<(u32, Cidr)> {
    let payload = answer.payload.as_slice();
    let attributes = Attributes::after(payload, ADDRESS_HEADER);
    let address = attributes.find(IFA_LOCAL).or_else(|| attributes.find(IFA_ADDRESS))?;
    let cidr = Cidr::new(from_octets(address.value)?, *payload.get(1)?).ok()?;
    Some((native_u32(payload.get(4..)?)?, cidr))
}

/// The destinations of unicast routes of the main table, with the index of their link.
pub(crate) fn list_routes(socket: &Socket) -> Result<Vec<(u32, Subnet)>, NetlinkError> {
    let head = Head { kind: GETROUTE, flags: flag::DUMP, step: "list routes" };
    let answers = socket.list(|| Batch::of(head, &[0; ROUTE_HEADER], |_| {}))?;
    Ok(answers.iter().filter_map(parse_route).collect())
}

fn parse_route(answer: &Answer) -> Option<(u32, Subnet)> {
    let [_, prefix, _, _, table, _, _, kind, ..] = *answer.payload.as_slice() else {
        return None;
    };
    let attributes = Attributes::after(&answer.payload, ROUTE_HEADER);
    let table = attributes
        .find(RTA_TABLE)
        .and_then(|table| native_u32(table.value))
        .unwrap_or_else(|| table.into());
    if table != u32::from(TABLE_MAIN) || kind != TYPE_UNICAST {
        return None;
    }
    let link = attributes.find(RTA_OIF).and_then(|oif| native_u32(oif.value)).unwrap_or(0);
    let destination = from_octets(attributes.find(RTA_DST)?.value)?;
    Some((link, Cidr::new(destination, prefix).ok()?.subnet()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_has_the_bytes_of_ndmsg() {
        let mut batch = Batch::default();
        set_neighbour(&mut batch, 7, "10.0.0.2".parse().unwrap(), Mac::from_octets([2; 6]));
        let (bytes, _) = batch.finish().unwrap();
        let [low, high] = STATE_STALE.to_ne_bytes();
        assert_eq!(bytes[16..20], [2, 0, 0, 0]);
        assert_eq!(bytes[20..24], 7_u32.to_ne_bytes());
        assert_eq!(bytes[24..28], [low, high, 0, 0]);
    }
}
