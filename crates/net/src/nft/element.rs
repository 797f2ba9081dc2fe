//! What is in the sets and maps: published ports and networks as elements.
//!
//! Owns the bytes of keys and values, both ways. Elements carry their container's id as the
//! comment that userspace `nft` shows, so each can be traced to its owner.

use std::net::SocketAddr;

use model::ContainerId;
use model::network::{GatewayMode, Inside, Mutual, Source};
use model::port::Protocol;

use super::direct;
use super::range::{of_ranges, to_range};
use super::ruleset::{
    APART, BRIDGES, DIRECT, DNAT_ANY, DNAT_IP, INTERNAL, MASQUERADED, OPEN, PEERS, ROUTED, SHARED,
    SOURCES, SUBNETS, TRUSTED, UNPROTECTED,
};
use crate::address::{Family, LinkName, Subnet, from_octets, octets};
use crate::netlink::{Attribute, Attributes, Writer};

const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_USERDATA: u16 = 6;
const ELEM_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const FLAG_RANGE_END: u32 = 1;
/// The type under which userspace `nft` keeps comments in the user data of elements and tables.
const USERDATA_COMMENT: u8 = 0;

/// Ports of the host that lead to as many of a container, each to the one at its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortRule {
    /// Whose it is.
    pub owner: ContainerId,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's side, with its first port; an unspecified address is every address of the family. Port 0 is none:
    /// the container's side is open to all.
    pub host: SocketAddr,
    /// The container's side, of the same family.
    pub container: SocketAddr,
    /// How many ports; never 0, and none beyond the last.
    pub count: u16,
}

impl PortRule {
    /// The family of both sides.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.host.ip())
    }

    /// The last port of one of its sides.
    #[must_use]
    pub const fn last(&self, side: SocketAddr) -> u16 {
        side.port().saturating_add(self.count.saturating_sub(1))
    }

    /// Whether the host's side is none: the container's is reached by its own address.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.host.port() == 0
    }

    /// Whether it is a range that leads to other ports than its own.
    #[must_use]
    pub(super) const fn is_moved(&self) -> bool {
        self.count > 1 && !self.is_direct() && self.host.port() != self.container.port()
    }

    /// Whether it is published at this place.
    #[must_use]
    pub fn is_at(&self, place: SocketAddr) -> bool {
        let any = self.host.ip().is_unspecified() || place.ip().is_unspecified();
        !self.is_direct()
            && self.family() == Family::of(place.ip())
            && (any || self.host.ip() == place.ip())
            && (self.host.port()..=self.last(self.host)).contains(&place.port())
    }
}

/// A network of containers, as the rules know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its bridge.
    pub bridge: LinkName,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Under which address its packets leave the host, of IPv4, then of IPv6.
    pub source: [Source; 2],
    /// What the host is to it, of IPv4, then of IPv6.
    pub gateways: [GatewayMode; 2],
    /// Links of the host by which containers are reached at their own addresses, where they publish.
    pub trusted: Vec<LinkName>,
    /// Whether its containers may talk to each other.
    pub mutual: Mutual,
    /// Whether nothing leads out of it.
    pub inside: Inside,
    /// Who is on its bridge.
    pub members: Members,
}

/// Who is on a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Members {
    /// Containers of the network alone.
    Ours,
    /// Whoever somebody else puts on it, who has made it.
    Anybody,
}

/// An element of a set or map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Element {
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    /// The last of the keys that it stands for, in a set of spans.
    pub(super) end: Option<Vec<u8>>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) comment: Option<String>,
    pub(super) bound: Bound,
}

/// What an element means in a set of ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    /// The value itself, or the first of a range.
    Start,
    /// The first that is no longer in the range.
    End,
}

impl Element {
    pub(super) fn plain(set: &'static str, key: Vec<u8>) -> Self {
        Self { set, key, end: None, data: None, comment: None, bound: Bound::Start }
    }

    /// Writes it as an element of a list.
    pub(super) fn write(&self, w: &mut Writer) {
        w.nest(LIST_ELEM, |w| {
            w.nest(ELEM_KEY, |w| w.bytes(DATA_VALUE, &self.key));
            if let Some(end) = &self.end {
                w.nest(ELEM_KEY_END, |w| w.bytes(DATA_VALUE, end));
            }
            if let Some(data) = &self.data {
                w.nest(ELEM_DATA, |w| w.bytes(DATA_VALUE, data));
            }
            if self.bound == Bound::End {
                w.network_u32(ELEM_FLAGS, FLAG_RANGE_END);
            }
            if let Some(comment) = &self.comment {
                w.bytes(ELEM_USERDATA, &userdata(comment));
            }
        });
    }

