//! How a container is named and asks for names: the files in its `/etc`, and what its guardian is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::NetworkId;
use model::container::{Membership, NetworkMode};
use model::network::{Attachment, Inside};
use net::address::Cidr;
use net::dns::sockets::{self, Sockets};
use net::host;
use shim::protocol::{BareNames, FdRole, NamedNetwork, Outside, Resolver};
use shim::{Asked, Shim};

use crate::container::{Container, read_own, write_own};
use crate::etc_files::{self, Loopback};
use crate::guard::call_error;
use crate::network::connect::{short_text, write_in_place};
use crate::network::{BRIDGE, Known, Place, net_error};
use crate::prepare::{is_mounted, set_mode};
use crate::record::{Endpoint, Record};
use crate::{Engine, EngineError};

/// The host's resolver configuration, and where systemd-resolved keeps the real one.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The files that name a container and what it can reach: in its directory, and where it sees them.
const ETC_FILES: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")];

/// What its `resolv.conf` was when it started, of a container that nobody answers there.
const FIRST_RESOLV_CONF: &str = "resolv.conf.first";

/// A container's label by which it goes without names on the default bridge, as with Docker, and its value for that.
const DNS_LABEL: (&str, &str) = ("dhow.dns", "off");

/// How a container asks for names.
pub(crate) struct Naming {
    sockets: Option<Sockets>,
    pub(crate) resolver: Resolver,
}

impl Naming {
    /// What its guardian gets.
    pub(crate) fn take_fds(&mut self) -> impl Iterator<Item = (FdRole, OwnedFd)> + use<> {
        let fds = self
            .sockets
            .take()
            .map(|Sockets { udp, tcp }| [(FdRole::NamePackets, udp), (FdRole::NameStreams, tcp)]);
        fds.into_iter().flatten()
    }
}

/// Whether a container's guardian answers its questions for names.
pub(crate) fn is_named(record: &Record, endpoint: Option<&Endpoint>) -> bool {
    let Some(endpoint) = endpoint else { return false };
    let (label, off) = DNS_LABEL;
    let is_off = record.spec.labels.get(label).is_some_and(|value| value == off);
    // The program that is an ordinary user's default network has a resolver of its own.
    endpoint.network.is_some() || !(is_off || sys::rootless::is_member())
}

/// What a container alone calls others, with a name of each.
fn links_of(record: &Record) -> Vec<(String, String)> {
    let places = record.spec.network.places();
    let links = places.into_iter().flat_map(|place| place.links);
    links.map(|link| (link.alias, link.to)).collect()
}

/// Whether a container's link to another would never be answered: nobody answers it there.
pub(crate) fn has_no_links(record: &Record, place: &Attachment) -> bool {
    let (label, off) = DNS_LABEL;
    let is_off = record.spec.labels.get(label).is_some_and(|value| value == off);
    let is_default = matches!(place.network.as_str(), BRIDGE | "default");
    !place.links.is_empty() && is_default && (is_off || sys::rootless::is_member())
}

/// Whether one that nobody answers where it starts can come to a network where it is while it runs.
fn may_be_named(record: &Record) -> bool {
    match &record.spec.network.mode {
        NetworkMode::Bridge | NetworkMode::Named(_) => true,
        NetworkMode::None => record.spec.network.membership == Membership::Left,
        NetworkMode::Host | NetworkMode::Container(_) => false,
    }
}

/// Whether it is answered on any of its networks, and so asks its guardian.
fn asks_guardian(record: &Record, endpoint: Option<&Endpoint>) -> bool {
    endpoint.into_iter().flat_map(Endpoint::all).any(|place| is_named(record, Some(place)))
}

