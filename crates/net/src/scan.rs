//! What of a state root exists in the kernel, for whoever compares it with what should; and
//! removing all of it.

use crate::host::{Ipv6Loopback, Stack};
use crate::links::{self, HostLink};
use crate::names::Names;
use crate::netlink::{NetlinkError, Socket};
use crate::nft::{Firewall, NftError, PortRule};
use crate::rtnl;

/// Why the kernel could not be read or cleaned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Links.
    #[error("links of bridge {bridge}")]
    Links {
        /// The default bridge of the root.
        bridge: String,
        /// Why.
        source: NetlinkError,
    },
    /// Tables.
    #[error(transparent)]
    Tables(#[from] NftError),
}

/// What exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Whether the default bridge exists.
    pub bridge: Presence,
    /// The host's sides of containers' links.
    pub links: Vec<HostLink>,
    /// Published ports with their owners.
    pub ports: Vec<PortRule>,
}

/// Whether something exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It does.
    Present,
    /// It does not.
    Absent,
}

/// Lists what of this root exists.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn scan(names: &Names) -> Result<Scan, ScanError> {
    let failed = |source| ScanError::Links { bridge: names.bridge().to_string(), source };
    let socket = Socket::route().map_err(failed)?;
    let bridge = match rtnl::find_link(&socket, names.bridge()).map_err(failed)? {
        Some(_) => Presence::Present,
        None => Presence::Absent,
    };
    let links = links::list(names).map_err(failed)?;
    let ports = tables(names)?.published()?;
    Ok(Scan { bridge, links, ports })
}

/// Removes the tables, our rules in others' chains, the links, the bridges and the parents of this root. What runs
/// in its containers is cut off.
///
/// # Errors
/// The first that happens; the rest is tried all the same.
pub fn teardown(names: &Names) -> Result<(), ScanError> {
    let failed = |source| ScanError::Links { bridge: names.bridge().to_string(), source };
    // Others are to refuse what our tables do not any more.
    let tables = tables(names).and_then(|tables| tables.leave_others().and(tables.delete()));
    let tables = tables.map_err(ScanError::from);
    let links = links::list(names).and_then(|found| {
        let found: Vec<_> = found.into_iter().map(|link| link.name).collect();
        links::delete(names, &found)
    });
    let bridges = links::bridges(names).and_then(|mut bridges| {
        bridges.push(names.bridge().clone());
        bridges.extend(links::parents(names)?);
        bridges.iter().map(links::delete_one).fold(Ok(()), Result::and)
    });
    tables.and(links.map_err(failed)).and(bridges.map_err(failed))
}

/// The tables in whatever way they were built.
fn tables(names: &Names) -> Result<Firewall, NftError> {
    Firewall::open(names, Stack::Dual, Ipv6Loopback::Published)
}
