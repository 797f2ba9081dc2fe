//! A container's place on a network: a network namespace with its link, addresses and routes.
//!
//! Owns making it. Unmaking is closing the namespace: the kernel then removes the pair of links in
//! its own time, while deleting a link by request costs 10 to 26 ms of RCU grace period each.

mod inside;
mod upper;

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use model::ContainerId;
use model::link_sysctl::LinkSysctl;
use model::network::Mutual;
use sys::Errno;
use sys::failpoint::{Point, pass};
use sys::netns::NetnsError;

use crate::address::{Cidr, Family, LinkName, Mac};
use crate::bridge::{Bridge, Hairpin};
use crate::ipam;
use crate::names::{self, Names};
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl::{self, VethPair};
use crate::sysctl::{self, SysctlError};

pub use crate::rtnl::Way;
pub use inside::Inside;
pub use upper::OnParent;

/// `lo` has this number in every namespace.
const LOOPBACK: u32 = 1;
/// How many former lives of a container may still be in their teardown.
const NAMES: u8 = 26;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No namespace.
    #[error("create the network namespace of a container")]
    Netns(#[from] NetnsError),
    /// A sysctl inside could not be set.
    #[error("configure the network namespace of a container")]
    Sysctl(#[from] SysctlError),
    /// The host's side failed.
    #[error("connect link {link} to its bridge")]
    Connect {
        /// The host's side.
        link: LinkName,
        /// Why.
        source: NetlinkError,
    },
    /// The parent is somebody else's.
    #[error(
        "parent interface {0} is in use by somebody else: it is in a bridge or a bond, or has links of another kind on it"
    )]
    ParentBusy(LinkName),
    /// The parent has passed all to another container.
    #[error(
        "parent interface {0} has another container, or other links, on it: macvlan_mode=passthru has room for one"
    )]
    PassedOn(LinkName),
    /// The parent went away.
    #[error("parent interface {0} is gone")]
    NoParent(LinkName),
    /// The kernel has no links of this kind.
    #[error("this kernel has no {kind} links (the module {kind})")]
    NoKind {
        /// Which.
        kind: &'static str,
    },
    /// Another link on the parent has it.
    #[error("an address of the container is in use by another link on parent interface {0}")]
    AddressTaken(LinkName),
    /// The container's side failed.
    #[error("configure the container's side of link {link}")]
    Configure {
        /// The host's side.
        link: LinkName,
        /// Why.
        source: NetlinkError,
    },
    /// The namespace cannot be spoken to.
    #[error("open a netlink socket in the network namespace of a container")]
    Socket(#[source] NetlinkError),
    /// The loopback link failed.
    #[error("set up the loopback link of a container")]
    Loopback(#[source] NetlinkError),
}

/// An endpoint as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointPlan {
    /// What carries its packets.
    pub carrier: Carrier,
    /// The container's side of the link.
    pub inside_link: LinkName,
    /// The group by which our links are known.
    pub group: u32,
    /// The container's hardware address.
    pub mac: Mac,
    /// The container's addresses. Without one of IPv6, IPv6 is off inside.
    pub addresses: Vec<Cidr>,
    /// Its default routes.
    pub ways: Vec<Way>,
    /// Bytes; the kernel's 1500 if `None`.
    pub mtu: Option<u32>,
    /// What is set of the link when all else is done, so that it stays.
    pub sysctls: Vec<LinkSysctl>,
}

/// What carries a container's packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// A pair of links, one of which is in a bridge.
    Bridge(Port),
    /// A link on one of the host's.
    Parent(OnParent),
}

/// The host's side of a pair of links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// What it is called.
    pub host_link: LinkName,
    /// The kernel's number of the bridge.
    pub bridge: u32,
    /// How the container reaches its own published ports.
    pub hairpin: Hairpin,
    /// Whether it may reach its neighbours on the bridge.
    pub mutual: Mutual,
}