impl Engine {
    /// Makes what a container on a network asks for names by.
    pub(crate) fn naming(
        &self,
        container: &Container,
        place: &Place,
    ) -> Result<Option<Naming>, EngineError> {
        let (Some(netns), Some((_, endpoint))) = (&place.netns, &place.joined) else {
            return Ok(None);
        };
        if !asks_guardian(&container.record, Some(endpoint)) {
            return Ok(None);
        }
        let sockets = Some(sockets::open(netns).map_err(net_error)?);
        Ok(Some(Naming { sockets, resolver: self.resolver(container, Some(endpoint))? }))
    }

    /// How the questions of a container that is there are answered; where it is nowhere, by nobody.
    pub(crate) fn resolver(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
    ) -> Result<Resolver, EngineError> {
        let spec = &container.record.spec.network;
        let is_refused = etc_files::refuses_bare(&host_resolver(Loopback::Named)?, spec);
        let alone = Resolver {
            networks: Vec::new(),
            host4: None,
            host6: None,
            servers: spec.dns.clone(),
            bare: if is_refused { BareNames::Refused } else { BareNames::Forwarded },
            outside: Outside::Unreached,
            links: links_of(&container.record),
        };
        let Some(endpoint) = endpoint else { return Ok(alone) };
        // The main place is the way out, if there is one.
        let (id, _) = self.named_network(endpoint)?;
        let known = self.network(&id.to_string())?;
        let (host4, host6) = self.host_addresses(&known, endpoint)?;
        let inside = known.inside()?;
        let named = endpoint.all().filter(|place| is_named(&container.record, Some(place)));
        let networks = named.map(|place| {
            let (id, name) = self.named_network(place)?;
            Ok(NamedNetwork { id, name })
        });
        Ok(Resolver {
            networks: networks.collect::<Result<_, EngineError>>()?,
            host4,
            host6,
            outside: match inside {
                Inside::Only => Outside::Unreached,
                Inside::No => Outside::Reached,
            },
            ..alone
        })
    }

    /// Has a container that runs ask its guardian from now on, if it is answered where it is and was not where it
    /// started.
    pub(crate) fn begin_naming(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        (shim, resolver): (&mut Shim, Resolver),
    ) -> Result<(), EngineError> {
        if !asks_guardian(&container.record, endpoint) {
            return Ok(());
        }
        let netns = self.network_of(container)?;
        let Sockets { udp, tcp } = sockets::open_again(&netns).map_err(net_error)?;
        let told = shim.set_resolver(resolver, &[udp.as_fd(), tcp.as_fd()]);
        match told.map_err(|error| call_error(&container.id, error))? {
            Asked::Yes => self.turn_to_guardian(container),
            // One of an earlier dhow cannot begin later.
            Asked::No | Asked::Unknown => Ok(()),
        }
    }

    /// Whoever had its guardian begin may have been killed before the container was told of it.
    pub(crate) fn finish_naming(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), EngineError> {
        let first = self.paths().container_dir(&container.id).join(FIRST_RESOLV_CONF);
        if !asks_guardian(&container.record, endpoint) || !first.exists() {
            return Ok(());
        }
        self.turn_to_guardian(container)
    }

    /// Its `resolv.conf` names its guardian, unless somebody has written into it since its start (Docker). One of an
    /// earlier dhow has no copy of what that was.
    fn turn_to_guardian(&self, container: &Container) -> Result<(), EngineError> {
        let network = &container.record.spec.network;
        let text = |loopback| -> Result<String, EngineError> {
            Ok(etc_files::resolv_conf(&host_resolver(loopback)?, network, loopback))
        };
        let dir = self.paths().container_dir(&container.id);
        let path = dir.join("resolv.conf");
        let first = match read_own(&dir.join(FIRST_RESOLV_CONF))? {
            Some(first) => first,
            None => text(Loopback::Own)?,
        };
        if short_text(&path).is_none_or(|now| now != first.as_bytes()) {
            return Ok(());
        }
        let named = text(Loopback::Named)?;
        write_in_place(&path, named.as_bytes()).map_err(EngineError::file("write", &path))
    }

