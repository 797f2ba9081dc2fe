//! A container's place on a network that was made: its addresses there, and its link.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use model::address::{Cidr, Family, Mac};
use model::network::{Attachment, BridgeOptions, Configuration, Inside, Pool};
use net::address::{BadLinkName, LinkName};
use net::bridge::Bridge;
use net::endpoint::{self, EndpointPlan};
use net::host::{self, Stack};
use net::ipam;
use net::names;
use store::{AddressError, DbError};
use sys::failpoint::Point;

use super::error::NetworkError;
use super::record::{Known, Made};
use super::{Joined, Place, Terms, net_error};
use crate::container::Container;
use crate::record::{Endpoint, JoinedNetwork};
use crate::{Engine, EngineError};

/// What links of containers are called, with a number behind.
const LINK_PREFIX: &str = "eth";

/// Why no address was leased; internal to the transaction.
enum LeaseError {
    Lease(AddressError),
    Network(NetworkError),
}

impl From<AddressError> for LeaseError {
    fn from(error: AddressError) -> Self {
        Self::Lease(error)
    }
}

impl From<DbError> for LeaseError {
    fn from(error: DbError) -> Self {
        Self::Lease(error.into())
    }
}

impl Engine {
    /// Gives a container that starts its place on a network that was made.
    pub(super) fn connect_made(
        &self,
        container: &Container,
        netns: Option<OwnedFd>,
        (known, made): (&Known, &Made),
    ) -> Result<Place, EngineError> {
        if made.configuration == Configuration::Only {
            return Err(NetworkError::OnlyConfiguration(known.name.clone()).into());
        }
        let stack = host::stack().map_err(net_error)?;
        let options = made.bridge_options()?;
        let addresses = self.lease_made(container, known, stack)?;
        EngineError::step(Point::StartAddress)?;
        let bridge = self.lay(known)?;
        let bridge = bridge.ok_or_else(|| EngineError::NoSuchNetwork(known.name.clone()))?;
        EngineError::step(Point::StartBridge)?;
        let plan = self.seat_of(container, (made, &options), &bridge, addresses)?;
        let place = match netns {
            None => endpoint::create(&plan),
            Some(netns) => endpoint::create_in(&plan, netns),
        };
        let place = place.map_err(net_error)?;
        EngineError::step(Point::StartEndpoint)?;
        let terms = Terms { stack, binding: options.binding, inside: Inside::of(made.internal) };
        let endpoint = endpoint_of(&plan, &bridge, known);
        let joined = Joined::Bridge { bridge, addresses: plan.addresses, terms };
        Ok(Place { netns: Some(place.netns), joined: Some((joined, endpoint)) })
    }

    fn seat_of(
        &self,
        container: &Container,
        (made, options): (&Made, &BridgeOptions),
        bridge: &Bridge,
        addresses: Vec<Cidr>,
    ) -> Result<EndpointPlan, EngineError> {
        let prefix = options.link_prefix.as_deref().unwrap_or(LINK_PREFIX);
        let inside: Result<LinkName, BadLinkName> = format!("{prefix}0").parse();
        let given = container.record.spec.network.mac_address.map(Mac::from_octets);
        // Nothing leads out of an internal network.
        let pools = made.pools.iter().filter(|_| !made.internal);
        let has = |pool: &&Pool| addresses.iter().any(|cidr| cidr.family() == pool.family());
        Ok(EndpointPlan {
            host_link: names::host_link(&container.id),
            inside_link: inside.map_err(net_error)?,
            group: self.names().group(),
            bridge: bridge.index,
            hairpin: bridge.hairpin,
            mutual: options.mutual,
            mac: given.unwrap_or_else(|| super::mac_of(v4_of(&addresses))),
            gateways: pools.filter(has).filter_map(|pool| pool.gateway).collect(),
            addresses,
            mtu: options.mtu,
        })
    }

    /// Addresses of each family that the network and the host have: those that are asked for, else the
    /// lowest that are free. What containers have that have ended is taken back only if it is in the way.
    fn lease_made(
        &self,
        container: &Container,
        known: &Known,
        stack: Stack,
    ) -> Result<Vec<Cidr>, EngineError> {
        let attachments = &container.record.spec.network.attachments;
        let nothing = Attachment::default();
        let asked = attachments.first().unwrap_or(&nothing);
        let pools: Vec<&Pool> = known
            .record
            .made
            .iter()
            .flat_map(|made| &made.pools)
            .filter(|pool| stack.families().contains(&pool.family()))
            .collect();
        let all: Vec<&Pool> = known.record.made.iter().flat_map(|made| &made.pools).collect();
        check(asked, &all, &known.name)?;
        if let Some(address) = asked.ipv6.filter(|_| stack == Stack::V4) {
            return Err(
                NetworkError::NoIpv6 { name: known.name.clone(), address: address.into() }.into()
            );
        }
        let leases = self.store().addresses();
        let lease = || {
            let choose = |used: &BTreeSet<IpAddr>| choose(&pools, asked, used, known);
            leases.lease(&known.id, &container.id, choose)
        };
        let leased = match lease() {
            Err(LeaseError::Network(NetworkError::Exhausted { .. }))
            | Err(LeaseError::Lease(AddressError::Taken { .. })) => {
                self.release_ended(&known.id)?;
                lease()
            }
            other => other,
        };
        let leased = leased.map_err(|error| self.refused(error, known))?;
        // A removal looks for leases in the transaction that takes the row away, so one of them sees the
        // other.
        if self.store().networks().by_name(&known.name)?.is_none_or(|row| row.id != known.id) {
            self.store().release(&container.id)?;
            return Err(EngineError::NoSuchNetwork(known.name.clone()));
        }
        Ok(pools.iter().zip(leased).filter_map(|(pool, ip)| pool.subnet.with(ip)).collect())
    }