impl EndpointPlan {
    /// The container's place on a bridge. `address` is its IPv4 address; its IPv6 address has the
    /// same place in the bridge's IPv6 subnet. `None` if the address is not of the bridge.
    #[must_use]
    pub fn on_bridge(
        bridge: &Bridge,
        names: &Names,
        container: &ContainerId,
        address: IpAddr,
        mac: Mac,
    ) -> Option<Self> {
        let v4 = bridge.plan.subnet(Family::V4)?;
        let mut addresses = vec![v4.with(address)?];
        if let Some(v6) = bridge.plan.subnet(Family::V6) {
            addresses.push(v6.with(ipam::mirror(address, v4, v6)?)?);
        }
        let gateways = bridge.plan.addresses.iter().map(|cidr| cidr.address());
        Some(Self {
            carrier: Carrier::Bridge(Port {
                host_link: names::host_link(container),
                bridge: bridge.index,
                hairpin: bridge.hairpin,
                mutual: Mutual::Allowed,
            }),
            inside_link: LinkName::known("eth0".to_owned()),
            group: names.group(),
            mac,
            addresses,
            ways: gateways.map(Way::Gateway).collect(),
            mtu: bridge.plan.mtu,
            sysctls: Vec::new(),
        })
    }

    fn has_v6(&self) -> bool {
        self.addresses.iter().any(|cidr| cidr.family() == Family::V6)
    }
}

/// A container's place on a network. It ends when the namespace is closed and left by all.
#[derive(Debug)]
pub struct Endpoint {
    /// The namespace.
    pub netns: OwnedFd,
    /// The hardware address inside.
    pub mac: Mac,
    /// The host's side, which may have another name than planned if the link of the container's
    /// last life still exists. One on a parent has none.
    pub host_link: Option<LinkName>,
}

/// A namespace with nothing but its loopback link: network mode `none`.
///
/// # Errors
/// See [`EndpointError`].
pub fn isolated() -> Result<OwnedFd, EndpointError> {
    let (netns, socket) = sys::netns::create_with(Socket::route)?;
    set_loopback_up(socket)?;
    Ok(netns)
}

/// The same for a namespace that was just made, as one of a user namespace's is.
///
/// # Errors
/// See [`EndpointError`].
pub fn isolate(netns: &OwnedFd) -> Result<(), EndpointError> {
    set_loopback_up(sys::netns::run_in(netns, Socket::route)?)
}

fn set_loopback_up(socket: Result<Socket, NetlinkError>) -> Result<(), EndpointError> {
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, LOOPBACK);
    socket.and_then(|socket| socket.execute(batch)).map_err(EndpointError::Loopback)
}

/// Makes the namespace, the link and all that is inside. If it fails, nothing stays.
///
/// # Errors
/// See [`EndpointError`].
pub fn create(plan: &EndpointPlan) -> Result<Endpoint, EndpointError> {
    let has_v6 = plan.has_v6();
    let (netns, prepared) = sys::netns::create_with(|| prepare(has_v6))?;
    furnish(plan, netns, &prepared?)
}

/// The same in a namespace that was just made, as one of a user namespace's is.
///
/// # Errors
/// See [`EndpointError`].
pub fn create_in(plan: &EndpointPlan, netns: OwnedFd) -> Result<Endpoint, EndpointError> {
    let has_v6 = plan.has_v6();
    let prepared = sys::netns::run_in(&netns, || prepare(has_v6))?;
    furnish(plan, netns, &prepared?)
}

