//! Networks: a container's place on them, its ports, and the networks themselves.

use std::collections::BTreeMap;

use docker_api::types::Map;
use docker_api::types::containers::Port;
use docker_api::types::network_settings::{
    EndpointIpamConfig, EndpointSettings, NetworkSettings, PortBinding, PortMap,
};
use docker_api::types::networks::{ConfigReference, EndpointResource, Ipam, IpamConfig, Network};
use engine::view::{ContainerView, EndpointView, NetworkView, PublishedView};
use model::container::NetworkMode;
use model::network::{Attachment, Configuration};

use super::{mac, or_null, path, time};

/// `NetworkSettings` of an inspection.
pub(super) fn settings(view: &ContainerView) -> NetworkSettings {
    let networks = endpoints(view);
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let running = view.life.is_running();
    NetworkSettings {
        // Nothing but the container has this sandbox, so its id is the sandbox's.
        sandbox_id: if running { view.id.to_string() } else { String::new() },
        sandbox_key: if running { path(&view.files.netns) } else { String::new() },
        ports: Some(ports(view)),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks: Some(networks),
        ..NetworkSettings::default()
    }
}

/// A container's networks by name.
pub(super) fn endpoints(view: &ContainerView) -> Map<EndpointSettings> {
    view.networks
        .iter()
        .map(|(name, place)| (name.clone(), endpoint(view, (name, place))))
        .collect()
}

/// The same for a list.
pub(super) fn boxed_endpoints(view: &ContainerView) -> Map<Box<EndpointSettings>> {
    let boxed =
        |(name, place): (&String, _)| (name.clone(), Box::new(endpoint(view, (name, place))));
    view.networks.iter().map(boxed).collect()
}

/// What a container is called on a network that somebody made: Docker shows no names on those that are always
/// there.
fn names(view: &ContainerView, network: &str, wish: &Attachment) -> Option<Vec<String>> {
    if matches!(network, "bridge" | "host" | "none") {
        return None;
    }
    let more = [view.id.short(), view.resolved.hostname.clone()];
    let all =
        std::iter::once(view.name.to_string()).chain(wish.aliases.iter().cloned()).chain(more);
    let mut names: Vec<String> = Vec::new();
    for name in all.filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

fn endpoint(view: &ContainerView, (name, place): (&str, &EndpointView)) -> EndpointSettings {
    let (ip, prefix) = address(place.ipv4);
    let (ip6, prefix6) = address(place.ipv6);
    let is_up = view.life.is_running();
    let nothing = Attachment::default();
    let wish = place.asked.as_ref().unwrap_or(&nothing);
    let asked = EndpointIpamConfig {
        ipv4_address: wish.ipv4.map(|ip| ip.to_string()).unwrap_or_default(),
        ipv6_address: wish.ipv6.map(|ip| ip.to_string()).unwrap_or_default(),
        link_local_ips: or_null(wish.link_local.iter().map(ToString::to_string).collect()),
    };
    EndpointSettings {
        ipam_config: or_null(asked),
        links: or_null(
            wish.links.iter().map(|link| format!("{}:{}", link.to, link.alias)).collect(),
        ),
        aliases: or_null(wish.aliases.clone()),
        driver_opts: or_null(wish.options.clone()),
        gw_priority: wish.priority,
        network_id: place.network.map(|id| id.to_string()).unwrap_or_default(),
        endpoint_id: if is_up { view.id.to_string() } else { String::new() },
        gateway: place.gateway4.map(|ip| ip.to_string()).unwrap_or_default(),
        ip_address: ip,
        ip_prefix_len: prefix,
        ipv6_gateway: place.gateway6.map(|ip| ip.to_string()).unwrap_or_default(),
        global_ipv6_address: ip6,
        global_ipv6_prefix_len: prefix6,
        mac_address: place.mac.map(mac).unwrap_or_default(),
        dns_names: names(view, name, wish),
    }
}

fn address<T: ToString>(place: Option<(T, u8)>) -> (String, i64) {
    place.map_or_else(Default::default, |(ip, prefix)| (ip.to_string(), i64::from(prefix)))
}

/// `Ports`: what is exposed, and where it is published; nothing unless it runs.
fn ports(view: &ContainerView) -> PortMap {
    if !view.life.is_running() || !has_ports(view) {
        return PortMap::new();
    }
    let mut map: PortMap =
        view.resolved.exposed.iter().map(|port| (port.to_string(), None)).collect();
    for port in view.ports.iter().flat_map(PublishedView::each) {
        let binding = PortBinding {
            host_ip: port.host_ip.to_string(),
            // Where nothing of the host leads there, Docker has an address without a port.
            host_port: match port.host_port {
                0 => String::new(),
                number => number.to_string(),
            },
        };
        let list = map.entry(port.container.to_string()).or_default();
        list.get_or_insert_default().push(binding);
    }
    map
}

/// Whether ports mean anything on a container's network.
fn has_ports(view: &ContainerView) -> bool {
    match view.spec.network.mode {
        NetworkMode::Bridge | NetworkMode::Named(_) => true,
        NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => false,
    }
}

/// How a list shows ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortList {
    /// As Docker's: each by itself.
    Each,
    /// Those that follow each other as one, with their number.
    Ranges,
}

