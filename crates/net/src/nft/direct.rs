//! Ports of containers that others reach at the containers' own addresses, in networks of the mode `routed`: nothing of
//! the host leads there.
//!
//! Whose they are stands in their comments, as with published ports. An address is one container's, so a key is too.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use model::ContainerId;

use super::element::{Element, PortRule, of_socket, port_of, protocol};
use super::range::open;
use super::ruleset::DIRECT;
use crate::address::Family;

/// The elements of such ports in one family's table. Those of one container that share ports are one.
pub(super) fn elements(rules: &[PortRule], family: Family) -> Vec<Element> {
    let mut owners: BTreeMap<ContainerId, Vec<&PortRule>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.is_direct() && rule.family() == family) {
        owners.entry(rule.owner).or_default().push(rule);
    }
    let mut elements = Vec::new();
    for (owner, rules) in owners {
        let comment = Some(owner.to_string());
        let spans = open(DIRECT, rules.into_iter()).into_iter();
        elements.extend(spans.map(|element| Element { comment: comment.clone(), ..element }));
    }
    elements
}

/// The ports that an element is, with their owner if the comment names one.
pub(super) fn to_rule(element: &Element, family: Family) -> Option<PortRule> {
    let width = usize::from(family.bits() / 8);
    let (container, number) = of_socket(&element.key, width)?;
    let end = element.end.as_deref()?;
    let last = port_of(end.get(end.len().checked_sub(4)?..)?)?;
    let count = last.checked_sub(container.port())?.checked_add(1)?;
    let host = match family {
        Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let owner = element.comment.as_deref()?.parse().ok()?;
    Some(PortRule { owner, protocol: protocol(number)?, host, container, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Attributes, Writer};
    use crate::nft::element::{of_ports, to_port};
    use model::port::Protocol;

    fn rule(owner: &str, host: &str, container: &str, count: u16) -> PortRule {
        let (host, container) = (host.parse().unwrap(), container.parse().unwrap());
        let owner = owner.repeat(64).parse().unwrap();
        PortRule { owner, protocol: Protocol::Tcp, host, container, count }
    }

    #[test]
    fn what_is_reached_directly_is_open_and_led_to_by_nothing() {
        let one = rule("a", "0.0.0.0:0", "10.0.0.2:80", 1);
        let more = rule("a", "0.0.0.0:0", "10.0.0.2:79", 3);
        let other = rule("b", "0.0.0.0:0", "10.0.0.3:80", 1);
        let elements = of_ports(&[one, more, other], Family::V4);
        assert_eq!(elements.iter().map(|e| e.set).collect::<Vec<_>>(), [DIRECT; 2]);
        let read = |element: &Element| {
            let mut writer = Writer::default();
            element.write(&mut writer);
            let bytes = writer.finish().unwrap();
            let parsed = Element::parse(DIRECT, Attributes::after(&bytes, 0).next().unwrap());
            to_port(&parsed.unwrap(), Family::V4).unwrap()
        };
        assert_eq!(elements.iter().map(read).collect::<Vec<_>>(), [more, other]);
        assert_eq!(of_ports(&[one], Family::V6), []);
        assert!(!one.is_at("10.0.0.2:80".parse().unwrap()) && !one.is_moved());
    }
}
