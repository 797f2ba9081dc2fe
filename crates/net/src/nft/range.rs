//! Published ranges: one element for each, however many ports it has.
//!
//! Their sets have the kernel's flags of intervals and concatenations (kernel 5.6, which `openat2` asks for anyway).
//! A range that leads to the same ports needs no port in its element: the packet keeps its own. For one that leads
//! to others, the kernel is told to keep the distance ([`Shift`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::port::Protocol;

use super::element::{
    Element, PortRule, of_socket, padded, port_key, port_of, protocol, socket_key,
};
use super::ruleset::{MOVED_ANY, MOVED_IP, OPEN_RANGES, RANGES_ANY, RANGES_IP};
use crate::address::{Family, from_octets, octets};

/// So many ports there are.
const ALL: u32 = 1 << 16;

/// Where the ports of a range go: the kernel adds the port to `min`, and counts round from behind `max`.
///
/// It takes the distance from a base (`NF_NAT_RANGE_PROTO_OFFSET`) that iptables sets and nf_tables has no attribute
/// for, so the base is 0: `min + port % (max - min + 1)`. With these ends that is the distance that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shift {
    min: u16,
    max: u16,
}

impl Shift {
    const fn of(host: u16, container: u16) -> Self {
        let down = host.saturating_sub(container);
        if down == 0 {
            return Self { min: container - host, max: u16::MAX };
        }
        // The host's ports are all in the second round.
        let half = u16::MAX / 2 - (down - 1) / 2;
        let min = if container < half { container } else { half };
        Self { min, max: min + (down - 1) + min }
    }

    fn round(self) -> u32 {
        u32::from(self.max) - u32::from(self.min) + 1
    }

    fn container(self, host: u16) -> Option<u16> {
        u16::try_from(u32::from(self.min) + u32::from(host) % self.round()).ok()
    }
}

/// How many ports from these on one element can lead to the container.
pub(crate) fn longest(host: u16, container: u16) -> u16 {
    let end = ALL - u32::from(host.max(container));
    let rounds = if host > container { 2 * Shift::of(host, container).round() } else { ALL };
    u16::try_from(end.min(rounds - u32::from(host))).unwrap_or(u16::MAX)
}

/// The elements of ranges in one family's table.
pub(super) fn of_ranges(rules: &[PortRule], family: Family) -> Vec<Element> {
    let is_range = |rule: &&PortRule| rule.count > 1 && !rule.is_direct();
    let ranges = || rules.iter().filter(|rule| rule.family() == family).filter(is_range);
    let mut elements: Vec<Element> = ranges().map(dnat).collect();
    elements.sort_by_key(|element| element.set);
    elements.extend(open(OPEN_RANGES, ranges()));
    elements
}

fn dnat(rule: &PortRule) -> Element {
    let (host, container) = (rule.host, rule.container);
    let (any, ip) = if rule.is_moved() { (MOVED_ANY, MOVED_IP) } else { (RANGES_ANY, RANGES_IP) };
    let last = rule.last(host);
    let (set, key, end) = if host.ip().is_unspecified() {
        let key = |port| port_key(rule.protocol, port);
        (any, key(host.port()), key(last))
    } else {
        let key = |port| socket_key(SocketAddr::new(host.ip(), port), rule.protocol);
        (ip, key(host.port()), key(last))
    };
    let mut data = octets(container.ip());
    if rule.is_moved() {
        let Shift { min, max } = Shift::of(host.port(), container.port());
        data.extend([min, max].iter().flat_map(|port| padded(&port.to_be_bytes())));
    }
    let comment = Some(rule.owner.to_string());
    Element { data: Some(data), comment, end: Some(end), ..Element::plain(set, key) }
}

/// An address of a container and a protocol.
type Place = (Vec<u8>, Protocol);

/// What of containers is open. Ranges that share ports are one: the kernel has none that overlap.
pub(super) fn open<'a>(
    set: &'static str,
    rules: impl Iterator<Item = &'a PortRule>,
) -> Vec<Element> {
    let mut spans: BTreeMap<Place, Vec<(u16, u16)>> = BTreeMap::new();
    for rule in rules {
        let (ip, first) = (rule.container.ip(), rule.container.port());
        let span = (first, rule.last(rule.container));
        spans.entry((octets(ip), rule.protocol)).or_default().push(span);
    }
    let mut elements = Vec::new();
    for ((ip, protocol), mut spans) in spans {
        spans.sort_unstable();
        let mut apart: Vec<(u16, u16)> = Vec::new();
        for (first, last) in spans {
            match apart.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                Some(_) | None => apart.push((first, last)),
            }
        }
        elements.extend(apart.into_iter().map(|(first, last)| {
            let key = |port| [ip.clone(), port_key(protocol, port)].concat();
            Element { end: Some(key(last)), ..Element::plain(set, key(first)) }
        }));
    }
    elements
}

/// The range that an element is, with its owner if the comment names one.
pub(super) fn to_range(element: &Element, family: Family) -> Option<PortRule> {
    let width = usize::from(family.bits() / 8);
    let data = element.data.as_deref()?;
    let (is_moved, key) = match element.set {
        RANGES_ANY => (false, [vec![0; width], element.key.clone()].concat()),
        MOVED_ANY => (true, [vec![0; width], element.key.clone()].concat()),
        RANGES_IP => (false, element.key.clone()),
        MOVED_IP => (true, element.key.clone()),
        _ => return None,
    };
    let (host, number) = of_socket(&key, width)?;
    let end = element.end.as_deref()?;
    let last = port_of(end.get(end.len().checked_sub(4)?..)?)?;
    let port = if is_moved {
        let min = port_of(data.get(width..)?)?;
        let max = port_of(data.get(width + 4..)?)?;
        Shift { min, max }.container(host.port())?
    } else {
        host.port()
    };
    let container = SocketAddr::new(from_octets(data.get(..width)?)?, port);
    let count = last.checked_sub(host.port())?.checked_add(1)?;
    let owner = element.comment.as_deref()?.parse().ok()?;
    Some(PortRule { owner, protocol: protocol(number)?, host, container, count })
}

