//! What is open to whom, and which of the host's own rules are asked about it.

use docker_api::types::firewall::{Firewall, OpenNetwork, OpenPort, OtherChain, OwnChain, Place};
use engine::{
    Change, ExposedNetwork, ExposedPort, Exposure, ForeignChain, Hook, HostRules, Reach, ToldChain,
};
use model::network::{Inside, Mutual, Source};

/// `GET /dhow/firewall`.
pub(crate) fn firewall(view: &Exposure) -> Firewall {
    Firewall {
        host_rules: match view.rules {
            HostRules::Bypass => "bypass",
            HostRules::Respect => "respect",
        }
        .to_owned(),
        table: view.table.clone().unwrap_or_default(),
        intact: view.intact,
        ports: view.ports.iter().map(|port| open_port(port, view)).collect(),
        networks: view.networks.iter().map(network).collect(),
        other_chains: view.others.iter().map(other).collect(),
        legacy_tables: view.legacy,
        chains: view.chains.iter().map(own).collect(),
    }
}

fn open_port(port: &ExposedPort, view: &Exposure) -> OpenPort {
    // What a program on this host sends is in nobody's way.
    let asked = |hook| {
        port.reach != Reach::Host && (hook == Hook::Forward || view.rules == HostRules::Respect)
    };
    let network = view
        .networks
        .iter()
        .find(|network| network.subnets.iter().any(|subnet| subnet.contains(port.inside.ip())));
    let refuses = |chain: &ForeignChain| match chain.hook {
        Hook::Input => chain.refuses(),
        Hook::Forward => network.map_or(chain.refuses(), |network| chain.keeps(&network.bridge)),
    };
    let chains = |wanted: &dyn Fn(Hook) -> bool| -> Vec<String> {
        let fits = |chain: &&ForeignChain| {
            refuses(chain) && chain.sees(port.host.ip()) && wanted(chain.hook)
        };
        view.others.iter().filter(fits).map(ToString::to_string).collect()
    };
    OpenPort {
        container_id: port.owner.to_string(),
        container: port.container.as_ref().map(ToString::to_string).unwrap_or_default(),
        protocol: port.protocol.to_string(),
        // Where nothing of the host leads there, it is reached at the container's own address.
        host_ip: port.place().ip().to_string(),
        host_port: port.place().port(),
        container_ip: port.inside.ip().to_string(),
        container_port: port.inside.port(),
        count: port.count,
        reach: match port.reach {
            Reach::Host => "host",
            Reach::Neighbours => "neighbours",
            Reach::Anyone => "anyone",
        }
        .to_owned(),
        at: port
            .at
            .iter()
            .map(|(link, ip)| Place { link: link.clone(), ip: ip.to_string() })
            .collect(),
        bypasses: chains(&|hook| port.reach != Reach::Host && !asked(hook)),
        asks: chains(&asked),
    }
}

fn network(network: &ExposedNetwork) -> OpenNetwork {
    OpenNetwork {
        name: network.name.clone(),
        bridge: network.bridge.clone(),
        subnets: network.subnets.iter().map(ToString::to_string).collect(),
        internal: network.inside == Inside::Only,
        isolated: network.mutual == Mutual::Refused,
        masqueraded: network.source.iter().any(|source| *source != Source::Own)
            && network.inside == Inside::No,
    }
}

fn other(chain: &ForeignChain) -> OtherChain {
    OtherChain {
        chain: chain.to_string(),
        hook: match chain.hook {
            Hook::Input => "input",
            Hook::Forward => "forward",
        }
        .to_owned(),
        priority: chain.priority,
        refuses: chain.refuses(),
        passing: match (chain.hook, chain.refuses()) {
            (Hook::Forward, true) => chain.passing.iter().cloned().collect(),
            (Hook::Forward, false) | (Hook::Input, _) => Vec::new(),
        },
        owned: chain.change == Change::Owner,
    }
}

fn own(chain: &ToldChain) -> OwnChain {
    let (hook, priority) = chain.hook.unwrap_or_default();
    OwnChain {
        name: chain.name.to_owned(),
        hook: hook.to_owned(),
        priority,
        does: chain.does.to_owned(),
    }
}
