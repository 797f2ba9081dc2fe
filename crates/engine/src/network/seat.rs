//! A container's place on a network: its addresses there, and the plan of its link.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use model::NameOrId;
use model::address::{Cidr, Family, Mac};
use model::network::{Attachment, BridgeOptions, Configuration, Inside, Link, Pool};
use net::address::{BadLinkName, LinkName};
use net::bridge::Bridge;
use net::endpoint::{Carrier, EndpointPlan, Port, Way};
use net::host::{self, Stack};
use net::ipam;
use net::names;
use store::{AddressError, DbError};
use sys::failpoint::Point;

use super::create::Laying;
use super::error::NetworkError;
use super::record::{Known, Made};
use super::upper::check_mac;
use super::{Terms, net_error};
use crate::container::Container;
use crate::naming::has_no_links;
use crate::record::{Endpoint, JoinedNetwork, Links, Out, Record};
use crate::{Engine, EngineError};

/// What links of containers are called, with a number behind.
pub(super) const LINK_PREFIX: &str = "eth";

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

/// A container's place on one network, leased and planned: its link is not made yet.
pub(super) struct Seat {
    /// `None` of one on a link of the host's own.
    pub(super) bridge: Option<Bridge>,
    /// Its ways are those that could lead out.
    pub(super) plan: EndpointPlan,
    pub(super) terms: Terms,
    pub(super) endpoint: Endpoint,
}

impl Seat {
    /// Notes the link that was made.
    pub(super) fn linked(&mut self, host: Option<&LinkName>) {
        let (inside, host) = (self.plan.inside_link.to_string(), host.map(LinkName::to_string));
        self.endpoint.links = Some(Links { inside, host });
    }
}

/// What the links of a container are called inside.
#[derive(Debug, Default)]
pub(super) struct LinkNames {
    taken: BTreeSet<String>,
}

impl LinkNames {
    /// Those of links that are there; one of an earlier dhow had the first name.
    pub(super) fn of<'e>(places: impl Iterator<Item = &'e Endpoint>) -> Self {
        Self { taken: places.map(inside_name).collect() }
    }

    /// Keeps a name that somebody asks for.
    pub(super) fn keep(&mut self, name: &str) -> Result<(), EngineError> {
        if self.taken.insert(name.to_owned()) {
            return Ok(());
        }
        Err(EngineError::Invalid(format!("two links of the container would be called {name}")))
    }

    fn next(&mut self, prefix: &str) -> String {
        let mut all = (0..=self.taken.len()).map(|number| format!("{prefix}{number}"));
        let name = all.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}

/// What a place's link was called when it was made. One of an earlier dhow was the only one of its container.
pub(super) fn inside_name(place: &Endpoint) -> String {
    place.links.as_ref().map_or_else(|| format!("{LINK_PREFIX}0"), |it| it.inside.clone())
}

impl Engine {
    /// Leases and plans a container's place on each of its networks.
    pub(super) fn seats(
        &self,
        container: &Container,
        places: &[Attachment],
    ) -> Result<Vec<Seat>, EngineError> {
        let mut names = LinkNames::default();
        // Before any is given out.
        places.iter().filter_map(Attachment::link_name).try_for_each(|name| names.keep(name))?;
        let mut seats: Vec<Seat> = Vec::new();
        for place in places {
            let seat = self.seat(container, place, &mut names)?;
            let id = |seat: &Seat| seat.endpoint.network.as_ref().map(|network| network.id);
            if seats.iter().any(|other| id(other) == id(&seat)) {
                let name = seat.endpoint.network_name();
                return Err(EngineError::Invalid(format!(
                    "network \"{name}\" is specified multiple times"
                )));
            }
            seats.push(seat);
        }
        Ok(seats)
    }

