//! The ports that a container publishes: what owns them, and what is taken back at its end.
//!
//! Whoever publishes and takes back while the container runs writes the firewall's elements; here are
//! the sockets that keep everybody else from the ports.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use model::ContainerId;
use model::life::StartFailure;
use model::port::Protocol;
use net::host::{Ipv6Loopback, Stack};
use net::names::Names;
use net::nft::{Firewall, NftError, PortRule};
use net::user::{Forward, Seat, UserNetwork, Way};
use rustix::net::{getsockname, ipproto, sockopt};
use rustix::process::Pid;
use sys::netns::run_in_child;
use sys::process::Namespaces;
use sys::rootless::networks::Networks;

use super::effects::chain;
use super::launch::failure;
use super::{Conn, Container, Guard};
use crate::machine::ConnId;
use crate::paths::ShimPaths;
use crate::protocol::{Launch, Published, PublishedPort, Reply, StreamKind, Target};
use crate::work::Work;

impl Guard {
    /// Other ports than before; the sockets of new ones have come with the request.
    pub(super) fn publish(&mut self, conn: ConnId, published: Option<Published>) {
        let sockets = self.conns.get_mut(&conn).map(Conn::take_fds).unwrap_or_default();
        if let Some(container) = &mut self.container {
            container.ports.extend(sockets);
            let ports = published.as_ref().map(|published| &published.ports[..]);
            container.ports.retain(|socket| is_owned(socket, ports.unwrap_or_default()));
            container.published = published;
        }
        self.reply(conn, &Reply::Ok);
    }

    /// Takes the published ports back, then lets others have them. Where the kernel does not do it,
    /// their sockets are held on, so that nobody gets a port whose packets go elsewhere, and it is
    /// tried once more at the end.
    pub(super) fn release_network(&mut self) {
        let id = self.paths.id;
        let Some(container) = &mut self.container else { return };
        container.user_network = None;
        // Who has ended is called nothing any more.
        if let Some(names) = container.names.take() {
            names.leave();
        }
        if let Some(networks) = &container.networks {
            let published = container.published.as_ref();
            // What cannot be taken back leads nowhere, and goes with the namespace.
            let left = run_in_child(networks.netns(), || leave(id, published));
            if left.is_ok() {
                container.published = None;
                container.ports.clear();
            }
            container.networks = None;
            return;
        }
        let Some(published) = &container.published else { return };
        let Ok(firewall) = take_back(id, published) else { return };
        // Closed with this process: a socket that is closed right after a deletion waits for it.
        self.firewall = Some(firewall);
        container.published = None;
        container.ports.clear();
    }
}

/// Takes back what a container has where an ordinary user's networks are.
fn leave(id: ContainerId, published: Option<&Published>) -> Result<(), String> {
    let taken = published.map(|published| take_back(id, published).map(drop));
    let closed = Way::of(&id).close();
    taken.unwrap_or(Ok(())).map_err(|error| chain(&error))?;
    closed.map_err(|error| chain(&error))
}

impl Guard {
    /// The program that carries a container's packets has ended before it: another takes its place, with the
    /// same ports, and the log tells of it. Connections are lost; names and addresses are as before.
    pub(super) fn on_network_end(&mut self, pid: Pid) {
        let Some(container) = &mut self.container else { return };
        let Some(ended) = container.user_network.take_if(|network| network.pid() == pid) else {
            return;
        };
        let program = ended.program();
        container.networks_lost += 1;
        let again = if container.networks_lost > MOST_LOST {
            Err("it has ended too often".to_owned())
        } else {
            self.network_again(ended.into_forwards())
        };
        let line = match again {
            Ok(()) => format!("[dhow: {program} has ended, the network was made again]\n"),
            Err(why) => format!("[dhow: {program} has ended, the network is lost: {why}]\n"),
        };
        if let Some(logged) = self.container.as_mut().and_then(|container| container.log.as_mut()) {
            let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
            logged.log.write(StreamKind::Stderr, line.as_bytes(), now);
        }
    }

    fn network_again(&mut self, forwards: Vec<Forward>) -> Result<(), String> {
        let own = self.own_netns();
        let Some(container) = &self.container else { return Ok(()) };
        let netns = match (&container.networks, own) {
            (Some(networks), _) => networks.netns().try_clone_to_owned(),
            (None, own) => own,
        };
        let netns = netns.map_err(|error| error.to_string())?;
        let seat = seat_of(container.networks.as_ref(), &self.paths.id);
        let network = net::user::start(netns, &seat, forwards, &self.paths.dir());
        let network = network.map_err(|error| chain(&error))?;
        let _work = Work::begin(&self.paths, network.longest());
        let Some(container) = &mut self.container else { return Ok(()) };
        container.user_network = Some(network);
        let ready = wait(container, &self.paths.id);
        if ready.is_err() {
            container.user_network = None;
        }
        ready
    }

