//! `network ls` and `network inspect`: rows and what is on them become views.

use std::collections::BTreeMap;

use model::network::{BRIDGE_NAME, Configuration, Pool};
use model::{ContainerId, ContainerName, NetworkId};
use net::address::{Cidr, Family};
use net::{bridge, host};
use store::NetworkRow;

use super::error::NetworkError;
use super::record::{Known, Made};
use super::{BRIDGE, BUILT_IN, net_error};
use crate::container::{Container, known_life};
use crate::inspect::endpoint_view;
use crate::view::{EndpointView, NetworkView};
use crate::{Engine, EngineError};

/// Who runs on a network.
type Members = BTreeMap<ContainerId, (ContainerName, EndpointView)>;

impl Engine {
    /// The networks that exist but for those whose record cannot be read, which
    /// [`Engine::unread_networks`] names.
    ///
    /// # Errors
    /// The database.
    pub fn networks(&self) -> Result<Vec<NetworkView>, EngineError> {
        let rows = self.network_rows()?;
        let mut members = self.members()?;
        let known = rows.into_iter().filter_map(|row| Known::read(row).ok());
        let view = |known: Known| {
            let members = members.remove(&known.id).unwrap_or_default();
            self.network_view(known, members)
        };
        known.map(view).collect()
    }

    /// What is wrong with the records of networks that no list shows.
    pub(crate) fn unread_networks(&self) -> Result<Vec<String>, EngineError> {
        let rows = self.store().networks().list()?;
        let (names, stack) = (self.names(), host::stack().map_err(net_error)?);
        let unread = rows.into_iter().filter_map(|row| match Known::read(row) {
            Ok(known) => known.laid(&names, stack).err().map(|error| format!(
                "WARNING: network {} is left out, its record may be of a newer dhow: {error}",
                known.name
            )),
            Err(EngineError::Network(NetworkError::Record { name, source })) => Some(format!(
                "WARNING: the record of network {name} cannot be read, it may be of a newer dhow: {source}"
            )),
            Err(_) => None,
        });
        Ok(unread.collect())
    }

    /// One network, by id, name or prefix of an id.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn network_inspect(&self, who: &str) -> Result<NetworkView, EngineError> {
        let known = self.network(who)?;
        let members = self.members()?.remove(&known.id).unwrap_or_default();
        self.network_view(known, members)
    }

    /// The network that the user means: an id goes before a name, and that before a part of an id.
    pub(crate) fn network(&self, who: &str) -> Result<Known, EngineError> {
        let rows = self.network_rows()?;
        let by = |fits: &dyn Fn(&NetworkRow) -> bool| {
            rows.iter().filter(|row| fits(row)).cloned().collect::<Vec<_>>()
        };
        let mut found = by(&|row| row.id.to_string() == who);
        if found.is_empty() {
            found = by(&|row| row.name == who);
        }
        if found.is_empty() && !who.is_empty() {
            found = by(&|row| row.id.to_string().starts_with(who));
        }
        match (found.pop(), found.is_empty()) {
            (Some(row), true) => Known::read(row),
            (Some(_), false) => Err(NetworkError::Ambiguous(who.to_owned()).into()),
            (None, _) => Err(EngineError::NoSuchNetwork(who.to_owned())),
        }
    }

    fn network_rows(&self) -> Result<Vec<NetworkRow>, EngineError> {
        for (name, _) in BUILT_IN {
            self.built_in(name)?;
        }
        Ok(self.store().networks().list()?)
    }

    fn network_view(&self, known: Known, members: Members) -> Result<NetworkView, EngineError> {
        let Known { id, name, record } = known;
        let is_built_in = record.made.is_none();
        let made = match record.made {
            Some(made) => made,
            None => self.built_in_as_made(&name)?,
        };
        Ok(NetworkView {
            ipv4: is_built_in || made.pools.iter().any(|pool| pool.family() == Family::V4),
            ipv6: made.pools.iter().any(|pool| pool.family() == Family::V6),
            pools: made.pools,
            is_built_in,
            options: made.options,
            labels: made.labels,
            internal: made.internal,
            attachable: made.attachable,
            configuration: made.configuration,
            driver: record.driver,
            created: record.created,
            members,
            id,
            name,
        })
    }

    /// What a network is that is always there.
    fn built_in_as_made(&self, name: &str) -> Result<Made, EngineError> {
        let mut made = Made {
            pools: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            internal: false,
            attachable: false,
            configuration: Configuration::Own,
            found: None,
        };
        if name != BRIDGE {
            return Ok(made);
        }
        let names = self.names();
        made.options.insert(BRIDGE_NAME.to_owned(), names.bridge().as_str().to_owned());
        if !sys::rootless::is_member() {
            let plan = bridge::existing(&names).map_err(net_error)?;
            let addresses = plan.map(|plan| plan.addresses).unwrap_or_default();
            made.pools = addresses.into_iter().map(pool_of).collect();
        }
        Ok(made)
    }

    fn members(&self) -> Result<BTreeMap<NetworkId, Members>, EngineError> {
        let mut members: BTreeMap<NetworkId, Members> = BTreeMap::new();
        for row in self.store().containers().list()? {
            // Who cannot be read keeps the others from nothing; where it is nobody knows.
            let Ok(container) = Container::read(row) else { continue };
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            let Some(endpoint) = endpoint else { continue };
            if !known_life(self.life(&container))?.is_some_and(|life| life.is_running()) {
                continue;
            }
            for place in endpoint.all() {
                let member = (container.row.name.clone(), endpoint_view(place));
                let network = self.network_id_of(place)?;
                members.entry(network).or_default().insert(container.id, member);
            }
        }
        Ok(members)
    }
}

fn pool_of(address: Cidr) -> Pool {
    Pool { gateway: Some(address.address()), ..Pool::of(address.subnet()) }
}
