//! Networks: those that every engine has, those that somebody made, and a container's place on one.

mod alone;
mod beside;
pub(crate) mod connect;
mod create;
mod error;
mod found;
mod ground;
mod look;
mod moving;
mod names;
mod plan;
mod record;
mod remove;
mod seat;
mod upper;
mod ways;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use model::container::NetworkMode;
use model::network::{Attachment, BridgeOptions, GatewayMode, Inside};
use model::{ContainerId, NetworkId};
use net::address::{Cidr, Family, Mac};
use net::bridge::{self, AnyError, Bridge, BridgePlan};
use net::endpoint::{self, EndpointPlan};
use net::host::Stack;
use net::ipam;
use net::names::Names;
use net::nft::Source;
use net::user::Way;
use store::{AddressError, DbError, NetworkRow, NetworkRowError};
use sys::failpoint::Point;
use sys::rootless::networks::Networks;

use crate::container::{Container, Locked, now};
use crate::record::{Endpoint, NO_MAC, Out};
use crate::{Engine, EngineError, random};

pub use error::NetworkError;
pub(crate) use record::Known;
use record::NetworkRecord;
use seat::Seat;

/// Docker's name of the network that containers are on by default.
pub(crate) const BRIDGE: &str = "bridge";

/// The networks that exist without being made, with their drivers.
const BUILT_IN: [(&str, &str); 3] = [(BRIDGE, "bridge"), ("host", "host"), ("none", "null")];

/// Whether a network exists without being made.
pub(crate) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// Whether a name is kept for one of those; `default` is what clients call the default one.
fn is_predefined(name: &str) -> bool {
    is_built_in(name) || name == "default"
}

/// A container's place on a network, ready for its init.
#[derive(Debug)]
pub(crate) struct Place {
    /// The namespace to join; `None` for the host's.
    pub(crate) netns: Option<OwnedFd>,
    /// Its place on a bridge, or behind an ordinary user's network.
    pub(crate) joined: Option<(Joined, Endpoint)>,
    /// Where the bridge is, if not on the host.
    pub(crate) ground: Option<Networks>,
}

/// What a container is connected to.
#[derive(Debug)]
pub(crate) enum Joined {
    /// A bridge, with its addresses there.
    Bridge {
        /// The bridge; `None` for a link of the host's own, where nothing is published.
        bridge: Option<Bridge>,
        /// At most one of each family.
        addresses: Vec<Cidr>,
        /// On which ports are published there.
        terms: Terms,
    },
    /// A network of its own, which a program carries.
    User,
}

/// How ports are published on a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The families that the firewall has.
    pub(crate) stack: Stack,
    /// At which address of the host those are that name none.
    pub(crate) binding: Option<IpAddr>,
    /// An internal network has none (Docker).
    pub(crate) inside: Inside,
    /// What the host is to the network, of IPv4, then of IPv6.
    pub(crate) gateways: [GatewayMode; 2],
}

impl Terms {
    /// Those of a network with these options; the default network has none.
    pub(crate) const fn with(stack: Stack, inside: Inside, options: &BridgeOptions) -> Self {
        Self { stack, binding: options.binding, inside, gateways: options.gateways }
    }

    /// Those of the default network.
    pub(crate) const fn plain(stack: Stack) -> Self {
        Self { stack, binding: None, inside: Inside::No, gateways: [GatewayMode::Nat; 2] }
    }
}

/// Why no address was leased; internal to the transaction.
enum LeaseError {
    Address(AddressError),
    Exhausted,
}

impl From<AddressError> for LeaseError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<DbError> for LeaseError {
    fn from(error: DbError) -> Self {
        Self::Address(error.into())
    }
}

/// For `map_err`: what the network says.
pub(crate) fn net_error(error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Net(Box::new(error))
}

impl Engine {
    pub(crate) fn names(&self) -> Names {
        Names::of(self.paths().tag())
    }

    /// The id of the network that a place is on.
    pub(crate) fn network_id_of(&self, endpoint: &Endpoint) -> Result<NetworkId, EngineError> {
        match &endpoint.network {
            Some(network) => Ok(network.id),
            None => self.built_in(BRIDGE),
        }
    }

