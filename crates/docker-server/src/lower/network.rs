//! What a container sees of networks: mode, names, ports, DNS.

use std::net::IpAddr;

use docker_api::types::containers::{CreateContainer, UpdateExtension};
use docker_api::types::network_settings::{
    EndpointIpamConfig, EndpointSettings, PortBinding as WireBinding, PortMap,
};
use engine::view::PortChanges;
use model::container::{Membership, NameOrIdText, NetworkMode, NetworkSpec};
use model::network::{Attachment, BadOption, Link};
use model::port::{ContainerPort, HostPort, ParsePortError, PortBinding};

use super::{LowerError, filled, text};

/// The kernel's limit (`__NEW_UTS_LEN`).
const HOSTNAME_MAX: usize = 64;

/// A network that cannot be had so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NetworkError {
    #[error("Invalid network mode: invalid container format container:<name|id>")]
    ContainerMode,
    #[error("invalid network mode: {0:?}")]
    Mode(String),
    #[error("conflicting options: {0} and the network mode")]
    Conflict(&'static str),
    #[error("conflicting options: {0} and the container type network mode")]
    ContainerConflict(&'static str),
    #[error("conflicting options: hostname and the UTS mode")]
    HostnameAndUts,
    #[error(
        "invalid {what} {name:?}: only letters, digits, '-', '_' and '.' are allowed, and {HOSTNAME_MAX} bytes at most"
    )]
    Hostname { what: &'static str, name: String },
    #[error("invalid port specification: {0:?}")]
    Port(String),
    #[error(transparent)]
    Exposed(#[from] ParsePortError),
    #[error("invalid IP address: {0}")]
    HostIp(String),
    #[error("invalid IP address in DNS server list: {0:?}")]
    Dns(String),
    #[error("invalid DNS search domain: {0:?}")]
    DnsSearch(String),
    #[error("invalid DNS option: {0:?}")]
    DnsOption(String),
    #[error("bad format for add-host: {0:?}")]
    ExtraHost(String),
    #[error("invalid IP address in add-host: {0:?}")]
    ExtraHostIp(String),
    #[error("invalid MAC address: {0}")]
    Mac(String),
    #[error("invalid endpoint settings:\ninvalid {family} address: {text}")]
    Address { family: &'static str, text: String },
    #[error(
        "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets"
    )]
    StaticAddress,
    #[error(
        "invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks"
    )]
    Aliases,
    #[error("bad format for links: {0}")]
    Link(String),
    #[error(
        "conflicting options: {0} networking can't be used with links. This would result in undefined behavior"
    )]
    Links(String),
    #[error("invalid endpoint settings:\ninvalid link-local IP address: {0}")]
    LinkLocal(String),
    #[error(transparent)]
    Option(#[from] BadOption),
    #[error("conflicting options: network {network} and endpoint settings of {endpoint}")]
    OtherEndpoint { network: String, endpoint: String },
}

/// Lowers the networks of a container.
pub(super) fn lower(request: &CreateContainer) -> Result<NetworkSpec, LowerError> {
    let CreateContainer { config, host_config: host, .. } = request;
    let mode = mode(&host.network_mode)?;
    conflicts(request, &mode)?;
    let Places { mac, attachments, membership } = places(request, &mode)?;
    Ok(NetworkSpec {
        hostname: hostname("hostname", &config.hostname)?,
        domainname: hostname("domain name", &config.domainname)?,
        exposed: exposed(request)?,
        published: published(host.port_bindings.as_ref())?,
        publish_all: host.publish_all_ports,
        dns: host.dns.iter().flatten().map(|text| dns(text)).collect::<Result<_, _>>()?,
        dns_options: words(host.dns_options.as_ref(), NetworkError::DnsOption)?,
        dns_search: words(host.dns_search.as_ref(), NetworkError::DnsSearch)?,
        extra_hosts: host
            .extra_hosts
            .iter()
            .flatten()
            .map(|text| extra_host(text))
            .collect::<Result<_, _>>()?,
        mac_address: mac,
        attachments,
        membership,
        mode,
    })
}

