//! The names that one container knows: those of its networks' members, and the host's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use model::ContainerId;

use super::HOST_NAMES;
use super::record::Record;

/// Whether a container lives: what is written about one that does not is void.
pub type Alive<'a> = &'a mut dyn FnMut(&ContainerId) -> bool;

/// The members of a network, found by name and by address.
#[derive(Clone, Default, Debug)]
pub struct Members {
    records: Vec<(ContainerId, Record)>,
    by_name: HashMap<String, Vec<usize>>,
    by_address: HashMap<IpAddr, Vec<usize>>,
}

impl Members {
    /// Makes them findable.
    #[must_use]
    pub fn new(records: Vec<(ContainerId, Record)>) -> Self {
        let mut members = Self { records, ..Self::default() };
        for (index, (_, record)) in members.records.iter().enumerate() {
            for name in &record.names {
                let name = name.to_ascii_lowercase();
                members.by_name.entry(name).or_default().push(index);
            }
            for address in &record.addresses {
                members.by_address.entry(*address).or_default().push(index);
            }
        }
        members
    }

    fn at<'a>(
        &'a self,
        found: Option<&'a Vec<usize>>,
    ) -> impl Iterator<Item = &'a (ContainerId, Record)> {
        found.into_iter().flatten().filter_map(|index| self.records.get(*index))
    }

    /// The addresses of those that live and are called so; `None` if there are none of them.
    fn named(&self, name: &str, alive: Alive<'_>) -> Option<Vec<IpAddr>> {
        let called = self.at(self.by_name.get(name));
        let mut called = called.filter(|(id, _)| alive(id)).peekable();
        called.peek()?;
        Some(called.flat_map(|(_, record)| record.addresses.iter().copied()).collect())
    }

    /// The own name of whoever lives and has the address.
    fn at_address(&self, address: IpAddr, alive: Alive<'_>) -> Option<&str> {
        let mut there = self.at(self.by_address.get(&address)).filter(|(id, _)| alive(id));
        there.next().and_then(|(_, record)| record.names.first()).map(String::as_str)
    }
}

/// A network that a container is on.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name, which may follow a container's.
    pub name: String,
    /// Who is on it.
    pub members: Rc<Members>,
}

/// What becomes of a name of one label that is nobody's.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Bare {
    /// It goes on like any other.
    #[default]
    Forwarded,
    /// There is no such name: who asked goes on with a search domain (`ndots` was given, as with Docker).
    Refused,
}

/// Where the host is for a container.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its address of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Host {
    fn addresses(self) -> Vec<IpAddr> {
        let v4 = self.ipv4.map(IpAddr::V4);
        v4.into_iter().chain(self.ipv6.map(IpAddr::V6)).collect()
    }
}

/// All names that one container knows.
#[derive(Clone, Default, Debug)]
pub struct Zone {
    /// Its networks, in the order in which they are asked.
    pub segments: Vec<Segment>,
    /// Where the host is.
    pub host: Host,
    /// Of names that are nobody's.
    pub bare: Bare,
    /// What this container alone calls others, in small letters, with a name of each.
    pub links: HashMap<String, String>,
}

impl Zone {
    /// The addresses behind a name in small letters, without a dot at its end. `None`: nobody is called so.
    /// A name without a network means the first network on which it is somebody's, as with Docker.
    pub fn addresses(&self, name: &str, alive: Alive<'_>) -> Option<Vec<IpAddr>> {
        let mut named =
            |name: &str| self.segments.iter().find_map(|one| one.members.named(name, &mut *alive));
        // Names of containers have dots as well.
        let linked = self.links.get(name).and_then(|to| named(to));
        let exact = linked.or_else(|| named(name));
        exact.or_else(|| self.qualified(name, alive)).or_else(|| self.host(name))
    }

    fn qualified(&self, name: &str, alive: Alive<'_>) -> Option<Vec<IpAddr>> {
        self.segments.iter().find_map(|one| {
            let (bare, network) = name.split_at_checked(name.len().checked_sub(one.name.len())?)?;
            let bare = bare.strip_suffix('.')?;
            let is_there = network.eq_ignore_ascii_case(&one.name);
            is_there.then(|| one.members.named(bare, alive)).flatten()
        })
    }

