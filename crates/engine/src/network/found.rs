//! Networks on a bridge that somebody else has made: which one that is, and that it gets back what it had.

use model::network::{BRIDGE_NAME, Configuration, Driver, NetworkWish};
use net::address::LinkName;
use net::host::Stack;
use net::{bridge, host};
use store::NetworkRowError;

use super::alone::Alone;
use super::error::NetworkError;
use super::net_error;
use super::record::{FoundBridge, Known};
use crate::guard::chain;
use crate::{Engine, EngineError};

impl Engine {
    /// The bridge that a wish names, if somebody else has made it: the network is put on that (Docker).
    pub(super) fn found(&self, wish: &NetworkWish) -> Result<Option<FoundBridge>, EngineError> {
        let is_one = wish.driver == Driver::Bridge && wish.configuration != Configuration::Only;
        // An ordinary user's bridges are where nobody else makes any.
        if !is_one || sys::rootless::is_member() {
            return Ok(None);
        }
        let Some(name) = wish.options.get(BRIDGE_NAME) else { return Ok(None) };
        // What is no name is told with the other options.
        let Ok(name) = name.parse() else { return Ok(None) };
        let found = bridge::find(&name, self.names().group()).map_err(net_error)?;
        if found.is_some() {
            self.check_elsewhere(&name)?;
        }
        Ok(found.map(FoundBridge::from))
    }

    /// The containers of two networks on one bridge would reach each other, whichever roots they are of.
    pub(super) fn check_elsewhere(&self, bridge: &LinkName) -> Result<(), EngineError> {
        match self.firewall()?.elsewhere(bridge).map_err(net_error)? {
            None => Ok(()),
            Some(table) => {
                Err(NetworkError::BridgeElsewhere { bridge: bridge.to_string(), table }.into())
            }
        }
    }

    /// A network whose bridge was made anew since, by whoever makes it at each start of the host, is put on that, as
    /// one is that is made now: what it had is what this one has. `None` where nothing is to be done.
    pub(super) fn found_again(&self, known: &Known) -> Result<Option<Known>, EngineError> {
        if !self.is_on_another(known)? {
            return Ok(None);
        }
        let _alone = self.alone_with_networks()?;
        // Another start may have been faster, and has given it the network's addresses since.
        let mut known = self.network(&known.id.to_string())?;
        if !self.is_on_another(&known)? {
            return Ok(Some(known));
        }
        let Some(name) = self.found_name(&known)? else { return Ok(None) };
        self.check_elsewhere(&name)?;
        let found = bridge::find(&name, self.names().group()).map_err(net_error)?;
        let found = found.ok_or_else(|| net_error(bridge::BridgeError::Foreign(name)))?;
        if let Some(made) = &mut known.record.made {
            made.found = Some(found.into());
        }
        let failed = |source| NetworkError::Record { name: known.name.clone(), source };
        let record = serde_json::to_string(&known.record).map_err(failed)?;
        self.store().networks().rewrite(&known.id, &record).map_err(|error| match error {
            NetworkRowError::Db(error) => error.into(),
            NetworkRowError::NameTaken { .. }
            | NetworkRowError::InUse(_)
            | NetworkRowError::NoSuchNetwork(_) => EngineError::NoSuchNetwork(known.name.clone()),
        })?;
        Ok(Some(known))
    }

    fn is_on_another(&self, known: &Known) -> Result<bool, EngineError> {
        match (known.found()?, self.found_name(known)?) {
            (Some(found), Some(name)) => bridge::is_another(&name, &found).map_err(net_error),
            (_, _) => Ok(false),
        }
    }

    fn found_name(&self, known: &Known) -> Result<Option<LinkName>, EngineError> {
        let stack = host::stack().map_err(net_error)?;
        Ok(known.laid(&self.names(), stack)?.map(|laid| laid.plan.name))
    }

    /// Gives a bridge back before the row goes that says what it had: whoever is killed between leaves a network
    /// that the next start of a container puts on it again.
    pub(super) fn leave_before(&self, known: &Known, _alone: &Alone) -> Result<(), EngineError> {
        match known.found()? {
            Some(_) => self.unlay_here(known),
            None => Ok(()),
        }
    }

    /// A network that was not removed after all has its bridge.
    pub(super) fn lay_again(&self, known: &Known) -> Result<(), EngineError> {
        match known.found()? {
            Some(_) => self.lay(known).map(drop),
            None => Ok(()),
        }
    }

    fn leave_found(&self, known: &Known, stack: Stack) -> Result<(), EngineError> {
        match (known.found()?, known.laid(&self.names(), stack)?) {
            (Some(found), Some(laid)) => bridge::leave_found(&laid.plan, &found).map_err(net_error),
            (_, _) => Ok(()),
        }
    }

    /// Gives back the bridges that somebody else has made, each whatever became of the others. What is wrong with
    /// those that were not. Which they were is lost with a record that cannot be read.
    pub(crate) fn leave_found_bridges(&self) -> Result<Vec<String>, EngineError> {
        let Ok(rows) = self.store().networks().list() else { return Ok(Vec::new()) };
        let stack = host::stack().map_err(net_error)?;
        let mut failed = Vec::new();
        for known in rows.into_iter().filter_map(|row| Known::read(row).ok()) {
            if let Err(error) = self.leave_found(&known, stack) {
                let why = chain(&error);
                failed.push(format!(
                    "the bridge of network {} was not given back: {why}",
                    known.name
                ));
            }
        }
        Ok(failed)
    }
}
