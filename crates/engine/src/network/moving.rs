//! Published ports of a container whose way out moves to another network.
//!
//! What the next network would publish as well stays, with its sockets and so its number; what else is wished is
//! reserved there, and what it would not publish is let go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use model::ContainerId;
use model::port::{HostPort, PortBinding, PortRange};
use net::address::Family;
use net::nft::PortRule;
use sys::failpoint::Point;

use super::connect::{endpoint_of, ports_of, rules_of};
use super::net_error;
use crate::container::Container;
use crate::ports::{Publication, published_ports};
use crate::record::{Endpoint, Kept, PublishedPort};
use crate::{Engine, EngineError};

/// What becomes of ports that are published.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    stays: Vec<PublishedPort>,
    lacks: Vec<PortBinding>,
}

impl Engine {
    /// Gives the ports to the main place of a container that runs.
    pub(super) fn move_ports(
        &self,
        before: &Container,
        main: Option<&mut Endpoint>,
    ) -> Result<Publication, EngineError> {
        let Some(main) = main else { return Ok(Publication::default()) };
        let had = match kept_of(before) {
            Some(kept) => &kept.ports[..],
            None => ports_of(before),
        };
        main.beside.iter_mut().for_each(|place| place.ports.clear());
        main.ports.clear();
        if !self.has_ports(main)? {
            return Ok(Publication::default());
        }
        if sys::rootless::is_member() {
            // Its program learns of its ports when it starts.
            main.ports = had.to_vec();
            return Ok(Publication::default());
        }
        let addresses = main.addresses();
        let families = [Family::V4, Family::V6];
        let has = families.map(|family| addresses.iter().any(|cidr| cidr.family() == family));
        let wishes = self.terms_of(main)?.split(&before.record.resolved.published, &addresses);
        let Sorted { stays, lacks } = sort(had, &wishes.mapped, has);
        main.ports.clone_from(&stays);
        main.ports.extend(wishes.direct);
        if lacks.is_empty() {
            return Ok(Publication::default());
        }
        let left = with_ports(before, &stays);
        let led = |ports: &[PublishedPort]| -> u32 {
            let led = ports.iter().filter(|port| port.host_port != 0);
            led.map(|port| u32::from(port.count)).sum()
        };
        if led(&stays) < led(had) {
            // What it needs no more could be in its own way.
            self.let_go(before, &left)?;
        }
        let reserved = self.reserve(&left, &lacks, &addresses).map_err(net_error)?;
        main.ports.extend(reserved.iter().flat_map(published_ports));
        let sockets = reserved.into_iter().flat_map(|one| one.sockets).collect();
        Ok(Publication { sockets, ..Publication::default() })
    }

    /// Takes back what a container publishes but for what it has in `left`.
    fn let_go(&self, container: &Container, left: &Container) -> Result<(), EngineError> {
        let rules = rules_of(left, endpoint_of(left));
        self.unpublish_all_but(&rules, &container.id)?;
        self.tell_ports(left, None, &[])?;
        self.lease_ports(&container.id, ports_of(left)).map_err(net_error)
    }

    /// Takes back what is published of a container and not of where it is by its record; returns what stays.
    ///
    /// Who builds the firewall anew reads records. One that has read the former record would publish the former ports
    /// after they are taken back here, and they would lead to whoever has the address next: such a build is refused.
    pub(super) fn withdraw(
        &self,
        before: &Container,
        after: &Container,
        has_left: bool,
    ) -> Result<Vec<PortRule>, EngineError> {
        let new = rules_of(after, endpoint_of(after));
        let mut former = rules_of(before, endpoint_of(before)).into_iter();
        if has_left || former.any(|rule| !new.contains(&rule)) {
            self.firewall()?.outdate().map_err(net_error)?;
        }
        self.unpublish_all_but(&new, &after.id)
    }

    /// Takes back what is published of a container and should not be; returns what stays.
    fn unpublish_all_but(
        &self,
        wanted: &[PortRule],
        id: &ContainerId,
    ) -> Result<Vec<PortRule>, EngineError> {
        let firewall = self.firewall()?;
        let mut all = firewall.published().map_err(net_error)?;
        all.retain(|rule| rule.owner == *id);
        let is_wanted = |rule: &&PortRule| wanted.contains(rule);
        let stay: Vec<PortRule> = all.iter().filter(is_wanted).copied().collect();
        if stay.len() < all.len() {
            self.republish(&all, &stay)?;
        }
        Ok(stay)
    }

