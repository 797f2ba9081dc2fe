//! `network create`: a row, then its bridge and its place in the firewall.
//!
//! The row is the truth. Whoever is killed behind it leaves a network whose bridge the next start of a
//! container makes.

use model::NetworkId;
use model::address::Subnet;
use model::network::{BRIDGE_NAME, Configuration, Driver, Ipv4, Ipv6, NetworkWish};
use model::vlan::VlanOptions;
use net::address::LinkName;
use net::bridge::{self, Bridge};
use net::host::{self, Stack};
use net::nft::{Firewall, Source};
use net::parent::{self, Parent};
use store::{DbError, NetworkRow, NetworkRowError};
use sys::failpoint::Point;

use super::alone::Alone;
use super::error::NetworkError;
use super::plan::{Ground, pools};
use super::record::{FoundBridge, Known, Laid, Made, NULL, NetworkRecord, Outline};
use super::{is_predefined, net_error};
use crate::container::now;
use crate::{Engine, EngineError, random};

/// Of other engines' networks, what is in the way of one that is made.
type Held = Vec<(Subnet, String)>;

/// What the kernel has of a network.
pub(crate) enum Laying {
    /// Its bridge.
    Bridge(Bridge),
    /// The host's link that its containers are on, with its name.
    Parent(LinkName, Parent),
}

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// Its name or its addresses are another's, or the kernel refuses.
    pub fn network_create(&self, wish: NetworkWish) -> Result<NetworkId, EngineError> {
        if is_predefined(&wish.name) {
            return Err(NetworkError::Predefined(wish.name).into());
        }
        if sys::rootless::is_member() {
            check_users(&wish)?;
        }
        // The first thing on a host makes its root, which is locked then.
        self.built_in(super::BRIDGE)?;
        let alone = self.alone_with_networks()?;
        // Before what the host has is looked at.
        let _choice = self.choose_alone()?;
        let mut ground = self.ground()?;
        let id = random::network_id()?;
        let bridge = self.default_subnets()?;
        let names = self.names();
        let row = self.store().networks().insert(|rows| {
            let outlines = outlines(rows)?;
            let wish = configured(wish, rows)?;
            check_bridge(&wish, (&outlines, names.bridge())).map_err(EngineError::from)?;
            check_parent(&wish, &outlines).map_err(EngineError::from)?;
            ground.networks = held(outlines);
            ground.networks.extend(bridge);
            let found = self.found(&wish)?;
            new_row(id, wish, found, &ground)
        });
        let known = Known::read(row.map_err(Refusal::told)?)?;
        let laid = self
            .ground_for_networks()
            .and_then(|ground| self.at_networks(ground.as_ref(), || self.lay_new(&known, &alone)));
        if let Err(error) = laid {
            self.unmake(&known, &alone);
            return Err(error);
        }
        self.tell_network("create", &known);
        Ok(id)
    }

    /// What the kernel has of a new network.
    fn lay_new(&self, known: &Known, alone: &Alone) -> Result<(), EngineError> {
        EngineError::step(Point::NetworkRow)?;
        self.forget_former(known, alone)?;
        self.lay(known)?;
        EngineError::step(Point::NetworkLaid)
    }

    /// What could not be made is not kept. The error that led here is the one to tell.
    fn unmake(&self, known: &Known, alone: &Alone) {
        let _ = self.leave_before(known, alone);
        let removed = self.store().networks().remove(&known.id, |_| Ok::<_, NetworkRowError>(()));
        // A container may have been faster, which has made what was missing.
        let _ = match removed {
            Ok(()) => self.unlay(known, alone),
            Err(_) => self.lay_again(known),
        };
    }

    /// A bridge of ours that has a new network's name is nobody's: a removal was killed.
    fn forget_former(&self, known: &Known, _alone: &Alone) -> Result<(), EngineError> {
        let stack = host::stack().map_err(net_error)?;
        let Some(Laid { plan, .. }) = known.laid(&self.names(), stack)? else { return Ok(()) };
        bridge::remove(&plan.name, plan.group).map_err(net_error)
    }

    fn ground(&self) -> Result<Ground, EngineError> {
        let host = host::subnets(self.names().bridge()).map_err(net_error)?;
        let stack = host::stack().map_err(net_error)?;
        Ok(Ground { networks: Vec::new(), host, stack, random: random::bytes()? })
    }

    /// What the default bridge has; nothing if it was not made yet.
    fn default_subnets(&self) -> Result<Held, EngineError> {
        let plan = bridge::existing(&self.names()).map_err(net_error)?;
        let addresses = plan.into_iter().flat_map(|plan| plan.addresses);
        Ok(addresses.map(|cidr| (cidr.subnet(), super::BRIDGE.to_owned())).collect())
    }

    /// The subnets of all networks that were made: the default bridge chooses its own beside them. Of one
    /// whose record means nothing only the kernel knows, where its bridge is there.
    pub(crate) fn made_subnets(&self) -> Result<Vec<Subnet>, EngineError> {
        let rows = self.store().networks().list()?;
        let outlines = rows.iter().filter_map(|row| Outline::read(row).ok().flatten());
        Ok(outlines.flat_map(|outline| outline.subnets).collect())
    }

    /// Makes the kernel have a network: its bridge, and its place in the firewall, or the host's link that it is
    /// on. Nothing is done where it has; what somebody has deleted comes back.
    pub(crate) fn lay(&self, known: &Known) -> Result<Option<Laying>, EngineError> {
        if let Some(plan) = known.parent(&self.names())? {
            let parent = parent::ensure(&plan).map_err(net_error)?;
            return Ok(Some(Laying::Parent(plan.name, parent)));
        }
        let stack = host::stack().map_err(net_error)?;
        let Some(Laid { plan, rules }) = known.laid(&self.names(), stack)? else {
            return Ok(None);
        };
        let bridge = match known.found()? {
            Some(found) => {
                self.check_elsewhere(&plan.name)?;
                bridge::ensure_found(plan, &found)
            }
            None => bridge::ensure(plan),
        };
        let bridge = bridge.map_err(net_error)?;
        let firewall = self.firewall_of(stack, &bridge)?;
        let mut wanted = || self.everything();
        let mut source = Source::Everything(&mut wanted);
        firewall.ensure(&mut source).map_err(net_error)?;
        firewall.add_network(&rules, &mut source).map_err(net_error)?;
        self.pass_others()?;
        Ok(Some(Laying::Bridge(bridge)))
    }

    /// The firewall, for changes that may have to build it.
    pub(crate) fn firewall_of(
        &self,
        stack: Stack,
        bridge: &Bridge,
    ) -> Result<Firewall, EngineError> {
        self.firewall_with(stack, bridge.ipv6_loopback)
    }
}

