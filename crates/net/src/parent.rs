//! The host's link that containers of a network are on themselves (macvlan, ipvlan): making it, if it is one that
//! is made for the network, and what of a network is inside of a container.
//!
//! A link of somebody else's is used as it is and never changed.

use model::NetworkId;
use model::vlan::tagged;
use sys::Errno;

use crate::address::{LinkName, Mac};
use crate::endpoint::Inside;
use crate::names::Names;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl::{self, Link};

/// Opens the alias of a container's link on one of the host's; its network follows.
const ALIAS: &str = "dhow ";

/// Why there is no such link.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The kernel refuses.
    #[error("set up parent interface {parent}")]
    Netlink {
        /// Its name.
        parent: LinkName,
        /// Why.
        source: NetlinkError,
    },
    /// The kernel has no links of a kind.
    #[error(
        "parent interface {parent} cannot be made: this kernel has no {kind} links (the module {module})"
    )]
    NoKind {
        /// Its name.
        parent: LinkName,
        /// What it lacks.
        kind: &'static str,
        /// What is to be loaded.
        module: &'static str,
    },
    /// There is no such link.
    #[error(
        "parent interface {0} does not exist: name one that does, or one that can be made on it, as eth0.10 (802.1Q)"
    )]
    Missing(LinkName),
    /// What a subinterface would be on is not there.
    #[error("parent interface {parent} cannot be made: interface {base} does not exist")]
    NoBase {
        /// Its name.
        parent: LinkName,
        /// What it would be on.
        base: String,
    },
    /// What a subinterface would be on is down.
    #[error("parent interface {parent} cannot be set up: interface {base} is down")]
    BaseDown {
        /// Its name.
        parent: LinkName,
        /// What it would be on.
        base: String,
    },
    /// The name is somebody else's.
    #[error("link {0} exists and belongs to somebody else")]
    Foreign(LinkName),
}

/// The host's link of a network, as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentPlan {
    /// Its name.
    pub name: LinkName,
    /// Whose it is.
    pub origin: Origin,
    /// The group of the root's links, by which those are known that were made.
    pub group: u32,
}

/// Where the host's link of a network comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is the network's own, and leads nowhere.
    Own,
    /// It was named: it is there, or its name says what it can be made on.
    Named,
}

/// The host's link of a network, as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The kernel's number of it.
    pub index: u32,
    /// Its hardware address.
    pub mac: Option<Mac>,
}

/// The kinds of links that are made for networks, in the kernel's words.
const MADE: [&str; 2] = ["dummy", "vlan"];

/// Makes the link exist.
///
/// # Errors
/// It is somebody's and not there, or the kernel refuses.
pub fn ensure(plan: &ParentPlan) -> Result<Parent, ParentError> {
    let failed = |source| ParentError::Netlink { parent: plan.name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let found = rtnl::find_link(&socket, &plan.name).map_err(failed)?;
    if let Some(link) = found.as_ref().filter(|link| plan.is_done(link)) {
        return Ok(Parent { index: link.index, mac: link.mac });
    }
    match (&plan.origin, found) {
        (Origin::Own, None) => add_own(plan, &socket)?,
        (Origin::Named, None) => add_tagged(plan, &socket)?,
        (Origin::Own | Origin::Named, Some(link)) if plan.has_made(&link) => {
            set_up(plan, &socket, link.index)?;
        }
        (Origin::Own | Origin::Named, Some(_)) => {
            return Err(ParentError::Foreign(plan.name.clone()));
        }
    }
    let found = rtnl::find_link(&socket, &plan.name).map_err(failed)?;
    let link = found.ok_or_else(|| ParentError::Missing(plan.name.clone()))?;
    Ok(Parent { index: link.index, mac: link.mac })
}

impl ParentPlan {
    /// What was made is kept up; what is somebody's is as they like it.
    fn is_done(&self, link: &Link) -> bool {
        match self.origin {
            Origin::Own => self.has_made(link) && link.up,
            Origin::Named => !self.has_made(link) || link.up,
        }
    }

    /// Whether it was made for a network like this one. Bridges and the links of other networks are in the
    /// same group.
    fn has_made(&self, link: &Link) -> bool {
        let kind = match self.origin {
            Origin::Own => "dummy",
            Origin::Named => "vlan",
        };
        link.group == self.group && link.kind == kind
    }
}

fn set_up(plan: &ParentPlan, socket: &Socket, index: u32) -> Result<(), ParentError> {
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, index);
    socket.execute(batch).map_err(|source| refused(plan, source))
}

