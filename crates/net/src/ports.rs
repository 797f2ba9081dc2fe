//! Owns ports of the host before they are published.
//!
//! A port is reserved by binding a socket to it, so the kernel refuses it to everybody else, of any
//! program, and takes it back when whoever holds the socket dies. Nothing is read from these
//! sockets: nftables rewrites packets before they would arrive. Ranges are another thing (`range`).

mod kernel;
mod range;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use model::ContainerId;
use model::port::{ContainerPort, HostPort, PortBinding, PortRange, Protocol};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown,
    socket_with, sockopt,
};
use sys::Errno;

pub use self::range::{Others, Span};

use self::range::{Wishes, check_apart, check_free, spans};
use crate::address::{Cidr, Family};
use crate::bridge::AnyError;
use crate::host::Stack;
use crate::nft::PortRule;

/// So many ports fit into every usual limit of open files.
const FEW: usize = 100;
/// What a process has open beside the sockets of ports.
const OTHER_FILES: u64 = 100;

/// How often the kernel is asked for a port that must be free in both families.
const RANDOM_ATTEMPTS: usize = 128;

/// Why a port cannot be had. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container of this root has it.
    #[error("Bind for {address} failed: port is already allocated{}", by.as_deref().map(|by| format!(" by container {by}")).unwrap_or_default())]
    Allocated {
        /// The address and port.
        address: SocketAddr,
        /// What that is called, if it is known.
        by: Option<String>,
    },
    /// What others have noted could not be read, or ours not be noted.
    #[error("note which ports are published")]
    Claim(#[source] AnyError),
    /// Another program has it, or the address is none of this host.
    #[error("failed to bind host port {address}/{protocol}: {}{}", words(*source), remedy(address.port(), *source))]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// Why.
        source: Errno,
    },
    /// Every port of the range is in use.
    #[error("failed to bind host ports {ip}:{first}-{last}/{protocol}: all are in use")]
    Range {
        /// The address.
        ip: IpAddr,
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// Each port is a socket of each family, here and in the container's shim.
    #[error(
        "cannot publish {ports} ports: they need {needed} open files, and the limit is {limit} (raise the hard limit, \
        `ulimit -Hn` or LimitNOFILE= of the service, or publish fewer)"
    )]
    OpenFiles {
        /// How many ports.
        ports: usize,
        /// How many files that takes.
        needed: u64,
        /// The hard limit of this process.
        limit: u64,
    },
    /// An IPv6 address without IPv6.
    #[error("cannot publish {0}: IPv6 is disabled on this host")]
    NoIpv6(IpAddr),
}

/// Errors as Go words them, since Docker's are.
fn words(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "address already in use".to_owned(),
        Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}

/// Ports that only the privileged may bind; Docker without root tells its users the same.
fn remedy(port: u16, errno: Errno) -> String {
    if errno != Errno::ACCESS || port >= 1024 {
        return String::new();
    }
    format!(" (sysctl net.ipv4.ip_unprivileged_port_start={port}, or a port from 1024 on)")
}

/// A port that this process owns as long as it keeps `sockets`, or a range of which there are none.
#[derive(Debug)]
pub struct Reserved {
    /// The container's side, with its first port.
    pub container: ContainerPort,
    /// The host's side: one entry for each family, all with the same first port.
    pub host: Vec<SocketAddr>,
    /// How many ports.
    pub count: u16,
    /// What owns it; empty for a range, and for a protocol that the kernel has no sockets of (SCTP is a module),
    /// where nobody could use the port.
    pub sockets: Vec<OwnedFd>,
}

impl Reserved {
    /// What to publish for a container with these addresses. A host's side of a family that the
    /// container does not have is left out.
    #[must_use]
    pub fn rules(&self, owner: ContainerId, addresses: &[Cidr]) -> Vec<PortRule> {
        let inside = |family| addresses.iter().find(|cidr| cidr.family() == family);
        self.host
            .iter()
            .filter_map(|host| {
                let address = inside(Family::of(host.ip()))?.address();
                let container = SocketAddr::new(address, self.container.port);
                let (protocol, count) = (self.container.protocol, self.count);
                Some(PortRule { owner, protocol, host: *host, container, count })
            })
            .collect()
    }
}

