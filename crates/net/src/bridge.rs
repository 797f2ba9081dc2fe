//! The bridge of a network: its plan, and making the kernel have it.
//!
//! Owns the link, its addresses and its sysctls. Filtering and NAT are `nft`'s.

mod found;

pub use found::{Found, Which, ensure_found, find, is_another, leave_found};

use crate::address::{AddressError, Cidr, Family, LinkName, Mac, Subnet};
use crate::host::{self, Ipv6Loopback, Stack};
use crate::ipam;
use crate::names::Names;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl::{self, Link};
use crate::sysctl::{self, SysctlError};

/// Opens the alias of a bridge of ours; what follows are its addresses.
const ALIAS: &str = "dhow ";

/// What a caller's part says.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The kernel refuses.
    #[error("set up bridge {bridge}")]
    Netlink {
        /// Its name.
        bridge: LinkName,
        /// Why.
        source: NetlinkError,
    },
    /// A sysctl could not be set.
    #[error("set up bridge {bridge}")]
    Sysctl {
        /// Its name.
        bridge: LinkName,
        /// Which.
        source: SysctlError,
    },
    /// The name is that of another kind of link.
    #[error("link {bridge} exists and is no bridge but {kind:?}")]
    OtherKind {
        /// Its name.
        bridge: LinkName,
        /// What it is.
        kind: String,
    },
    /// The bridge has addresses that the plan does not have.
    #[error("bridge {bridge} exists with the address {has}, which its network does not have")]
    OtherAddress {
        /// Its name.
        bridge: LinkName,
        /// The foreign address.
        has: Cidr,
    },
    /// It was deleted while it was set up.
    #[error("bridge {0} vanished while it was set up")]
    Vanished(LinkName),
    /// All default pools overlap with what the host uses.
    #[error("all predefined address pools have been fully subnetted")]
    NoPool,
    /// Somebody's bridge that a network was put on is no more.
    #[error(
        "bridge {0} is no more, which the network was put on: make it again, or the network without it"
    )]
    Gone(LinkName),
    /// Somebody has made it anew since.
    #[error("bridge {0} is another than the one that the network was put on: it was made anew")]
    Another(LinkName),
    /// Which bridge it is cannot be told.
    #[error("find out which start of the host bridge {bridge} is of")]
    Boot {
        /// Its name.
        bridge: String,
        /// Why.
        source: std::io::Error,
    },
    /// A link has the name that dhow has not made for this network.
    #[error("link {0} exists and belongs to somebody else")]
    Foreign(LinkName),
    /// What other networks have could not be found out.
    #[error("find out which subnets other networks have")]
    Reserved(#[source] AnyError),
    /// The firewall could not be told of it.
    #[error("tell the firewall of bridge {bridge}")]
    Told {
        /// Its name.
        bridge: LinkName,
        /// Why.
        source: AnyError,
    },
}

/// A bridge as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgePlan {
    /// Its name.
    pub name: LinkName,
    /// Its addresses, which are the gateways of the containers: at most one of each family.
    pub addresses: Vec<Cidr>,
    /// Bytes; the kernel's 1500 if `None`.
    pub mtu: Option<u32>,
    /// The group by which the bridges of users' networks are known; 0 for the default bridge, which
    /// is known by its name.
    pub group: u32,
}

/// A bridge as it is: ready for endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// As planned.
    pub plan: BridgePlan,
    /// The kernel's number of the link.
    pub index: u32,
    /// Whether ports must send back what came in by them.
    pub hairpin: Hairpin,
    /// Whether ports can be published on `::1`.
    pub ipv6_loopback: Ipv6Loopback,
}

/// How a container reaches a port that it publishes itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hairpin {
    /// The packet goes up to the host's routing and comes back down: nothing to do.
    Routed,
    /// Netfilter sees bridged packets (`bridge-nf-call-iptables`), rewrites the destination inside
    /// of the bridge, and the packet must leave by the port it came from.
    Bridged,
}

impl BridgePlan {
    /// The families that its containers have.
    #[must_use]
    pub fn stack(&self) -> Stack {
        let v6 = self.addresses.iter().any(|cidr| cidr.family() == Family::V6);
        if v6 { Stack::Dual } else { Stack::V4 }
    }