/// `Ports` of a list entry: one for each address, and one for what is only exposed.
pub(super) fn port_list(view: &ContainerView, shown: PortList) -> Vec<Port> {
    if !view.life.is_running() || !has_ports(view) {
        return Vec::new();
    }
    let port = |port: &PublishedView| Port {
        // What is reached at the container's own address is as if it were only exposed.
        ip: if port.host_port == 0 { String::new() } else { port.host_ip.to_string() },
        private_port: port.container.port,
        public_port: port.host_port,
        protocol: port.container.protocol.to_string(),
        count: if port.count > 1 { port.count } else { 0 },
    };
    let mut list: Vec<Port> = match shown {
        PortList::Each => {
            view.ports.iter().flat_map(PublishedView::each).map(|each| port(&each)).collect()
        }
        PortList::Ranges => view.ports.iter().map(port).collect(),
    };
    for exposed in &view.resolved.exposed {
        if !view.ports.iter().any(|port| port.leads_to(*exposed)) {
            list.push(Port {
                private_port: exposed.port,
                protocol: exposed.protocol.to_string(),
                ..Port::default()
            });
        }
    }
    list.sort();
    list.dedup();
    list
}

/// A network.
pub(crate) fn network(view: &NetworkView) -> Network {
    let config = view.pools.iter().map(|pool| IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: pool.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: pool.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        auxiliary_addresses: or_null(
            pool.others.iter().map(|(name, ip)| (name.clone(), ip.to_string())).collect(),
        ),
    });
    // `null` for those that are always there, as in Docker.
    let options = (!view.is_built_in).then(Map::new);
    let config_from = match &view.configuration {
        Configuration::From(network) => network.clone(),
        Configuration::Own | Configuration::Only => String::new(),
    };
    let members = view.members.iter().map(|(id, (name, place))| {
        let resource = EndpointResource {
            name: name.to_string(),
            endpoint_id: id.to_string(),
            mac_address: place.mac.map(mac).unwrap_or_default(),
            ipv4_address: cidr(place.ipv4),
            ipv6_address: cidr(place.ipv6),
        };
        (id.to_string(), resource)
    });
    Network {
        name: view.name.clone(),
        id: view.id.to_string(),
        created: time(view.created),
        scope: "local".to_owned(),
        driver: view.driver.clone(),
        enable_ipv4: view.ipv4,
        enable_ipv6: view.ipv6,
        ipam: Ipam { driver: "default".to_owned(), options, config: Some(config.collect()) },
        internal: view.internal,
        attachable: view.attachable,
        config_from: ConfigReference { network: config_from },
        config_only: view.configuration == Configuration::Only,
        containers: members.collect::<BTreeMap<_, _>>(),
        options: view.options.clone(),
        labels: view.labels.clone(),
        ..Network::default()
    }
}

fn cidr<T: ToString>(place: Option<(T, u8)>) -> String {
    place.map(|(ip, prefix)| format!("{}/{prefix}", ip.to_string())).unwrap_or_default()
}
