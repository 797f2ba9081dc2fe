//! Networks as they are wished: their pools of addresses, their options, and the text of those.
//!
//! Pure. Which pool a network gets that names none is decided elsewhere.

mod bridge;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::address::{Cidr, Family, Subnet};
use crate::link_sysctl::LinkSysctl;

pub use bridge::{BridgeOptions, FAMILIES, GatewayMode, Mutual, Source};

/// Where a bridge is named.
pub const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// What a network is made of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Driver {
    /// A bridge of the host's, behind which containers are.
    #[default]
    Bridge,
    /// A link of the host's, on which containers have hardware addresses of their own.
    Macvlan,
    /// The same, where they have that of the link.
    Ipvlan,
}

impl Driver {
    /// That of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Bridge, Self::Macvlan, Self::Ipvlan].into_iter().find(|driver| driver.name() == name)
    }

    /// As it is typed and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }
}

/// A network that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkWish {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub driver: Driver,
    /// Whether containers have IPv4.
    pub ipv4: Ipv4,
    /// Whether containers have IPv6.
    pub ipv6: Ipv6,
    /// At most one for each family; those that are missing are chosen.
    pub pools: Vec<Pool>,
    /// The driver's options, as typed.
    pub options: BTreeMap<String, String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// Nothing leads out of it.
    pub internal: bool,
    /// What only a swarm asks.
    pub attachable: bool,
    /// What it has to do with networks that are only a configuration.
    pub configuration: Configuration,
}

/// Whether a network has IPv4.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Ipv4 {
    /// It has.
    #[default]
    On,
    /// It has not, and its pools of that family are passed over.
    Off,
}

/// Whether a network has IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipv6 {
    /// Nobody has said: where the host has it.
    WhereThere,
    /// It has.
    On,
    /// It has not, and its pools of that family are passed over.
    Off,
}

/// What a network has to do with configurations.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Configuration {
    /// Nothing: it is a network of its own.
    #[default]
    Own,
    /// It is one: nothing can be on it.
    Only,
    /// It is made as that network says.
    From(String),
}

/// A range of addresses of a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// All of it.
    pub subnet: Subnet,
    /// The part that containers get theirs from, unless they ask for one.
    pub range: Option<Subnet>,
    /// The way out.
    pub gateway: Option<IpAddr>,
    /// Addresses that somebody else has, by name.
    pub others: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// A whole subnet, of which nothing is decided.
    #[must_use]
    pub const fn of(subnet: Subnet) -> Self {
        Self { subnet, range: None, gateway: None, others: BTreeMap::new() }
    }

    /// Its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.subnet.family()
    }

    /// Addresses that no container gets by itself.
    pub fn reserved(&self) -> impl Iterator<Item = IpAddr> {
        self.gateway.into_iter().chain(self.others.values().copied())
    }
}

/// What a container asks of its place on a network.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The network, as typed.
    pub network: String,
    /// `--ip`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// `--ip6`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// `--network-alias`: what others on the network may call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--link-local-ip`: addresses that its link has besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// `--link`: what it calls others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// `mac-address` of this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// `gw-priority`: the network with the highest is the way out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// `driver-opt`, as typed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What one container calls another, and nobody else does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// A name of the other.
    pub to: String,
    /// What it is called.
    pub alias: String,
}

/// The option by which a container's link has settings of its own.
const SYSCTLS_OPTION: &str = "com.docker.network.endpoint.sysctls";

/// The option by which a container's link gets its name inside.
pub const LINK_NAME_OPTION: &str = "com.docker.network.endpoint.ifname";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Attachment {
    /// A place of which nothing is asked.
    #[must_use]
    pub fn of(network: &str) -> Self {
        Self { network: network.to_owned(), ..Self::default() }
    }

    /// What its link is called inside, if it asks for a name.
    #[must_use]
    pub fn link_name(&self) -> Option<&str> {
        self.options.get(LINK_NAME_OPTION).map(String::as_str)
    }

    /// What is set of its link.
    ///
    /// # Errors
    /// One is no setting of a link.
    pub fn sysctls(&self) -> Result<Vec<LinkSysctl>, BadOption> {
        let text = self.options.get(SYSCTLS_OPTION).map_or("", String::as_str);
        LinkSysctl::parse(text).map_err(|value| {
            let why = "represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V'";
            BadOption::Value { key: SYSCTLS_OPTION.to_owned(), value, why }
        })
    }

    /// The addresses of its link beside those of its network; one that makes no sense is none (Docker has /16 and
    /// /64).
    #[must_use]
    pub fn link_local(&self) -> Vec<Cidr> {
        let prefix = |ip: &IpAddr| if ip.is_ipv4() { 16 } else { 64 };
        self.link_local.iter().filter_map(|ip| Cidr::new(*ip, prefix(ip)).ok()).collect()
    }

    /// Whether the driver has what it asks for.
    ///
    /// # Errors
    /// An option is unknown, or its value makes no sense.
    pub fn check_options(&self) -> Result<(), BadOption> {
        for (key, value) in &self.options {
            match key.as_str() {
                LINK_NAME_OPTION if link_name(value).is_some() => {}
                LINK_NAME_OPTION => {
                    let (key, value) = (key.clone(), value.clone());
                    return Err(BadOption::Value { key, value, why: LINK_NAME });
                }
                SYSCTLS_OPTION => drop(self.sysctls()?),
                _ => return Err(BadOption::UnknownHere(key.clone())),
            }
        }
        Ok(())
    }

    /// The address that it asks for in a family.
    #[must_use]
    pub fn asked(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ipv4.map(IpAddr::V4),
            Family::V6 => self.ipv6.map(IpAddr::V6),
        }
    }
}

/// Options of a driver that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// Its text means nothing.
    #[error("failed to parse {key} value: {value} ({why})")]
    Value {
        /// Which.
        key: String,
        /// As typed.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such option.
    #[error("invalid option {key:?}: the driver {} has none of this name", .driver.name())]
    Unknown {
        /// Which.
        key: String,
        /// The driver.
        driver: Driver,
    },
    /// There is no such option of a container's place.
    #[error(
        "invalid option {0:?}: there is none of this name for a container's place on a network"
    )]
    UnknownHere(String),
    /// Only what has no way out can do without the host.
    #[error("gateway mode 'isolated' can only be used for an internal network")]
    IsolatedOutside,
}

/// Whether nothing leads out of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inside {
    /// Something does.
    No,
    /// It is internal.
    Only,
}

impl Inside {
    /// Of a network that says so of itself.
    #[must_use]
    pub const fn of(internal: bool) -> Self {
        if internal { Self::Only } else { Self::No }
    }
}

pub(crate) const LINK_NAME: &str = "invalid interface name";
/// What the kernel takes as the name of a link.
pub(crate) fn link_name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    let fits = (1..16).contains(&text.len()) && !matches!(text, "." | "..");
    (fits && text.bytes().all(plain)).then(|| text.to_owned())
}
