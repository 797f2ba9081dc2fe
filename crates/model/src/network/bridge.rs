//! The options of the driver `bridge`, understood: once when a network is made, and again from its row.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{BadOption, Driver, Inside, LINK_NAME, link_name};
use crate::address::Family;
use crate::boolean::boolean;

/// Whether containers of a network may talk to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutual {
    /// They may.
    Allowed,
    /// `enable_icc=false`
    Refused,
}

/// Under which address packets of a network leave the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The host's, by whichever link they leave.
    Host,
    /// This one of the host's: `host_ipv4`, `host_ipv6`.
    Address(IpAddr),
    /// The container's own: `enable_ip_masquerade=false`, or in the mode `routed`.
    Own,
}

/// What the host is to a network of one family.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum GatewayMode {
    /// The way out, under its own address.
    #[default]
    Nat,
    /// The same, and others reach the containers by their own addresses as well, at all ports.
    Unprotected,
    /// The way out, and nothing is rewritten: others reach the containers by their own addresses, at the ports that
    /// are published.
    Routed,
    /// Nothing: the bridge has no address.
    Isolated,
}

impl GatewayMode {
    /// That of this name.
    fn of(name: &str) -> Option<Self> {
        match name {
            "nat" => Some(Self::Nat),
            "nat-unprotected" => Some(Self::Unprotected),
            "routed" => Some(Self::Routed),
            "isolated" => Some(Self::Isolated),
            _ => None,
        }
    }
}

/// The options of the driver `bridge`, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeOptions {
    /// The bridge's name, if the user names it.
    pub name: Option<String>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Containers among themselves.
    pub mutual: Mutual,
    /// Whether packets leave the host under an address of its own.
    masquerade: bool,
    /// Under which, of IPv4, then of IPv6.
    host: [Option<IpAddr>; 2],
    /// Where ports are published that name no address.
    pub binding: Option<IpAddr>,
    /// Of IPv4, then of IPv6.
    pub gateways: [GatewayMode; 2],
    /// Links of the host by which containers are reached at their own addresses, at the ports that are published.
    pub trusted: Vec<String>,
    /// Whether the bridge goes without an address of IPv4, which somebody else has as the gateway.
    pub inhibit_ipv4: bool,
    /// What links of containers are called, with a number behind.
    pub link_prefix: Option<String>,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            name: None,
            mtu: None,
            mutual: Mutual::Allowed,
            masquerade: true,
            host: [None; 2],
            binding: None,
            gateways: [GatewayMode::Nat; 2],
            trusted: Vec::new(),
            inhibit_ipv4: false,
            link_prefix: None,
        }
    }
}

impl BridgeOptions {
    /// Understands options as typed.
    ///
    /// # Errors
    /// One is unknown, or its value makes no sense.
    pub fn parse(
        options: &BTreeMap<String, String>,
        is_internal: Inside,
    ) -> Result<Self, BadOption> {
        let mut parsed = Self::default();
        for (key, value) in options {
            parsed.set(key, value)?;
        }
        let isolated = parsed.gateways.contains(&GatewayMode::Isolated);
        if isolated && is_internal == Inside::No {
            return Err(BadOption::IsolatedOutside);
        }
        Ok(parsed)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        let bad = |why| BadOption::Value { key: key.to_owned(), value: value.to_owned(), why };
        let switch = || boolean(value).ok_or_else(|| bad("invalid syntax"));
        let Some(short) = key.strip_prefix("com.docker.network.") else {
            return Err(BadOption::Unknown { key: key.to_owned(), driver: Driver::Bridge });
        };
        match short {
            "bridge.name" => self.name = Some(link_name(value).ok_or_else(|| bad(LINK_NAME))?),
            "driver.mtu" => {
                let mtu = value.parse().ok().filter(|mtu| *mtu == 0 || MTU.contains(mtu));
                self.mtu = Some(mtu.ok_or_else(|| bad("68 to 65535 bytes"))?).filter(|m| *m > 0);
            }
            "bridge.enable_icc" => {
                self.mutual = if switch()? { Mutual::Allowed } else { Mutual::Refused };
            }
            "bridge.enable_ip_masquerade" => self.masquerade = switch()?,
            "bridge.host_binding_ipv4" => {
                let v4 = value.parse::<Ipv4Addr>().map_err(|_| bad("invalid ip"))?;
                self.binding = Some(v4.into());
            }
            "bridge.gateway_mode_ipv4" | "bridge.gateway_mode_ipv6" => {
                let mode = GatewayMode::of(value).ok_or_else(|| bad("unknown gateway mode"))?;
                self.gateways[usize::from(short.ends_with('6'))] = mode;
            }
            "bridge.trusted_host_interfaces" => {
                let names = value.split(':').filter(|name| !name.is_empty());
                let names = names.map(link_name).collect::<Option<_>>();
                self.trusted = names.ok_or_else(|| bad(LINK_NAME))?;
            }
            "host_ipv4" => {
                let v4 = value.parse::<Ipv4Addr>().map_err(|_| bad("invalid ip"))?;
                self.host[0] = Some(v4.into());
            }
            "host_ipv6" => {
                let v6 = value.parse::<Ipv6Addr>().map_err(|_| bad("invalid ip"))?;
                self.host[1] = Some(v6.into());
            }
            "bridge.inhibit_ipv4" => self.inhibit_ipv4 = switch()?,
            "container_iface_prefix" => {
                // The kernel's 15 bytes, with a number of three digits.
                let prefix = link_name(value).filter(|name| name.len() <= 12);
                self.link_prefix = Some(prefix.ok_or_else(|| bad(LINK_NAME))?);
            }
            // Docker keeps it for the bridge that it makes itself.
            "bridge.default_bridge" if switch()? => {
                return Err(bad("there is a default bridge already, and no second one"));
            }
            "bridge.default_bridge" => {}
            // What they say was taken up when the network was asked for, beside its other families.
            _ if FAMILIES.contains(&key) => drop(switch()?),
            _ => return Err(BadOption::Unknown { key: key.to_owned(), driver: Driver::Bridge }),
        }
        Ok(())
    }

