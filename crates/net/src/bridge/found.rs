//! A bridge that was there before its network: somebody else has made it, and has it back when the network goes.
//!
//! It keeps its name, its group, its alias, its hardware address and its addresses. It gets the network's addresses
//! beside those, and what leads to containers on it.
//!
//! Its name may lead to another one later: after a start of the host, or when somebody has made it anew. What was
//! found is told from that by the kernel's number of the link, and by which start of the host gave it that.

use super::{Bridge, BridgeError, BridgePlan, addresses_of, is_ours, ready, unless_exists};
use crate::address::{Cidr, Family, LinkName};
use crate::host;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl::{self, Link};
use crate::sysctl::{self, SysctlError};

/// The kernel draws it when it starts.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What a bridge had before a network was put on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Whether packets for loopback addresses were let to it (`route_localnet`).
    pub localnet: bool,
    /// Which it was; `None` in what an earlier dhow has noted, which any bridge of the name is.
    pub which: Option<Which>,
}

/// One link of one start of the host. The kernel does not give a number twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Which {
    /// The kernel's number of the link.
    pub index: u32,
    /// The kernel's name of its start.
    pub boot: String,
}

impl Found {
    /// Whether it is this link.
    fn is(&self, link: &Link) -> Result<bool, BridgeError> {
        let Some(which) = &self.which else { return Ok(true) };
        Ok(which.index == link.index && which.boot == boot(link)?)
    }
}

/// Which start of the host this is.
fn boot(link: &Link) -> Result<String, BridgeError> {
    let failed = |source| BridgeError::Boot { bridge: link.name.clone(), source };
    Ok(std::fs::read_to_string(BOOT).map_err(failed)?.trim_end().to_owned())
}

/// The bridge of this name that somebody else has made; `None` if there is none, or it is a network's of ours or of
/// another root's.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn find(name: &LinkName, group: u32) -> Result<Option<Found>, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let link = rtnl::find_link(&socket, name).map_err(failed)?;
    let theirs = link.filter(|link| link.kind == "bridge" && !is_ours(link, group));
    let Some(link) = theirs else { return Ok(None) };
    let addresses = addresses_of(&socket, name)?;
    let which = Some(Which { index: link.index, boot: boot(&link)? });
    Ok(Some(Found { addresses, localnet: link.route_localnet, which }))
}

/// Whether the link of this name is another than the one that was found; one that is no more is none.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn is_another(name: &LinkName, found: &Found) -> Result<bool, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    match rtnl::find_link(&socket, name).map_err(failed)? {
        Some(link) => found.is(&link).map(|is| !is),
        None => Ok(false),
    }
}

/// Gives such a bridge what the network needs. What is there already is left alone.
///
/// # Errors
/// If it is no more, or another one has its name, or the kernel refuses.
pub fn ensure_found(plan: BridgePlan, found: &Found) -> Result<Bridge, BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: plan.name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let link = match rtnl::find_link(&socket, &plan.name).map_err(failed)? {
        Some(link) if link.kind == "bridge" => link,
        Some(link) => {
            return Err(BridgeError::OtherKind { bridge: plan.name, kind: link.kind });
        }
        None => return Err(BridgeError::Gone(plan.name)),
    };
    if !found.is(&link)? {
        return Err(BridgeError::Another(plan.name));
    }
    let has = addresses_of(&socket, &plan.name)?;
    for cidr in plan.addresses.iter().filter(|cidr| !has.contains(cidr)) {
        let mut batch = Batch::default();
        rtnl::add_address(&mut batch, link.index, *cidr);
        unless_exists(socket.execute(batch)).map_err(failed)?;
    }
    if !link.route_localnet {
        let set = sysctl::write(&localnet(&plan.name), "1");
        set.map_err(|source| BridgeError::Sysctl { bridge: plan.name.clone(), source })?;
    }
    host::enable_forwarding(plan.stack())
        .map_err(|source| BridgeError::Sysctl { bridge: plan.name.clone(), source })?;
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, link.index);
    socket.execute(batch).map_err(failed)?;
    if has_v6(&plan) {
        let mut batch = Batch::default();
        rtnl::add_loopback_route(&mut batch, link.index);
        unless_exists(socket.execute(batch)).map_err(failed)?;
    }
    ready(plan, link.index)
}

/// Gives it back as it was found. One that is no more is nobody's, and another of its name has nothing of ours.
///
/// # Errors
/// If the kernel refuses.
pub fn leave_found(plan: &BridgePlan, found: &Found) -> Result<(), BridgeError> {
    let failed = |source| BridgeError::Netlink { bridge: plan.name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let Some(link) = rtnl::find_link(&socket, &plan.name).map_err(failed)? else { return Ok(()) };
    if !found.is(&link)? {
        return Ok(());
    }
    let is_new = |cidr: &&Cidr| !found.addresses.contains(cidr);
    for cidr in plan.addresses.iter().filter(is_new) {
        let mut batch = Batch::default();
        rtnl::delete_address(&mut batch, link.index, *cidr);
        unless_gone(socket.execute(batch)).map_err(failed)?;
    }
    if has_v6(plan) {
        let mut batch = Batch::default();
        rtnl::delete_loopback_route(&mut batch, link.index);
        unless_gone(socket.execute(batch)).map_err(failed)?;
    }
    if found.localnet {
        return Ok(());
    }
    match sysctl::write(&localnet(&plan.name), "0") {
        Err(SysctlError::Write { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other.map_err(|source| BridgeError::Sysctl { bridge: plan.name.clone(), source }),
    }
}

fn localnet(name: &LinkName) -> String {
    format!("ipv4/conf/{name}/route_localnet")
}

fn has_v6(plan: &BridgePlan) -> bool {
    plan.addresses.iter().any(|cidr| cidr.family() == Family::V6)
}

/// Somebody was faster.
fn unless_gone(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    use sys::Errno;
    match result {
        Err(error)
            if matches!(
                error.refusal(),
                Some(Errno::ADDRNOTAVAIL | Errno::NODEV | Errno::SRCH | Errno::NOENT)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
