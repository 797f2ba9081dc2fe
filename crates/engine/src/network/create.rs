//! `network create`: a row, then its bridge and its place in the firewall.
//!
//! The row is the truth. Whoever is killed behind it leaves a network whose bridge the next start of a
//! container makes.

use model::NetworkId;
use model::address::Subnet;
use model::network::{Configuration, Ipv6, NetworkWish};
use net::bridge::{self, Bridge};
use net::host::{self, Stack};
use net::nft::{Firewall, Source};
use store::{DbError, NetworkRow, NetworkRowError};
use sys::failpoint::Point;

use super::error::NetworkError;
use super::plan::{Ground, pools};
use super::record::{BRIDGE_DRIVER, Known, Laid, Made, NULL, NetworkRecord};
use super::{is_built_in, net_error};
use crate::container::now;
use crate::{Engine, EngineError, random};

/// Of other engines' networks, what is in the way of one that is made.
type Held = Vec<(Subnet, String)>;

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// Its name or its addresses are another's, or the kernel refuses.
    pub fn network_create(&self, wish: NetworkWish) -> Result<NetworkId, EngineError> {
        if sys::rootless::is_member() {
            return Err(NetworkError::Later("networks of an ordinary user").into());
        }
        if is_built_in(&wish.name) {
            return Err(NetworkError::Predefined(wish.name).into());
        }
        let wish = self.configured(wish)?;
        let mut ground = self.ground()?;
        let id = random::network_id()?;
        let bridge = self.default_subnets()?;
        let row = self.store().networks().insert(|rows| {
            ground.networks = held(rows)?;
            ground.networks.extend(bridge);
            new_row(id, wish, &ground)
        });
        let known = Known::read(row.map_err(Refusal::told)?)?;
        EngineError::step(Point::NetworkRow)?;
        if let Err(error) = self.lay(&known) {
            // What could not be made is not kept; this error is the one to tell.
            let _ = self.store().networks().remove(&id);
            return Err(error);
        }
        self.tell_network("create", &known);
        Ok(id)
    }

    /// The wish with what its configuration says.
    fn configured(&self, wish: NetworkWish) -> Result<NetworkWish, EngineError> {
        let Configuration::From(from) = &wish.configuration else { return Ok(wish) };
        let Some(row) = self.store().networks().by_name(from)? else {
            return Err(NetworkError::NoConfiguration(from.clone()).into());
        };
        let made = Known::read(row)?.record.made;
        let only = made.filter(|made| made.configuration == Configuration::Only);
        let Some(made) = only else {
            return Err(NetworkError::NotConfiguration(from.clone()).into());
        };
        let mut labels = made.labels;
        labels.extend(wish.labels);
        let has_v6 = made.pools.iter().any(|pool| pool.subnet.first().is_ipv6());
        let ipv6 = if has_v6 { Ipv6::On } else { wish.ipv6 };
        Ok(NetworkWish { ipv6, pools: made.pools, options: made.options, labels, ..wish })
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

    /// The subnets of all networks that were made: the default bridge chooses its own beside them.
    pub(crate) fn made_subnets(&self) -> Result<Vec<Subnet>, EngineError> {
        let held = held(&self.store().networks().list()?).map_err(Refusal::told)?;
        Ok(held.into_iter().map(|(subnet, _)| subnet).collect())
    }

    /// Makes the kernel have a network: its bridge, and its place in the firewall. Nothing is done where
    /// it has; what somebody has deleted comes back.
    pub(crate) fn lay(&self, known: &Known) -> Result<Option<Bridge>, EngineError> {
        let stack = host::stack().map_err(net_error)?;
        let Some(Laid { plan, rules }) = known.laid(&self.names(), stack)? else {
            return Ok(None);
        };
        let bridge = bridge::ensure(plan).map_err(net_error)?;
        let firewall = self.firewall_of(stack, &bridge)?;
        let mut wanted = || self.everything();
        firewall.ensure(&mut Source::Everything(&mut wanted)).map_err(net_error)?;
        firewall.add_network(&rules).map_err(net_error)?;
        Ok(Some(bridge))
    }

    /// The firewall, for changes that may have to build it.
    pub(crate) fn firewall_of(
        &self,
        stack: Stack,
        bridge: &Bridge,
    ) -> Result<Firewall, EngineError> {
        Firewall::open(&self.names(), stack, bridge.ipv6_loopback).map_err(net_error)
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

/// What the networks have that were made. One that is only a configuration has nothing yet.
fn held(rows: &[NetworkRow]) -> Result<Held, Refusal> {
    let mut held = Vec::new();
    for row in rows {
        let known = Known::read(row.clone())?;
        let made = known.record.made.as_ref();
        if made.is_some_and(|made| made.configuration != Configuration::Only) {
            held.extend(known.subnets().map(|subnet| (subnet, known.name.clone())));
        }
    }
    Ok(held)
}

fn new_row(id: NetworkId, wish: NetworkWish, ground: &Ground) -> Result<NetworkRow, Refusal> {
    let only = wish.configuration == Configuration::Only;
    // A configuration takes nothing: each network that is made from it does.
    let pools =
        if only { wish.pools.clone() } else { pools(&wish, ground).map_err(EngineError::from)? };
    let driver = if only { NULL } else { BRIDGE_DRIVER };
    let made = Made {
        pools,
        options: wish.options,
        labels: wish.labels,
        internal: wish.internal,
        attachable: wish.attachable,
        configuration: wish.configuration,
    };
    let record = NetworkRecord { driver: driver.to_owned(), created: now(), made: Some(made) };
    let record = serde_json::to_string(&record).map_err(|source| {
        EngineError::from(NetworkError::Record { name: wish.name.clone(), source })
    })?;
    Ok(NetworkRow { id, name: wish.name, record })
}