/// Adds a link to a namespace that is in use, which has others: the first name that is free of the host's
/// side, if it has one. If it fails, nothing stays.
///
/// # Errors
/// See [`EndpointError`].
pub fn add(plan: &EndpointPlan, inside: &Inside<'_>) -> Result<Option<LinkName>, EndpointError> {
    let netns = inside.netns();
    let inside = inside.socket();
    let host = host_socket(plan)?;
    let link = connect(plan, &host, netns)?;
    pass(Point::StartLink);
    // The defaults of the namespace are those of its first link, or the container's own.
    let set = sys::netns::run_in(netns, || set_link(plan)).map_err(EndpointError::from);
    let done = set
        .and_then(|set| Ok(set?))
        .and_then(|()| complete(plan, (&host, &link), inside))
        .and_then(|()| set_asked(plan, netns));
    if done.is_err() {
        let mut batch = Batch::default();
        let (socket, name) = match &link {
            Some(link) => (&host, link),
            None => (inside, &plan.inside_link),
        };
        let index = socket.index_of(name.as_str());
        // The error that led here is the one to tell.
        let _ = index.and_then(|index| {
            rtnl::delete_link(&mut batch, index);
            socket.execute(batch)
        });
    }
    done.map(|()| link)
}

/// Makes these the ways out of a namespace, each in place of what led out of it in its family: by a link inside.
///
/// # Errors
/// There is no such link, or the gateway is not reached by it.
pub fn lead_out(inside: &Inside<'_>, ways: &[(LinkName, Way)]) -> Result<(), EndpointError> {
    let inside = inside.socket();
    for (link, way) in ways {
        let failed = |source| EndpointError::Configure { link: link.clone(), source };
        let mut batch = Batch::default();
        let index = inside.index_of(link.as_str()).map_err(failed)?;
        rtnl::replace_default_route(&mut batch, index, *way);
        inside.execute(batch).map_err(failed)?;
    }
    Ok(())
}

fn host_socket(plan: &EndpointPlan) -> Result<Socket, EndpointError> {
    let link = || match &plan.carrier {
        Carrier::Bridge(port) => port.host_link.clone(),
        Carrier::Parent(it) => it.name.clone(),
    };
    Socket::route().map_err(|source| EndpointError::Connect { link: link(), source })
}

fn furnish(
    plan: &EndpointPlan,
    netns: OwnedFd,
    inside: &Socket,
) -> Result<Endpoint, EndpointError> {
    pass(Point::StartNetns);
    let host = host_socket(plan)?;
    let host_link = connect(plan, &host, &netns)?;
    pass(Point::StartLink);
    complete(plan, (&host, &host_link), inside)?;
    set_asked(plan, &netns)?;
    Ok(Endpoint { netns, mac: plan.mac, host_link })
}

/// All of a link but itself.
fn complete(
    plan: &EndpointPlan,
    (host, link): (&Socket, &Option<LinkName>),
    inside: &Socket,
) -> Result<(), EndpointError> {
    let link = link.as_ref().unwrap_or(&plan.inside_link);
    let failed = |source| EndpointError::Configure { link: link.clone(), source };
    match &plan.carrier {
        Carrier::Bridge(port) => {
            let index = configure(plan, inside).map_err(failed)?;
            rtnl::settle(host, link, port.bridge).map_err(failed)?;
            know(plan, port, host).map_err(failed)?;
            announce(plan, inside, index).map_err(failed)
        }
        Carrier::Parent(it) => upper::configure(plan, it, inside),
    }
}

/// What somebody has asked for of the link.
fn set_asked(plan: &EndpointPlan, netns: &OwnedFd) -> Result<(), EndpointError> {
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    let link = plan.inside_link.as_str();
    let set =
        || plan.sysctls.iter().try_for_each(|one| sysctl::write(&one.file(link), one.value()));
    Ok(sys::netns::run_in(netns, set)??)
}

/// Runs inside, before the link is up.
fn set_link(plan: &EndpointPlan) -> Result<(), SysctlError> {
    let of = |name: &str| format!("ipv6/conf/{}/{name}", plan.inside_link);
    if plan.has_v6() {
        sysctl::change_if_known(&of("disable_ipv6"), "0")?;
        sysctl::write_if_known(&of("accept_ra"), "0")?;
        sysctl::write_if_known(&of("ndisc_notify"), "1")
    } else {
        sysctl::change_if_known(&of("disable_ipv6"), "1")
    }
}

