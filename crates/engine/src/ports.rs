//! Publishing: which port of the host leads to which port of a container.
//!
//! A port belongs to whoever holds its sockets; the shim holds them while the container lives, so
//! nothing needs to be remembered elsewhere, and nothing is left when it dies. A range has no sockets
//! and is leased in the database (`ports/lease.rs`).

mod direct;
mod lease;

use std::os::fd::OwnedFd;

use model::network::{self, GatewayMode, Inside, Mutual};
use model::port::{ContainerPort, HostPort, PortBinding, Protocol};
use net::address::Cidr;
use net::bridge::{AnyError, Bridge, BridgePlan};
use net::host::{self, Ipv6Loopback, Stack};
use net::nft::{Entry, Firewall, Members, Network, NftError, PortRule, Source, Wanted};
use net::ports::{PortError, Reserved};
use shim::protocol::{FdRole, Published};
use sys::failpoint::Point;
use sys::rootless::networks::Networks;

pub(crate) use direct::Wishes;

use crate::container::{Container, known_life, start_failure};
use crate::network::{Joined, Terms, net_error};
use crate::record::{Endpoint, PublishedPort};
use crate::{Engine, EngineError};

/// Docker's words around a port that cannot be had.
const FAILED: &str = "failed to set up container networking: driver failed programming external connectivity on endpoint";

/// What a container publishes, with what owns the ports.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// In the firewall.
    pub(crate) rules: Vec<PortRule>,
    /// To be held for as long as the container lives.
    pub(crate) sockets: Vec<OwnedFd>,
    /// What the program forwards that is the network of an ordinary user's container.
    pub(crate) forwards: Option<Vec<shim::protocol::PublishedPort>>,
    /// Where the firewall is, if not on the host.
    pub(crate) ground: Option<Networks>,
}

impl Publication {
    /// What its shim gets of where the firewall is.
    pub(crate) fn ground_fds(&self) -> std::io::Result<Vec<(FdRole, OwnedFd)>> {
        let Some(ground) = &self.ground else { return Ok(Vec::new()) };
        let netns = (FdRole::Networks, ground.netns().try_clone_to_owned()?);
        Ok(vec![netns, (FdRole::NetworksFile, ground.file().try_clone_to_owned()?)])
    }
}

impl Engine {
    /// Publishes what a container asks for, and notes it in its endpoint.
    pub(crate) fn publish(
        &self,
        container: &Container,
        (joined, ground): (&Joined, Option<Networks>),
        endpoint: &mut Endpoint,
    ) -> Result<Publication, EngineError> {
        let Joined::Bridge { bridge, addresses, terms } = joined else {
            return self.forward(container, endpoint);
        };
        let Some(bridge) = bridge else {
            return self.publish_nothing(endpoint).map(|()| Publication::default());
        };
        if let Some(ground) = ground {
            let place = (bridge, &addresses[..], terms);
            let publication = self.publish_at((container, &ground), place, endpoint)?;
            return Ok(Publication { ground: Some(ground), ..publication });
        }
        let firewall = self.firewall_of(terms.stack, bridge)?;
        let mut wanted = || self.everything();
        let mut source = Source::Everything(&mut wanted);
        let wishes = terms.split(&container.record.resolved.published, addresses);
        if wishes.is_empty() {
            firewall.ensure(&mut source).map_err(net_error)?;
            return Ok(Publication::default());
        }
        let reserved = self
            .reserve(container, &wishes.mapped, addresses)
            .map_err(|error| refused(container, &error))?;
        EngineError::step(Point::StartReserved)?;
        // A network without IPv4 publishes nothing at addresses of that.
        let has = |port: &PublishedPort| port.host_ip.is_ipv6() || endpoint.v4().is_some();
        let mut ports: Vec<_> = reserved.iter().flat_map(published_ports).filter(has).collect();
        ports.extend(wishes.direct);
        endpoint.ports = ports;
        let rules = rules(container, endpoint);
        firewall.publish(&rules, &mut source).map_err(net_error)?;
        sys::failpoint::pass(Point::StartPublished);
        Ok(Publication {
            rules,
            sockets: reserved.into_iter().flat_map(|one| one.sockets).collect(),
            ..Publication::default()
        })
    }

