//! Our networks beside the firewalls of others: which of them those shall let pass, and what to say where they
//! do not.

use model::container::{ContainerSpec, NetworkMode};
use model::network::Attachment;
use net::bridge;
use net::host::{self, Stack};
use net::nft::{Change, ForeignChain};

use super::net_error;
use crate::settings::HostRules;
use crate::{Engine, EngineError};

impl Engine {
    /// Has packets of our networks pass where others refuse what nobody has spoken of. Those of all networks,
    /// whichever was asked for: what is flushed is so for each of them.
    pub(crate) fn pass_others(&self) -> Result<(), EngineError> {
        let mut bridges = || Ok(self.passing()?);
        self.firewall()?.pass_others(&mut bridges).map_err(net_error)
    }

    /// The bridges of our networks; none where the host's own rules are to decide.
    fn passing(&self) -> Result<Vec<String>, EngineError> {
        if self.settings()?.firewall == HostRules::Respect {
            return Ok(Vec::new());
        }
        let default = bridge::existing(&self.names()).map_err(net_error)?;
        let made = self.laid_networks()?.into_iter().map(|laid| laid.plan);
        Ok(default.into_iter().chain(made).map(|plan| plan.name.to_string()).collect())
    }

    /// What to say to whoever makes a container that others will keep from its networks, by a chain that only
    /// the program may change that has made it.
    pub(crate) fn kept_warning(
        &self,
        spec: &ContainerSpec,
        chains: &[ForeignChain],
    ) -> Result<Option<String>, EngineError> {
        let is_owned = |chain: &&ForeignChain| chain.change == Change::Owner;
        if !chains.iter().any(|chain| is_owned(&chain) && chain.refuses()) {
            return Ok(None);
        }
        let bridges = self.bridges_of(spec)?;
        let kept = |bridge: &String| {
            let chain = chains.iter().filter(is_owned).find(|chain| chain.keeps(bridge))?;
            Some(format!(
                "the container will reach nobody but this host by {bridge}: {chain} refuses what it does not know, and only \
                 the program may change it that has made it (firewalld: firewall-cmd --permanent --zone=trusted \
                 --add-interface={bridge} && firewall-cmd --reload)"
            ))
        };
        Ok(bridges.iter().find_map(kept))
    }

    /// The bridges that a container will be on, as far as its networks are there.
    fn bridges_of(&self, spec: &ContainerSpec) -> Result<Vec<String>, EngineError> {
        let places = match spec.network.mode {
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => Vec::new(),
            NetworkMode::Bridge | NetworkMode::Named(_) => spec.network.places(),
        };
        let stack = host::stack().map_err(net_error)?;
        let bridge = |place: &Attachment| self.bridge_of(&place.network, stack).transpose();
        places.iter().filter_map(bridge).collect()
    }

    fn bridge_of(&self, network: &str, stack: Stack) -> Result<Option<String>, EngineError> {
        let name = if network == "default" { super::BRIDGE } else { network };
        // Whether there is one is told when the container starts.
        let Ok(known) = self.network(name) else { return Ok(None) };
        if known.name == super::BRIDGE {
            return Ok(Some(self.names().bridge().to_string()));
        }
        Ok(known.laid(&self.names(), stack)?.map(|laid| laid.plan.name.to_string()))
    }
}