/// Reserves a port for each binding; either all or none.
///
/// Who wants a range notes it and looks for sockets then; who wants a single port binds it and looks for such notes
/// then. So of two who want the same at the same time, at least one sees the other.
///
/// # Errors
/// See [`PortError`].
pub fn reserve(
    bindings: &[PortBinding],
    stack: Stack,
    others: &Others<'_>,
) -> Result<Vec<Reserved>, PortError> {
    let wishes = Wishes::of(bindings);
    make_room(wishes.single.len(), stack)?;
    let mut reserved = wishes.ranges(stack)?;
    let own = spans(reserved.iter());
    check_apart(&own, others.had)?;
    if !own.is_empty() {
        (others.claim)(&own)?;
    }
    let own = [own.as_slice(), others.had].concat();
    let mut taken = Taken { own, single: Vec::new(), claimed: Vec::new() };
    let single = reserve_single(&wishes.single, stack, &mut taken, others)?;
    // They are not in the way of themselves.
    taken.own.clear();
    check_free(&reserved, &taken, others)?;
    reserved.extend(single);
    // Where no socket owns a single port, whoever has noted it does, as with a range.
    if reserved.iter().any(|(_, one)| one.count == 1 && one.sockets.is_empty()) {
        let unowned = reserved.iter().filter(|(_, one)| one.sockets.is_empty());
        (others.claim)(&spans(unowned))?;
    }
    reserved.sort_by_key(|(index, _)| *index);
    Ok(reserved.into_iter().map(|(_, reserved)| reserved).collect())
}

/// Ports that nobody else can have.
#[derive(Debug)]
struct Taken {
    /// Ranges of this container, and what it had before.
    own: Vec<Span>,
    /// Its single ports.
    single: Vec<Span>,
    /// Ranges of others, with their names.
    claimed: Vec<(Span, String)>,
}

impl Taken {
    /// Whether it is a port of a range.
    fn has(&self, address: SocketAddr, protocol: Protocol) -> bool {
        let one = Span::one(address, protocol);
        let mut all = self.own.iter().chain(self.claimed.iter().map(|(span, _)| span));
        all.any(|span| span.common(&one).is_some())
    }
}

fn reserve_single(
    wishes: &[(usize, PortBinding)],
    stack: Stack,
    taken: &mut Taken,
    others: &Others<'_>,
) -> Result<Vec<(usize, Reserved)>, PortError> {
    if wishes.is_empty() {
        return Ok(Vec::new());
    }
    // Fixed ports first: a random one must not take what is asked for by number.
    let mut order: Vec<&(usize, PortBinding)> = wishes.iter().collect();
    order.sort_by_key(|(_, binding)| width(binding.host));
    if order.last().is_some_and(|(_, binding)| width(binding.host) > 1) {
        taken.claimed = (others.claimed)()?;
    }
    let mut reserved: Vec<(usize, Reserved)> = Vec::with_capacity(wishes.len());
    for (index, binding) in order {
        let one = reserve_one(binding, stack, taken, others);
        let one = one.map_err(|error| explained(error, taken, others))?;
        let protocol = one.container.protocol;
        taken.single.extend(one.host.iter().map(|host| Span::one(*host, protocol)));
        reserved.push((*index, one));
    }
    taken.claimed = (others.claimed)()?;
    for one in &taken.single {
        if let Some((_, by)) = taken.claimed.iter().find(|(span, _)| span.common(one).is_some()) {
            let address = SocketAddr::new(one.ip, one.first);
            return Err(PortError::Allocated { address, by: Some(by.clone()) });
        }
    }
    Ok(reserved)
}

/// Sees to it that a socket of each port can be had.
fn make_room(ports: usize, stack: Stack) -> Result<(), PortError> {
    if ports <= FEW {
        return Ok(());
    }
    let limit = sys::open_files::most();
    let families = if stack == Stack::Dual { 2 } else { 1 };
    let needed = u64::try_from(ports).unwrap_or(u64::MAX).saturating_mul(families) + OTHER_FILES;
    if needed > limit {
        return Err(PortError::OpenFiles { ports, needed, limit });
    }
    sys::open_files::allow_most();
    Ok(())
}

/// How many ports would do.
fn width(host: HostPort) -> u32 {
    match host {
        HostPort::Within(range) => range.count(),
        HostPort::Random => u32::MAX,
    }
}

fn reserve_one(
    binding: &PortBinding,
    stack: Stack,
    taken: &Taken,
    others: &Others<'_>,
) -> Result<Reserved, PortError> {
    let addresses = addresses(binding.host_ip, stack)?;
    let protocol = binding.container.protocol;
    let (port, sockets) = match binding.host {
        HostPort::Random => bind_random(&addresses, protocol, taken, others)?,
        HostPort::Within(range) => bind_within((&addresses, range), protocol, taken, others)?,
    };
    let host = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    Ok(Reserved { container: binding.container, host, count: 1, sockets })
}

/// The addresses that a binding means.
fn addresses(ip: Option<IpAddr>, stack: Stack) -> Result<Vec<IpAddr>, PortError> {
    match (ip, stack) {
        (None, Stack::V4) => Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
        (None, Stack::Dual) => Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        (Some(ip @ IpAddr::V6(_)), Stack::V4) => Err(PortError::NoIpv6(ip)),
        (Some(ip), Stack::V4 | Stack::Dual) => Ok(vec![ip]),
    }
}