    /// Reads an element that the kernel lists.
    pub(super) fn parse(set: &'static str, element: Attribute<'_>) -> Option<Self> {
        let attributes = element.nested();
        let value = |kind| Some(attributes.find_in(kind, DATA_VALUE)?.value.to_vec());
        let flags = attributes.find(ELEM_FLAGS).and_then(|a| crate::netlink::network_u32(a.value));
        let comment = attributes.find(ELEM_USERDATA).and_then(|a| comment(a.value));
        let is_end = flags.unwrap_or(0) & FLAG_RANGE_END != 0;
        let bound = if is_end { Bound::End } else { Bound::Start };
        let (key, end) = (value(ELEM_KEY)?, value(ELEM_KEY_END));
        Some(Self { set, key, end, data: value(ELEM_DATA), comment, bound })
    }
}

/// A comment as userspace `nft` writes it: type, length, text, NUL.
pub(super) fn userdata(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().take(usize::from(u8::MAX) - 1).collect();
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![USERDATA_COMMENT, length];
    bytes.extend(text);
    bytes.push(0);
    bytes
}

/// The comment in user data.
pub(super) fn comment(mut bytes: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
        bytes = rest.get(value.len()..)?;
    }
    None
}

/// The elements of published ports in one family's table.
pub(super) fn of_ports(rules: &[PortRule], family: Family) -> Vec<Element> {
    let is_single = |rule: &&PortRule| rule.count == 1 && !rule.is_direct();
    let single = || rules.iter().filter(|rule| rule.family() == family).filter(is_single);
    let mut elements: Vec<Element> = single().map(dnat).collect();
    elements.sort_by_key(|element| element.set);
    let mut open: Vec<Vec<u8>> =
        single().map(|rule| socket_key(rule.container, rule.protocol)).collect();
    // Several ports of the host may lead to one of the container.
    open.sort_unstable();
    open.dedup();
    elements.extend(open.into_iter().map(|key| Element::plain(OPEN, key)));
    elements.extend(of_ranges(rules, family));
    elements.extend(direct::elements(rules, family));
    elements
}

fn dnat(rule: &PortRule) -> Element {
    let (set, key) = if rule.host.ip().is_unspecified() {
        (DNAT_ANY, port_key(rule.protocol, rule.host.port()))
    } else {
        (DNAT_IP, socket_key(rule.host, rule.protocol))
    };
    let mut data = octets(rule.container.ip());
    data.extend(padded(&rule.container.port().to_be_bytes()));
    let comment = Some(rule.owner.to_string());
    Element { data: Some(data), comment, ..Element::plain(set, key) }
}

/// The published port that an element of `DNAT_ANY` or `DNAT_IP` is, with its owner if the comment
/// names one.
pub(super) fn to_port(element: &Element, family: Family) -> Option<PortRule> {
    if element.set == DIRECT {
        return direct::to_rule(element, family);
    }
    let width = usize::from(family.bits() / 8);
    let data = element.data.as_deref()?;
    let container = socket(data.get(..width)?, data.get(width..)?);
    let (host, number) = match element.set {
        DNAT_ANY => of_socket(&[vec![0; width], element.key.clone()].concat(), width)?,
        DNAT_IP => of_socket(&element.key, width)?,
        _ => return to_range(element, family),
    };
    let owner = element.comment.as_deref()?.parse().ok()?;
    Some(PortRule { owner, protocol: protocol(number)?, host, container: container?, count: 1 })
}

fn socket(address: &[u8], port: &[u8]) -> Option<SocketAddr> {
    Some(SocketAddr::new(from_octets(address)?, port_of(port)?))
}

/// The place that a key of an address, a protocol and a port is, and the protocol's number.
pub(super) fn of_socket(key: &[u8], width: usize) -> Option<(SocketAddr, u8)> {
    Some((socket(key.get(..width)?, key.get(width + 4..)?)?, *key.get(width)?))
}

/// The port that these bytes begin with.
pub(super) fn port_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

