//! Ranges of ports: one thing to publish, to remember and to take back, however many ports they have.
//!
//! A single port is owned by sockets. For thousands of ports that would be tens of thousands of them, so a range
//! is owned by who has noted it first ([`Others::claim`]), and free of the host's programs when it is published.
//! The kernel does not refuse its ports to programs that come later.

use std::net::{IpAddr, SocketAddr};

use model::ContainerId;
use model::port::runs::{PortRun, exact, runs};
use model::port::{ContainerPort, PortBinding, Protocol};

use super::{PortError, Reserved, Taken, addresses, bind_all, explained, first_published, kernel};
use crate::host::Stack;
use crate::nft::{PortRule, longest};

/// From this many ports that follow each other on, they are a range. Fewer are owned by sockets, which is more.
const RANGE: u16 = 17;

/// Ports of one address of the host; an unspecified one is all of its family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// Their protocol.
    pub protocol: Protocol,
    /// The address.
    pub ip: IpAddr,
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Span {
    /// The lowest port that both would have.
    #[must_use]
    pub fn common(&self, other: &Self) -> Option<u16> {
        let any = self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified();
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        let meets = any
            && self.protocol == other.protocol
            && self.ip.is_ipv4() == other.ip.is_ipv4()
            && first <= last;
        meets.then_some(first)
    }

    /// What a rule publishes; nothing if it is reached at the container's own address.
    pub(super) fn of_rule(rule: &PortRule) -> Option<Self> {
        let (first, last) = (rule.host.port(), rule.last(rule.host));
        let ip = rule.host.ip();
        (!rule.is_direct()).then_some(Self { protocol: rule.protocol, ip, first, last })
    }

    /// One port.
    #[must_use]
    pub const fn one(at: SocketAddr, protocol: Protocol) -> Self {
        Self { protocol, ip: at.ip(), first: at.port(), last: at.port() }
    }
}

/// What is known of other containers, and what this one has already.
pub struct Others<'a> {
    /// What this one has.
    pub had: &'a [Span],
    /// What those publish that live, asked for only when a port is in use, to tell another container from another
    /// program, and where no sockets own ports.
    pub published: &'a dyn Fn() -> Vec<PortRule>,
    /// Notes the ports that this container will have without sockets, unless another has noted a port of them before.
    pub claim: &'a dyn Fn(&[Span]) -> Result<(), PortError>,
    /// The ranges that others have noted, with the names of those who have.
    pub claimed: &'a dyn Fn() -> Result<Vec<(Span, String)>, PortError>,
    /// What a container is called.
    pub name: &'a dyn Fn(&ContainerId) -> Option<String>,
}

impl std::fmt::Debug for Others<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Others")
    }
}

/// What is wished, each in its place among all: ports that sockets will own, and ranges.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) single: Vec<(usize, PortBinding)>,
    ranges: Vec<(usize, PortRun)>,
}

impl Wishes {
    pub(super) fn of(bindings: &[PortBinding]) -> Self {
        let mut wishes = Self { single: Vec::new(), ranges: Vec::new() };
        let mut place = 0;
        for run in runs(bindings) {
            if run.count >= RANGE && exact(run.first.host).is_some() {
                wishes.ranges.push((place, run));
            } else {
                wishes.single.extend((place..).zip(run.bindings()));
            }
            place += usize::from(run.count);
        }
        wishes
    }

    /// The ranges with what they lead to, in pieces that are an element each.
    pub(super) fn ranges(&self, stack: Stack) -> Result<Vec<(usize, Reserved)>, PortError> {
        let mut ranges = Vec::new();
        for (place, PortRun { first, count }) in &self.ranges {
            let addresses = addresses(first.host_ip, stack)?;
            let (mut host, mut left) = (exact(first.host).unwrap_or_default(), *count);
            let mut container = first.container;
            while left > 0 {
                let count = left.min(longest(host, container.port)).max(1);
                let at = addresses.iter().map(|ip| SocketAddr::new(*ip, host)).collect();
                ranges.push((*place, Reserved { container, host: at, count, sockets: Vec::new() }));
                left -= count;
                host = host.saturating_add(count);
                let port = container.port.saturating_add(count);
                container = ContainerPort { port, ..container };
            }
        }
        Ok(ranges)
    }
}

/// The ports of the host that these have.
pub(super) fn spans<'r>(ranges: impl Iterator<Item = &'r (usize, Reserved)>) -> Vec<Span> {
    let of = |one: &Reserved| -> Vec<Span> {
        let last = |at: &SocketAddr| at.port().saturating_add(one.count.saturating_sub(1));
        let protocol = one.container.protocol;
        let span = |at: &SocketAddr| Span { last: last(at), ..Span::one(*at, protocol) };
        one.host.iter().map(span).collect()
    };
    ranges.flat_map(|(_, one)| of(one)).collect()
}

