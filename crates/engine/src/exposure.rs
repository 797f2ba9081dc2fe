//! What is open to whom: published ports, networks, our chains, and the chains of others beside them.
//!
//! Owns the judgement of who reaches a published port (`Reach`), and the warning of one that anybody does. What
//! is published is read from the kernel: only that is open.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use model::container::NetworkMode;
use model::network::{Inside, Mutual, Source};
use model::port::{ContainerPort, PortBinding, Protocol};
use model::{ContainerId, ContainerName};
use net::address::{Cidr, Subnet};
use net::host::Stack;
use net::nft::{ForeignChain, Hook, Network, PortRule, ToldChain, told_chains};
use net::{bridge, host};

use crate::network::{BRIDGE, Known, Terms, net_error};
use crate::ports::{Wishes, default_network};
use crate::record::{PublishedPort, Record};
use crate::settings::HostRules;
use crate::{Engine, EngineError};

/// The tables that the kernel's former interfaces of iptables and ip6tables have.
const LEGACY: [&str; 2] = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];

/// What is open to whom.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// What the host's rules for its own ports are to what is published.
    pub rules: HostRules,
    /// The name of our tables; `None` for an ordinary user, who has none.
    pub table: Option<String>,
    /// Whether they have all of their rules.
    pub intact: bool,
    /// What our chains do.
    pub chains: Vec<ToldChain>,
    /// Networks of containers.
    pub networks: Vec<ExposedNetwork>,
    /// What is published now.
    pub ports: Vec<ExposedPort>,
    /// Chains of others that see packets to the host, and through it.
    pub others: Vec<ForeignChain>,
    /// Whether there are rules of iptables that cannot be seen.
    pub legacy: bool,
}

/// A network of containers, as packets see it.
#[derive(Clone, Debug)]
pub struct ExposedNetwork {
    /// Its name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Whether its containers may talk to each other.
    pub mutual: Mutual,
    /// Whether nothing leads out of it.
    pub inside: Inside,
    /// Under which address its packets leave the host, of IPv4, then of IPv6.
    pub source: [Source; 2],
}

/// A published port, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPort {
    /// Whose it is.
    pub owner: ContainerId,
    /// What that is called; `None` if it is being removed.
    pub container: Option<ContainerName>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it is published; of a range, the first port.
    pub host: SocketAddr,
    /// Where it leads; of a range, the first port.
    pub inside: SocketAddr,
    /// How many ports.
    pub count: u16,
    /// Who reaches it.
    pub reach: Reach,
    /// The addresses of the host where it is reached, each with its link.
    pub at: Vec<(String, IpAddr)>,
}

impl ExposedPort {
    /// Where it is reached, with its first port.
    #[must_use]
    pub const fn place(&self) -> SocketAddr {
        if self.host.port() == 0 { self.inside } else { self.host }
    }
}

/// Who reaches a published port, as far as this host can know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// Programs on this host.
    Host,
    /// Whoever reaches an address that is no public one.
    Neighbours,
    /// Whoever reaches any address of this host, or one that is public.
    Anyone,
}

impl Engine {
    /// What is open to whom.
    ///
    /// # Errors
    /// The kernel or the database cannot be asked; the settings are wrong.
    pub fn exposure(&self) -> Result<Exposure, EngineError> {
        let rules = self.settings()?.firewall;
        let legacy = has_legacy_rules();
        if sys::rootless::is_member() {
            return Ok(Exposure {
                rules,
                table: None,
                intact: true,
                chains: Vec::new(),
                networks: Vec::new(),
                ports: self.exposed(self.forwarded()?, &[])?,
                others: Vec::new(),
                legacy,
            });
        }
        let firewall = self.firewall_now()?;
        let networks = self.exposed_networks()?;
        Ok(Exposure {
            rules,
            table: Some(self.names().table().to_owned()),
            intact: firewall.is_intact().map_err(net_error)?,
            chains: told_chains(rules.entry()),
            ports: self.exposed(firewall.published().map_err(net_error)?, &networks)?,
            networks,
            others: firewall.foreign_chains().map_err(net_error)?,
            legacy,
        })
    }

    fn exposed(
        &self,
        mut rules: Vec<PortRule>,
        networks: &[ExposedNetwork],
    ) -> Result<Vec<ExposedPort>, EngineError> {
        // Who is on a bridge of ours is no stranger.
        let own: Vec<&str> = networks.iter().map(|network| network.bridge.as_str()).collect();
        rules.sort_by_key(|rule| (rule.host.port(), rule.host.ip(), rule.protocol));
        let mut addresses = host::addresses().map_err(net_error)?;
        addresses.retain(|(link, _)| !own.contains(&link.as_str()));
        let rows = self.store().containers().list()?;
        let name = |id| rows.iter().find(|row| row.id == id).map(|row| row.name.clone());
        let exposed = |rule: PortRule| ExposedPort {
            owner: rule.owner,
            container: name(rule.owner),
            protocol: rule.protocol,
            host: rule.host,
            inside: rule.container,
            count: rule.count,
            reach: reach(rule.host.ip()),
            at: match rule.is_direct() {
                true => Vec::new(),
                false => places(rule.host.ip(), &addresses),
            },
        };
        Ok(rules.into_iter().map(exposed).collect())
    }

