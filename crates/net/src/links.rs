//! The links of this root as a whole: listing them, deleting many at once.

use crate::address::LinkName;
use crate::names::Names;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::parent;
use crate::rtnl;

/// A link of a container, seen from the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostLink {
    /// Its name; `names::is_link_of` tells whose it is.
    pub name: LinkName,
    /// The kernel's number of its bridge, if it is in one.
    pub bridge: Option<u32>,
}

/// The host's sides of all links of this root's containers.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn list(names: &Names) -> Result<Vec<HostLink>, NetlinkError> {
    let links = rtnl::list_links(&Socket::route()?)?;
    let ours = links.into_iter().filter(|link| link.group | 1 == names.doomed_group());
    Ok(ours
        .filter(|link| link.kind != "bridge" && !parent::is_made_kind(&link.kind))
        .filter_map(|link| Some(HostLink { name: link.name.parse().ok()?, bridge: link.master }))
        .collect())
}

/// The bridges of this root's networks but the default one.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn bridges(names: &Names) -> Result<Vec<LinkName>, NetlinkError> {
    let links = rtnl::list_links(&Socket::route()?)?;
    let ours = links.into_iter().filter(|link| link.group == names.group());
    Ok(ours
        .filter(|link| link.kind == "bridge")
        .filter_map(|link| link.name.parse().ok())
        .collect())
}

/// The links that were made for networks of the drivers macvlan and ipvlan.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn parents(names: &Names) -> Result<Vec<LinkName>, NetlinkError> {
    let links = rtnl::list_links(&Socket::route()?)?;
    let ours = links.into_iter().filter(|link| link.group == names.group());
    Ok(ours
        .filter(|link| parent::is_made_kind(&link.kind))
        .filter_map(|link| link.name.parse().ok())
        .collect())
}

/// Deletes links, and with each its peer in the container. One RCU grace period is paid for all of
/// them (64 one by one: 1.6 s; by group: 34 ms). Those that are gone already are passed over.
///
/// # Errors
/// The first refusal; the other links are deleted all the same.
pub fn delete(names: &Names, links: &[LinkName]) -> Result<(), NetlinkError> {
    if links.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for link in links {
        rtnl::set_group(&mut batch, link, names.doomed_group());
    }
    rtnl::delete_group(&mut batch, names.doomed_group());
    let refused = Socket::route()?.execute_all(batch)?;
    let gone = |error: &NetlinkError| error.refusal() == Some(sys::Errno::NODEV);
    refused.into_iter().map(|(_, error)| error).find(|error| !gone(error)).map_or(Ok(()), Err)
}

/// Deletes a link of the host's; those in a bridge stay, without it, and those on a parent go with it.
///
/// # Errors
/// If the kernel refuses.
pub fn delete_one(name: &LinkName) -> Result<(), NetlinkError> {
    let socket = Socket::route()?;
    let Some(link) = rtnl::find_link(&socket, name)? else { return Ok(()) };
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, link.index);
    socket.execute(batch)
}