/// Why there is no new row; internal to the transaction.
enum Refusal {
    Row(NetworkRowError),
    Network(Box<EngineError>),
}

impl Refusal {
    fn told(self) -> EngineError {
        match self {
            Self::Network(error) => *error,
            Self::Row(NetworkRowError::NameTaken { name, .. }) => NetworkError::Exists(name).into(),
            Self::Row(NetworkRowError::Db(error)) => error.into(),
            Self::Row(NetworkRowError::InUse(id) | NetworkRowError::NoSuchNetwork(id)) => {
                EngineError::NoSuchNetwork(id.to_string())
            }
        }
    }
}

impl From<NetworkRowError> for Refusal {
    fn from(error: NetworkRowError) -> Self {
        Self::Row(error)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::Row(error.into())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Network(Box::new(error))
    }
}

/// What the networks have that were made. One whose record means nothing could be in the way of any.
fn outlines(rows: &[NetworkRow]) -> Result<Vec<Outline>, Refusal> {
    let read = rows.iter().map(|row| Outline::read(row).map_err(EngineError::from));
    Ok(read.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

fn held(outlines: Vec<Outline>) -> Held {
    let of = |outline: Outline| {
        let Outline { name, subnets, .. } = outline;
        subnets.into_iter().map(move |subnet| (subnet, name.clone()))
    };
    outlines.into_iter().flat_map(of).collect()
}

/// The wish with what its configuration says.
fn configured(wish: NetworkWish, rows: &[NetworkRow]) -> Result<NetworkWish, EngineError> {
    let Configuration::From(from) = &wish.configuration else { return Ok(wish) };
    let Some(row) = rows.iter().find(|row| row.name == *from) else {
        return Err(NetworkError::NoConfiguration(from.clone()).into());
    };
    let made = Known::read(row.clone())?.record.made;
    let Some(made) = made.filter(|made| made.configuration == Configuration::Only) else {
        return Err(NetworkError::NotConfiguration(from.clone()).into());
    };
    let mut labels = made.labels;
    labels.extend(wish.labels);
    let has_v6 = made.pools.iter().any(|pool| pool.subnet.first().is_ipv6());
    let ipv6 = if has_v6 { Ipv6::On } else { wish.ipv6 };
    Ok(NetworkWish { ipv6, pools: made.pools, options: made.options, labels, ..wish })
}

/// A bridge is one network's: the containers of two on it would reach each other. That of the default
/// network is kept for it, also where it is not there yet.
fn check_bridge(
    wish: &NetworkWish,
    (others, default): (&[Outline], &LinkName),
) -> Result<(), NetworkError> {
    // What only keeps a name gives it to each that is made from it.
    let only = wish.configuration == Configuration::Only;
    let Some(bridge) = wish.options.get(BRIDGE_NAME).filter(|_| !only) else { return Ok(()) };
    let by = match others.iter().find(|other| other.bridge.as_str() == bridge) {
        Some(other) => other.name.clone(),
        None if default.as_str() == bridge => super::BRIDGE.to_owned(),
        None => return Ok(()),
    };
    Err(NetworkError::SameBridge { name: wish.name.clone(), bridge: bridge.clone(), by })
}

/// The host's links are root's, and the program that carries an ordinary user's packets has IPv4.
fn check_users(wish: &NetworkWish) -> Result<(), NetworkError> {
    let routed = wish.options.iter().find(|(key, value)| {
        key.ends_with("trusted_host_interfaces")
            || (key.contains("gateway_mode") && *value == "routed")
    });
    match (wish.driver, wish.ipv4) {
        (Driver::Bridge, Ipv4::On) => routed.map_or(Ok(()), |(key, value)| {
            Err(NetworkError::UsersOption { key: key.clone(), value: value.clone() })
        }),
        (Driver::Bridge, Ipv4::Off) => Err(NetworkError::UsersFamily),
        (Driver::Macvlan | Driver::Ipvlan, _) => Err(NetworkError::UsersDriver(wish.driver.name())),
    }
}

/// What needs the host's link alone does not share it.
fn check_parent(wish: &NetworkWish, others: &[Outline]) -> Result<(), NetworkError> {
    let is_only = wish.configuration == Configuration::Only;
    let Some(options) = VlanOptions::parse(wish.driver, &wish.options).filter(|_| !is_only) else {
        return Ok(());
    };
    let options = options?;
    let Some(parent) = &options.parent else { return Ok(()) };
    let shares = |other: &&Outline| other.vlan.as_ref().is_some_and(|it| it.shares(&options));
    let mut same = others.iter().filter(|other| other.parent.as_ref() == Some(parent));
    match same.find(|other| !shares(other)) {
        None => Ok(()),
        Some(other) => {
            Err(NetworkError::ParentTaken { parent: parent.clone(), by: other.name.clone() })
        }
    }
}

fn new_row(
    id: NetworkId,
    wish: NetworkWish,
    found: Option<FoundBridge>,
    ground: &Ground,
) -> Result<NetworkRow, Refusal> {
    let only = wish.configuration == Configuration::Only;
    // A configuration takes nothing: each network that is made from it does.
    let pools =
        if only { wish.pools.clone() } else { pools(&wish, ground).map_err(EngineError::from)? };
    let driver = if only { NULL } else { wish.driver.name() };
    let made = Made {
        pools,
        options: wish.options,
        labels: wish.labels,
        internal: wish.internal,
        attachable: wish.attachable,
        configuration: wish.configuration,
        found,
    };
    let record = NetworkRecord { driver: driver.to_owned(), created: now(), made: Some(made) };
    let record = serde_json::to_string(&record).map_err(|source| {
        EngineError::from(NetworkError::Record { name: wish.name.clone(), source })
    })?;
    Ok(NetworkRow { id, name: wish.name, record })
}
