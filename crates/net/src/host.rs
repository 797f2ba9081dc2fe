//! What the host's network namespace is like, and the forwarding that containers need of it.

use crate::address::{Cidr, Family, LinkName, Subnet};
use crate::netlink::{NetlinkError, Socket};
use crate::rtnl;
use crate::sysctl::{self, SysctlError};

/// Which families containers get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// The host has IPv6 disabled.
    V4,
    /// Both.
    Dual,
}

impl Stack {
    /// The families in it.
    #[must_use]
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::V4 => &[Family::V4],
            Self::Dual => &[Family::V4, Family::V6],
        }
    }
}

/// Whether ports can be published on `::1` without a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipv6Loopback {
    /// They can.
    Published,
    /// Netfilter sees bridged packets (`bridge-nf-call-ip6tables`): it makes `::1` again of an
    /// answer's destination before the kernel checks it, and that drops the answer. A port on
    /// `::1` is then closed at once, so that clients go on to 127.0.0.1.
    Closed,
}

/// Whether this host can publish on `::1`.
///
/// # Errors
/// If a sysctl cannot be read.
pub fn ipv6_loopback() -> Result<Ipv6Loopback, SysctlError> {
    let call = sysctl::read("bridge/bridge-nf-call-ip6tables")?;
    let sees = call.as_deref() == Some("1");
    Ok(if sees { Ipv6Loopback::Closed } else { Ipv6Loopback::Published })
}

/// The families of this host. IPv6 counts as off when it is off for all or for new links.
///
/// # Errors
/// If a sysctl cannot be read.
pub fn stack() -> Result<Stack, SysctlError> {
    for scope in ["all", "default"] {
        let disabled = sysctl::read(&format!("ipv6/conf/{scope}/disable_ipv6"))?;
        if disabled.as_deref() != Some("0") {
            return Ok(Stack::V4);
        }
    }
    Ok(Stack::Dual)
}

/// Lets this namespace have no family that is not among these.
///
/// # Errors
/// If a sysctl cannot be written.
pub fn limit(stack: Stack) -> Result<(), SysctlError> {
    match stack {
        Stack::Dual => Ok(()),
        Stack::V4 => ["all", "default"].iter().try_for_each(|scope| {
            sysctl::write_if_known(&format!("ipv6/conf/{scope}/disable_ipv6"), "1")
        }),
    }
}

/// The subnets that the host's addresses and routes use, but for those of the link `except`.
///
/// # Errors
/// If the kernel cannot be asked.
pub(crate) fn subnets_in_use(
    socket: &Socket,
    except: &LinkName,
) -> Result<Vec<Subnet>, NetlinkError> {
    let addresses = rtnl::list_addresses(socket)?;
    let routes = rtnl::list_routes(socket)?;
    // Looked up last: another process may be adding it just now, and what is not in the lists
    // need not be left out.
    let except = rtnl::find_link(socket, except)?.map(|link| link.index);
    let addresses = addresses.into_iter().map(|(link, cidr)| (link, cidr.subnet()));
    let all = addresses.chain(routes);
    Ok(all.filter(|(link, _)| Some(*link) != except).map(|(_, subnet)| subnet).collect())
}

/// The same, by a socket of its own.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn subnets(except: &LinkName) -> Result<Vec<Subnet>, NetlinkError> {
    subnets_in_use(&Socket::route()?, except)
}

/// The host's addresses, each with the name of its link.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn addresses() -> Result<Vec<(String, Cidr)>, NetlinkError> {
    let socket = Socket::route()?;
    let links = rtnl::list_links(&socket)?;
    let name = |index| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let addresses = rtnl::list_addresses(&socket)?.into_iter();
    Ok(addresses.filter_map(|(link, cidr)| Some((name(link)?, cidr))).collect())
}

/// Lets the host forward packets of these families.
///
/// # Errors
/// If a sysctl cannot be read or written.
pub(crate) fn enable_forwarding(stack: Stack) -> Result<(), SysctlError> {
    for family in stack.families() {
        match family {
            Family::V4 => set_if_different("ipv4/ip_forward", "1")?,
            Family::V6 => enable_ipv6_forwarding()?,
        }
    }
    Ok(())
}

/// A link with `accept_ra` 1 stops to listen to routers as soon as it forwards, and the kernel
/// drops the default route that it learned. With 2 both stay.
fn enable_ipv6_forwarding() -> Result<(), SysctlError> {
    if sysctl::read("ipv6/conf/all/forwarding")?.as_deref() == Some("1") {
        return Ok(());
    }
    for link in sysctl::entries("ipv6/conf")?.iter().filter(|link| *link != "all") {
        let read = |key: &str| sysctl::read(&format!("ipv6/conf/{link}/{key}"));
        let listens = read("accept_ra")?.as_deref() == Some("1");
        if listens && read("forwarding")?.as_deref() == Some("0") {
            sysctl::write_if_known(&format!("ipv6/conf/{link}/accept_ra"), "2")?;
        }
    }
    sysctl::write("ipv6/conf/all/forwarding", "1")
}

/// Writing has effects even if nothing changes (IPv4 forwarding resets other settings).
fn set_if_different(key: &str, value: &'static str) -> Result<(), SysctlError> {
    if sysctl::read(key)?.as_deref() == Some(value) {
        return Ok(());
    }
    sysctl::write(key, value)
}