    /// The network of one family.
    #[must_use]
    pub fn subnet(&self, family: Family) -> Option<Subnet> {
        self.addresses.iter().find(|cidr| cidr.family() == family).map(|cidr| cidr.subnet())
    }

    /// What the link's alias says when everything else is done: a crash before leaves no alias,
    /// and whoever comes next does it again.
    fn alias(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(Cidr::to_string).collect();
        format!("{ALIAS}{}", addresses.join(" "))
    }

    /// Fixed, since a bridge without an address of its own takes that of a port, and its
    /// neighbours would lose it when that port goes.
    fn mac(&self) -> Mac {
        let name = || self.name.as_str().as_bytes().to_vec();
        let first =
            self.addresses.first().map_or_else(name, |cidr| crate::address::octets(cidr.address()));
        let mut random = [0x02, 0x64, 0, 0, 0, 0];
        for (to, from) in random.iter_mut().skip(2).zip(first.iter().rev()) {
            *to = *from;
        }
        Mac::local(random)
    }

    fn is_done(&self, link: &Link) -> bool {
        let v6 = self.stack() == Stack::V4 || link.forwards_v6 == Some(true);
        let v4 = link.forwards_v4 && link.route_localnet;
        let is_ours = link.kind == "bridge" && link.group == self.group;
        is_ours && link.up && link.alias == self.alias() && v4 && v6
    }
}

/// The plan that a bridge's alias tells.
fn plan_from_alias(name: &LinkName, alias: &str) -> Option<BridgePlan> {
    let addresses: Result<Vec<Cidr>, AddressError> =
        alias.strip_prefix(ALIAS)?.split(' ').map(str::parse).collect();
    Some(BridgePlan { name: name.clone(), addresses: addresses.ok()?, mtu: None, group: 0 })
}

/// Makes the default bridge of this root exist and returns it. Its subnet is what it already has,
/// else the first of Docker's pools that neither the host nor another network uses, and a unique local
/// one for IPv6. `reserved` says what other networks use that may have no bridge now, and `tell` is told
/// what it will have before anybody takes it for done; both are asked only where it must be made.
///
/// Any number of processes may do this at once: all choose the same.
///
/// # Errors
/// See [`BridgeError`].
pub fn ensure_default(
    names: &Names,
    reserved: impl FnOnce() -> Result<Vec<Subnet>, AnyError>,
    tell: impl FnOnce(&BridgePlan) -> Result<(), AnyError>,
) -> Result<Bridge, BridgeError> {
    let name = names.bridge();
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let found = rtnl::find_link(&socket, name).map_err(failed)?;
    let told = found.as_ref().and_then(|link| plan_from_alias(name, &link.alias));
    if let (Some(link), Some(plan)) = (&found, told)
        && plan.is_done(link)
    {
        return ready(plan, link.index);
    }
    // Who answers may have to wait for others that choose, so what the host has is looked at behind it.
    let reserved = reserved().map_err(BridgeError::Reserved)?;
    let has = addresses_of(&socket, name)?;
    let mut in_use = host::subnets_in_use(&socket, name).map_err(failed)?;
    in_use.extend(reserved);
    let stack =
        host::stack().map_err(|source| BridgeError::Sysctl { bridge: name.clone(), source })?;
    let plan = plan_default(name, stack, &has, &in_use).ok_or(BridgeError::NoPool)?;
    ensure_with(&socket, plan, tell)
}

/// The default bridge of this root as it is; `None` if it was not made yet.
///
/// # Errors
/// See [`BridgeError`].
pub fn existing(names: &Names) -> Result<Option<BridgePlan>, BridgeError> {
    let name = names.bridge();
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let found = rtnl::find_link(&socket, name).map_err(failed)?;
    Ok(found.and_then(|link| plan_from_alias(name, &link.alias)))
}

