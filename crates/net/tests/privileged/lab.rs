//! A host in a network namespace of its own, with a client outside of it and containers inside.
//!
//! Nothing here touches the machine's own network: the host is a fresh namespace, its outer
//! network `lan0` a bridge in it, the client a namespace on that bridge. All of it ends with the
//! descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use model::port::Protocol;
use model::{ContainerId, RootTag};
use net::address::{Cidr, Mac};
use net::bridge::{self, Bridge, BridgePlan};
use net::endpoint::{self, Endpoint, EndpointPlan};
use net::names::Names;
use net::nft::{Firewall, Network, PortRule, Source, Wanted};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// A datagram may be lost while a neighbour is looked for on a busy machine.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long something is given that must not happen.
const IMPATIENCE: Duration = Duration::from_millis(400);

pub(crate) const HOST_V4: &str = "192.0.2.1";
pub(crate) const HOST_V6: &str = "2001:db8::1";

/// The host.
pub(crate) struct Lab {
    pub(crate) host: OwnedFd,
    pub(crate) names: Names,
    pub(crate) bridge: Bridge,
    pub(crate) firewall: Firewall,
    pub(crate) client: OwnedFd,
    lan: Bridge,
}

/// A container: its namespace and its addresses.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) endpoint: Endpoint,
    pub(crate) addresses: Vec<Cidr>,
}

impl Container {
    pub(crate) fn v4(&self) -> IpAddr {
        self.addresses[0].address()
    }

    pub(crate) fn v6(&self) -> IpAddr {
        self.addresses[1].address()
    }
}

pub(crate) fn inside<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    sys::netns::run_in(netns, work).unwrap()
}

