//! `network rm` and `network prune`, and bridges that nobody's network has any more.

use std::collections::BTreeSet;

use model::network::Configuration;
use model::{ContainerId, EventKind};
use net::address::LinkName;
use net::host;
use net::nft::Source;
use net::{bridge, links};
use store::NetworkRowError;
use sys::failpoint::Point;

use super::error::NetworkError;
use super::net_error;
use super::record::{Known, Laid};
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
        self.check_unused(&known)?;
        match self.store().networks().remove(&known.id) {
            Err(NetworkRowError::InUse(_)) => {
                // Addresses of containers that have ended are taken back when they are in the way.
                self.release_ended(&known.id)?;
                self.store().networks().remove(&known.id)
            }
            other => other,
        }
        .or_else(|error| self.still_there(&known, error))?;
        EngineError::step(Point::NetworkRemoved)?;
        self.unlay(&known)?;
        self.tell_network("destroy", &known);
        Ok(())
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

    /// What is made from a configuration keeps it.
    fn check_unused(&self, known: &Known) -> Result<(), EngineError> {
        let name = &known.name;
        for row in self.store().networks().list()? {
            let other = Known::read(row)?;
            let from = other.record.made.map(|made| made.configuration);
            if from == Some(Configuration::From(name.clone())) {
                return Err(NetworkError::ConfigurationInUse(name.clone()).into());
            }
        }
        Ok(())
    }

    fn still_there(&self, known: &Known, error: NetworkRowError) -> Result<(), EngineError> {
        match error {
            NetworkRowError::InUse(_) => {
                let endpoints = self.holders(known)?;
                Err(NetworkError::Active { name: known.name.clone(), endpoints }.into())
            }
            NetworkRowError::NoSuchNetwork(_) | NetworkRowError::NameTaken { .. } => {
                Err(EngineError::NoSuchNetwork(known.name.clone()))
            }
            NetworkRowError::Db(error) => Err(error.into()),
        }
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

    /// Takes from the kernel what it has of a network whose row is gone.
    fn unlay(&self, known: &Known) -> Result<(), EngineError> {
        let stack = host::stack().map_err(net_error)?;
        let Some(Laid { plan, rules }) = known.laid(&self.names(), stack)? else { return Ok(()) };
        let mut wanted = || self.everything();
        let forgotten =
            self.firewall()?.remove_network(&rules, &mut Source::Everything(&mut wanted));
        bridge::remove(&plan.name, plan.group).map_err(net_error)?;
        forgotten.map_err(net_error)
    }

    /// Removes the bridges of networks that are no more, and forgets their rules.
    pub(crate) fn remove_strange_bridges(&self) -> Result<(), EngineError> {
        let names = self.names();
        // A row comes before its bridge, so the rows are read after the links.
        let bridges = links::bridges(&names).map_err(net_error)?;
        if bridges.is_empty() {
            return Ok(());
        }
        let known: BTreeSet<LinkName> =
            self.laid_networks()?.into_iter().map(|laid| laid.plan.name).collect();
        let strange: Vec<_> = bridges.iter().filter(|name| !known.contains(name)).collect();
        for name in &strange {
            bridge::remove(name, names.group()).map_err(net_error)?;
        }
        if strange.is_empty() {
            return Ok(());
        }
        let mut wanted = || self.everything();
        self.firewall()?.rebuild(&mut Source::Everything(&mut wanted)).map_err(net_error)
    }

    /// What the kernel should have of each network that was made.
    pub(crate) fn laid_networks(&self) -> Result<Vec<Laid>, EngineError> {
        let (names, stack) = (self.names(), host::stack().map_err(net_error)?);
        let mut all = Vec::new();
        for row in self.store().networks().list()? {
            all.extend(Known::read(row)?.laid(&names, stack)?);
        }
        Ok(all)
    }
}