/// The plan of a default bridge: what it has, completed by what is free.
fn plan_default(
    name: &LinkName,
    stack: Stack,
    has: &[Cidr],
    in_use: &[Subnet],
) -> Option<BridgePlan> {
    let own = |family| has.iter().copied().find(|cidr| cidr.family() == family);
    let first = |subnet: Subnet| subnet.with(ipam::default_gateway(subnet)?);
    let mut addresses = Vec::new();
    for family in stack.families() {
        let cidr = own(*family).or_else(|| match family {
            Family::V4 => first(ipam::free_pool(in_use)?),
            Family::V6 => first(ipam::unique_local(name.as_str().as_bytes(), in_use)?),
        });
        addresses.push(cidr?);
    }
    Some(BridgePlan { name: name.clone(), addresses, mtu: None, group: 0 })
}

/// Removes the bridge of a network, if it is there and was made for this group. Links in it stay, without
/// a bridge.
///
/// # Errors
/// If the kernel refuses.
pub fn remove(name: &LinkName, group: u32) -> Result<(), BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let found = rtnl::find_link(&socket, name).map_err(failed)?;
    let Some(link) = found.filter(|link| link.kind == "bridge" && link.group == group) else {
        return Ok(());
    };
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, link.index);
    match socket.execute(batch) {
        // Somebody was faster.
        Err(error) if error.refusal() == Some(sys::Errno::NODEV) => Ok(()),
        other => other.map_err(failed),
    }
}

/// Makes the kernel have this bridge. Nothing is done if it has; what is missing is completed.
///
/// # Errors
/// If the name is taken by something else, or the kernel refuses.
pub fn ensure(plan: BridgePlan) -> Result<Bridge, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: plan.name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    match rtnl::find_link(&socket, &plan.name).map_err(failed)? {
        Some(link) if plan.is_done(&link) => ready(plan, link.index),
        Some(_) | None => ensure_with(&socket, plan, |_| Ok(())),
    }
}

/// The alias comes last: who sees it takes all before it for done.
fn ensure_with(
    socket: &Socket,
    plan: BridgePlan,
    tell: impl FnOnce(&BridgePlan) -> Result<(), AnyError>,
) -> Result<Bridge, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: plan.name.clone(), source };
    let index = add(socket, &plan)?;
    let foreign = addresses_of(socket, &plan.name)?;
    if let Some(has) = foreign.into_iter().find(|cidr| !plan.addresses.contains(cidr)) {
        return Err(BridgeError::OtherAddress { bridge: plan.name, has });
    }
    set_sysctls(&plan)
        .map_err(|source| BridgeError::Sysctl { bridge: plan.name.clone(), source })?;
    for cidr in &plan.addresses {
        let mut batch = Batch::default();
        rtnl::add_address(&mut batch, index, *cidr);
        unless_exists(socket.execute(batch)).map_err(failed)?;
    }
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, index);
    socket.execute(batch).map_err(failed)?;
    if plan.stack() == Stack::Dual {
        let mut batch = Batch::default();
        rtnl::add_loopback_route(&mut batch, index);
        unless_exists(socket.execute(batch)).map_err(failed)?;
    }
    tell(&plan).map_err(|source| BridgeError::Told { bridge: plan.name.clone(), source })?;
    let mut batch = Batch::default();
    rtnl::set_alias(&mut batch, index, &plan.alias());
    socket.execute(batch).map_err(failed)?;
    ready(plan, index)
}

fn ready(plan: BridgePlan, index: u32) -> Result<Bridge, BridgeError> {
    let failed = |source| BridgeError::Sysctl { bridge: plan.name.clone(), source };
    let call = sysctl::read("bridge/bridge-nf-call-iptables").map_err(failed)?;
    let hairpin = if call.as_deref() == Some("1") { Hairpin::Bridged } else { Hairpin::Routed };
    let ipv6_loopback = host::ipv6_loopback().map_err(failed)?;
    Ok(Bridge { plan, index, hairpin, ipv6_loopback })
}

/// Whether a bridge was made for a network of this root's or of another's.
fn is_ours(link: &Link, group: u32) -> bool {
    (group != 0 && link.group == group) || link.alias.starts_with(ALIAS)
}