fn add_own(plan: &ParentPlan, socket: &Socket) -> Result<(), ParentError> {
    let mut batch = Batch::default();
    rtnl::stacked::add_dummy(&mut batch, &plan.name, plan.group);
    match socket.execute(batch) {
        Err(error) if error.refusal() == Some(Errno::OPNOTSUPP) => {
            Err(ParentError::NoKind { parent: plan.name.clone(), kind: "dummy", module: "dummy" })
        }
        other => unless_exists(other).map_err(|source| refused(plan, source)),
    }
}

fn add_tagged(plan: &ParentPlan, socket: &Socket) -> Result<(), ParentError> {
    let Some((base, tag)) = tagged(plan.name.as_str()) else {
        return Err(ParentError::Missing(plan.name.clone()));
    };
    let failed = |source| ParentError::Netlink { parent: plan.name.clone(), source };
    let found = match base.parse::<LinkName>() {
        Ok(base) => rtnl::find_link(socket, &base).map_err(failed)?,
        Err(_) => None,
    };
    let Some(link) = found else {
        return Err(ParentError::NoBase { parent: plan.name.clone(), base: base.to_owned() });
    };
    let mut batch = Batch::default();
    rtnl::stacked::add_tagged(&mut batch, &plan.name, (link.index, tag), plan.group);
    match socket.execute(batch) {
        Err(error) if error.refusal() == Some(Errno::OPNOTSUPP) => {
            Err(ParentError::NoKind { parent: plan.name.clone(), kind: "802.1Q", module: "8021q" })
        }
        other => unless_exists(other).map_err(|source| refused(plan, source)),
    }
}

/// `EEXIST` is what another process of ours did a moment ago.
fn unless_exists(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.refusal() == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn refused(plan: &ParentPlan, source: NetlinkError) -> ParentError {
    let parent = plan.name.clone();
    match (source.refusal(), tagged(parent.as_str())) {
        (Some(Errno::NETDOWN), Some((base, _))) => {
            ParentError::BaseDown { base: base.to_owned(), parent: parent.clone() }
        }
        (_, _) => ParentError::Netlink { parent, source },
    }
}

/// Removes a link that was made for networks; one of somebody else's stays.
///
/// # Errors
/// If the kernel refuses.
pub fn remove(name: &LinkName, group: u32) -> Result<(), ParentError> {
    let failed = |source| ParentError::Netlink { parent: name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let found = rtnl::find_link(&socket, name).map_err(failed)?;
    let is_made = |link: &Link| link.group == group && MADE.contains(&link.kind.as_str());
    let Some(link) = found.filter(is_made) else { return Ok(()) };
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, link.index);
    match socket.execute(batch) {
        // Somebody was faster.
        Err(error) if error.refusal() == Some(Errno::NODEV) => Ok(()),
        other => other.map_err(failed),
    }
}

/// What a container's link on a network's parent is known by, whatever it is called inside.
#[must_use]
pub fn mark(network: &NetworkId) -> String {
    format!("{ALIAS}{network}")
}

/// Removes from a container's namespace the links on parents of networks that it should not be on.
///
/// # Errors
/// The kernel refuses.
pub fn leave_all_but(
    names: &Names,
    inside: &Inside<'_>,
    kept: &[NetworkId],
) -> Result<(), ParentError> {
    let failed =
        |source| ParentError::Netlink { parent: LinkName::known("eth0".to_owned()), source };
    let inside = inside.socket();
    let kept: Vec<String> = kept.iter().map(mark).collect();
    let links = rtnl::list_links(inside).map_err(failed)?;
    let is_ours = |link: &&Link| is_upper(&link.kind) && link.group == names.group();
    let mut batch = Batch::default();
    let mut count = 0;
    for link in links.iter().filter(is_ours).filter(|link| !kept.contains(&link.alias)) {
        rtnl::delete_link(&mut batch, link.index);
        count += 1;
    }
    if count == 0 {
        return Ok(());
    }
    inside.execute(batch).map_err(failed)
}

fn is_upper(kind: &str) -> bool {
    matches!(kind, "macvlan" | "ipvlan")
}

/// Whether the host's links of a kind are parents that were made.
pub(crate) fn is_made_kind(kind: &str) -> bool {
    matches!(kind, "dummy" | "vlan")
}