fn mode(text: &str) -> Result<NetworkMode, LowerError> {
    text::plain("HostConfig.NetworkMode", text)?;
    Ok(match text {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match text.strip_prefix("container:") {
            Some("") => return Err(NetworkError::ContainerMode.into()),
            Some(name) => NetworkMode::Container(NameOrIdText(name.to_owned())),
            None if text == "container" => return Err(NetworkError::ContainerMode.into()),
            None if text.trim() != text || text.contains(['/', ':']) => {
                return Err(NetworkError::Mode(text.to_owned()).into());
            }
            None => NetworkMode::Named(text.to_owned()),
        },
    })
}

/// What another container's network decides cannot be decided here.
fn conflicts(request: &CreateContainer, mode: &NetworkMode) -> Result<(), NetworkError> {
    let CreateContainer { config, host_config: host, .. } = request;
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(NetworkError::HostnameAndUts);
    }
    if !matches!(mode, NetworkMode::Container(_)) {
        return Ok(());
    }
    let some = |list: &Option<Vec<String>>| list.iter().flatten().next().is_some();
    let publishes = host.port_bindings.iter().flatten().next().is_some() || host.publish_all_ports;
    let with_mode = [
        ("hostname", !config.hostname.is_empty()),
        ("dns", some(&host.dns)),
        ("custom host-to-IP mapping", some(&host.extra_hosts)),
        ("mac-address", has_mac(request)),
    ];
    let with_container = [
        ("port publishing", publishes),
        ("port exposing", config.exposed_ports.iter().flatten().next().is_some()),
    ];
    if let Some((what, _)) = with_mode.iter().find(|(_, given)| *given) {
        return Err(NetworkError::Conflict(what));
    }
    match with_container.iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(NetworkError::ContainerConflict(what)),
        None => Ok(()),
    }
}

/// Old clients say it of the container, newer ones of its place on a network.
fn has_mac(request: &CreateContainer) -> bool {
    let mut places = request.networking_config.endpoints_config.iter().flatten();
    !request.config.mac_address.is_empty() || places.any(|(_, place)| !place.mac_address.is_empty())
}

/// A name that goes into files and the kernel as it is.
fn hostname(what: &'static str, name: &str) -> Result<Option<String>, NetworkError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match filled(Some(name)) {
        None => Ok(None),
        Some(name)
            if name.len() <= HOSTNAME_MAX
                && name.chars().all(plain)
                && !name.starts_with(['-', '.']) =>
        {
            Ok(Some(name.to_owned()))
        }
        Some(name) => Err(NetworkError::Hostname { what, name: name.to_owned() }),
    }
}

fn exposed(request: &CreateContainer) -> Result<Vec<ContainerPort>, NetworkError> {
    let ports = request.config.exposed_ports.iter().flatten();
    let mut ports =
        ports.map(|(text, _)| text.parse()).collect::<Result<Vec<_>, ParsePortError>>()?;
    ports.sort_unstable();
    Ok(ports)
}

/// Lowers what an update publishes and takes back.
pub(super) fn changes(update: &UpdateExtension) -> Result<PortChanges, LowerError> {
    let port = |text: &String| text.parse().map_err(|_| NetworkError::Port(text.clone()));
    let mut rm = update.port_rm.iter().map(port).collect::<Result<Vec<ContainerPort>, _>>()?;
    rm.sort_unstable();
    rm.dedup();
    Ok(PortChanges { add: published(Some(&update.port_add))?, rm })
}

fn published(bindings: Option<&PortMap>) -> Result<Vec<PortBinding>, NetworkError> {
    let mut published = Vec::new();
    for (text, bindings) in bindings.into_iter().flatten() {
        let container: ContainerPort =
            text.parse().map_err(|_| NetworkError::Port(text.clone()))?;
        for wire in bindings.iter().flatten() {
            published.push(binding(container, wire)?);
        }
    }
    // By number, so that a range is together: the wire has them in the order of their texts.
    published.sort_by_key(|binding| (binding.container.protocol, binding.container.port));
    Ok(published)
}