    /// The same of a container that is on a link of the host's own, and on bridges beside it.
    fn publish_nothing(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        if endpoint.beside.iter().all(Endpoint::is_on_parent) {
            return Ok(());
        }
        let mut wanted = || self.everything();
        let firewall = self.firewall_now()?;
        firewall.ensure(&mut Source::Everything(&mut wanted)).map_err(net_error)
    }

    /// The same where an ordinary user's networks are. The container's program brings each port from the host to
    /// one of that namespace's, which the kernel chooses and the firewall there leads on.
    fn publish_at(
        &self,
        (container, ground): (&Container, &Networks),
        (bridge, addresses, terms): (&Bridge, &[Cidr], &Terms),
        endpoint: &mut Endpoint,
    ) -> Result<Publication, EngineError> {
        let bindings = terms.of(&container.record.resolved.published);
        let reserved = self.reserve_for_program(container, &bindings)?;
        EngineError::step(Point::StartReserved)?;
        let anywhere = |binding: &PortBinding| PortBinding {
            host_ip: None,
            host: HostPort::Random,
            ..*binding
        };
        let anywhere: Vec<PortBinding> = bindings.iter().map(anywhere).collect();
        let publication = self.at_networks(Some(ground), || {
            let firewall = self.firewall_of(terms.stack, bridge)?;
            let mut wanted = || self.everything();
            let mut source = Source::Everything(&mut wanted);
            let mut inner = self.reserve(container, &anywhere, addresses).map_err(net_error)?;
            inner.sort_by_key(|one| one.container);
            // Each port of a range has one of its own there.
            let outer = reserved.iter().flat_map(published_each);
            let mut outer: Vec<Vec<PublishedPort>> = outer.collect();
            outer.sort_by_key(|ports| ports.first().map(|port| port.container));
            let ports = outer.into_iter().zip(&inner).flat_map(|(outer, inner)| {
                let number = inner.host.first().map(std::net::SocketAddr::port);
                outer.into_iter().map(move |port| PublishedPort { inner: number, ..port })
            });
            endpoint.ports = ports.collect();
            let rules = rules(container, endpoint);
            if rules.is_empty() {
                firewall.ensure(&mut source).map_err(net_error)?;
            } else {
                firewall.publish(&rules, &mut source).map_err(net_error)?;
            }
            let sockets = inner.into_iter().flat_map(|one| one.sockets).collect();
            Ok(Publication { rules, sockets, ..Publication::default() })
        })?;
        sys::failpoint::pass(Point::StartPublished);
        let forwards = forwards(container, endpoint);
        Ok(Publication { forwards: Some(forwards), ..publication })
    }

    /// The same for an ordinary user's default network, whose program forwards what is published.
    fn forward(
        &self,
        container: &Container,
        endpoint: &mut Endpoint,
    ) -> Result<Publication, EngineError> {
        let bindings = &container.record.resolved.published;
        let reserved = self.reserve_for_program(container, bindings)?;
        EngineError::step(Point::StartReserved)?;
        endpoint.ports = reserved.iter().flat_map(published_ports).collect();
        let forwards = forwards(container, endpoint);
        // Its program binds them for itself, so they are given back. If somebody is faster, it says so.
        drop(reserved);
        Ok(Publication { forwards: Some(forwards), ..Publication::default() })
    }