fn bind_within(
    (addresses, range): (&[IpAddr], PortRange),
    protocol: Protocol,
    taken: &Taken,
    others: &Others<'_>,
) -> Result<(u16, Vec<OwnedFd>), PortError> {
    let mut last = None;
    for port in range.first..=range.last {
        match bind_free((addresses, port), protocol, taken, others) {
            Ok(sockets) => return Ok((port, sockets)),
            Err(error) if is_in_use(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    let ip = addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let (first, end) = (range.first, range.last);
    let all = PortError::Range { ip, first, last: end, protocol };
    Err(last.filter(|_| range.count() == 1).unwrap_or(all))
}

/// The kernel chooses a port for the first address, by its own range and reservations
/// (`ip_local_port_range`, `ip_local_reserved_ports`); it must be free for the others too.
fn bind_random(
    addresses: &[IpAddr],
    protocol: Protocol,
    taken: &Taken,
    others: &Others<'_>,
) -> Result<(u16, Vec<OwnedFd>), PortError> {
    let (first, rest) =
        addresses.split_first().unwrap_or((&IpAddr::V4(Ipv4Addr::UNSPECIFIED), &[]));
    // Sockets of ports that are taken in the other family stay open until the end, so that the
    // kernel does not choose the same again.
    let mut unfit = Vec::new();
    let address = SocketAddr::new(*first, 0);
    let failed = |source| PortError::Bind { address, protocol, source };
    while unfit.len() < RANDOM_ATTEMPTS {
        let Some(socket) = bind_one(address, protocol)? else {
            return Ok((choose(addresses, protocol, taken, others)?, Vec::new()));
        };
        let port = port_of(&socket).map_err(failed)?;
        if taken.has(SocketAddr::new(*first, port), protocol) {
            unfit.push(socket);
            continue;
        }
        match bind_free((rest, port), protocol, taken, others) {
            Ok(mut sockets) => {
                sockets.insert(0, socket);
                return Ok((port, sockets));
            }
            Err(error) if is_in_use(&error) => unfit.push(socket),
            Err(error) => return Err(error),
        }
    }
    Err(failed(Errno::ADDRINUSE))
}

/// A random port of a protocol that the kernel has no sockets of: of those that it chooses for TCP, by the same range
/// and reservations, one that no container has published.
fn choose(
    addresses: &[IpAddr],
    protocol: Protocol,
    taken: &Taken,
    others: &Others<'_>,
) -> Result<u16, PortError> {
    let published = (others.published)();
    let is_free = |place: SocketAddr| {
        let one = Span::one(place, protocol);
        !taken.has(place, protocol)
            && !taken.single.iter().any(|span| span.common(&one).is_some())
            && first_published(&one, &published).is_none()
    };
    // They stay open, so that the kernel does not choose the same again.
    let mut chosen = Vec::new();
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let failed = |source| PortError::Bind { address: any, protocol, source };
    while chosen.len() < RANDOM_ATTEMPTS {
        let socket = open(any, Protocol::Tcp).map_err(failed)?;
        bind(&socket, &any).map_err(failed)?;
        let port = port_of(&socket).map_err(failed)?;
        if addresses.iter().all(|ip| is_free(SocketAddr::new(*ip, port))) {
            return Ok(port);
        }
        chosen.push(socket);
    }
    Err(failed(Errno::ADDRINUSE))
}

fn port_of(socket: &OwnedFd) -> Result<u16, Errno> {
    SocketAddr::try_from(getsockname(socket)?).map(|address| address.port())
}

/// The same, but for what ranges have, and for what others publish where the kernel has no sockets of the protocol.
fn bind_free(
    (addresses, port): (&[IpAddr], u16),
    protocol: Protocol,
    taken: &Taken,
    others: &Others<'_>,
) -> Result<Vec<OwnedFd>, PortError> {
    let in_use = |address| PortError::Bind { address, protocol, source: Errno::ADDRINUSE };
    let places = || addresses.iter().map(|ip| SocketAddr::new(*ip, port));
    if let Some(address) = places().find(|place| taken.has(*place, protocol)) {
        return Err(in_use(address));
    }
    let sockets = bind_all(addresses, port, protocol)?;
    if sockets.len() == addresses.len() {
        return Ok(sockets);
    }
    let published = (others.published)();
    let is_taken = |place: &SocketAddr| {
        let one = Span::one(*place, protocol);
        taken.single.iter().any(|span| span.common(&one).is_some())
            || first_published(&one, &published).is_some()
    };
    places().find(is_taken).map_or(Ok(sockets), |address| Err(in_use(address)))
}

/// The lowest port of these that is published.
fn first_published(span: &Span, published: &[PortRule]) -> Option<u16> {
    let spans = published.iter().filter_map(Span::of_rule);
    spans.filter_map(|rule| rule.common(span)).min()
}

fn bind_all(
    addresses: &[IpAddr],
    port: u16,
    protocol: Protocol,
) -> Result<Vec<OwnedFd>, PortError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for ip in addresses {
        sockets.extend(bind_one(SocketAddr::new(*ip, port), protocol)?);
    }
    Ok(sockets)
}

/// `None` if the kernel has no sockets of the protocol.
fn bind_one(address: SocketAddr, protocol: Protocol) -> Result<Option<OwnedFd>, PortError> {
    let failed = |source| PortError::Bind { address, protocol, source };
    let socket = match open(address, protocol) {
        Ok(socket) => socket,
        Err(Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            drop(socket);
            bind_over_remains(address).map(Some).map_err(failed)
        }
        other => other.map(|()| Some(socket)).map_err(failed),
    }
}

fn open(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = match Family::of(address.ip()) {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Udp {
        // What arrives before the rules do is not for us; the kernel makes this its minimum.
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    }
    Ok(socket)
}

/// Binds although closed connections of a former server are still remembered (`TIME_WAIT`), as
/// every server can that sets `SO_REUSEADDR`. Listening takes the port from all others that set
/// it. Without the option afterwards the port stays taken when listening ends, and it must end:
/// an unpublished path (a link-local sender, `::1`) shall be refused and not time out.
fn bind_over_remains(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(address, Protocol::Tcp)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 0)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    shutdown(&socket, Shutdown::Both)?;
    Ok(socket)
}

fn is_in_use(error: &PortError) -> bool {
    matches!(error, PortError::Bind { source: Errno::ADDRINUSE, .. })
}

/// Says whether a port in use is another container's, or that of another wish of the same one.
fn explained(error: PortError, taken: &Taken, others: &Others<'_>) -> PortError {
    let PortError::Bind { address, protocol, source: Errno::ADDRINUSE } = error else {
        return error;
    };
    let one = Span::one(address, protocol);
    if taken.own.iter().chain(&taken.single).any(|span| span.common(&one).is_some()) {
        return PortError::Allocated { address, by: None };
    }
    if let Some((_, by)) = taken.claimed.iter().find(|(span, _)| span.common(&one).is_some()) {
        return PortError::Allocated { address, by: Some(by.clone()) };
    }
    let published = (others.published)();
    match published.iter().find(|rule| rule.protocol == protocol && rule.is_at(address)) {
        Some(rule) => PortError::Allocated { address, by: (others.name)(&rule.owner) },
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_dockers_words() {
        let address: SocketAddr = "0.0.0.0:18080".parse().unwrap();
        assert_eq!(
            PortError::Allocated { address, by: Some("web".to_owned()) }.to_string(),
            "Bind for 0.0.0.0:18080 failed: port is already allocated by container web"
        );
        let error = PortError::Bind { address, protocol: Protocol::Tcp, source: Errno::ADDRINUSE };
        let expected = "failed to bind host port 0.0.0.0:18080/tcp: address already in use";
        assert_eq!(error.to_string(), expected);
        let denied = |port| {
            let address = SocketAddr::new(address.ip(), port);
            PortError::Bind { address, protocol: Protocol::Tcp, source: Errno::ACCESS }.to_string()
        };
        assert_eq!(
            denied(80),
            "failed to bind host port 0.0.0.0:80/tcp: permission denied (sysctl \
             net.ipv4.ip_unprivileged_port_start=80, or a port from 1024 on)"
        );
        assert!(denied(1024).ends_with("permission denied"));
    }

    #[test]
    fn a_rule_needs_an_address_of_its_family() {
        let reserved = Reserved {
            container: "80/tcp".parse().unwrap(),
            host: vec!["0.0.0.0:8080".parse().unwrap(), "[::]:8080".parse().unwrap()],
            count: 1,
            sockets: Vec::new(),
        };
        let owner: ContainerId = "0".repeat(64).parse().unwrap();
        let rules = |addresses: &[&str]| -> Vec<String> {
            let addresses: Vec<Cidr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let rules = reserved.rules(owner, &addresses);
            rules.iter().map(|rule| format!("{}->{}", rule.host, rule.container)).collect()
        };
        assert_eq!(rules(&["10.0.0.2/8"]), ["0.0.0.0:8080->10.0.0.2:80"]);
        assert_eq!(
            rules(&["10.0.0.2/8", "fd00::2/64"]),
            ["0.0.0.0:8080->10.0.0.2:80", "[::]:8080->[fd00::2]:80"]
        );
    }
}