    /// The id of one of the built-in networks, drawn when it is first asked for.
    pub(crate) fn built_in(&self, name: &str) -> Result<NetworkId, EngineError> {
        if let Some(row) = self.store().networks().by_name(name)? {
            return Ok(row.id);
        }
        let driver = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, driver)| *driver);
        let driver = driver.ok_or_else(|| EngineError::NoSuchNetwork(name.to_owned()))?;
        let record = NetworkRecord { driver: driver.to_owned(), created: now(), made: None };
        let json = serde_json::to_string(&record).unwrap_or_default();
        let row = NetworkRow { id: random::network_id()?, name: name.to_owned(), record: json };
        match self.store().networks().insert(|_| Ok::<_, NetworkRowError>(row)) {
            Ok(row) => Ok(row.id),
            // Another process was faster.
            Err(NetworkRowError::NameTaken { by, .. }) => Ok(by),
            Err(NetworkRowError::Db(error)) => Err(error.into()),
            Err(NetworkRowError::InUse(_) | NetworkRowError::NoSuchNetwork(_)) => {
                Err(EngineError::NoSuchNetwork(name.to_owned()))
            }
        }
    }

    /// Gives a container that starts its network namespace, with addresses if it is on a bridge.
    ///
    /// One of a user namespace is there already, and belongs to it.
    pub(crate) fn connect(
        &self,
        container: &Container,
        netns: Option<OwnedFd>,
    ) -> Result<Place, EngineError> {
        let network = &container.record.spec.network;
        match &network.mode {
            NetworkMode::Host => Ok(Place { netns: None, joined: None, ground: None }),
            NetworkMode::Container(other) => {
                let other = self.find(&other.name_or_id())?;
                let netns = self.network_of(&other)?;
                Ok(Place { netns: Some(netns), joined: None, ground: None })
            }
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Named(_) => {
                let places = network.places();
                match places.as_slice() {
                    [only] if is_users_default(only) => connect_user(),
                    places => self.connect_at(container, netns, places),
                }
            }
        }
    }

    /// Puts it on its networks, where those are.
    fn connect_at(
        &self,
        container: &Container,
        netns: Option<OwnedFd>,
        places: &[Attachment],
    ) -> Result<Place, EngineError> {
        if places.is_empty() || !sys::rootless::is_member() {
            return self.connect_all(container, netns, places);
        }
        check_user_network()?;
        let ground = self.ground_for_networks()?;
        let mut place = self.at_networks(ground.as_ref(), || {
            let place = self.connect_all(container, netns, places)?;
            let endpoint = place.joined.iter().flat_map(|(_, endpoint)| endpoint.all());
            let addresses: Vec<Cidr> = endpoint.flat_map(Endpoint::addresses).collect();
            lead_out(&container.id, &addresses)?;
            Ok(place)
        })?;
        if let Some((_, endpoint)) = &mut place.joined {
            endpoint.host4 = net::user::host_address();
        }
        Ok(Place { ground, ..place })
    }

    /// Puts it on its networks, in a namespace that has nothing but its loopback link if there are none.
    fn connect_all(
        &self,
        container: &Container,
        netns: Option<OwnedFd>,
        places: &[Attachment],
    ) -> Result<Place, EngineError> {
        let mut seats = self.seats(container, places)?;
        let endpoints: Vec<Endpoint> = seats.iter().map(|seat| seat.endpoint.clone()).collect();
        let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
        let outs = [ways::out(&endpoints, Family::V4), ways::out(&endpoints, Family::V6)];
        for (index, seat) in seats.iter_mut().enumerate() {
            let [out4, out6] = outs.map(|out| out == Some(index));
            seat.plan.ways.retain(|way| match way.family() {
                Family::V4 => out4,
                Family::V6 => out6,
            });
        }
        let Some((first, others)) = seats.split_first_mut() else {
            let isolated = match netns {
                None => endpoint::isolated(),
                Some(netns) => endpoint::isolate(&netns).map(|()| netns),
            };
            let netns = Some(isolated.map_err(net_error)?);
            return Ok(Place { netns, joined: None, ground: None });
        };
        let made = match netns {
            None => endpoint::create(&first.plan),
            Some(netns) => endpoint::create_in(&first.plan, netns),
        };
        let made = made.map_err(net_error)?;
        first.linked(made.host_link.as_ref());
        if !others.is_empty() {
            let inside = endpoint::Inside::of(&made.netns).map_err(net_error)?;
            for seat in others {
                let link = endpoint::add(&seat.plan, &inside).map_err(net_error)?;
                seat.linked(link.as_ref());
            }
        }
        EngineError::step(Point::StartEndpoint)?;
        let Seat { bridge, plan, terms, mut endpoint } = seats.remove(ways::main(&endpoints));
        endpoint.beside = seats.into_iter().map(|seat| seat.endpoint).collect();
        let joined = Joined::Bridge { bridge, addresses: plan.addresses, terms };
        Ok(Place { netns: Some(made.netns), joined: Some((joined, endpoint)), ground: None })
    }

    /// The default bridge, made if it is not there.
    pub(crate) fn default_bridge(&self) -> Result<Bridge, EngineError> {
        let tell = |plan: &BridgePlan| self.tell_of_default(plan);
        let mut choice = None;
        let reserved = || {
            choice = Some(self.choose_alone()?);
            Ok(self.made_subnets()?)
        };
        bridge::ensure_default(&self.names(), reserved, tell).map_err(net_error)
    }

    /// It may come back with other subnets than it had, which tables that are there do not know.
    fn tell_of_default(&self, plan: &BridgePlan) -> Result<(), AnyError> {
        let firewall = self.firewall_now()?;
        if !firewall.is_built()? {
            return Ok(());
        }
        let mut wanted = || self.everything_beside(Some(plan));
        Ok(firewall.rebuild(&mut Source::Everything(&mut wanted))?)
    }

    /// How ports are published on the network that a container is on.
    pub(crate) fn terms_of(&self, endpoint: &Endpoint) -> Result<Terms, EngineError> {
        let stack = net::host::stack().map_err(net_error)?;
        let plain = Terms::plain(stack);
        let Some(joined) = &endpoint.network else { return Ok(plain) };
        let known = self.network(&joined.id.to_string())?;
        let Some(made) = &known.record.made else { return Ok(plain) };
        if !known.has_ports()? {
            let why = if made.internal { "internal" } else { "of the host's own link" };
            return Err(EngineError::Invalid(format!(
                "network {} is {why}: nothing is published there",
                known.name
            )));
        }
        Ok(Terms::with(stack, Inside::No, &made.bridge_options()?))
    }

    /// The lowest address that is free; those of containers that have ended are taken back only
    /// when there is no other.
    fn lease_address(
        &self,
        container: &Container,
        bridge: &Bridge,
    ) -> Result<Ipv4Addr, EngineError> {
        let network = self.built_in(BRIDGE)?;
        match self.try_lease(&network, &container.id, bridge) {
            Err(LeaseError::Exhausted) => {
                self.release_ended(&network)?;
                self.try_lease(&network, &container.id, bridge).map_err(lease_error)
            }
            other => other.map_err(lease_error),
        }
    }

    fn try_lease(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        bridge: &Bridge,
    ) -> Result<Ipv4Addr, LeaseError> {
        let choose = |used: &BTreeSet<IpAddr>| {
            let subnet = bridge.plan.subnet(Family::V4).ok_or(LeaseError::Exhausted)?;
            let gateway = gateway(bridge, Family::V4);
            ipam::lowest_free(subnet, gateway, used).map(|ip| vec![ip]).ok_or(LeaseError::Exhausted)
        };
        match self.store().addresses().lease(network, container, choose)?.first() {
            Some(IpAddr::V4(address)) => Ok(*address),
            Some(IpAddr::V6(_)) | None => Err(LeaseError::Exhausted),
        }
    }

    fn release_ended(&self, network: &NetworkId) -> Result<(), EngineError> {
        for (_, id) in self.store().addresses().of_network(network)? {
            self.release_if_ended(&id)?;
        }
        Ok(())
    }

    /// Under the container's lock: one that is just being started has its lease before anything
    /// else of it can be seen. Whoever holds the lock gives back what is to be given back. Processes
    /// can outlive their shim, and end here before others get what they use.
    pub(crate) fn release_if_ended(&self, id: &ContainerId) -> Result<(), EngineError> {
        let Locked::Held(lock) = self.try_lock(id)? else { return Ok(()) };
        if !self.is_free(id)? {
            return Ok(());
        }
        let container = self.reread(id)?;
        self.bury_dead(&lock, &container)?;
        // A start that was killed early has left no last words.
        self.end_orphans(&container)?;
        // Its addresses are another's next.
        self.unpublish_leftovers(&container)?;
        Ok(self.store().release(id)?)
    }
}

