//! The ports that a container publishes: what owns them, and what is taken back at its end.
//!
//! Whoever publishes and takes back while the container runs writes the firewall's elements; here are
//! the sockets that keep everybody else from the ports.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use model::ContainerId;
use model::life::StartFailure;
use model::port::Protocol;
use net::host::{Ipv6Loopback, Stack};
use net::names::Names;
use net::nft::{Firewall, NftError, PortRule};
use net::user::{Forward, UserNetwork};
use rustix::net::{getsockname, ipproto, sockopt};
use rustix::process::Pid;
use sys::process::Namespaces;

use super::effects::chain;
use super::launch::failure;
use super::{Conn, Guard};
use crate::machine::ConnId;
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
        let Some(published) = &container.published else { return };
        let Ok(firewall) = take_back(id, published) else { return };
        // Closed with this process: a socket that is closed right after a deletion waits for it.
        self.firewall = Some(firewall);
        container.published = None;
        container.ports.clear();
    }
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
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let init = init.ok_or("the container has ended")?.pid;
        let netns = File::open(format!("/proc/{}/ns/net", init.as_raw_nonzero()));
        let netns = netns.map_err(|error| error.to_string())?;
        let network = net::user::start(netns, forwards, &self.paths.dir());
        let network = network.map_err(|error| chain(&error))?;
        let _work = Work::begin(&self.paths, network.longest());
        network.wait().map_err(|error| chain(&error))?;
        if let Some(container) = &mut self.container {
            container.user_network = Some(network);
        }
        Ok(())
    }
}

/// How often it may end in a container's life: one that ends at once would keep us at nothing else.
const MOST_LOST: u32 = 16;

/// Starts the program that is the network of an ordinary user's container, if it has one; it is up later.
pub(super) fn user_network(
    launch: &Launch,
    namespaces: &[(Namespaces, OwnedFd)],
    dir: &Path,
) -> Result<Option<UserNetwork>, StartFailure> {
    let Some(ports) = &launch.forwards else { return Ok(None) };
    let netns = namespaces.iter().find(|(kind, _)| *kind == Namespaces::NET);
    let (_, netns) = netns.ok_or_else(|| failure("there is no network namespace"))?;
    let forward = |port: &PublishedPort| Forward {
        protocol: port.protocol,
        host: port.host,
        container: port.container.port(),
    };
    let forwards = ports.iter().map(forward).collect();
    net::user::start(netns, forwards, dir).map(Some).map_err(|error| failure(chain(&error)))
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
    ports.iter().any(|port| port.host == address && is_of(port.protocol))
}

fn take_back(owner: ContainerId, published: &Published) -> Result<Firewall, NftError> {
    let rule = |port: &PublishedPort| PortRule {
        owner,
        protocol: port.protocol,
        host: port.host,
        container: port.container,
    };
    let rules: Vec<PortRule> = published.ports.iter().map(rule).collect();
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
        PublishedPort { protocol, host, container: "10.0.0.2:80".parse().unwrap() }
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