    /// The shim first: what it has not been told of it does not take back. `there` is what the firewall has of
    /// the container since its record says where it is, and nothing but what is to be there, if that is known already.
    pub(super) fn publish_moved(
        &self,
        (before, after): (&Container, &Container),
        publication: &Publication,
        there: Option<Vec<PortRule>>,
    ) -> Result<(), EngineError> {
        let new = rules_of(after, endpoint_of(after));
        let there = there.map_or_else(|| self.withdraw(before, after, true), Ok)?;
        let is_there = new.iter().all(|rule| there.contains(rule));
        if is_there && rules_of(before, endpoint_of(before)) == new {
            return Ok(());
        }
        let sockets: Vec<_> = publication.sockets.iter().map(std::os::fd::AsFd::as_fd).collect();
        self.tell_ports(after, None, &sockets)?;
        if is_there {
            return Ok(());
        }
        sys::failpoint::pass(Point::ConnectTold);
        self.publish_rules(&new)?;
        if !self.life(after)?.is_running() {
            // Its shim may have taken back its ports before these were there.
            return self.firewall()?.unpublish(&new).map_err(net_error);
        }
        self.admit_early_senders(&Publication { rules: new, ..Publication::default() });
        Ok(())
    }

    /// Reserves again what a change that failed has let go, under its numbers. What that leads to is published next.
    pub(super) fn take_again(
        &self,
        before: &Container,
        failed: &Container,
    ) -> Result<(), EngineError> {
        let has: BTreeSet<Place> = places(ports_of(failed)).collect();
        let (stays, gone): (BTreeSet<Place>, BTreeSet<Place>) =
            places(ports_of(before)).partition(|place| place.1 == 0 || has.contains(place));
        if gone.is_empty() || sys::rootless::is_member() {
            return Ok(());
        }
        let stays: Vec<_> = ports_of(before).iter().flat_map(|port| parts(port, &stays)).collect();
        let left = with_ports(before, &stays);
        self.let_go(before, &left)?;
        let again = gone.into_iter().map(|(ip, port, container)| PortBinding {
            container,
            host_ip: Some(ip),
            host: exact(port),
        });
        let addresses = endpoint_of(before).map(Endpoint::addresses).unwrap_or_default();
        let reserved = self.reserve(&left, &again.collect::<Vec<_>>(), &addresses);
        let reserved = reserved.map_err(net_error)?;
        let sockets = reserved.iter().flat_map(|one| &one.sockets);
        let sockets: Vec<_> = sockets.map(AsFd::as_fd).collect();
        self.tell_ports(before, None, &sockets)
    }
}

/// What an ordinary user's container has again when it comes back from where it is now, if nothing is published there:
/// its program has learnt of its ports when it started, and goes on bringing them.
pub(super) fn kept(before: &Container, main: Option<&Endpoint>) -> Option<Kept> {
    if !sys::rootless::is_member() {
        return None;
    }
    still_kept(kept_of(before), endpoint_of(before), main)
}

fn still_kept(
    kept: Option<&Kept>,
    before: Option<&Endpoint>,
    main: Option<&Endpoint>,
) -> Option<Kept> {
    let of = |place: &Endpoint| Kept { host4: place.host4, ports: place.ports.clone() };
    let kept = kept.cloned().or_else(|| before.map(of))?;
    let is_there = |main: &Endpoint| kept.ports.is_empty() || !main.ports.is_empty();
    (!main.is_some_and(is_there)).then_some(kept)
}

/// What a container keeps for when it comes back.
pub(super) fn kept_of(container: &Container) -> Option<&Kept> {
    container.record.last_start()?.kept.as_ref()
}

/// The container as if it published these alone.
fn with_ports(container: &Container, ports: &[PublishedPort]) -> Container {
    let mut with = container.clone();
    let endpoint = with.record.last_start_mut().and_then(|start| start.endpoint.as_mut());
    if let Some(endpoint) = endpoint {
        endpoint.ports = ports.to_vec();
    }
    with
}

const fn exact(port: u16) -> HostPort {
    HostPort::Within(PortRange { first: port, last: port })
}

/// All addresses of a family.
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// Which of the ports stay that are published, and which are lacking, where a container has these families.
fn sort(had: &[PublishedPort], wished: &[PortBinding], has: [bool; 2]) -> Sorted {
    let mut free: BTreeSet<Place> = places(had).collect();
    let (mut stays, mut lacks) = (BTreeSet::new(), Vec::new());
    // Who wants one port alone can have no other, and who wants any can.
    let mut order: Vec<usize> = (0..wished.len()).collect();
    order.sort_by_key(|index| wished.get(*index).map(width));
    let mut found: Vec<Vec<Option<Place>>> = vec![Vec::new(); wished.len()];
    for index in order {
        if let (Some(binding), Some(found)) = (wished.get(index), found.get_mut(index)) {
            let at = addresses(binding, has).into_iter();
            *found = at.map(|ip| taken(&mut free, binding, ip)).collect();
        }
    }
    for (binding, found) in wished.iter().zip(found) {
        let at = addresses(binding, has);
        stays.extend(found.iter().flatten().copied());
        let number = found.iter().flatten().next().map(|place| place.1);
        // The same number in both families, as if both had been reserved at once.
        let host = number.map_or(binding.host, exact);
        if found.iter().all(Option::is_none) && at.len() == ANY.len() {
            lacks.push(*binding);
            continue;
        }
        let lacking = at.iter().zip(&found).filter(|(_, found)| found.is_none());
        lacks.extend(lacking.map(|(ip, _)| PortBinding { host_ip: Some(*ip), host, ..*binding }));
    }
    Sorted { stays: had.iter().flat_map(|port| parts(port, &stays)).collect(), lacks }
}