fn binding(container: ContainerPort, wire: &WireBinding) -> Result<PortBinding, NetworkError> {
    let host_ip = match filled(Some(&wire.host_ip)) {
        None => None,
        Some(ip) => Some(ip.parse().map_err(|_| NetworkError::HostIp(ip.to_owned()))?),
    };
    let host = match wire.host_port.as_str() {
        "" | "0" => HostPort::Random,
        range => {
            HostPort::Within(range.parse().map_err(|()| NetworkError::Port(range.to_owned()))?)
        }
    };
    Ok(PortBinding { container, host_ip, host })
}

fn dns(text: &str) -> Result<IpAddr, NetworkError> {
    text.parse().map_err(|_| NetworkError::Dns(text.to_owned()))
}

/// Words that stand in one line of `resolv.conf`.
fn words(
    list: Option<&Vec<String>>,
    error: fn(String) -> NetworkError,
) -> Result<Vec<String>, NetworkError> {
    let plain = |word: &String| {
        !word.is_empty() && !word.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    match list.into_iter().flatten().find(|word| !plain(word)) {
        Some(bad) => Err(error(bad.clone())),
        None => Ok(list.cloned().unwrap_or_default()),
    }
}

/// `name:address` or `name=address`; an address may stand in brackets.
fn extra_host(text: &str) -> Result<String, NetworkError> {
    let bad = || NetworkError::ExtraHost(text.to_owned());
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if !matches!(hostname("host name", name), Ok(Some(_))) {
        return Err(bad());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(NetworkError::ExtraHostIp(address.to_owned()));
    }
    Ok(format!("{name}:{bare}"))
}

/// What is asked of networks.
struct Places {
    /// The link address on the first.
    mac: Option<[u8; 6]>,
    attachments: Vec<Attachment>,
    membership: Membership,
}

/// What is asked of each network, and the link address of the first from either place. Who names networks and
/// not that of the mode is not on that one (Docker).
fn places(request: &CreateContainer, mode: &NetworkMode) -> Result<Places, LowerError> {
    let network = request.host_config.network_mode.as_str();
    let mut text = request.config.mac_address.as_str();
    let mut attachments = Vec::new();
    let mut membership = None;
    for (name, settings) in request.networking_config.endpoints_config.iter().flatten() {
        let is_own = name == network || (is_default(name) && *mode == NetworkMode::Bridge);
        if !is_own && mode.network().is_none() {
            let (network, endpoint) = (network.to_owned(), name.clone());
            return Err(NetworkError::OtherEndpoint { network, endpoint }.into());
        }
        let kind = if mode.network().is_some() { Kind::of(name) } else { Kind::Default };
        judge(settings, kind)?;
        let mut place = attachment(name, settings)?;
        if is_own {
            membership = Some(Membership::Kept);
            place.mac = None;
            if !settings.mac_address.is_empty() {
                text = &settings.mac_address;
            }
        } else {
            membership = membership.or(Some(Membership::Left));
        }
        // What only names the network of the mode asks nothing.
        if !is_own || place != Attachment::of(name) {
            attachments.push(place);
        }
    }
    let mac = filled(Some(text)).map(link_address).transpose()?;
    link_first(request, mode, &mut attachments)?;
    Ok(Places { mac, attachments, membership: membership.unwrap_or_default() })
}

/// Older clients say of the container what it is linked to, newer ones of its place on a network as well.
fn link_first(
    request: &CreateContainer,
    mode: &NetworkMode,
    attachments: &mut Vec<Attachment>,
) -> Result<(), NetworkError> {
    let links = links(request.host_config.links.as_ref())?;
    if links.is_empty() {
        return Ok(());
    }
    let Some(own) = mode.network() else {
        return Err(NetworkError::Links(request.host_config.network_mode.clone()));
    };
    let is_own = |place: &&mut Attachment| {
        place.network == own || (is_default(&place.network) && is_default(own))
    };
    match attachments.iter_mut().find(is_own) {
        // What both say is one.
        Some(place) => {
            let new = |link: &Link| !place.links.contains(link);
            let more: Vec<Link> = links.into_iter().filter(new).collect();
            place.links.extend(more);
        }
        None => attachments.push(Attachment { links, ..Attachment::of(own) }),
    }
    Ok(())
}

/// `name:alias`, or a name that is its own alias.
fn links(list: Option<&Vec<String>>) -> Result<Vec<Link>, NetworkError> {
    let link = |text: &String| {
        let bad = || NetworkError::Link(text.clone());
        let (to, alias) = text.split_once(':').unwrap_or((text, text));
        // As `inspect` shows it, the alias stands behind the container's own name: `/db:/web/alias`.
        let alias = match alias.strip_prefix('/') {
            Some(shown) => shown.rsplit('/').next().unwrap_or(shown),
            None => alias,
        };
        let to = to.strip_prefix('/').unwrap_or(to);
        let is_plain =
            !to.is_empty() && !to.contains(|c: char| c.is_whitespace() || c.is_control());
        match hostname("link", alias) {
            Ok(Some(alias)) if is_plain => Ok(Link { to: to.to_owned(), alias }),
            Ok(_) | Err(_) => Err(bad()),
        }
    };
    list.into_iter().flatten().map(link).collect()
}

fn link_local(list: Option<&Vec<String>>) -> Result<Vec<IpAddr>, NetworkError> {
    let is_link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let one = |text: &String| {
        let ip = text.parse().ok().filter(is_link_local);
        ip.ok_or_else(|| NetworkError::LinkLocal(text.clone()))
    };
    list.into_iter().flatten().map(one).collect()
}

fn link_address(text: &str) -> Result<[u8; 6], NetworkError> {
    mac(text).ok_or_else(|| NetworkError::Mac(text.to_owned()))
}

/// Lowers what a container that is there asks of a network that it comes to.
pub(crate) fn connect(
    network: &str,
    settings: Option<&EndpointSettings>,
) -> Result<Attachment, LowerError> {
    let Some(settings) = settings else { return Ok(Attachment::of(network)) };
    judge(settings, Kind::of(network))?;
    attachment(network, settings)
}

/// What is asked of a network.
fn attachment(network: &str, settings: &EndpointSettings) -> Result<Attachment, LowerError> {
    let nothing = EndpointIpamConfig::default();
    let ipam = settings.ipam_config.as_ref().unwrap_or(&nothing);
    let alias = |name: &String| match hostname("network alias", name)? {
        Some(name) => Ok(name),
        None => Err(NetworkError::Hostname { what: "network alias", name: String::new() }),
    };
    let aliases = settings.aliases.iter().flatten().map(alias);
    let place = Attachment {
        network: network.to_owned(),
        ipv4: address(&ipam.ipv4_address, "IPv4")?,
        ipv6: address(&ipam.ipv6_address, "IPv6")?,
        aliases: aliases.collect::<Result<_, NetworkError>>()?,
        link_local: link_local(ipam.link_local_ips.as_ref())?,
        links: links(settings.links.as_ref())?,
        mac: filled(Some(&settings.mac_address)).map(link_address).transpose()?,
        priority: settings.gw_priority,
        options: settings.driver_opts.clone().unwrap_or_default(),
    };
    place.check_options().map_err(NetworkError::from)?;
    Ok(place)
}

fn address<A: std::str::FromStr>(
    text: &str,
    family: &'static str,
) -> Result<Option<A>, NetworkError> {
    let bad = || NetworkError::Address { family, text: text.to_owned() };
    filled(Some(text)).map(|text| text.parse().map_err(|_| bad())).transpose()
}

fn is_default(name: &str) -> bool {
    matches!(name, "default" | "bridge")
}

/// Whose network something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One that is always there.
    Default,
    /// One that somebody has made.
    Made,
}

impl Kind {
    fn of(network: &str) -> Self {
        if is_default(network) { Self::Default } else { Self::Made }
    }
}

/// The default network gives addresses as it likes, and has no names.
fn judge(settings: &EndpointSettings, kind: Kind) -> Result<(), LowerError> {
    let ipam = settings.ipam_config.as_ref();
    // Addresses of the link alone are in nobody's subnet.
    let address =
        ipam.is_some_and(|ipam| !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty());
    let aliases = settings.aliases.iter().flatten().next().is_some();
    match kind {
        Kind::Default if address => Err(NetworkError::StaticAddress.into()),
        Kind::Default if aliases => Err(NetworkError::Aliases.into()),
        Kind::Default | Kind::Made => Ok(()),
    }
}

/// `02:42:ac:11:00:02`, also with hyphens; a group address is no one's.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}