impl Element {
    /// Whether both cannot be in one set. The protocol's and the address's parts of a key are no ranges.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (Some(end), Some(other_end)) = (&self.end, &other.end) else {
            return self.key == other.key;
        };
        let same = |a: &[u8], b: &[u8]| {
            a.len() == b.len() && a.split_at(a.len() - 4).0 == b.split_at(b.len() - 4).0
        };
        self.key.len() >= 4
            && same(&self.key, &other.key)
            && self.key <= *other_end
            && other.key <= *end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Attributes, Writer};
    use proptest::prelude::*;

    fn rule(host: &str, container: &str, count: u16) -> PortRule {
        let owner = "ab".repeat(32).parse().unwrap();
        let (host, container) = (host.parse().unwrap(), container.parse().unwrap());
        PortRule { owner, protocol: Protocol::Tcp, host, container, count }
    }

    fn shown(rules: &[PortRule]) -> Vec<String> {
        let elements = of_ranges(rules, Family::V4);
        let ports = |key: &[u8]| port_of(&key[key.len() - 4..]).unwrap();
        let one = |e: &Element| {
            format!("{} {}-{}", e.set, ports(&e.key), ports(e.end.as_deref().unwrap()))
        };
        elements.iter().map(one).collect()
    }

    #[test]
    fn ten_thousand_ports_are_one_element_in_each_set() {
        let same = rule("0.0.0.0:20000", "10.0.0.2:20000", 10_000);
        assert_eq!(shown(&[same]), ["ranges_any 20000-29999", "open_ranges 20000-29999"]);
        let moved = rule("127.0.0.1:20000", "10.0.0.2:80", 100);
        assert_eq!(shown(&[moved]), ["moved_ip 20000-20099", "open_ranges 80-179"]);
        assert!(of_ranges(&[same, moved], Family::V6).is_empty());
        assert!(of_ranges(&[PortRule { count: 1, ..same }], Family::V4).is_empty());
    }

    #[test]
    fn ranges_that_lead_to_the_same_ports_open_them_once() {
        let rules = [
            rule("0.0.0.0:1000", "10.0.0.2:100", 50),
            rule("0.0.0.0:2000", "10.0.0.2:120", 50),
            rule("0.0.0.0:3000", "10.0.0.3:120", 50),
        ];
        let open: Vec<String> =
            shown(&rules).into_iter().filter(|text| text.starts_with("open")).collect();
        assert_eq!(open, ["open_ranges 100-169", "open_ranges 120-169"]);
    }

    #[test]
    fn ranges_meet_where_they_share_a_port() {
        let element =
            |host: &str, count| of_ranges(&[rule(host, "10.0.0.2:7", count)], Family::V4).remove(0);
        let one = element("127.0.0.1:100", 10);
        for (other, meets) in [
            (element("127.0.0.1:109", 2), true),
            (element("127.0.0.1:110", 2), false),
            (element("127.0.0.1:99", 2), true),
            (element("127.0.0.1:98", 2), false),
            (element("127.0.0.2:100", 10), false),
        ] {
            assert_eq!((one.meets(&other), other.meets(&one)), (meets, meets), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn each_port_keeps_its_distance(host in 1..=u16::MAX, container in 1..=u16::MAX) {
            let count = longest(host, container);
            prop_assert!(count >= 1);
            let shift = Shift::of(host, container);
            let some = (0..count).step_by(997).chain([count - 1]);
            for index in some {
                prop_assert_eq!(shift.container(host + index), Some(container + index));
            }
        }

        #[test]
        fn a_range_survives_the_kernel(
            host in 1..=u16::MAX, container in 1..=u16::MAX, wished in 2..=u16::MAX, any: bool, v6: bool
        ) {
            let count = wished.min(longest(host, container));
            prop_assume!(count > 1);
            let (outside, inside) = match (any, v6) {
                (true, false) => ("0.0.0.0", "10.0.0.2"),
                (false, false) => ("10.1.2.3", "10.0.0.2"),
                (true, true) => ("::", "fd00::2"),
                (false, true) => ("2001:db8::1", "fd00::2"),
            };
            let mut rule = rule("0.0.0.0:1", "10.0.0.2:1", count);
            rule.host = SocketAddr::new(outside.parse().unwrap(), host);
            rule.container = SocketAddr::new(inside.parse().unwrap(), container);
            let element = &of_ranges(&[rule], rule.family())[0];
            let mut writer = Writer::default();
            element.write(&mut writer);
            let bytes = writer.finish().unwrap();
            let read = Element::parse(element.set, Attributes::after(&bytes, 0).next().unwrap()).unwrap();
            prop_assert_eq!(&read, element);
            prop_assert_eq!(to_range(&read, rule.family()), Some(rule));
        }

        #[test]
        fn all_ports_are_few_elements(host in 1..=u16::MAX, container in 1..=u16::MAX) {
            let (mut host, mut container, mut pieces) = (u32::from(host), u32::from(container), 0);
            while host.max(container) < ALL {
                let (h, c) = (u16::try_from(host).unwrap(), u16::try_from(container).unwrap());
                let count = u32::from(longest(h, c));
                (host, container, pieces) = (host + count, container + count, pieces + 1);
            }
            prop_assert!(pieces <= 17, "{pieces}");
        }
    }
}