/// Whether a place is an ordinary user's default network, which is each container's own.
fn is_users_default(place: &Attachment) -> bool {
    sys::rootless::is_member() && matches!(place.network.as_str(), BRIDGE | "default")
}

/// Leads what comes from these addresses to its container's own way out, where an ordinary user's networks are.
fn lead_out(container: &ContainerId, addresses: &[Cidr]) -> Result<(), EngineError> {
    if !sys::rootless::is_member() {
        return Ok(());
    }
    Way::of(container).lead(addresses).map_err(net_error)
}

/// Nothing leads out of an ordinary user's networks without a program.
fn check_user_network() -> Result<(), EngineError> {
    if net::user::Kind::installed().is_none() {
        return Err(net_error(net::user::UserNetworkError::Missing));
    }
    Ok(())
}

/// Only root makes links between the host and a namespace: an ordinary user's container that is on the default
/// network has one of its own, which its shim starts a program for.
fn connect_user() -> Result<Place, EngineError> {
    check_user_network()?;
    let netns = endpoint::isolated().map_err(net_error)?;
    let endpoint = Endpoint {
        ipv4: net::user::ADDRESS,
        ipv4_prefix: net::user::PREFIX,
        gateway4: net::user::GATEWAY,
        ipv6: None,
        ipv6_prefix: 128,
        gateway6: None,
        // The program that carries the packets chooses one.
        mac: NO_MAC,
        host4: net::user::host_address(),
        ports: Vec::new(),
        network: None,
        links: None,
        priority: 0,
        out: Out::Gateway,
        beside: Vec::new(),
    };
    Ok(Place { netns: Some(netns), joined: Some((Joined::User, endpoint)), ground: None })
}