/// Where a binding is published that a container with these families has.
fn addresses(binding: &PortBinding, has: [bool; 2]) -> Vec<IpAddr> {
    let of_family = |ip: &IpAddr| has[usize::from(ip.is_ipv6())];
    match binding.host_ip {
        // At an address of the other family it is published nowhere here.
        Some(ip) => vec![ip].into_iter().filter(of_family).collect(),
        None => ANY.into_iter().filter(of_family).collect(),
    }
}

/// How many ports it can be beside the first.
const fn width(binding: &PortBinding) -> u16 {
    match binding.host {
        HostPort::Within(range) => range.last - range.first,
        HostPort::Random => u16::MAX,
    }
}

/// An address and a port of the host, and what that leads to.
type Place = (IpAddr, u16, model::port::ContainerPort);

fn place(port: &PublishedPort) -> Place {
    (port.host_ip, port.host_port, port.container)
}

fn places(ports: &[PublishedPort]) -> impl Iterator<Item = Place> {
    ports.iter().flat_map(PublishedPort::each).map(|port| place(&port))
}

/// A port that is published as is wished here; nobody else takes it.
fn taken(free: &mut BTreeSet<Place>, binding: &PortBinding, ip: IpAddr) -> Option<Place> {
    let (first, last) = match binding.host {
        HostPort::Within(range) => (range.first, range.last),
        HostPort::Random => (1, u16::MAX),
    };
    let lowest = model::port::ContainerPort { port: 0, ..binding.container };
    let all =
        free.range((ip, first, lowest)..).take_while(|place| place.0 == ip && place.1 <= last);
    let found = {
        let mut all = all;
        all.find(|place| place.2 == binding.container).copied()?
    };
    free.remove(&found);
    Some(found)
}