/// Runs inside of the new namespace, before there is a link: its defaults become the link's.
fn prepare(has_v6: bool) -> Result<Socket, EndpointError> {
    if has_v6 {
        // No neighbour may become this container's router by an advertisement.
        sysctl::write_if_known("ipv6/conf/default/accept_ra", "0")?;
        sysctl::write_if_known("ipv6/conf/default/ndisc_notify", "1")?;
    } else {
        // Off means off (CVE-2024-32473).
        sysctl::write_if_known("ipv6/conf/default/disable_ipv6", "1")?;
    }
    Socket::route().map_err(EndpointError::Loopback)
}

/// The link; the name of its side on the host, if it has one there.
fn connect(
    plan: &EndpointPlan,
    host: &Socket,
    netns: &OwnedFd,
) -> Result<Option<LinkName>, EndpointError> {
    match &plan.carrier {
        Carrier::Bridge(port) => connect_pair(plan, port, host, netns).map(Some),
        Carrier::Parent(it) => upper::connect(plan, it, host, netns).map(|()| None),
    }
}

fn connect_pair(
    plan: &EndpointPlan,
    port: &Port,
    host: &Socket,
    netns: &OwnedFd,
) -> Result<LinkName, EndpointError> {
    let mut name = port.host_link.clone();
    let mut attempt = 0;
    loop {
        match host.execute(host_side(plan, port, &name, netns)) {
            Ok(()) => return Ok(name),
            Err(error) if error.refusal() == Some(Errno::EXIST) && attempt < NAMES => {
                name = names::alternative(&port.host_link, attempt);
                attempt += 1;
            }
            Err(source) => return Err(EndpointError::Connect { link: name, source }),
        }
    }
}

fn host_side(plan: &EndpointPlan, port: &Port, name: &LinkName, netns: &OwnedFd) -> Batch {
    let mut batch = Batch::default();
    rtnl::add_veth(
        &mut batch,
        &VethPair {
            host: name,
            bridge: port.bridge,
            group: plan.group,
            inside: &plan.inside_link,
            netns: netns.as_raw_fd().cast_unsigned(),
            mac: plan.mac,
            mtu: plan.mtu,
        },
    );
    match port.hairpin {
        Hairpin::Routed => {}
        Hairpin::Bridged => rtnl::set_hairpin(&mut batch, name),
    }
    match port.mutual {
        Mutual::Allowed => {}
        Mutual::Refused => rtnl::set_isolated(&mut batch, name),
    }
    batch
}

/// The host's neighbour entries, in place of what a former owner of the addresses may have left
/// behind. (The announcement would correct that too, but on a kernel where `settle` does nothing it
/// may be lost.) Not before the bridge has its carrier: the kernel forgets neighbours of a link when it
/// notices that there was none, which on a new bridge may be as late as this.
fn know(plan: &EndpointPlan, port: &Port, host: &Socket) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    for cidr in &plan.addresses {
        rtnl::set_neighbour(&mut batch, port.bridge, cidr.address(), plan.mac);
    }
    host.execute(batch)
}

/// The container's side, in one system call. Returns the kernel's number of the link.
fn configure(plan: &EndpointPlan, inside: &Socket) -> Result<u32, NetlinkError> {
    let index = inside.index_of(plan.inside_link.as_str())?;
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, LOOPBACK);
    rtnl::set_up(&mut batch, index);
    for cidr in &plan.addresses {
        rtnl::add_address(&mut batch, index, *cidr);
    }
    for way in &plan.ways {
        rtnl::add_default_route(&mut batch, index, *way);
    }
    inside.execute(batch)?;
    Ok(index)
}

/// The lowest free address is given out again, so other containers may know it under the hardware
/// address of a container that is gone. Setting the address that the link already has makes the
/// kernel announce it, by ARP and by neighbour advertisement.
fn announce(plan: &EndpointPlan, inside: &Socket, index: u32) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    rtnl::set_arp_notify(&mut batch, index);
    rtnl::set_mac(&mut batch, index, plan.mac);
    inside.execute(batch)
}