    fn refused(&self, error: LeaseError, known: &Known) -> EngineError {
        match error {
            LeaseError::Network(error) => error.into(),
            LeaseError::Lease(AddressError::Taken { address, by }) => {
                let row = self.store().containers().get(&by).ok().flatten();
                let by = row.map_or_else(|| by.to_string(), |row| row.name.to_string());
                NetworkError::AddressTaken { name: known.name.clone(), address, by }.into()
            }
            LeaseError::Lease(AddressError::NoSuchContainer(id)) => {
                EngineError::NoSuchContainer(id.to_string())
            }
            LeaseError::Lease(AddressError::Db(error)) => error.into(),
        }
    }

    /// Whether the addresses that a new container asks for are of its network, if that is there already.
    pub(crate) fn check_attachments(&self, asked: &[Attachment]) -> Result<(), EngineError> {
        for asked in asked {
            let known = match self.network(&asked.network) {
                Err(EngineError::NoSuchNetwork(_)) => continue,
                other => other?,
            };
            let pools: Vec<&Pool> = known.record.made.iter().flat_map(|made| &made.pools).collect();
            check(asked, &pools, &known.name)?;
        }
        Ok(())
    }
}

/// What is asked for must be an address of a pool.
fn check(asked: &Attachment, pools: &[&Pool], network: &str) -> Result<(), NetworkError> {
    for address in [Family::V4, Family::V6].into_iter().filter_map(|family| asked.asked(family)) {
        if !pools.iter().any(|pool| pool.subnet.contains(address)) {
            return Err(NetworkError::Outside { name: network.to_owned(), address });
        }
    }
    Ok(())
}

fn choose(
    pools: &[&Pool],
    asked: &Attachment,
    used: &BTreeSet<IpAddr>,
    known: &Known,
) -> Result<Vec<IpAddr>, LeaseError> {
    let one = |pool: &&Pool| {
        let reserved: BTreeSet<IpAddr> = pool.reserved().collect();
        match asked.asked(pool.family()) {
            Some(address) if reserved.contains(&address) || !pool.subnet.is_hosts(address) => {
                let (name, by) = (known.name.clone(), "the network itself".to_owned());
                Err(NetworkError::AddressTaken { name, address, by })
            }
            Some(address) => Ok(address),
            None => {
                let taken = used.union(&reserved).copied().collect();
                let range = pool.range.unwrap_or(pool.subnet);
                let free = ipam::lowest_within(pool.subnet, range, None, &taken);
                free.ok_or_else(|| exhausted(pool, known))
            }
        }
    };
    pools.iter().map(one).collect::<Result<_, _>>().map_err(LeaseError::Network)
}

fn exhausted(pool: &Pool, known: &Known) -> NetworkError {
    let family = match pool.family() {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    NetworkError::Exhausted { family, name: known.name.clone(), id: known.id }
}

fn v4_of(addresses: &[Cidr]) -> Ipv4Addr {
    let v4 = addresses.iter().find_map(|cidr| match cidr.address() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    v4.unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// What the container's record keeps of its place.
fn endpoint_of(plan: &EndpointPlan, bridge: &Bridge, known: &Known) -> Endpoint {
    let of = |family| plan.addresses.iter().find(|cidr| cidr.family() == family);
    let gateway4 = v4_gateway(&plan.gateways);
    // Where the host is, if it is not the way out.
    let host4 = v4_of(&bridge.plan.addresses);
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    };
    Endpoint {
        ipv4: v4_of(&plan.addresses),
        ipv4_prefix: of(Family::V4).map_or(32, |cidr| cidr.prefix()),
        gateway4,
        ipv6: of(Family::V6).and_then(|cidr| v6(cidr.address())),
        ipv6_prefix: of(Family::V6).map_or(128, |cidr| cidr.prefix()),
        gateway6: plan.gateways.iter().copied().find_map(v6),
        mac: plan.mac.octets(),
        host4: Some(host4).filter(|host| *host != gateway4 && !host.is_unspecified()),
        ports: Vec::new(),
        network: Some(JoinedNetwork { id: known.id, name: known.name.clone() }),
    }
}

fn v4_gateway(gateways: &[IpAddr]) -> Ipv4Addr {
    let v4 = gateways.iter().find_map(|gateway| match gateway {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    v4.unwrap_or(Ipv4Addr::UNSPECIFIED)
}