    /// The container's own namespace.
    pub(super) fn own_netns(&self) -> std::io::Result<OwnedFd> {
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let init = init.ok_or_else(|| std::io::Error::other("the container has ended"))?.pid;
        Ok(File::open(format!("/proc/{}/ns/net", init.as_raw_nonzero()))?.into())
    }
}

/// How often it may end in a container's life: one that ends at once would keep us at nothing else.
const MOST_LOST: u32 = 16;

/// Where its link is to be: where the user's networks are, if the container is on one.
fn seat_of(networks: Option<&Networks>, id: &ContainerId) -> Seat {
    networks.map_or(Seat::Own, |_| Seat::Shared(Way::of(id)))
}

/// Starts the program that is the network of an ordinary user's container, if it has one; it is up later.
pub(super) fn user_network(
    launch: &Launch,
    (namespaces, networks): (&[(Namespaces, OwnedFd)], Option<&Networks>),
    paths: &ShimPaths,
) -> Result<Option<UserNetwork>, StartFailure> {
    let Some(ports) = &launch.forwards else { return Ok(None) };
    let own = namespaces.iter().find(|(kind, _)| *kind == Namespaces::NET);
    let netns = networks.map(Networks::netns).or(own.map(|(_, netns)| netns.as_fd()));
    let netns = netns.ok_or_else(|| failure("there is no network namespace"))?;
    let forwards = ports.iter().map(PublishedPort::forward).collect();
    let seat = seat_of(networks, &paths.id);
    let started = net::user::start(netns, &seat, forwards, &paths.dir());
    started.map(Some).map_err(|error| failure(chain(&error)))
}

/// Waits until the program is up, and makes it the container's way out if it has one of its own.
pub(super) fn wait(container: &Container, id: &ContainerId) -> Result<(), String> {
    let Some(network) = &container.user_network else { return Ok(()) };
    network.wait().map_err(|error| chain(&error))?;
    let Some(networks) = &container.networks else { return Ok(()) };
    let open = || Way::of(id).open().map_err(|error| chain(&error));
    run_in_child(networks.netns(), open).map_err(|error| chain(&error))
}

/// Whether a socket reserves one of the ports.
fn is_owned(socket: &OwnedFd, ports: &[PublishedPort]) -> bool {
    let Ok(address) = getsockname(socket).and_then(SocketAddr::try_from) else { return false };
    let is_of = |protocol| {
        let number = match protocol {
            Protocol::Tcp => ipproto::TCP,
            Protocol::Udp => ipproto::UDP,
            Protocol::Sctp => ipproto::SCTP,
        };
        sockopt::socket_protocol(socket) == Ok(Some(number))
    };
    // A range has no sockets.
    ports.iter().any(|port| port.host == address && port.count == 1 && is_of(port.protocol))
}

fn take_back(owner: ContainerId, published: &Published) -> Result<Firewall, NftError> {
    let rules: Vec<PortRule> = published.ports.iter().map(|port| port.rule(owner)).collect();
    let has_v6 = rules.iter().any(|rule| rule.host.is_ipv6());
    let stack = if has_v6 { Stack::Dual } else { Stack::V4 };
    // How `::1` is handled matters to building the tables alone.
    let firewall = Firewall::open(&Names::of(&published.tag), stack, Ipv6Loopback::Published)?;
    firewall.unpublish(&rules).map(|()| firewall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host: SocketAddr) -> PublishedPort {
        let container = "10.0.0.2:80".parse().unwrap();
        PublishedPort { protocol, host, container, count: 1 }
    }

    #[test]
    fn a_socket_is_known_by_address_and_protocol() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = tcp.local_addr().unwrap();
        let socket = OwnedFd::from(tcp);
        assert!(is_owned(&socket, &[port(Protocol::Tcp, host)]));
        assert!(!is_owned(&socket, &[port(Protocol::Udp, host)]));
        assert!(!is_owned(&socket, &[port(Protocol::Tcp, "127.0.0.1:1".parse().unwrap())]));
        assert!(!is_owned(&socket, &[]));
        let file = tempfile::tempfile().unwrap();
        assert!(!is_owned(&file.into(), &[port(Protocol::Tcp, host)]));
    }
}