/// The elements of a network in one family's table; none if it is not of this family.
pub(super) fn of_network(network: &Network, family: Family) -> Vec<Element> {
    let subnets: Vec<Subnet> =
        network.subnets.iter().copied().filter(|subnet| subnet.family() == family).collect();
    if subnets.is_empty() {
        return Vec::new();
    }
    let name = network.bridge.padded().to_vec();
    let mut elements = vec![Element::plain(BRIDGES, name.clone())];
    let pairs = match network.mutual {
        Mutual::Allowed => PEERS,
        Mutual::Refused => APART,
    };
    elements.push(Element::plain(pairs, [name.clone(), name.clone()].concat()));
    if network.members == Members::Anybody {
        elements.push(Element::plain(SHARED, name.clone()));
    }
    elements.extend(ranges(SUBNETS, &subnets, None));
    // What does not leave the host leaves it under no address, and nobody comes in.
    if network.inside == Inside::Only {
        elements.push(Element::plain(INTERNAL, name));
        return elements;
    }
    elements.extend(match of_family(network.source, family) {
        Source::Host => ranges(MASQUERADED, &subnets, None),
        Source::Address(address) => ranges(SOURCES, &subnets, Some(&octets(address))),
        Source::Own => Vec::new(),
    });
    elements.extend(match of_family(network.gateways, family) {
        GatewayMode::Nat | GatewayMode::Isolated => None,
        GatewayMode::Unprotected => Some(Element::plain(UNPROTECTED, name.clone())),
        GatewayMode::Routed => Some(Element::plain(ROUTED, name.clone())),
    });
    let by =
        |link: &LinkName| Element::plain(TRUSTED, [link.padded().to_vec(), name.clone()].concat());
    elements.extend(network.trusted.iter().map(by));
    elements
}

/// That of IPv4 or of IPv6.
const fn of_family<T: Copy>([v4, v6]: [T; 2], family: Family) -> T {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// Subnets as ranges, all with the same data if the set is a map.
fn ranges(set: &'static str, subnets: &[Subnet], data: Option<&[u8]>) -> Vec<Element> {
    let start = |subnet: &Subnet| Element {
        data: data.map(<[u8]>::to_vec),
        ..Element::plain(set, octets(subnet.first()))
    };
    let end = |subnet: &Subnet| {
        let end = Element::plain(set, octets(subnet.end()?));
        Some(Element { bound: Bound::End, ..end })
    };
    subnets.iter().flat_map(|subnet| std::iter::once(start(subnet)).chain(end(subnet))).collect()
}

/// The number of a protocol on the wire.
pub(crate) const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

pub(super) fn protocol(number: u8) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| protocol_number(*protocol) == number)
}

pub(super) fn socket_key(socket: SocketAddr, protocol: Protocol) -> Vec<u8> {
    let mut key = octets(socket.ip());
    key.extend(port_key(protocol, socket.port()));
    key
}

pub(super) fn port_key(protocol: Protocol, port: u16) -> Vec<u8> {
    let mut key = padded(&[protocol_number(protocol)]);
    key.extend(padded(&port.to_be_bytes()));
    key
}

/// Parts of a concatenation fill registers of 4 bytes.
pub(super) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    padded
}