    /// Sees to it that what an ordinary user's container asks for can be had.
    fn reserve_for_program(
        &self,
        container: &Container,
        bindings: &[PortBinding],
    ) -> Result<Vec<Reserved>, EngineError> {
        self.reserve_forwards(bindings).map_err(|error| {
            if let PortError::NoIpv6(address) = error {
                let why = "the network of an ordinary user has IPv4 alone";
                return refused(container, &format!("cannot publish {address}: {why}"));
            }
            refused(container, &error)
        })
    }

    /// What is forwarded for containers that run.
    pub(crate) fn forwarded(&self) -> Result<Vec<PortRule>, EngineError> {
        self.of_running(|container| {
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            endpoint.map(|endpoint| rules_at_host(container, endpoint)).unwrap_or_default()
        })
    }

    /// The ports of the host that programs of containers have which are now where nothing is published.
    fn kept_at_host(&self) -> Result<Vec<PortRule>, EngineError> {
        let host = |port: &PublishedPort| Some((port.host_ip, port.host_port).into());
        self.of_running(|container| kept(container, host))
    }

    /// What these have of the containers that run.
    fn of_running(
        &self,
        rules: impl Fn(&Container) -> Vec<PortRule>,
    ) -> Result<Vec<PortRule>, EngineError> {
        let mut all = Vec::new();
        for row in self.store().containers().list()? {
            // One that cannot be read hides nobody else's.
            let container = Container::read_or_salvage(row)?;
            let rules = rules(&container);
            if rules.is_empty() {
                continue;
            }
            if known_life(self.life(&container))?.is_some_and(|life| life.is_running()) {
                all.extend(rules);
            }
        }
        Ok(all)
    }

    /// Changes what is published of a container that runs, at one instant.
    pub(crate) fn republish(&self, old: &[PortRule], new: &[PortRule]) -> Result<(), EngineError> {
        let firewall = self.firewall_now()?;
        let mut wanted = || self.everything();
        firewall.replace(old, new, &mut Source::Everything(&mut wanted)).map_err(net_error)
    }

    /// Publishes more ports of a container that runs.
    pub(crate) fn publish_rules(&self, rules: &[PortRule]) -> Result<(), EngineError> {
        let firewall = self.firewall_now()?;
        let mut wanted = || self.everything();
        firewall.publish(rules, &mut Source::Everything(&mut wanted)).map_err(net_error)
    }

    /// Lets in whoever sent UDP before the ports were published: what they send would go to the
    /// host as long as they do not pause. One that is missed comes in when it pauses.
    pub(crate) fn admit_early_senders(&self, publication: &Publication) {
        let is_udp = |rule: &PortRule| rule.protocol == Protocol::Udp;
        if publication.rules.iter().any(is_udp) {
            // The container runs, and nothing of it depends on this.
            let _ = self.at_firewall_of(publication, |firewall| {
                firewall.admit_early_senders(&publication.rules)
            });
        }
    }

    /// Does something with the firewall that a container is published in.
    fn at_firewall_of(
        &self,
        publication: &Publication,
        work: impl FnOnce(&Firewall) -> Result<(), NftError> + Send,
    ) -> Result<(), EngineError> {
        let work = || work(&self.firewall()?).map_err(net_error);
        match &publication.ground {
            // Whoever has it would wait for itself to be seen by others.
            Some(ground) => self.at_networks(Some(ground), work),
            None => self.at_networks_there((), work),
        }
    }

    /// Takes back what was published for a container that did not start after all.
    pub(crate) fn unpublish(&self, publication: &Publication) -> Result<(), EngineError> {
        if publication.rules.is_empty() {
            return Ok(());
        }
        self.at_firewall_of(publication, |firewall| firewall.unpublish(&publication.rules))
    }

    /// Takes back what is still published for a container that does not run: of a start that was cut
    /// short, nobody has noted it.
    pub(crate) fn unpublish_leftovers(&self, container: &Container) -> Result<(), EngineError> {
        if container.record.resolved.published.is_empty() {
            return Ok(());
        }
        self.at_networks_there((), || {
            self.firewall()?.unpublish_dead(|owner| Ok(*owner == container.id))
        })
    }