pub(crate) fn sysctl(key: &str, value: &str) {
    let path = format!("/proc/sys/net/{key}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

pub(crate) fn read_sysctl(key: &str) -> String {
    let path = format!("/proc/sys/net/{key}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim_end().to_owned()
}

fn unique_mac() -> Mac {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Mac::local([0, 0x10, a, b, c, d])
}

/// An id that differs in the digits that names of links take.
pub(crate) fn container_id(number: u8) -> ContainerId {
    format!("{number:02x}").repeat(32).parse().unwrap()
}

impl Lab {
    /// A host on which netfilter sees bridged packets, as with `br_netfilter` loaded.
    pub(crate) fn with_bridge_netfilter() -> Self {
        Self::prepared(|| sysctl("bridge/bridge-nf-call-iptables", "1"))
    }

    /// A host on which it does not.
    pub(crate) fn new() -> Self {
        Self::prepared(|| {
            sysctl("bridge/bridge-nf-call-iptables", "0");
            sysctl("bridge/bridge-nf-call-ip6tables", "0");
        })
    }

    fn prepared(prepare: impl FnOnce() + Send) -> Self {
        let host = endpoint::isolated().unwrap();
        let names = Names::of(&RootTag::DEFAULT);
        let (lan, client, bridge) = inside(&host, || {
            prepare();
            let lan = BridgePlan {
                name: "lan0".parse().unwrap(),
                addresses: vec![
                    format!("{HOST_V4}/24").parse().unwrap(),
                    format!("{HOST_V6}/64").parse().unwrap(),
                ],
                mtu: None,
                group: 0,
            };
            let lan = bridge::ensure(lan).unwrap();
            let client = endpoint::create(&plan(&lan, &names, 0xfe, "192.0.2.10")).unwrap();
            (
                lan,
                client.netns,
                bridge::ensure_default(&names, || Ok(Vec::new()), |_| Ok(())).unwrap(),
            )
        });
        let firewall = inside(&host, || open_firewall(&names, &bridge));
        let lab = Self { host, names, bridge, firewall, client, lan };
        inside(&lab.host, || {
            lab.firewall.ensure(&mut Source::Everything(&mut || Ok(lab.wanted(&[])))).unwrap();
        });
        lab
    }

    pub(crate) fn wanted(&self, ports: &[PortRule]) -> Wanted {
        Wanted { networks: vec![network(&self.bridge)], ports: ports.to_vec() }
    }

    /// A container on the default bridge.
    pub(crate) fn container(&self, number: u8) -> Container {
        self.container_on(&self.bridge, number)
    }

    pub(crate) fn container_on(&self, bridge: &Bridge, number: u8) -> Container {
        let subnet = bridge.plan.subnet(net::address::Family::V4).unwrap();
        let address = subnet.nth(number.into()).unwrap();
        let plan = plan(bridge, &self.names, number, &address.to_string());
        let endpoint = inside(&self.host, || endpoint::create(&plan)).unwrap();
        Container { id: container_id(number), endpoint, addresses: plan.addresses }
    }

    /// One more machine on the outer network.
    pub(crate) fn outsider(&self, number: u8) -> OwnedFd {
        self.container_on(&self.lan, number).endpoint.netns
    }

    pub(crate) fn publish(&self, rules: &[PortRule]) {
        self.publish_among(rules, rules);
    }

    /// Publishes where more should be published.
    pub(crate) fn publish_among(&self, rules: &[PortRule], all: &[PortRule]) {
        let publish = || {
            let mut everything = || Ok(self.wanted(all));
            self.firewall.publish(rules, &mut Source::Everything(&mut everything))
        };
        inside(&self.host, publish).unwrap();
    }

    /// Publishes as the shim of one container.
    pub(crate) fn publish_alone(&self, rules: &[PortRule]) {
        let own = self.wanted(rules);
        let publish = || self.firewall.publish(rules, &mut Source::OneContainer(&own));
        inside(&self.host, publish).unwrap();
    }

    pub(crate) fn unpublish(&self, rules: &[PortRule]) {
        inside(&self.host, || self.firewall.unpublish(rules)).unwrap();
    }
}

pub(crate) fn open_firewall(names: &Names, bridge: &Bridge) -> Firewall {
    Firewall::open(names, bridge.plan.stack(), bridge.ipv6_loopback).unwrap()
}

fn plan(bridge: &Bridge, names: &Names, number: u8, address: &str) -> EndpointPlan {
    let id = container_id(number);
    let mac = unique_mac();
    EndpointPlan::on_bridge(bridge, names, &id, address.parse().unwrap(), mac).unwrap()
}

pub(crate) fn network(bridge: &Bridge) -> Network {
    let subnets = bridge.plan.addresses.iter().map(|cidr| cidr.subnet()).collect();
    Network {
        bridge: bridge.plan.name.clone(),
        subnets,
        source: [model::network::Source::Host; 2],
        gateways: [model::network::GatewayMode::Nat; 2],
        trusted: Vec::new(),
        mutual: model::network::Mutual::Allowed,
        inside: model::network::Inside::No,
        members: net::nft::Members::Ours,
    }
}

/// Both families of one published port.
pub(crate) fn rules(
    container: &Container,
    protocol: Protocol,
    host: &[&str],
    port: u16,
) -> Vec<PortRule> {
    let rule = |host: &&str| {
        let host: SocketAddr = host.parse().unwrap();
        let ip = if host.is_ipv4() { container.v4() } else { container.v6() };
        let container_side = SocketAddr::new(ip, port);
        PortRule { owner: container.id, protocol, host, container: container_side, count: 1 }
    };
    host.iter().map(rule).collect()
}

/// Both families of a published range.
pub(crate) fn range(
    container: &Container,
    protocol: Protocol,
    (host, port): (&[&str], u16),
    count: u16,
) -> Vec<PortRule> {
    let rules = rules(container, protocol, host, port).into_iter();
    rules.map(|rule| PortRule { count, ..rule }).collect()
}

/// Answers each connection in the namespace with its name and the peer's address.
pub(crate) fn serve_tcp(netns: &OwnedFd, port: u16, name: &'static str) {
    let listener = inside(netns, || TcpListener::bind(("::", port))).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            let _ = write!(stream, "{name} sees {peer}");
        }
    });
}

/// Answers each datagram in the namespace with what it says, its name, and the peer's address.
pub(crate) fn serve_udp(netns: &OwnedFd, port: u16, name: &'static str) {
    // One socket for each family: an answer from a socket of both would be sent from the address
    // that routing chooses.
    for address in ["0.0.0.0", "::"] {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let socket = inside(netns, || v6only_udp(address));
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let question = String::from_utf8_lossy(&buffer[..length]);
                let answer = format!("{question}{name} sees {}", peer.ip());
                let _ = socket.send_to(answer.as_bytes(), peer);
            }
        });
    }
}