    /// What the host is to the network in a family.
    #[must_use]
    pub const fn gateway_mode(&self, family: Family) -> GatewayMode {
        let [v4, v6] = self.gateways;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Under which address packets of a family leave the host.
    #[must_use]
    pub fn source(&self, family: Family) -> Source {
        let [v4, v6] = self.host;
        let host = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        match (self.gateway_mode(family), self.masquerade) {
            (GatewayMode::Routed, _) | (_, false) => Source::Own,
            (_, true) => host.map_or(Source::Host, Source::Address),
        }
    }
}

/// Whether a network has IPv4, and IPv6, as an option of any driver: heard where nothing else says so.
pub const FAMILIES: [&str; 2] =
    ["com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6"];

const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<BridgeOptions, String> {
        let prefix = "com.docker.network.";
        let options = options.iter().map(|(k, v)| (format!("{prefix}{k}"), (*v).to_owned()));
        BridgeOptions::parse(&options.collect(), Inside::No).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_understood() {
        let parsed = parse(&[
            ("bridge.name", "br-mine"),
            ("driver.mtu", "1400"),
            ("bridge.enable_icc", "false"),
            ("bridge.enable_ip_masquerade", "0"),
            ("bridge.host_binding_ipv4", "127.0.0.1"),
            ("bridge.inhibit_ipv4", "T"),
            ("container_iface_prefix", "net"),
            ("bridge.default_bridge", "false"),
            ("enable_ipv4", "true"),
            ("enable_ipv6", "0"),
        ]);
        let expected = BridgeOptions {
            name: Some("br-mine".to_owned()),
            mtu: Some(1400),
            mutual: Mutual::Refused,
            masquerade: false,
            binding: Some("127.0.0.1".parse().unwrap()),
            inhibit_ipv4: true,
            link_prefix: Some("net".to_owned()),
            ..BridgeOptions::default()
        };
        assert_eq!(parsed, Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (key, value, says) in [
            ("driver.mtu", "1", "68 to 65535 bytes"),
            ("driver.mtu", "x", "68 to 65535 bytes"),
            ("bridge.enable_icc", "maybe", "invalid syntax"),
            ("bridge.name", "a/b", "invalid interface name"),
            ("bridge.host_binding_ipv4", "x", "invalid ip"),
            ("bridge.host_binding_ipv4", "::1", "invalid ip"),
            ("bridge.gateway_mode_ipv4", "odd", "unknown gateway mode"),
            ("bridge.gateway_mode_ipv6", "Routed", "unknown gateway mode"),
            ("bridge.trusted_host_interfaces", "eth0:a/b", "invalid interface name"),
            ("host_ipv6", "1.2.3.4", "invalid ip"),
            ("bridge.gateway_mode_ipv4", "isolated", "only be used for an internal network"),
            ("host_ipv4", "::1", "invalid ip"),
            ("enable_ipv4", "odd", "invalid syntax"),
            ("bridge.default_bridge", "true", "there is a default bridge already"),
            ("bridge.default_bridge", "odd", "invalid syntax"),
            // Docker 28 does not know it either, and passes it over without a word.
            ("bridge.vlan_filtering", "1", "has none of this name"),
            ("bridge.nosuch", "1", "has none of this name"),
        ] {
            let said = parse(&[(key, value)]).unwrap_err();
            assert!(said.contains(says), "{key}={value}: {said}");
        }
        let strange = BTreeMap::from([("foo".to_owned(), "bar".to_owned())]);
        assert!(BridgeOptions::parse(&strange, Inside::No).is_err());
    }

    #[test]
    fn each_family_has_its_own_way_out() {
        let both = |options: &[(&str, &str)]| {
            let parsed = parse(options).unwrap();
            [Family::V4, Family::V6]
                .map(|family| (parsed.gateway_mode(family), parsed.source(family)))
        };
        let (nat, routed) = ((GatewayMode::Nat, Source::Host), (GatewayMode::Routed, Source::Own));
        assert_eq!(both(&[]), [nat; 2]);
        assert_eq!(both(&[("bridge.gateway_mode_ipv6", "routed")]), [nat, routed]);
        let four = ("host_ipv4", "192.0.2.7");
        let seven = Source::Address("192.0.2.7".parse().unwrap());
        let unprotected = ("bridge.gateway_mode_ipv4", "nat-unprotected");
        assert_eq!(both(&[four, unprotected]), [(GatewayMode::Unprotected, seven), nat]);
        let own = (GatewayMode::Nat, Source::Own);
        assert_eq!(both(&[four, ("bridge.enable_ip_masquerade", "0")]), [own; 2]);
        assert_eq!(both(&[four, ("bridge.gateway_mode_ipv4", "routed")]), [routed, nat]);
        let trusted = parse(&[("bridge.trusted_host_interfaces", "eth0::vx.1")]).unwrap().trusted;
        assert_eq!(trusted, ["eth0", "vx.1"]);
    }
}
