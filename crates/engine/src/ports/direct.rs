//! Which of the ports that a container publishes the host leads to it, and which are reached at its own address.
//!
//! Pure. The second are those of networks in the mode `routed`: of what is asked for, only the container's ports mean
//! anything there, as with Docker; addresses and ports of the host are passed over.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::network::GatewayMode;
use model::port::{ContainerPort, PortBinding};
use net::address::{Cidr, Family};

use crate::network::Terms;
use crate::record::PublishedPort;

/// What a container publishes on a network.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// By ports of the host.
    pub(crate) mapped: Vec<PortBinding>,
    /// At its own addresses.
    pub(crate) direct: Vec<PublishedPort>,
}

impl Wishes {
    pub(crate) const fn is_empty(&self) -> bool {
        self.mapped.is_empty() && self.direct.is_empty()
    }
}

impl Terms {
    /// What of all that a container with these addresses asks for is published how.
    pub(crate) fn split(&self, asked: &[PortBinding], addresses: &[Cidr]) -> Wishes {
        let bindings = self.of(asked);
        let has = |family| addresses.iter().any(|cidr| cidr.family() == family);
        let [v4, v6] = self.gateways;
        let routed = |mode, family| mode == GatewayMode::Routed && has(family);
        let routed = [routed(v4, Family::V4), routed(v6, Family::V6)];
        if routed == [false; 2] {
            return Wishes { mapped: bindings, direct: Vec::new() };
        }
        let mut mapped = Vec::new();
        let mut open: [BTreeSet<ContainerPort>; 2] = Default::default();
        // An address that the network chooses is one of those that the host leads from.
        for (binding, asked) in bindings.into_iter().zip(asked) {
            let is_meant =
                |any: IpAddr| asked.host_ip.is_none_or(|ip| ip.is_ipv4() == any.is_ipv4());
            let routed_ones = ANY.into_iter().zip(routed).zip(&mut open);
            let meant = routed_ones.filter(|((any, routed), _)| *routed && is_meant(*any));
            for (_, open) in meant {
                open.insert(binding.container);
            }
            mapped.extend(led(binding, routed, has(Family::V6)));
        }
        let direct = ANY.into_iter().zip(&open).flat_map(|(any, ports)| spans(any, ports));
        Wishes { mapped, direct: direct.collect() }
    }
}

/// All addresses of a family.
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// What is left of a binding in families in which the host leads to the container.
fn led(binding: PortBinding, [v4, v6]: [bool; 2], has_v6: bool) -> Option<PortBinding> {
    let at = |ip| Some(PortBinding { host_ip: Some(ip), ..binding });
    let [any4, any6] = ANY;
    match binding.host_ip {
        Some(ip) if (ip.is_ipv4() && v4) || (ip.is_ipv6() && v6) => None,
        Some(_) => Some(binding),
        None if v4 && (v6 || !has_v6) => None,
        None if v4 => at(any6),
        None => at(any4),
    }
}

/// Ports as spans of those that follow each other.
fn spans(any: IpAddr, ports: &BTreeSet<ContainerPort>) -> Vec<PublishedPort> {
    let mut sorted: Vec<ContainerPort> = ports.iter().copied().collect();
    sorted.sort_by_key(|port| (port.protocol, port.port));
    let mut spans: Vec<PublishedPort> = Vec::new();
    for container in sorted {
        match spans.last_mut() {
            Some(last)
                if last.container.protocol == container.protocol
                    && last.container.port.checked_add(last.count) == Some(container.port) =>
            {
                last.count += 1;
            }
            Some(_) | None => spans.push(PublishedPort {
                container,
                host_ip: any,
                host_port: 0,
                inner: None,
                count: 1,
            }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::network::Inside;
    use model::port::parse_publish;
    use net::host::Stack;

    fn split(modes: [GatewayMode; 2], binding: Option<&str>, asked: &[&str]) -> String {
        let binding = binding.map(|ip| ip.parse().unwrap());
        let terms = Terms { binding, gateways: modes, ..Terms::plain(Stack::Dual) };
        let asked: Vec<PortBinding> =
            asked.iter().flat_map(|text| parse_publish(text).unwrap()).collect();
        let addresses = ["10.0.0.2/24", "fd00::2/64"].map(|cidr| cidr.parse().unwrap());
        let Wishes { mapped, direct } = terms.split(&asked, &addresses);
        let mapped = mapped.iter().map(|it| format!("{:?} to {}", it.host_ip, it.container));
        let direct =
            direct.iter().map(|it| format!("{} {}+{}", it.host_ip, it.container, it.count));
        mapped.chain(direct).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_family_is_led_or_reached() {
        use GatewayMode::{Nat, Routed};
        assert_eq!(split([Nat, Nat], None, &["8080:80"]), "None to 80/tcp");
        assert_eq!(
            split([Nat, Routed], None, &["8080:80", "8081:80"]),
            "Some(0.0.0.0) to 80/tcp, Some(0.0.0.0) to 80/tcp, :: 80/tcp+1"
        );
        assert_eq!(
            split([Routed, Nat], None, &["8080:80"]),
            "Some(::) to 80/tcp, 0.0.0.0 80/tcp+1"
        );
        let both = split([Routed, Routed], None, &["1000-1099:80-179", "53:53/udp"]);
        assert_eq!(both, "0.0.0.0 80/tcp+100, 0.0.0.0 53/udp+1, :: 80/tcp+100, :: 53/udp+1");
        let internal = Terms { inside: Inside::Only, ..Terms::plain(Stack::Dual) };
        assert!(internal.split(&parse_publish("80:80").unwrap(), &[]).is_empty());
    }

    /// An address that somebody asks for chooses the family, and one that the network chooses nothing (Docker).
    #[test]
    fn addresses_of_the_host_mean_nothing_where_it_does_not_lead() {
        use GatewayMode::{Nat, Routed};
        let local = ["127.0.0.1:8080:80"];
        assert_eq!(split([Routed, Nat], None, &local), "0.0.0.0 80/tcp+1");
        assert_eq!(split([Nat, Routed], None, &local), "Some(127.0.0.1) to 80/tcp");
        assert_eq!(split([Routed, Nat], Some("127.0.0.1"), &["80:80"]), "0.0.0.0 80/tcp+1");
        assert_eq!(
            split([Nat, Routed], Some("127.0.0.1"), &["80:80"]),
            "Some(127.0.0.1) to 80/tcp, :: 80/tcp+1"
        );
    }
}