    fn exposed_networks(&self) -> Result<Vec<ExposedNetwork>, EngineError> {
        let (names, stack) = (self.names(), host::stack().map_err(net_error)?);
        let default = bridge::existing(&names).map_err(net_error)?;
        let default = default.map(|plan| (BRIDGE.to_owned(), default_network(&plan)));
        let mut networks: Vec<(String, Network)> = default.into_iter().collect();
        for row in self.store().networks().list()? {
            // `info` names one that cannot be read.
            let Ok(known) = Known::read(row) else { continue };
            let Ok(laid) = known.laid(&names, stack) else { continue };
            networks.extend(laid.map(|laid| (known.name, laid.rules)));
        }
        let exposed = |(name, network): (String, Network)| ExposedNetwork {
            name,
            bridge: network.bridge.to_string(),
            subnets: network.subnets,
            mutual: network.mutual,
            inside: network.inside,
            source: network.source,
        };
        Ok(networks.into_iter().map(exposed).collect())
    }

    /// What a new container would publish, at the addresses that its networks choose. One that is not there yet
    /// chooses none; one that publishes nothing adds nothing.
    fn offered(&self, record: &Record) -> Result<Wishes, EngineError> {
        let published = &record.resolved.published;
        let mut offered = Wishes::default();
        if published.is_empty() {
            return Ok(offered);
        }
        for place in record.spec.network.places() {
            let known = match self.network(&place.network) {
                Err(EngineError::NoSuchNetwork(_)) => None,
                known => Some(known?),
            };
            let terms = known.map(|known| known.terms(Stack::Dual)).transpose()?;
            let terms = terms.unwrap_or_else(|| Terms::plain(Stack::Dual));
            // Which families it will have is not known yet.
            let some = ["10.0.0.1/32", "fd00::1/128"].map(str::parse);
            let some: Vec<Cidr> = some.into_iter().filter_map(Result::ok).collect();
            let Wishes { mapped, direct } = terms.split(published, &some);
            offered.mapped.extend(mapped);
            offered.direct.extend(direct);
        }
        // It is published on one of its networks alone.
        offered.mapped.sort_by_key(|port| (port.container, port.host_ip));
        offered.mapped.dedup_by_key(|port| (port.container, port.host_ip));
        Ok(offered)
    }

    /// What to say of the host's firewall to whoever makes a container.
    pub(crate) fn firewall_warnings(&self, record: &Record) -> Result<Vec<String>, EngineError> {
        let is_on_bridge = match record.spec.network.mode {
            NetworkMode::Bridge | NetworkMode::Named(_) => true,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => false,
        };
        if sys::rootless::is_member() || !is_on_bridge {
            return Ok(Vec::new());
        }
        let offered = self.offered(record)?;
        let places = record.spec.network.places();
        let wishes = !record.resolved.published.is_empty();
        let nothing = places.first().filter(|_| wishes && offered.is_empty()).map(|place| format!(
            "nothing is published: network {} is internal, or gives containers addresses that others reach (macvlan, ipvlan)",
            place.network
        ));
        // A host that cannot be asked says so when the container starts.
        let firewall = self.firewall();
        let Ok(Ok(chains)) = firewall.map(|firewall| firewall.foreign_chains()) else {
            return Ok(nothing.into_iter().collect());
        };
        let bypass = match self.settings()?.firewall {
            HostRules::Bypass => bypass_warning(&offered.mapped, &chains),
            HostRules::Respect => direct_warning(&offered.direct, &chains),
        };
        let kept = self.kept_warning(&record.spec, &chains)?;
        Ok(nothing.into_iter().chain(bypass).chain(kept).collect())
    }
}

/// What to say to whoever publishes these ports: that the host's firewall does not keep anybody from them. Nothing
/// where it does, or where there is none.
fn bypass_warning(published: &[PortBinding], chains: &[ForeignChain]) -> Option<String> {
    let is_open = |port: &&PortBinding| port.host_ip.is_none_or(|ip| reach(ip) == Reach::Anyone);
    let open: Vec<&PortBinding> = published.iter().filter(is_open).collect();
    let passed = |chain: &ForeignChain| -> BTreeSet<ContainerPort> {
        let seen = |port: &&&PortBinding| port.host_ip.is_none_or(|ip| chain.sees(ip));
        open.iter().filter(seen).map(|port| port.container).collect()
    };
    let (chain, ports) = passed_by(chains, passed)?;
    Some(format!(
        "{ports} will be open to anyone: the host's firewall ({chain}) is not asked about published ports \
         (-p 127.0.0.1:… keeps one to this host, firewall = \"respect\" in dhow.toml has it asked)"
    ))
}

