//! A container's link on one of the host's (macvlan, ipvlan): making it where it is, and setting it up.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use model::vlan::{Layer, MacvlanMode};
use sys::Errno;

use super::{EndpointError, EndpointPlan, LOOPBACK};
use crate::address::{Cidr, Family, LinkName};
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::rtnl;
use crate::rtnl::stacked::{Upper, add_upper};

/// For how long a container's last life may keep what its link needs on a parent, which the kernel gives back some
/// milliseconds after the namespace is closed.
const TEARDOWN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A link on one of the host's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnParent {
    /// What the host's link is called.
    pub name: LinkName,
    /// The kernel's number of it.
    pub index: u32,
    /// What the container's link is.
    pub layer: Layer,
    /// By what it is known inside: [`crate::parent::mark`].
    pub mark: String,
}

impl OnParent {
    const fn kind(&self) -> &'static str {
        match self.layer {
            Layer::Macvlan(_) => "macvlan",
            Layer::Ipvlan(..) => "ipvlan",
        }
    }
}

/// The link on a parent, in the container's namespace from its first moment. The one that passes all through may
/// still be there of the container's last life.
pub(super) fn connect(
    plan: &EndpointPlan,
    upper: &OnParent,
    host: &Socket,
    netns: &OwnedFd,
) -> Result<(), EndpointError> {
    let deadline = Instant::now() + TEARDOWN;
    let is_alone = upper.layer == Layer::Macvlan(MacvlanMode::Passthru);
    loop {
        let mut batch = Batch::default();
        let made = Upper {
            parent: upper.index,
            layer: upper.layer,
            group: plan.group,
            inside: &plan.inside_link,
            netns: netns.as_raw_fd().cast_unsigned(),
            mac: upper.layer.has_own_mac().then_some(plan.mac),
            mtu: plan.mtu,
        };
        add_upper(&mut batch, &made);
        let Err(source) = host.execute(batch) else { return Ok(()) };
        let parent = upper.name.clone();
        return Err(match source.refusal() {
            Some(Errno::INVAL) if is_alone && Instant::now() < deadline => {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            Some(Errno::INVAL) if is_alone => EndpointError::PassedOn(parent),
            Some(Errno::BUSY) => EndpointError::ParentBusy(parent),
            Some(Errno::NODEV) => EndpointError::NoParent(parent),
            Some(Errno::OPNOTSUPP) => EndpointError::NoKind { kind: upper.kind() },
            _ => EndpointError::Connect { link: plan.inside_link.clone(), source },
        });
    }
}

/// The container's side. The kernel tells the neighbours of the addresses that a link has when it comes
/// up; setting its hardware address, as `announce` does, would change that of a parent. On one parent no hardware
/// address is twice, and with ipvlan no address: those of the container's last life may still be there.
pub(super) fn configure(
    plan: &EndpointPlan,
    upper: &OnParent,
    inside: &Socket,
) -> Result<(), EndpointError> {
    let failed = |source| EndpointError::Configure { link: plan.inside_link.clone(), source };
    let index = inside.index_of(plan.inside_link.as_str()).map_err(failed)?;
    let mut batch = Batch::default();
    rtnl::set_up(&mut batch, LOOPBACK);
    rtnl::set_alias(&mut batch, index, &upper.mark);
    rtnl::set_arp_notify(&mut batch, index);
    inside.execute(batch).map_err(failed)?;
    let deadline = Instant::now() + TEARDOWN;
    let of = |family| plan.addresses.iter().filter(move |cidr| cidr.family() == family);
    let address = |cidr: &Cidr| {
        let add = |batch: &mut Batch| rtnl::add_address(batch, index, *cidr);
        until_free(inside, deadline, add)
    };
    // Those of IPv6 are given up when a link goes down, and not looked at when it comes up.
    let done = of(Family::V4)
        .try_for_each(address)
        .and_then(|()| until_free(inside, deadline, |batch| rtnl::set_up(batch, index)))
        .and_then(|()| of(Family::V6).try_for_each(address));
    done.map_err(|source| match is_taken(&source) {
        true => EndpointError::AddressTaken(upper.name.clone()),
        false => failed(source),
    })?;
    plan.ways.iter().try_for_each(|way| {
        let mut batch = Batch::default();
        rtnl::add_default_route(&mut batch, index, *way);
        inside.execute(batch).map_err(failed)
    })
}

/// Asks again while somebody has what is asked for, up to the deadline.
fn until_free(
    socket: &Socket,
    deadline: Instant,
    message: impl Fn(&mut Batch),
) -> Result<(), NetlinkError> {
    loop {
        let mut batch = Batch::default();
        message(&mut batch);
        match socket.execute(batch) {
            Err(error) if is_taken(&error) && Instant::now() < deadline => {
                std::thread::sleep(LOOK_AGAIN);
            }
            other => return other,
        }
    }
}

/// macvlan says `EBUSY` of a hardware address that another link has, ipvlan `EADDRINUSE` of an address.
fn is_taken(error: &NetlinkError) -> bool {
    matches!(error.refusal(), Some(Errno::BUSY | Errno::ADDRINUSE))
}