    /// The firewall of both families, to look at and to take back; how `::1` is published is
    /// asked only where tables are built.
    pub(crate) fn firewall(&self) -> Result<Firewall, EngineError> {
        Firewall::open(&self.names(), Stack::Dual, Ipv6Loopback::Closed).map_err(net_error)
    }

    /// The firewall as the host has it now, for changes that may have to build it.
    pub(crate) fn firewall_now(&self) -> Result<Firewall, EngineError> {
        let stack = host::stack().map_err(net_error)?;
        let loopback = host::ipv6_loopback().map_err(net_error)?;
        self.firewall_with(stack, loopback)
    }

    /// The firewall for changes that may have to build it.
    pub(crate) fn firewall_with(
        &self,
        stack: Stack,
        loopback: Ipv6Loopback,
    ) -> Result<Firewall, EngineError> {
        let entry = match sys::rootless::is_member() {
            true => Entry::Brought,
            false => self.settings()?.firewall.entry(),
        };
        let firewall = Firewall::open(&self.names(), stack, loopback).map_err(net_error)?;
        Ok(firewall.with_entry(entry))
    }

    /// What the shim takes back at the end.
    pub(crate) fn published(&self, publication: &Publication) -> Option<Published> {
        let ports: Vec<_> = publication.rules.iter().map(Into::into).collect();
        (!ports.is_empty()).then(|| Published { tag: self.paths().tag().clone(), ports })
    }

    /// All that should be in the firewall: asked for only when its tables must be built. The default
    /// bridge is made for it, since nobody looks for its elements later. Where it cannot be, its next
    /// container says why, and other networks work.
    pub(crate) fn everything(&self) -> Result<Wanted, AnyError> {
        // An ordinary user's default network has none.
        let default = (!sys::rootless::is_member()).then(|| self.default_bridge().ok()).flatten();
        self.everything_beside(default.map(|bridge| bridge.plan).as_ref())
    }

    /// The same with a default bridge that is known.
    pub(crate) fn everything_beside(
        &self,
        default: Option<&BridgePlan>,
    ) -> Result<Wanted, AnyError> {
        let mut networks: Vec<Network> = default.into_iter().map(default_network).collect();
        networks.extend(self.laid_networks()?.into_iter().map(|laid| laid.rules));
        let mut ports = Vec::new();
        for row in self.store().containers().list()? {
            // One that cannot be read keeps nobody else's from being laid.
            let container = Container::read_or_salvage(row)?;
            if !known_life(self.life(&container))?.is_some_and(|life| life.is_running()) {
                continue;
            }
            let endpoint = container.record.last_start().and_then(|start| start.endpoint.as_ref());
            ports.extend(endpoint.into_iter().flat_map(|endpoint| rules(&container, endpoint)));
        }
        Ok(Wanted { networks, ports })
    }
}

impl Terms {
    /// What is published of what a container asks for, with the addresses that it does not name.
    pub(crate) fn of(&self, asked: &[PortBinding]) -> Vec<PortBinding> {
        let bound = |binding: &PortBinding| PortBinding {
            host_ip: binding.host_ip.or(self.binding),
            ..*binding
        };
        match self.inside {
            Inside::No => asked.iter().map(bound).collect(),
            Inside::Only => Vec::new(),
        }
    }
}

pub(crate) fn default_network(plan: &BridgePlan) -> Network {
    Network {
        bridge: plan.name.clone(),
        subnets: plan.addresses.iter().map(|cidr| cidr.subnet()).collect(),
        source: [network::Source::Host; 2],
        gateways: [GatewayMode::Nat; 2],
        trusted: Vec::new(),
        mutual: Mutual::Allowed,
        inside: Inside::No,
        members: Members::Ours,
    }
}