/// The same of ports that others reach at the container's own address, where the host's rules hold for what is
/// published: packets for them pass through the host, and meet none of its rules for what comes to itself.
fn direct_warning(direct: &[PublishedPort], chains: &[ForeignChain]) -> Option<String> {
    let passed = |chain: &ForeignChain| -> BTreeSet<ContainerPort> {
        let seen = direct.iter().filter(|port| chain.sees(port.host_ip));
        seen.flat_map(PublishedPort::each).map(|port| port.container).collect()
    };
    let (chain, ports) = passed_by(chains, passed)?;
    Some(format!(
        "{ports} will be open at the container's own address, whose network is routed: the host's firewall ({chain}) is \
         not asked about what passes through the host (its rules at the hook forward are)"
    ))
}

/// The first chain that refuses what comes to the host, and is passed by on the way to some ports, with those.
fn passed_by(
    chains: &[ForeignChain],
    passed: impl Fn(&ForeignChain) -> BTreeSet<ContainerPort>,
) -> Option<(&ForeignChain, String)> {
    let refuses = |chain: &&ForeignChain| chain.hook == Hook::Input && chain.refuses();
    let mut all = chains.iter().filter(refuses).map(|chain| (chain, passed(chain)));
    let (chain, ports) = all.find(|(_, ports)| !ports.is_empty())?;
    let more = match ports.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let port = ports.into_iter().min_by_key(|port| port.port)?;
    Some((chain, format!("port {port} of the container{more}")))
}

/// Whether the former kernel interface of iptables is in use, whose rules cannot be seen from here.
pub(crate) fn has_legacy_rules() -> bool {
    let is_used = |path| std::fs::read_to_string(path).is_ok_and(|it| !it.trim().is_empty());
    LEGACY.into_iter().any(is_used)
}

/// Who reaches an address of this host.
fn reach(host: IpAddr) -> Reach {
    if host.is_loopback() {
        return Reach::Host;
    }
    let is_inner = match host {
        // 100.64.0.0/10 is between a provider and its customers (RFC 6598).
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if is_inner { Reach::Neighbours } else { Reach::Anyone }
}

/// Where a port is reached: the one address, or all of its family.
fn places(host: IpAddr, addresses: &[(String, Cidr)]) -> Vec<(String, IpAddr)> {
    let fits = |ip: IpAddr| {
        let any = host.is_unspecified() && ip.is_ipv4() == host.is_ipv4();
        // The kernel forwards nothing of link-local senders.
        let is_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        ip == host || (any && !is_local)
    };
    let addresses = addresses.iter().map(|(link, cidr)| (link.clone(), cidr.address()));
    addresses.filter(|(_, ip)| fits(*ip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn who_reaches_an_address() {
        let told: String = [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "172.32.0.1",
            "192.168.7.7",
            "169.254.1.1",
            "100.127.0.1",
            "100.128.0.1",
            "8.8.8.8",
            "0.0.0.0",
            "::",
            "fd00::1",
            "fe80::1",
            "2001:db8::1",
        ]
        .iter()
        .map(|ip| format!("{ip} {:?}\n", reach(ip.parse().unwrap())))
        .collect();
        expect![[r#"
            127.0.0.1 Host
            127.9.9.9 Host
            ::1 Host
            10.1.2.3 Neighbours
            172.31.0.1 Neighbours
            172.32.0.1 Anyone
            192.168.7.7 Neighbours
            169.254.1.1 Neighbours
            100.127.0.1 Neighbours
            100.128.0.1 Anyone
            8.8.8.8 Anyone
            0.0.0.0 Anyone
            :: Anyone
            fd00::1 Neighbours
            fe80::1 Neighbours
            2001:db8::1 Anyone
        "#]]
        .assert_eq(&told);
    }

    #[test]
    fn all_addresses_are_those_of_the_family() {
        let addresses: Vec<(String, Cidr)> = [
            ("lo", "127.0.0.1/8"),
            ("lo", "::1/128"),
            ("eth0", "10.0.0.5/24"),
            ("eth0", "fe80::5/64"),
            ("eth0", "fd00::5/64"),
        ]
        .map(|(link, cidr)| (link.to_owned(), cidr.parse().unwrap()))
        .into();
        let at = |ip: &str| -> Vec<String> {
            let places = places(ip.parse().unwrap(), &addresses);
            places.iter().map(|(link, ip)| format!("{link} {ip}")).collect()
        };
        assert_eq!(at("0.0.0.0"), ["lo 127.0.0.1", "eth0 10.0.0.5"]);
        assert_eq!(at("::"), ["lo ::1", "eth0 fd00::5"]);
        assert_eq!(at("10.0.0.5"), ["eth0 10.0.0.5"]);
        assert_eq!(at("10.0.0.6"), [] as [String; 0], "the host has lost it");
    }
}