/// What stays of a port, or of a range.
fn parts(port: &PublishedPort, stays: &BTreeSet<Place>) -> Vec<PublishedPort> {
    let each: Vec<bool> = port.each().map(|one| stays.contains(&place(&one))).collect();
    let mut parts = Vec::new();
    let mut index = 0;
    for run in each.chunk_by(|a, b| a == b) {
        let count = u16::try_from(run.len()).unwrap_or(u16::MAX);
        if run.first() == Some(&true) {
            parts.extend(port.part(index, count));
        }
        index += count;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::port::parse_publish;

    /// Published ports as `ADDRESS:PORT>PORT`, with `+COUNT` of a range.
    fn had(all: &[&str]) -> Vec<PublishedPort> {
        let one = |text: &&str| {
            let (outside, inside) = text.split_once('>').unwrap();
            let (inside, count) = inside.split_once('+').unwrap_or((inside, "1"));
            let outside: std::net::SocketAddr = outside.parse().unwrap();
            let container = inside.parse().unwrap();
            let (host_ip, host_port) = (outside.ip(), outside.port());
            PublishedPort {
                container,
                host_ip,
                host_port,
                inner: None,
                count: count.parse().unwrap(),
            }
        };
        all.iter().map(one).collect()
    }

    fn sorted(all: &[&str], wished: &[PortBinding], has: [bool; 2]) -> (Vec<String>, Vec<String>) {
        let Sorted { stays, lacks } = sort(&had(all), wished, has);
        let stay = |it: &PublishedPort| format!("{} {}+{}", it.host_ip, it.host_port, it.count);
        let lack = |it: &PortBinding| format!("{:?} {:?}", it.host_ip, it.host);
        (stays.iter().map(stay).collect(), lacks.iter().map(lack).collect())
    }

    fn wish(text: &str) -> Vec<PortBinding> {
        parse_publish(text).unwrap()
    }

    const BOTH: [bool; 2] = [true, true];

    #[test]
    fn what_is_lost_comes_back_under_its_number() {
        let random = wish("80");
        let both = ["0.0.0.0:49153>80", "[::]:49153>80"];
        let (stays, lacks) = sorted(&both, &random, BOTH);
        assert_eq!((stays.len(), lacks.len()), (2, 0));
        let (stays, lacks) = sorted(&both, &random, [true, false]);
        assert_eq!((stays, lacks.len()), (vec!["0.0.0.0 49153+1".to_owned()], 0));
        let (stays, lacks) = sorted(&both[..1], &random, BOTH);
        assert_eq!(stays, ["0.0.0.0 49153+1"]);
        assert_eq!(lacks, ["Some(::) Within(PortRange { first: 49153, last: 49153 })"]);
        assert_eq!(sorted(&[], &random, BOTH).1, ["None Random"]);
        // A network without IPv4 publishes nothing at addresses of that.
        assert_eq!(sorted(&both, &random, [false, true]).0, [":: 49153+1"]);
    }

    #[test]
    fn another_address_is_another_port() {
        let local = wish("127.0.0.1:8080:80");
        let (stays, lacks) = sorted(&["0.0.0.0:8080>80", "[::]:8080>80"], &local, BOTH);
        assert_eq!(stays, [] as [String; 0]);
        assert_eq!(lacks, ["Some(127.0.0.1) Within(PortRange { first: 8080, last: 8080 })"]);
        assert_eq!(
            sorted(&["127.0.0.1:8080>80"], &local, BOTH),
            (vec!["127.0.0.1 8080+1".into()], vec![])
        );
        assert_eq!(sorted(&["[::1]:7>80"], &wish("[::1]:7:80"), [true, false]), (vec![], vec![]));
        // Two of one port of the container are two.
        let two = [wish("80"), wish("80")].concat();
        let (stays, lacks) = sorted(&["0.0.0.0:1>80", "0.0.0.0:2>80"], &two, [true, false]);
        assert_eq!((stays.len(), lacks.len()), (2, 0));
    }

    /// A random wish takes no place that another wish names, whichever was told first.
    #[test]
    fn exact_wishes_have_their_places_first() {
        let there = ["0.0.0.0:8080>80", "0.0.0.0:8085>80", "0.0.0.0:49153>80"];
        for wished in [["80", "8080-8089:80", "8080:80"], ["8080:80", "8080-8089:80", "80"]] {
            let wished: Vec<PortBinding> = wished.iter().flat_map(|text| wish(text)).collect();
            let (stays, lacks) = sorted(&there, &wished, [true, false]);
            assert_eq!((stays.len(), lacks), (3, vec![]), "{wished:?}");
        }
        // What is lacking is the random one.
        let wished = [wish("80"), wish("8080:80")].concat();
        let (stays, lacks) = sorted(&there[..1], &wished, [true, false]);
        assert_eq!(
            (stays, lacks),
            (vec!["0.0.0.0 8080+1".into()], vec!["Some(0.0.0.0) Random".into()])
        );
    }

    #[test]
    fn what_a_users_program_brings_is_kept_while_it_leads_nowhere() {
        let place = |ports: &[&str], host4: Option<&str>| Endpoint {
            ports: had(ports),
            host4: host4.map(|host4| host4.parse().unwrap()),
            ..crate::network::ways::tests::place("a", 0, ("10.0.0.1", None))
        };
        let host = Some("192.0.2.1");
        let published = place(&["127.0.0.1:8080>80"], host);
        let inner = place(&[], host);
        let kept = Some(Kept { host4: published.host4, ports: published.ports.clone() });
        let then = |kept: &Option<Kept>, before, main| still_kept(kept.as_ref(), before, main);
        // It leaves its last network, or is on one that publishes nothing; from there it may go anywhere.
        assert_eq!(then(&None, Some(&published), None), kept);
        assert_eq!(then(&None, Some(&published), Some(&inner)), kept);
        assert_eq!(then(&kept, Some(&inner), None), kept);
        assert_eq!(then(&kept, None, Some(&inner)), kept);
        // Where its ports are published they are the place's.
        assert_eq!(then(&kept, None, Some(&published)), None);
        assert_eq!(then(&None, Some(&published), Some(&published)), None);
        // Who publishes nothing has the host's name alone to come back for.
        let silent = Some(Kept { host4: inner.host4, ports: Vec::new() });
        assert_eq!(then(&None, Some(&inner), None), silent);
        assert_eq!(then(&silent, None, Some(&inner)), None);
        // One that was started on no network has no program.
        assert_eq!(then(&None, None, Some(&inner)), None);
    }

    #[test]
    fn a_range_stays_a_range() {
        let wished = wish("1000-1099:1000-1099");
        let range = ["0.0.0.0:1000>1000+100"];
        assert_eq!(
            sorted(&range, &wished, [true, false]),
            (vec!["0.0.0.0 1000+100".into()], vec![])
        );
        let (stays, lacks) = sorted(&range, &wished[..50], [true, false]);
        assert_eq!((stays, lacks.len()), (vec!["0.0.0.0 1000+50".to_owned()], 0));
    }
}