    /// Where the host is for a container: the addresses of its bridge. A gateway may be somebody else. By a link
    /// on one of its own it is not reached.
    fn host_addresses(
        &self,
        known: &Known,
        endpoint: &Endpoint,
    ) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), EngineError> {
        if endpoint.is_on_parent() {
            return Ok((None, None));
        }
        if sys::rootless::is_member() {
            // The bridge's own address is not the host's.
            return Ok((endpoint.host4, None));
        }
        let stack = host::stack().map_err(net_error)?;
        let Some(laid) = known.laid(&self.names(), stack)? else {
            let gateway4 = Some(endpoint.gateway4).filter(|address| !address.is_unspecified());
            return Ok((gateway4, endpoint.gateway6));
        };
        let addresses = || laid.plan.addresses.iter().copied().map(Cidr::address);
        let v4 = addresses().find_map(|ip| match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let v6 = addresses().find_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        });
        Ok((v4, v6.filter(|_| endpoint.ipv6.is_some())))
    }

    /// The network of a place; one that was not made is the default bridge.
    pub(crate) fn named_network(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(NetworkId, String), EngineError> {
        match &endpoint.network {
            Some(network) => Ok((network.id, network.name.clone())),
            None => Ok((self.built_in(BRIDGE)?, BRIDGE.to_owned())),
        }
    }

    /// Writes `hosts`, `hostname` and `resolv.conf` anew.
    pub(crate) fn write_etc_files(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), EngineError> {
        let record = &container.record;
        let network = &record.spec.network;
        let hostname = &record.resolved.hostname;
        let on_host = network.mode == NetworkMode::Host;
        let hosts = if on_host && network.extra_hosts.is_empty() {
            etc_files::with_host(read_own(Path::new("/etc/hosts"))?.unwrap_or_default())
        } else {
            // Where names are asked for, the host's are among them.
            let knows_host = endpoint.is_some() && !asks_guardian(record, endpoint);
            let text = etc_files::hosts(hostname, network, endpoint);
            if knows_host { etc_files::and_host(text, network, endpoint) } else { text }
        };
        let is_users = endpoint.is_some() && sys::rootless::is_member();
        let loopback = match on_host {
            true => Loopback::Hosts,
            false if asks_guardian(record, endpoint) => Loopback::Named,
            false if is_users => Loopback::Users,
            false => Loopback::Own,
        };
        let resolver = etc_files::resolv_conf(&host_resolver(loopback)?, network, loopback);
        let dir = self.paths().container_dir(&container.id);
        if loopback == Loopback::Own && may_be_named(record) {
            write_own(&dir.join(FIRST_RESOLV_CONF), &resolver)?;
        }
        for ((name, _), text) in
            ETC_FILES.into_iter().zip([hosts, format!("{hostname}\n"), resolver])
        {
            let path = dir.join(name);
            write_own(&path, &text)?;
            set_mode(&path, 0o644)?;
        }
        Ok(())
    }
}

/// The files of a container's directory that name it and what it can reach, and where it sees them.
/// Those of a container that was removed meanwhile are left out, as in Docker.
pub(crate) fn etc_sources(record: &Record, dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let files = ETC_FILES.into_iter().filter(|(_, target)| !is_mounted(record, target));
    files.map(|(name, to)| (dir.join(name), to)).filter(|(path, _)| path.exists()).collect()
}

/// What the host asks. Its stub on the loopback is of no use to a namespace of its own, so the servers behind it are taken (Docker).
fn host_resolver(loopback: Loopback) -> Result<String, EngineError> {
    let [main, behind] = RESOLV_CONF;
    let text = read_own(Path::new(main))?.unwrap_or_default();
    let is_stub = text.lines().any(|line| line.split_whitespace().eq(["nameserver", "127.0.0.53"]));
    let needs_others = matches!(loopback, Loopback::Own | Loopback::Users);
    if needs_others && is_stub {
        return Ok(read_own(Path::new(behind))?.unwrap_or(text));
    }
    Ok(text)
}
