//! Names and networks.

use crate::parse::network::{ExtraHost, Link, Nameserver, NetworkFlag, SearchDomain, mac};
use crate::parse::ports::ports;
use docker_api::types::Map;
use docker_api::types::containers::CreateContainer;
use docker_api::types::network_settings::{EndpointIpamConfig, EndpointSettings};

#[derive(clap::Args, Debug)]
pub(super) struct NetworkOptions {
    /// Add a line to /etc/hosts: host:address
    #[arg(long, value_name = "list")]
    add_host: Vec<ExtraHost>,
    /// DNS servers
    #[arg(long, value_name = "list")]
    dns: Vec<Nameserver>,
    /// DNS options
    #[arg(long, alias = "dns-opt", value_name = "list")]
    dns_option: Vec<String>,
    /// DNS search domains
    #[arg(long, value_name = "list")]
    dns_search: Vec<SearchDomain>,
    /// NIS domain name
    #[arg(long, value_name = "string")]
    domainname: Option<String>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    expose: Vec<String>,
    /// Host name
    #[arg(short = 'h', long, value_name = "string")]
    hostname: Option<String>,
    /// IPv4 address
    #[arg(long, value_name = "ip")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ip")]
    ip6: Option<String>,
    /// Link to another container
    #[arg(long, value_name = "list")]
    link: Vec<Link>,
    /// Link-local addresses
    #[arg(long, value_name = "list")]
    link_local_ip: Vec<String>,
    /// Hardware address
    #[arg(long, value_name = "string")]
    mac_address: Option<String>,
    /// Connect to a network: a name, none, host, container:NAME
    #[arg(long, alias = "net", value_name = "network")]
    network: Vec<NetworkFlag>,
    /// Another name of the container in its network
    #[arg(long, alias = "net-alias", value_name = "list")]
    network_alias: Vec<String>,
    /// Publish a port on the host: [[address:][port]:]port[/protocol]
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports on random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
}

impl NetworkOptions {
    pub(super) fn apply(&self, request: &mut CreateContainer) -> Result<(), String> {
        let config = &mut request.config;
        config.hostname = self.hostname.clone().unwrap_or_default();
        config.domainname = self.domainname.clone().unwrap_or_default();
        let ports = ports(&self.publish, &self.expose)?;
        config.exposed_ports = (!ports.exposed.is_empty()).then_some(ports.exposed);
        let host = &mut request.host_config;
        host.port_bindings = Some(ports.bindings);
        host.publish_all_ports = self.publish_all;
        host.dns = Some(self.dns.iter().map(|server| server.0.clone()).collect());
        host.dns_options = Some(self.dns_option.clone());
        host.dns_search = Some(self.dns_search.iter().map(|domain| domain.0.clone()).collect());
        host.extra_hosts = strings(&self.add_host, |host| &host.0);
        host.links = strings(&self.link, |link| &link.0);
        let networks = self.networks()?;
        host.network_mode = networks.first().map(|n| n.name.clone()).unwrap_or_default();
        request.networking_config.endpoints_config = Some(self.endpoints(&networks));
        Ok(())
    }

    /// The networks, with what the flags beside `--network` say about the first of them.
    fn networks(&self) -> Result<Vec<NetworkFlag>, String> {
        let mut networks = self.network.clone();
        if networks.is_empty() {
            networks.push(NetworkFlag { name: "default".to_owned(), ..NetworkFlag::default() });
        }
        for (at, network) in networks.iter().enumerate() {
            if network.name.is_empty() {
                return Err("no name set for network".to_owned());
            }
            if networks[..at].iter().any(|earlier| earlier.name == network.name) {
                let name = &network.name;
                return Err(format!("network \"{name}\" is specified multiple times"));
            }
        }
        if networks.len() > 1 && networks.iter().any(|network| !user_defined(&network.name)) {
            return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned());
        }
        let first = &mut networks[0];
        if !self.network_alias.is_empty() && !first.aliases.is_empty() {
            return Err(conflict("--network-alias", "network alias"));
        }
        first.aliases.extend(self.network_alias.iter().cloned());
        if !first.aliases.is_empty() && !user_defined(&first.name) {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned()
            );
        }
        fill(&mut first.ipv4, self.ip.as_ref(), "--ip")?;
        fill(&mut first.ipv6, self.ip6.as_ref(), "--ip6")?;
        let hardware = self.mac_address.as_ref().map(|text| mac(text)).transpose()?;
        fill(&mut first.mac, hardware.as_ref(), "--mac-address")?;
        // Another container's network has no endpoint of ours to say it of.
        if !first.mac.is_empty() && first.name.starts_with("container:") {
            return Err("conflicting options: mac-address and the network mode".to_owned());
        }
        if !self.link_local_ip.is_empty() && !first.link_local.is_empty() {
            return Err(conflict("--link-local-ip", "link-local IP"));
        }
        first.link_local.extend(self.link_local_ip.iter().cloned());
        if is_addressed(first) && !has_endpoint(&first.name) {
            return Err(
                "user specified IP address is supported on user defined networks only".to_owned()
            );
        }
        Ok(networks)
    }

    fn endpoints(&self, networks: &[NetworkFlag]) -> Map<EndpointSettings> {
        networks
            .iter()
            .enumerate()
            .filter(|(_, network)| has_endpoint(&network.name))
            .map(|(at, network)| {
                let linked = at == 0 && user_defined(&network.name);
                let links = if linked { strings(&self.link, |link| &link.0) } else { None };
                (network.name.clone(), endpoint(network, links))
            })
            .collect()
    }
}

fn endpoint(network: &NetworkFlag, links: Option<Vec<String>>) -> EndpointSettings {
    EndpointSettings {
        ipam_config: is_addressed(network).then(|| EndpointIpamConfig {
            ipv4_address: network.ipv4.clone(),
            ipv6_address: network.ipv6.clone(),
            link_local_ips: (!network.link_local.is_empty()).then(|| network.link_local.clone()),
        }),
        links,
        aliases: (!network.aliases.is_empty()).then(|| network.aliases.clone()),
        mac_address: network.mac.clone(),
        driver_opts: (!network.options.is_empty()).then(|| network.options.clone()),
        gw_priority: network.gw_priority,
        ..EndpointSettings::default()
    }
}

fn is_addressed(network: &NetworkFlag) -> bool {
    !(network.ipv4.is_empty() && network.ipv6.is_empty() && network.link_local.is_empty())
}

fn strings<T>(list: &[T], text: impl Fn(&T) -> &String) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.iter().map(|item| text(item).clone()).collect())
}

fn fill(slot: &mut String, value: Option<&String>, flag: &str) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    if !slot.is_empty() {
        return Err(conflict(flag, "the same in --network"));
    }
    slot.clone_from(value);
    Ok(())
}

fn conflict(flag: &str, other: &str) -> String {
    format!("conflicting options: cannot specify both {flag} and per-network {other}")
}

/// Networks that exist by themselves, or are no networks at all.
fn user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

fn has_endpoint(name: &str) -> bool {
    !matches!(name, "host" | "none") && !name.starts_with("container:")
}