    fn host(&self, name: &str) -> Option<Vec<IpAddr>> {
        let addresses = self.host.addresses();
        (HOST_NAMES.contains(&name) && !addresses.is_empty()).then_some(addresses)
    }

    /// The name behind an address: the container's own, then its network's.
    pub fn name(&self, address: IpAddr, alive: Alive<'_>) -> Option<String> {
        self.segments.iter().find_map(|one| {
            let name = one.members.at_address(address, alive)?;
            Some(format!("{name}.{}", one.name))
        })
    }

    /// Whether a name that is nobody's here is asked for elsewhere.
    pub(super) fn forwards(&self, name: &str) -> bool {
        self.bare == Bare::Forwarded || name.is_empty() || name.contains('.')
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::dns) fn id(byte: u8) -> ContainerId {
        ContainerId::from_random([byte; 32])
    }

    pub(in crate::dns) fn record(names: &[&str], addresses: &[&str]) -> Record {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Record::new(names.iter().map(ToString::to_string), addresses)
    }

    pub(in crate::dns) fn zone() -> Zone {
        let front = Members::new(vec![
            (id(1), record(&["web", "www", "Upper"], &["10.1.0.2", "fd01::2"])),
            (id(2), record(&["web2", "www"], &["10.1.0.3"])),
            (id(3), record(&["dotted.name"], &["10.1.0.4"])),
        ]);
        let back = Members::new(vec![
            (id(1), record(&["web"], &["10.2.0.2"])),
            (id(4), record(&["db"], &["10.2.0.3"])),
        ]);
        let segment =
            |name: &str, members| Segment { name: name.into(), members: Rc::new(members) };
        Zone {
            segments: vec![segment("front", front), segment("Back.end", back)],
            host: Host { ipv4: Some(Ipv4Addr::new(10, 1, 0, 1)), ipv6: None },
            bare: Bare::Forwarded,
            links: HashMap::new(),
        }
    }

    fn asked(name: &str, dead: &[ContainerId]) -> String {
        match zone().addresses(name, &mut |id| !dead.contains(id)) {
            None => "nobody".to_owned(),
            Some(addresses) => {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn names_are_found_with_and_without_their_network() {
        assert_eq!(asked("web", &[]), "10.1.0.2 fd01::2");
        assert_eq!(asked("web.back.end", &[]), "10.2.0.2");
        assert_eq!(asked("www", &[]), "10.1.0.2 fd01::2 10.1.0.3");
        assert_eq!(asked("upper.front", &[]), "10.1.0.2 fd01::2");
        assert_eq!(asked("dotted.name", &[]), "10.1.0.4");
        assert_eq!(asked("dotted.name.front", &[]), "10.1.0.4");
        for nobody in ["", ".", "front", ".front", "web.front.", "db.front", "xfront", "webfront"] {
            assert_eq!(asked(nobody, &[]), "nobody", "{nobody:?}");
        }
    }

    #[test]
    fn who_does_not_live_has_no_name() {
        assert_eq!(asked("www", &[id(1)]), "10.1.0.3");
        assert_eq!(asked("www", &[id(1), id(2)]), "nobody");
        assert_eq!(asked("web", &[id(1)]), "nobody");
        let address = "10.1.0.2".parse().unwrap();
        assert_eq!(zone().name(address, &mut |_| true).as_deref(), Some("web.front"));
        assert_eq!(zone().name(address, &mut |_| false), None);
    }

    #[test]
    fn the_host_has_a_name_where_it_has_an_address() {
        assert_eq!(asked("host.docker.internal", &[]), "10.1.0.1");
        assert_eq!(asked("host.dhow.internal", &[]), "10.1.0.1");
        let nowhere = Zone { host: Host::default(), ..zone() };
        assert_eq!(nowhere.addresses("host.dhow.internal", &mut |_| true), None);
    }

    #[test]
    fn a_containers_name_goes_before_the_hosts() {
        let taken = Members::new(vec![(id(9), record(&["host.docker.internal"], &["10.9.0.9"]))]);
        let segments = vec![Segment { name: "n".into(), members: Rc::new(taken) }];
        let zone = Zone { segments, ..zone() };
        let found = zone.addresses("host.docker.internal", &mut |_| true).unwrap();
        assert_eq!(found, ["10.9.0.9".parse::<IpAddr>().unwrap()]);
    }
}