/// Adds the link, whoever is first.
fn add(socket: &Socket, plan: &BridgePlan) -> Result<u32, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: plan.name.clone(), source };
    let mut batch = Batch::default();
    rtnl::add_bridge(&mut batch, &plan.name, plan.mac(), (plan.mtu, plan.group));
    unless_exists(socket.execute(batch)).map_err(failed)?;
    match rtnl::find_link(socket, &plan.name).map_err(failed)? {
        Some(link) if link.kind == "bridge" && link.group == plan.group => Ok(link.index),
        Some(link) if link.kind == "bridge" => Err(BridgeError::Foreign(plan.name.clone())),
        Some(link) => Err(BridgeError::OtherKind { bridge: plan.name.clone(), kind: link.kind }),
        None => Err(BridgeError::Vanished(plan.name.clone())),
    }
}

/// `EEXIST` is what another process of ours did a moment ago.
fn unless_exists(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.refusal() == Some(sys::Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn set_sysctls(plan: &BridgePlan) -> Result<(), SysctlError> {
    let bridge = &plan.name;
    // 127.0.0.1 is published by rewriting the destination; without this the kernel would not
    // send the packet to the bridge. `nft` drops what comes in for 127.0.0.0/8.
    sysctl::write(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    match plan.stack() {
        Stack::V4 => sysctl::write_if_known(&format!("ipv6/conf/{bridge}/disable_ipv6"), "1")?,
        Stack::Dual => {
            // A container must not become the host's router (CVE-2020-13401).
            sysctl::write(&format!("ipv6/conf/{bridge}/accept_ra"), "0")?;
            // Without a port there is no carrier, and the addresses would stay tentative.
            sysctl::write(&format!("ipv6/conf/{bridge}/accept_dad"), "0")?;
        }
    }
    host::enable_forwarding(plan.stack())
}

/// The addresses of a link but for link-local ones.
fn addresses_of(socket: &Socket, name: &LinkName) -> Result<Vec<Cidr>, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let Some(link) = rtnl::find_link(socket, name).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let all = rtnl::list_addresses(socket).map_err(failed)?;
    let global = |cidr: &Cidr| match cidr.address() {
        std::net::IpAddr::V4(_) => true,
        std::net::IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let own = all.into_iter().filter(|(index, _)| *index == link.index);
    Ok(own.map(|(_, cidr)| cidr).filter(global).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(stack: Stack, has: &[&str], in_use: &[&str], expected: &Expect) {
        let has: Vec<Cidr> = has.iter().map(|s| s.parse().unwrap()).collect();
        let in_use: Vec<Subnet> = in_use.iter().map(|s| s.parse().unwrap()).collect();
        let plan = plan_default(&"dhow0".parse().unwrap(), stack, &has, &in_use);
        expected.assert_eq(&plan.map_or("no pool".to_owned(), |plan| plan.alias()));
    }

    #[test]
    fn the_default_bridge_takes_what_is_free() {
        check(Stack::V4, &[], &[], &expect!["dhow 172.17.0.1/16"]);
        check(
            Stack::Dual,
            &[],
            &["172.17.0.0/16"],
            &expect!["dhow 172.18.0.1/16 fd7a:92e6:9fa0::1/64"],
        );
        check(Stack::V4, &[], &["172.16.0.0/12", "192.168.0.0/16"], &expect!["no pool"]);
    }

    #[test]
    fn the_default_bridge_keeps_what_it_has() {
        check(Stack::V4, &["10.9.0.1/24"], &[], &expect!["dhow 10.9.0.1/24"]);
        check(Stack::Dual, &["fd00:1::1/64"], &[], &expect!["dhow 172.17.0.1/16 fd00:1::1/64"]);
    }

    #[test]
    fn the_alias_tells_the_plan() {
        let name: LinkName = "dhow0".parse().unwrap();
        let plan = plan_default(&name, Stack::Dual, &[], &[]).unwrap();
        assert_eq!(plan_from_alias(&name, &plan.alias()), Some(plan));
        for alias in ["", "dhow", "dhow ", "dhow 1.2.3.4", "uplink"] {
            assert_eq!(plan_from_alias(&name, alias), None, "{alias}");
        }
    }
}