pub(crate) fn published_ports(reserved: &Reserved) -> Vec<PublishedPort> {
    let published = |host: &std::net::SocketAddr| PublishedPort {
        container: reserved.container,
        host_ip: host.ip(),
        host_port: host.port(),
        inner: None,
        count: reserved.count,
    };
    reserved.host.iter().map(published).collect()
}

/// The same for each port of a range.
fn published_each(reserved: &Reserved) -> Vec<Vec<PublishedPort>> {
    let all = published_ports(reserved);
    let one = |index| all.iter().filter_map(|port| port.part(index, 1)).collect();
    (0..reserved.count).map(one).collect()
}

/// The rules of a container that runs, from its record.
pub(crate) fn rules(container: &Container, endpoint: &Endpoint) -> Vec<PortRule> {
    let rule = |port: &PublishedPort| {
        let host = match port.inner {
            None => (port.host_ip, port.host_port).into(),
            Some(inner) => (unspecified(port.host_ip), inner).into(),
        };
        rule(container, endpoint, port, host)
    };
    endpoint.ports.iter().filter_map(rule).collect()
}

/// Ports that a container has and that lead nowhere now: the rules of nobody's address, so that its shim holds what
/// owns them.
pub(crate) fn kept_rules(container: &Container) -> Vec<PortRule> {
    kept(container, |port| Some((unspecified(port.host_ip), port.inner?).into()))
}

fn kept(
    container: &Container,
    host: impl Fn(&PublishedPort) -> Option<std::net::SocketAddr>,
) -> Vec<PortRule> {
    let kept = container.record.last_start().and_then(|start| start.kept.as_ref());
    let rule = |port: &PublishedPort| {
        let (owner, ContainerPort { protocol, port: inside }) = (container.id, port.container);
        let (host, container) = (host(port)?, (unspecified(port.host_ip), inside).into());
        Some(PortRule { owner, protocol, host, container, count: port.count })
    };
    kept.iter().flat_map(|kept| &kept.ports).filter_map(rule).collect()
}

/// Which port of the host leads where, whoever leads it there.
fn rules_at_host(container: &Container, endpoint: &Endpoint) -> Vec<PortRule> {
    let rule = |port: &PublishedPort| {
        rule(container, endpoint, port, (port.host_ip, port.host_port).into())
    };
    endpoint.ports.iter().filter_map(rule).collect()
}

fn rule(
    container: &Container,
    endpoint: &Endpoint,
    port: &PublishedPort,
    host: std::net::SocketAddr,
) -> Option<PortRule> {
    let count = port.count;
    let inside: std::net::IpAddr = match host {
        std::net::SocketAddr::V4(_) => endpoint.v4()?.into(),
        std::net::SocketAddr::V6(_) => endpoint.ipv6?.into(),
    };
    let (owner, ContainerPort { protocol, port }) = (container.id, port.container);
    Some(PortRule { owner, protocol, host, container: (inside, port).into(), count })
}

/// What an ordinary user's program brings where.
fn forwards(container: &Container, endpoint: &Endpoint) -> Vec<shim::protocol::PublishedPort> {
    let forward = |(port, rule): (&PublishedPort, PortRule)| {
        let mut forward = shim::protocol::PublishedPort::from(&rule);
        forward.container.set_port(port.inner.unwrap_or(rule.container.port()));
        forward
    };
    // There is a rule for each, since the host's side is of a family that the container has.
    endpoint.ports.iter().zip(rules_at_host(container, endpoint)).map(forward).collect()
}

const fn unspecified(of: std::net::IpAddr) -> std::net::IpAddr {
    match of {
        std::net::IpAddr::V4(_) => std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        std::net::IpAddr::V6(_) => std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn refused(container: &Container, error: &dyn std::fmt::Display) -> EngineError {
    let (name, id) = (container.name(), container.id);
    EngineError::Start(start_failure(128, format!("{FAILED} {name} ({id}): {error}")))
}
