//! `network rm` and `network prune`, and bridges that nobody's network has any more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::network::Configuration;
use model::{ContainerId, EventKind, NetworkId};
use net::address::LinkName;
use net::host;
use net::names::network_parent;
use net::nft::Source;
use net::{bridge, links, parent};
use store::{DbError, NetworkRow, NetworkRowError};
use sys::failpoint::Point;

use super::alone::Alone;
use super::error::NetworkError;
use super::net_error;
use super::record::{Known, Laid, Outline};
use crate::container::Locked;
use crate::record::Endpoint;
use crate::view::{NetworkView, Pruned};
use crate::{Engine, EngineError};

impl Engine {
    /// Removes a network that no container is on.
    ///
    /// # Errors
    /// One is, or there is no such network.
    pub fn network_remove(&self, who: &str) -> Result<(), EngineError> {
        let known = self.network(who)?;
        if known.record.made.is_none() {
            return Err(NetworkError::Permanent(known.name).into());
        }
        let alone = self.alone_with_networks()?;
        self.remove_row(&known, &alone)?;
        EngineError::step(Point::NetworkRemoved)?;
        match known.found()? {
            // The bridge that was there already was given back before the row went, with all that was known of it.
            Some(_) => self.name_files().take_network(&known.id),
            None => self.unlay(&known, &alone)?,
        }
        self.tell_network("destroy", &known);
        Ok(())
    }

    fn remove_row(&self, known: &Known, alone: &Alone) -> Result<(), EngineError> {
        let remove = || {
            let is_used = !self.store().addresses().of_network(&known.id)?.is_empty();
            if !is_used {
                self.leave_before(known, alone).map_err(|error| Kept::Engine(Box::new(error)))?;
            }
            let unused = |rows: &[NetworkRow]| check_unused(known, rows);
            self.store().networks().remove(&known.id, unused)
        };
        let removed = match remove() {
            Err(Kept::Row(NetworkRowError::InUse(_))) => {
                // Addresses of containers that have ended are taken back when they are in the way.
                self.release_ended(&known.id)?;
                self.release_strangers(&known.id)?;
                remove()
            }
            other => other,
        };
        removed.or_else(|kept| {
            // A container may have come meanwhile. Why the network stays is the error to tell.
            let _ = self.lay_again(known);
            self.still_there(known, kept)
        })
    }

    /// Removes every network that no container is on, was made by somebody, and is wanted gone.
    ///
    /// # Errors
    /// As [`Engine::prune_containers`].
    pub fn prune_networks(
        &self,
        is_wanted: impl Fn(&NetworkView) -> bool,
    ) -> Result<Pruned<String>, EngineError> {
        let mut candidates = self.networks()?;
        candidates.retain(|view| {
            let is_only = view.configuration == Configuration::Only;
            !view.is_built_in && !is_only && view.members.is_empty() && is_wanted(view)
        });
        self.prune(EventKind::Network, candidates, |view, pruned| {
            self.network_remove(&view.id.to_string())?;
            pruned.removed.push(view.name);
            Ok(())
        })
    }

    fn still_there(&self, known: &Known, kept: Kept) -> Result<(), EngineError> {
        match kept {
            Kept::Network(error) => Err(error.into()),
            Kept::Engine(error) => Err(*error),
            Kept::Row(NetworkRowError::InUse(_)) => {
                let endpoints = self.holders(known)?;
                Err(NetworkError::Active { name: known.name.clone(), endpoints }.into())
            }
            Kept::Row(NetworkRowError::NoSuchNetwork(_) | NetworkRowError::NameTaken { .. }) => {
                Err(EngineError::NoSuchNetwork(known.name.clone()))
            }
            Kept::Row(NetworkRowError::Db(error)) => Err(error.into()),
        }
    }

    /// Ends the leases of containers that run and are not on the network: a change of it was killed.
    pub(super) fn release_strangers(&self, network: &NetworkId) -> Result<(), EngineError> {
        for (address, id) in self.store().addresses().of_network(network)? {
            let Locked::Held(_lock) = self.try_lock(&id)? else { continue };
            let container = self.reread(&id)?;
            let start = container.record.last_start();
            let mut places =
                start.and_then(|start| start.endpoint.as_ref()).into_iter().flat_map(Endpoint::all);
            let is_on = |place: &Endpoint| self.network_id_of(place).is_ok_and(|on| on == *network);
            if !places.any(is_on) {
                // Its next owner would get what is meant for this one.
                self.unpublish_at(&id, address)?;
                self.name_files().take(network, &id);
                self.store().addresses().end(network, &id)?;
            }
        }
        Ok(())
    }

    fn unpublish_at(&self, owner: &ContainerId, address: IpAddr) -> Result<(), EngineError> {
        self.at_networks_there((), || {
            let firewall = self.firewall()?;
            let mut stale = firewall.published().map_err(net_error)?;
            stale.retain(|rule| rule.owner == *owner && rule.container.ip() == address);
            if stale.is_empty() {
                return Ok(());
            }
            firewall.unpublish(&stale).map_err(net_error)
        })
    }

    /// Who has an address of a network.
    fn holders(&self, known: &Known) -> Result<Vec<(ContainerId, String)>, EngineError> {
        let leases = self.store().addresses().of_network(&known.id)?;
        let ids: BTreeSet<ContainerId> = leases.into_iter().map(|(_, id)| id).collect();
        let mut holders = Vec::new();
        for id in ids {
            let row = self.store().containers().get(&id)?;
            holders.extend(row.map(|row| (id, row.name.to_string())));
        }
        Ok(holders)
    }