/// The elements of a list that the kernel sent.
pub(super) fn parse_list(set: &'static str, payload: &[u8]) -> Vec<Element> {
    const LIST_ELEMENTS: u16 = 3;
    let attributes = Attributes::after(payload, super::message::HEADER);
    let Some(list) = attributes.find(LIST_ELEMENTS) else { return Vec::new() };
    list.nested().filter_map(|element| Element::parse(set, element)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn owner() -> ContainerId {
        "ab".repeat(32).parse().unwrap()
    }

    fn rule(host: &str, container: &str) -> PortRule {
        PortRule {
            owner: owner(),
            protocol: Protocol::Tcp,
            host: host.parse().unwrap(),
            container: container.parse().unwrap(),
            count: 1,
        }
    }

    #[test]
    fn a_published_port_has_the_bytes_of_the_kernel() {
        let elements = of_ports(&[rule("127.0.0.1:8080", "172.17.0.2:80")], Family::V4);
        let [dnat, open] = elements.as_slice() else { panic!("{elements:?}") };
        assert_eq!(dnat.key, [127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(dnat.data.as_deref(), Some([172, 17, 0, 2, 0, 80, 0, 0].as_slice()));
        assert_eq!((dnat.set, open.set), (DNAT_IP, OPEN));
        assert_eq!(open.key, [172, 17, 0, 2, 6, 0, 0, 0, 0, 80, 0, 0]);
    }

    #[test]
    fn two_ports_to_one_open_it_once() {
        let rules = [rule("0.0.0.0:1", "10.0.0.2:80"), rule("0.0.0.0:2", "10.0.0.2:80")];
        let sets: Vec<_> = of_ports(&rules, Family::V4).iter().map(|e| e.set).collect();
        assert_eq!(sets, [DNAT_ANY, DNAT_ANY, OPEN]);
        assert_eq!(of_ports(&rules, Family::V6), []);
    }

    #[test]
    fn a_network_is_in_the_tables_of_its_families() {
        let network = Network {
            bridge: "dhow0".parse().unwrap(),
            subnets: vec!["172.17.0.0/16".parse().unwrap(), "ffff::/16".parse().unwrap()],
            source: [Source::Host; 2],
            gateways: [GatewayMode::Nat; 2],
            trusted: Vec::new(),
            mutual: Mutual::Allowed,
            inside: Inside::No,
            members: Members::Ours,
        };
        let keys = |network: &Network, family| -> Vec<_> {
            of_network(network, family).into_iter().map(|e| (e.set, e.bound)).collect()
        };
        let expected = [
            (BRIDGES, Bound::Start),
            (PEERS, Bound::Start),
            (SUBNETS, Bound::Start),
            (SUBNETS, Bound::End),
            (MASQUERADED, Bound::Start),
            (MASQUERADED, Bound::End),
        ];
        assert_eq!(keys(&network, Family::V4), expected);
        let starts = [expected[0], expected[1], expected[2], expected[4]];
        assert_eq!(keys(&network, Family::V6), starts, "the last subnet has no end");
        let gateways = [GatewayMode::Unprotected, GatewayMode::Routed];
        let seven = Source::Address("192.0.2.7".parse().unwrap());
        let open = Network {
            mutual: Mutual::Refused,
            source: [seven, Source::Own],
            gateways,
            trusted: vec!["eth0".parse().unwrap()],
            members: Members::Anybody,
            ..network.clone()
        };
        let sets = |network: &Network, family| -> Vec<_> {
            keys(network, family).into_iter().map(|(set, _)| set).collect()
        };
        let outward =
            [BRIDGES, APART, SHARED, SUBNETS, SUBNETS, SOURCES, SOURCES, UNPROTECTED, TRUSTED];
        assert_eq!(sets(&open, Family::V4), outward);
        let mapped = of_network(&open, Family::V4).remove(5).data;
        assert_eq!(mapped.as_deref(), Some(&[192, 0, 2, 7][..]));
        assert_eq!(sets(&open, Family::V6), [BRIDGES, APART, SHARED, SUBNETS, ROUTED, TRUSTED]);
        let closed = Network { inside: Inside::Only, members: Members::Ours, ..open };
        assert_eq!(sets(&closed, Family::V6), [BRIDGES, APART, SUBNETS, INTERNAL]);
    }

    fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        let v4 = any::<(u32, u32)>()
            .prop_map(|(a, b)| (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into()));
        let v6 = any::<(u128, u128)>()
            .prop_map(|(a, b)| (Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into()));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_port_survives_the_kernel((host, container) in addresses(), a in 1..=u16::MAX, b: u16, p in 0..3_usize) {
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][p];
            let rule = PortRule {
                owner: owner(),
                protocol,
                host: SocketAddr::new(host, a),
                container: SocketAddr::new(container, b),
                count: 1,
            };
            let element = &of_ports(&[rule], rule.family())[0];
            let mut writer = Writer::default();
            element.write(&mut writer);
            let bytes = writer.finish().unwrap();
            let read = Attributes::after(&bytes, 0).next().unwrap();
            let read = Element::parse(element.set, read).unwrap();
            prop_assert_eq!(&read, element);
            prop_assert_eq!(to_port(&read, rule.family()), Some(rule));
        }

        #[test]
        fn any_user_data_is_read_without_panic(bytes: Vec<u8>) {
            let _ = comment(&bytes);
        }
    }
}