    /// The same on one network; a name for its link that it asks for is kept already.
    pub(super) fn seat(
        &self,
        container: &Container,
        place: &Attachment,
        names: &mut LinkNames,
    ) -> Result<Seat, EngineError> {
        if super::is_users_default(place) {
            return Err(NetworkError::UsersDefault.into());
        }
        let mut seat = match place.network.as_str() {
            "bridge" | "default" => self.default_seat(container, place, names)?,
            name => {
                let known = self.network(name)?;
                match (&known.record.made, known.name.as_str()) {
                    (Some(made), _) => self.made_seat((container, place), (&known, made), names)?,
                    (None, super::BRIDGE) if sys::rootless::is_member() => {
                        return Err(NetworkError::UsersDefault.into());
                    }
                    (None, super::BRIDGE) => self.default_seat(container, place, names)?,
                    (None, "host") => return Err(NetworkError::HostNetwork.into()),
                    (None, _) => return Err(NetworkError::NoNetwork.into()),
                }
            }
        };
        seat.endpoint.priority = place.priority;
        seat.plan.addresses.extend(place.link_local());
        seat.plan.sysctls = place.sysctls().map_err(NetworkError::from)?;
        Ok(seat)
    }

    fn default_seat(
        &self,
        container: &Container,
        place: &Attachment,
        names: &mut LinkNames,
    ) -> Result<Seat, EngineError> {
        let bridge = self.default_bridge()?;
        self.pass_others()?;
        EngineError::step(Point::StartBridge)?;
        let address = self.lease_address(container, &bridge)?;
        EngineError::step(Point::StartAddress)?;
        let mac = place.mac.map_or_else(|| super::mac_of(address), Mac::from_octets);
        let plan =
            EndpointPlan::on_bridge(&bridge, &self.names(), &container.id, address.into(), mac)
                .ok_or_else(|| EngineError::Invalid(format!("{address} is not on the bridge")))?;
        let plan = EndpointPlan { inside_link: link_name(place, LINK_PREFIX, names)?, ..plan };
        let terms = Terms::plain(bridge.plan.stack());
        let endpoint = super::endpoint_of(&plan, &bridge, address);
        Ok(Seat { bridge: Some(bridge), plan, terms, endpoint })
    }

    fn made_seat(
        &self,
        (container, place): (&Container, &Attachment),
        (known, made): (&Known, &Made),
        names: &mut LinkNames,
    ) -> Result<Seat, EngineError> {
        if made.configuration == Configuration::Only {
            return Err(NetworkError::OnlyConfiguration(known.name.clone()).into());
        }
        let stack = host::stack().map_err(net_error)?;
        check_mac(known, place)?;
        let addresses = self.lease_made((container, place), known, stack)?;
        EngineError::step(Point::StartAddress)?;
        let again = self.found_again(known)?;
        let laying = self.lay(again.as_ref().unwrap_or(known))?;
        let laying = laying.ok_or_else(|| EngineError::NoSuchNetwork(known.name.clone()))?;
        EngineError::step(Point::StartBridge)?;
        let bridge = match laying {
            Laying::Bridge(bridge) => bridge,
            Laying::Parent(name, parent) => {
                return self.parent_seat(place, known, (name, parent), (addresses, names));
            }
        };
        let options = made.bridge_options()?;
        let plan = self.seat_of((container, place), (made, &options), &bridge, addresses)?;
        let prefix = options.link_prefix.as_deref().unwrap_or(LINK_PREFIX);
        let plan = EndpointPlan { inside_link: link_name(place, prefix, names)?, ..plan };
        let terms = Terms::with(stack, Inside::of(made.internal), &options);
        let endpoint = endpoint_of(&plan, &bridge.plan.addresses, known);
        Ok(Seat { bridge: Some(bridge), plan, terms, endpoint })
    }

    fn seat_of(
        &self,
        (container, place): (&Container, &Attachment),
        (made, options): (&Made, &BridgeOptions),
        bridge: &Bridge,
        addresses: Vec<Cidr>,
    ) -> Result<EndpointPlan, EngineError> {
        let mac = place.mac.map(Mac::from_octets);
        Ok(EndpointPlan {
            carrier: Carrier::Bridge(Port {
                host_link: names::host_link(&container.id),
                bridge: bridge.index,
                hairpin: bridge.hairpin,
                mutual: options.mutual,
            }),
            inside_link: "eth0".parse().map_err(|error: BadLinkName| net_error(error))?,
            group: self.names().group(),
            mac: mac.unwrap_or_else(|| mac_of(&addresses)),
            ways: gateways_of(made, &addresses),
            addresses,
            mtu: options.mtu,
            sysctls: Vec::new(),
        })
    }