    /// Takes from the kernel what it has of a network whose row is gone; no other can have it yet.
    pub(super) fn unlay(&self, known: &Known, _alone: &Alone) -> Result<(), EngineError> {
        self.name_files().take_network(&known.id);
        self.at_networks_there((), || self.unlay_here(known))
    }

    pub(super) fn unlay_here(&self, known: &Known) -> Result<(), EngineError> {
        if let Some(plan) = known.parent(&self.names())? {
            return match self.is_parent(&plan.name)? {
                true => Ok(()),
                false => parent::remove(&plan.name, plan.group).map_err(net_error),
            };
        }
        let stack = host::stack().map_err(net_error)?;
        let Some(Laid { plan, rules }) = known.laid(&self.names(), stack)? else { return Ok(()) };
        let mut wanted = || self.everything();
        let forgotten =
            self.firewall_now()?.remove_network(&rules, &mut Source::Everything(&mut wanted));
        let removed = match known.found()? {
            Some(found) => bridge::leave_found(&plan, &found),
            None => bridge::remove(&plan.name, plan.group),
        };
        removed.map_err(net_error)?;
        forgotten.map_err(net_error)?;
        self.pass_others()
    }

    /// Whether a network names this link of the host's.
    fn is_parent(&self, name: &LinkName) -> Result<bool, EngineError> {
        for row in self.store().networks().list()? {
            let outline = Outline::read(&row)?;
            if outline.and_then(|outline| outline.parent).as_deref() == Some(name.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the host's links that were made for networks that are no more.
    pub(crate) fn remove_strange_parents(&self) -> Result<(), EngineError> {
        let names = self.names();
        if links::parents(&names).map_err(net_error)?.is_empty() {
            return Ok(());
        }
        let _alone = self.alone_with_networks()?;
        // A row comes before its link, so the rows are read after the links.
        let parents = links::parents(&names).map_err(net_error)?;
        let mut known = BTreeSet::new();
        for row in self.store().networks().list()? {
            let id = row.id;
            match Outline::read(&row) {
                Ok(outline) => known.extend(outline.map(|outline| match outline.parent {
                    Some(parent) => parent,
                    None => network_parent(&id).to_string(),
                })),
                // Which is its link cannot be known, so none is strange.
                Err(_) => return Ok(()),
            }
        }
        for name in parents.iter().filter(|name| !known.contains(name.as_str())) {
            parent::remove(name, names.group()).map_err(net_error)?;
        }
        Ok(())
    }

    /// Removes the bridges of networks that are no more, and forgets their rules.
    pub(crate) fn remove_strange_bridges(&self) -> Result<(), EngineError> {
        let names = self.names();
        if links::bridges(&names).map_err(net_error)?.is_empty() {
            return Ok(());
        }
        let _alone = self.alone_with_networks()?;
        // A row comes before its bridge, so the rows are read after the links.
        let bridges = links::bridges(&names).map_err(net_error)?;
        let mut known = BTreeSet::new();
        for row in self.store().networks().list()? {
            match Outline::read(&row) {
                Ok(outline) => known.extend(outline.map(|outline| outline.bridge)),
                // Which is its bridge cannot be known, so none is strange.
                Err(_) => return Ok(()),
            }
        }
        let strange: Vec<_> = bridges.iter().filter(|name| !known.contains(*name)).collect();
        for name in &strange {
            bridge::remove(name, names.group()).map_err(net_error)?;
        }
        if strange.is_empty() {
            return Ok(());
        }
        let mut wanted = || self.everything();
        self.firewall_now()?.rebuild(&mut Source::Everything(&mut wanted)).map_err(net_error)
    }

    /// What the kernel should have of each network that was made. One whose record cannot be read keeps no
    /// other from what it should have; `info` names it.
    pub(crate) fn laid_networks(&self) -> Result<Vec<Laid>, EngineError> {
        let (names, stack) = (self.names(), host::stack().map_err(net_error)?);
        let mut all = Vec::new();
        for row in self.store().networks().list()? {
            let Ok(known) = Known::read(row) else { continue };
            let Ok(laid) = known.laid(&names, stack) else { continue };
            all.extend(laid);
        }
        Ok(all)
    }
}

/// Why a network stays; internal to the transaction.
enum Kept {
    Row(NetworkRowError),
    Network(NetworkError),
    Engine(Box<EngineError>),
}

impl From<NetworkRowError> for Kept {
    fn from(error: NetworkRowError) -> Self {
        Self::Row(error)
    }
}

impl From<DbError> for Kept {
    fn from(error: DbError) -> Self {
        Self::Row(error.into())
    }
}

/// What is made from a configuration keeps it. Whether a network is whose record means nothing, nobody
/// knows.
fn check_unused(known: &Known, rows: &[NetworkRow]) -> Result<(), Kept> {
    let made = known.record.made.as_ref();
    if made.is_none_or(|made| made.configuration != Configuration::Only) {
        return Ok(());
    }
    for row in rows {
        let outline = Outline::read(row).map_err(Kept::Network)?;
        if outline.and_then(|outline| outline.from).as_deref() == Some(&known.name) {
            return Err(Kept::Network(NetworkError::ConfigurationInUse(known.name.clone())));
        }
    }
    Ok(())
}