fn v6only_udp(address: SocketAddr) -> UdpSocket {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket(family, SocketType::DGRAM, None).unwrap();
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true).unwrap();
    }
    bind(&fd, &address).unwrap();
    fd.into()
}

/// What the server says to somebody in the namespace, or why nothing.
fn ask_tcp(netns: &OwnedFd, to: SocketAddr, patience: Duration) -> std::io::Result<String> {
    inside(netns, || {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
}

fn ask_udp(netns: &OwnedFd, to: SocketAddr, patience: Duration) -> std::io::Result<String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = inside(netns, || UdpSocket::bind(any))?;
    ask_udp_by(&socket, to, patience)
}

fn ask_udp_by(socket: &UdpSocket, to: SocketAddr, patience: Duration) -> std::io::Result<String> {
    static ASKED: AtomicU32 = AtomicU32::new(1);
    let question = format!("{}: ", ASKED.fetch_add(1, Ordering::Relaxed));
    socket.connect(to)?;
    let began = Instant::now();
    loop {
        let left = patience.saturating_sub(began.elapsed());
        socket.set_read_timeout(Some(left.clamp(Duration::from_millis(1), ASK_AGAIN)))?;
        socket.send(question.as_bytes())?;
        match hear(socket, &question) {
            Ok(answer) => return Ok(answer),
            Err(error) if error.kind() == ErrorKind::WouldBlock && left > ASK_AGAIN => {}
            Err(error) => return Err(error),
        }
    }
}

/// The answer to a question. Of one that was asked before, and asked again, there may be a second answer.
fn hear(socket: &UdpSocket, question: &str) -> std::io::Result<String> {
    let mut buffer = [0; 64];
    loop {
        let length = socket.recv(&mut buffer)?;
        if let Some(answer) = String::from_utf8_lossy(&buffer[..length]).strip_prefix(question) {
            return Ok(answer.to_owned());
        }
    }
}

/// What the server answers; the answer must come.
pub(crate) fn ask(netns: &OwnedFd, protocol: Protocol, to: &str) -> String {
    let answer = ask_for(netns, protocol, to, PATIENCE);
    answer.unwrap_or_else(|error| panic!("{protocol} {to}: {error}"))
}

fn ask_for(
    netns: &OwnedFd,
    protocol: Protocol,
    to: &str,
    patience: Duration,
) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    match protocol {
        Protocol::Udp => ask_udp(netns, to, patience),
        Protocol::Tcp | Protocol::Sctp => ask_tcp(netns, to, patience),
    }
}

/// As `ask`, by UDP from a socket that lives on.
pub(crate) fn ask_again(socket: &UdpSocket, to: &str) -> String {
    ask_udp_by(socket, to.parse().unwrap(), PATIENCE).unwrap_or_else(|e| panic!("{to}: {e}"))
}

/// As `ask_again`, where nobody is there any more: that must be said, and not by an answer.
pub(crate) fn is_turned_away_again(socket: &UdpSocket, to: &str) {
    let answer = ask_udp_by(socket, to.parse().unwrap(), PATIENCE);
    assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused), "{to}");
}

/// No answer must come; whether that is said does not matter.
pub(crate) fn is_kept_out(netns: &OwnedFd, protocol: Protocol, to: &str) {
    if let Ok(said) = ask_for(netns, protocol, to, IMPATIENCE) {
        panic!("{protocol} {to} is reachable: {said}");
    }
}

/// No answer must come, and that there is none must be said.
pub(crate) fn is_turned_away(netns: &OwnedFd, protocol: Protocol, to: &str) {
    let answer = ask_for(netns, protocol, to, PATIENCE);
    let kind = answer.map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::ConnectionRefused), "{protocol} {to}");
}

/// Whether a datagram that was sent arrives at the socket; none should.
pub(crate) fn receives(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(IMPATIENCE)).unwrap();
    socket.recv(&mut [0; 64]).is_ok()
}

/// Whether a datagram arrives at the socket that is sent until one does.
pub(crate) fn receives_at_last(socket: &UdpSocket, send: impl Fn()) -> bool {
    socket.set_read_timeout(Some(ASK_AGAIN)).unwrap();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        send();
        if socket.recv(&mut [0; 64]).is_ok() {
            return true;
        }
    }
    false
}