/// A link address that follows from the network address: what neighbours remember of an address
/// stays true when the next container gets it.
fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac::from_octets([0x02, 0x64, a, b, c, d])
}

fn gateway(bridge: &Bridge, family: Family) -> Option<IpAddr> {
    bridge.plan.addresses.iter().find(|cidr| cidr.family() == family).map(|cidr| cidr.address())
}

fn endpoint_of(plan: &EndpointPlan, bridge: &Bridge, address: Ipv4Addr) -> Endpoint {
    let of = |family| plan.addresses.iter().find(|cidr| cidr.family() == family);
    let v4 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    };
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    };
    Endpoint {
        ipv4: address,
        ipv4_prefix: of(Family::V4).map_or(32, |cidr| cidr.prefix()),
        gateway4: gateway(bridge, Family::V4).and_then(v4).unwrap_or(Ipv4Addr::UNSPECIFIED),
        ipv6: of(Family::V6).and_then(|cidr| v6(cidr.address())),
        ipv6_prefix: of(Family::V6).map_or(128, |cidr| cidr.prefix()),
        gateway6: gateway(bridge, Family::V6).and_then(v6),
        mac: plan.mac.octets(),
        host4: None,
        ports: Vec::new(),
        network: None,
        links: None,
        priority: 0,
        out: Out::Gateway,
        beside: Vec::new(),
    }
}

fn lease_error(error: LeaseError) -> EngineError {
    match error {
        LeaseError::Exhausted => {
            EngineError::Invalid("no available IPv4 addresses on network bridge".to_owned())
        }
        LeaseError::Address(AddressError::Taken { address, by }) => {
            EngineError::Invalid(format!("address {address} is in use by {by}"))
        }
        LeaseError::Address(AddressError::NoSuchContainer(id)) => {
            EngineError::NoSuchContainer(id.to_string())
        }
        LeaseError::Address(AddressError::Db(error)) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;

    fn row(id: ContainerId) -> store::ContainerRow {
        store::ContainerRow {
            id,
            name: "one".parse().unwrap(),
            image: None,
            created_ns: 1,
            auto_remove: false,
            record: include_str!("record/first.json").to_owned(),
        }
    }

    /// A start has its lease before its shim can be seen, and its container's lock all the while.
    #[test]
    fn an_address_is_not_taken_from_a_container_that_is_being_started() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path().join("root"), dir.path().join("run"));
        let engine = Engine::open(paths).unwrap();
        let id = ContainerId::from_random([3; 32]);
        engine.store().containers().insert(&row(id), store::Durability::Now).unwrap();
        let network = engine.built_in(BRIDGE).unwrap();
        let choose = |_: &BTreeSet<IpAddr>| {
            Ok::<_, AddressError>(vec![IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2))])
        };
        engine.store().addresses().lease(&network, &id, choose).unwrap();
        let starting = engine.try_lock(&id).unwrap();
        assert!(matches!(starting, Locked::Held(_)));
        engine.release_ended(&network).unwrap();
        assert_eq!(engine.store().addresses().of_network(&network).unwrap().len(), 1);
        drop(starting);
        // A process that another test has just cloned has the descriptor for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            engine.release_ended(&network).unwrap();
            let left = engine.store().addresses().of_network(&network).unwrap();
            if left.is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{left:?}");
            std::thread::yield_now();
        }
    }
}