    /// Addresses of each family that the network and the host have: those that are asked for, else the
    /// lowest that are free. What containers have that have ended is taken back only if it is in the way.
    fn lease_made(
        &self,
        (container, asked): (&Container, &Attachment),
        known: &Known,
        stack: Stack,
    ) -> Result<Vec<Cidr>, EngineError> {
        let pools: Vec<&Pool> = known
            .record
            .made
            .iter()
            .flat_map(|made| &made.pools)
            .filter(|pool| stack.families().contains(&pool.family()))
            .collect();
        let all: Vec<&Pool> = known.record.made.iter().flat_map(|made| &made.pools).collect();
        check(asked, &all, &known.name)?;
        if pools.is_empty() {
            return Err(NetworkError::NothingHere(known.name.clone()).into());
        }
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
                self.release_strangers(&known.id)?;
                lease()
            }
            other => other,
        };
        let leased = leased.map_err(|error| self.refused(error, known))?;
        // A removal looks for leases in the transaction that takes the row away, so one of them sees the
        // other.
        if self.store().networks().by_name(&known.name)?.is_none_or(|row| row.id != known.id) {
            self.store().addresses().end(&known.id, &container.id)?;
            return Err(EngineError::NoSuchNetwork(known.name.clone()));
        }
        let with = |ip: &IpAddr| pools.iter().find_map(|pool| pool.subnet.with(*ip));
        Ok(leased.iter().filter_map(with).collect())
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

    /// Whether those are there that a new container on the default network is linked to (Docker). On others a
    /// link is a name, which may be somebody's later.
    pub(crate) fn check_links(&self, record: &Record) -> Result<(), EngineError> {
        for place in record.spec.network.places() {
            if has_no_links(record, &place) {
                return Err(NetworkError::NoNames(place.network).into());
            }
            let is_default = matches!(place.network.as_str(), super::BRIDGE | "default");
            for link in place.links.iter().filter(|_| is_default) {
                self.find(&NameOrId::new(link.to.clone())).map_err(|error| no_link(error, link))?;
            }
        }
        Ok(())
    }

    /// Whether the addresses that a new container asks for are of its network, if that is there already.
    pub(crate) fn check_attachments(&self, asked: &[Attachment]) -> Result<(), EngineError> {
        for asked in asked {
            let known = match self.network(&asked.network) {
                Err(EngineError::NoSuchNetwork(_)) => continue,
                other => other?,
            };
            check_place(&known, asked)?;
        }
        Ok(())
    }
}

/// Whether a network has what is asked of it.
pub(super) fn check_place(known: &Known, asked: &Attachment) -> Result<(), NetworkError> {
    let Some(made) = &known.record.made else {
        return match known.name.as_str() {
            super::BRIDGE if asked.ipv4.is_some() || asked.ipv6.is_some() => {
                Err(NetworkError::DefaultAddress)
            }
            super::BRIDGE if !asked.aliases.is_empty() => Err(NetworkError::DefaultAliases),
            super::BRIDGE => Ok(()),
            "host" => Err(NetworkError::HostNetwork),
            _ => Err(NetworkError::NoNetwork),
        };
    };
    if made.configuration == Configuration::Only {
        return Err(NetworkError::OnlyConfiguration(known.name.clone()));
    }
    check_mac(known, asked)?;
    check(asked, &made.pools.iter().collect::<Vec<_>>(), &known.name)
}

/// What is not there is not called so: clients would look for the image (Docker).
fn no_link(error: EngineError, link: &Link) -> EngineError {
    let EngineError::NoSuchContainer(name) = &error else { return error };
    let to = &link.to;
    EngineError::Invalid(format!("could not get container for {to}: No such container: {name}"))
}