/// Two ranges of one container may not share a port.
pub(super) fn check_apart(spans: &[Span], had: &[Span]) -> Result<(), PortError> {
    for (index, span) in spans.iter().enumerate() {
        let mut before = spans.iter().take(index).chain(had);
        if let Some(port) = before.find_map(|other| span.common(other)) {
            return Err(PortError::Allocated { address: (span.ip, port).into(), by: None });
        }
    }
    Ok(())
}

/// Finds out whether programs of the host, or containers with single ports, have ports of the ranges. Each port that
/// a socket has is bound and given back: whether that socket is in the way the kernel knows best.
pub(super) fn check_free(
    ranges: &[(usize, Reserved)],
    taken: &Taken,
    others: &Others<'_>,
) -> Result<(), PortError> {
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let all = ranges.iter().map(|(_, range)| range);
        let mine: Vec<_> = all.filter(|range| range.container.protocol == protocol).collect();
        if mine.is_empty() {
            continue;
        }
        let in_use = kernel::ports_in_use(protocol);
        for range in mine {
            let addresses: Vec<IpAddr> = range.host.iter().map(SocketAddr::ip).collect();
            let first = range.host.first().map_or(0, SocketAddr::port);
            let last = first.saturating_add(range.count.saturating_sub(1));
            let suspects: Vec<u16> = match &in_use {
                // The first one always: the address may be none of this host, or the port a privileged one.
                Some(ports) => {
                    std::iter::once(first).chain(ports.range(first..=last).copied()).collect()
                }
                None => (first..=last).collect(),
            };
            for port in suspects {
                let bound = bind_all(&addresses, port, protocol);
                bound.map_err(|error| explained(error, taken, others))?;
            }
        }
    }
    check_published(ranges, taken, others)
}

/// Where the kernel has no sockets of a protocol, a single port of another container is seen by its rule alone.
fn check_published(
    ranges: &[(usize, Reserved)],
    taken: &Taken,
    others: &Others<'_>,
) -> Result<(), PortError> {
    let mut ranges = spans(ranges.iter());
    ranges.retain(|span| span.protocol == Protocol::Sctp);
    if ranges.is_empty() {
        return Ok(());
    }
    let published = (others.published)();
    for span in &ranges {
        let mut own = taken.single.iter().filter_map(|single| single.common(span));
        if let Some(port) = own.next().or_else(|| first_published(span, &published)) {
            let address = SocketAddr::new(span.ip, port);
            let source = sys::Errno::ADDRINUSE;
            let error = PortError::Bind { address, protocol: span.protocol, source };
            return Err(explained(error, taken, others));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::port::parse_publish;

    fn wishes(typed: &[&str]) -> Wishes {
        let bindings: Vec<PortBinding> =
            typed.iter().flat_map(|text| parse_publish(text).unwrap()).collect();
        Wishes::of(&bindings)
    }

    #[test]
    fn many_ports_are_a_range_and_few_are_not() {
        let wishes =
            wishes(&["80", "8000-8015:8000-8015", "9000-9016:9000-9016", "100-200", "81:81"]);
        let places: Vec<usize> = wishes.single.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, (0..17).chain(34..136).collect::<Vec<_>>());
        let ranges: Vec<_> = wishes.ranges.iter().map(|(place, run)| (*place, run.count)).collect();
        assert_eq!(ranges, [(17, 17)]);
    }

    #[test]
    fn what_one_element_cannot_say_is_in_pieces() {
        let ranges = wishes(&["10-109:1-100"]).ranges(Stack::V4).unwrap();
        let shown: Vec<_> = ranges
            .iter()
            .map(|(_, one)| (one.host[0].port(), one.container.port, one.count))
            .collect();
        assert_eq!(shown, [(10, 1, 10), (20, 11, 20), (40, 31, 40), (80, 71, 30)]);
        let same = wishes(&["1-65535:1-65535"]).ranges(Stack::Dual).unwrap();
        assert_eq!((same.len(), same[0].1.count, same[0].1.host.len()), (1, 65535, 2));
    }

    #[test]
    fn spans_share_ports_at_common_addresses() {
        let span = |ip: &str, first, last| {
            let ip = ip.parse().unwrap();
            Span { protocol: Protocol::Tcp, ip, first, last }
        };
        let one = span("0.0.0.0", 10, 20);
        for (other, common) in [
            (span("127.0.0.1", 20, 30), Some(20)),
            (span("127.0.0.1", 21, 30), None),
            (span("::", 10, 20), None),
            (Span { protocol: Protocol::Udp, ..one }, None),
            (span("0.0.0.0", 1, 65535), Some(10)),
        ] {
            assert_eq!((one.common(&other), other.common(&one)), (common, common), "{other:?}");
        }
        assert_eq!(span("127.0.0.1", 1, 2).common(&span("127.0.0.2", 1, 2)), None);
    }
}