/// The gateways of the families that a container has; nothing leads out of an internal network.
pub(super) fn gateways_of(made: &Made, addresses: &[Cidr]) -> Vec<Way> {
    let pools = made.pools.iter().filter(|_| !made.internal);
    // Of several subnets, that of the one that it is in.
    let has = |pool: &&Pool| addresses.iter().any(|cidr| pool.subnet.contains(cidr.address()));
    pools.filter(has).filter_map(|pool| pool.gateway).map(Way::Gateway).collect()
}

/// That which follows from the address of IPv4, else from that of IPv6.
pub(super) fn mac_of(addresses: &[Cidr]) -> Mac {
    let v4 = v4_of(addresses);
    if !v4.is_unspecified() {
        return super::mac_of(v4);
    }
    let last = addresses.iter().find_map(|cidr| match cidr.address() {
        IpAddr::V6(v6) => v6.octets().last_chunk::<4>().copied(),
        IpAddr::V4(_) => None,
    });
    let [a, b, c, d] = last.unwrap_or_default();
    Mac::from_octets([0x02, 0x66, a, b, c, d])
}

/// What a link is called inside: as is asked for, else by number.
pub(super) fn link_name(
    place: &Attachment,
    prefix: &str,
    names: &mut LinkNames,
) -> Result<LinkName, EngineError> {
    let name = match place.link_name() {
        Some(name) => name.to_owned(),
        None => names.next(prefix),
    };
    name.parse().map_err(|error: BadLinkName| net_error(error))
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
    let free = |pool: &&Pool| {
        let taken = used.iter().copied().chain(pool.reserved()).collect();
        ipam::lowest_within(pool.subnet, pool.range.unwrap_or(pool.subnet), None, &taken)
    };
    let one = |family: Family| {
        let mut of_family = pools.iter().copied().filter(|pool| pool.family() == family);
        match asked.asked(family) {
            Some(address) if of_family.any(|pool| is_its_own(pool, address)) => {
                let (name, by) = (known.name.clone(), "the network itself".to_owned());
                Err(NetworkError::AddressTaken { name, address, by })
            }
            Some(address) => Ok(address),
            // The first of several subnets in which there is one (Docker).
            None => of_family.find_map(|pool| free(&pool)).ok_or_else(|| exhausted(family, known)),
        }
    };
    let mut families: Vec<Family> = pools.iter().map(|pool| pool.family()).collect();
    families.dedup();
    families.into_iter().map(one).collect::<Result<_, _>>().map_err(LeaseError::Network)
}

/// Whether an address of a pool is none that a container can have.
fn is_its_own(pool: &Pool, address: IpAddr) -> bool {
    pool.subnet.contains(address)
        && (pool.reserved().any(|own| own == address) || !pool.subnet.is_hosts(address))
}

fn exhausted(family: Family, known: &Known) -> NetworkError {
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    NetworkError::Exhausted { family, name: known.name.clone(), id: known.id }
}

fn v4_of(addresses: &[Cidr]) -> Ipv4Addr {
    addresses.iter().find_map(|cidr| v4(cidr.address())).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// What the container's record keeps of its place on a network where the host has these addresses.
pub(super) fn endpoint_of(plan: &EndpointPlan, host: &[Cidr], known: &Known) -> Endpoint {
    let of = |family| plan.addresses.iter().find(|cidr| cidr.family() == family);
    let gateways = || plan.ways.iter().filter_map(|way| way.gateway());
    let gateway4 = gateways().find_map(v4).unwrap_or(Ipv4Addr::UNSPECIFIED);
    // Where the host is, if it is not the way out.
    let host4 = v4_of(host);
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
        gateway6: gateways().find_map(v6),
        mac: plan.mac.octets(),
        host4: Some(host4).filter(|host| *host != gateway4 && !host.is_unspecified()),
        ports: Vec::new(),
        network: Some(JoinedNetwork { id: known.id, name: known.name.clone() }),
        links: None,
        priority: 0,
        out: Out::Gateway,
        beside: Vec::new(),
    }
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}
