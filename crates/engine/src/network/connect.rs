//! `network connect` and `network disconnect`: what a container is on changes, at once or for its next start.
//!
//! Its record says what is, so it is written when the link is made, and when it is gone. Whoever is killed
//! before leaves a link that the record does not know: the next change takes it away, or the container's end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use model::container::{Membership, NetworkMode};
use model::network::Attachment;
use model::{ContainerId, NameOrId, NetworkId};
use net::address::{BadLinkName, Family, LinkName};
use net::endpoint::{self, EndpointPlan, Inside, Way};
use net::nft::PortRule;
use net::{links, names, parent};
use shim::Asked;
use sys::failpoint::Point;
use sys::rootless::networks::Networks;

use super::error::NetworkError;
use super::moving::{kept, kept_of};
use super::record::Known;
use super::seat::{LinkNames, check_place, inside_name};
use super::{net_error, ways};
use crate::container::Container;
use crate::guard::call_error;
use crate::naming::has_no_links;
use crate::ports::Publication;
use crate::record::{Endpoint, Links};
use crate::{Engine, EngineError, etc_files};

/// How much of a file that a container writes as well is read.
const MAX_SHORT: u64 = 1 << 20;

impl Engine {
    /// Connects a container to a network, at once if it runs.
    ///
    /// # Errors
    /// There is no such network or container, it is on that already, or cannot have what it asks for.
    pub fn network_connect(
        &self,
        network: &str,
        who: &NameOrId,
        place: Attachment,
    ) -> Result<(), EngineError> {
        let (_lock, container) = self.lock(&self.find(who)?.id)?;
        let ground = self.ground_of_live(&container)?;
        self.at_networks(ground.as_ref(), || self.connect_here(network, container, place))
    }

    /// Where a container's links are, if it runs: one that does not has none.
    fn ground_of_live(&self, container: &Container) -> Result<Option<Networks>, EngineError> {
        if self.life(container)?.is_running() {
            return self.ground_for_networks();
        }
        Ok(None)
    }

    fn connect_here(
        &self,
        network: &str,
        mut container: Container,
        place: Attachment,
    ) -> Result<(), EngineError> {
        let known = self.network(network)?;
        refuse_users_default(&container, &known)?;
        let spec = &container.record.spec.network;
        match &spec.mode {
            NetworkMode::Host => return Err(NetworkError::HostNetwork.into()),
            NetworkMode::Container(_) => return Err(NetworkError::SharedNetwork.into()),
            NetworkMode::None if spec.membership == Membership::Kept => {
                return Err(NetworkError::NoNetwork.into());
            }
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Named(_) => {}
        }
        check_place(&known, &place)?;
        if has_no_links(&container.record, &place) {
            return Err(NetworkError::NoNames(known.name).into());
        }
        if self.place_on(&container, &known).is_some() {
            self.make_good(&mut container, None)?;
            let (container, network) = (container.name().to_owned(), known.name);
            return Err(NetworkError::AlreadyOn { container, network }.into());
        }
        let place = Attachment { network: known.name.clone(), ..place };
        let before = container.clone();
        container.record.spec.network.join(place.clone());
        if !self.life(&container)?.is_running() {
            return self.save(&container);
        }
        self.connect_live((&before, &mut container), &known, &place)?;
        self.tell_member("connect", &known, &container.id);
        Ok(())
    }

    /// Takes a container from a network, at once if it runs.
    ///
    /// # Errors
    /// There is no such network or container, or it is not on that.
    pub fn network_disconnect(&self, network: &str, who: &NameOrId) -> Result<(), EngineError> {
        let (_lock, container) = self.lock(&self.find(who)?.id)?;
        let ground = self.ground_of_live(&container)?;
        self.at_networks(ground.as_ref(), || self.disconnect_here(network, container))
    }

    fn disconnect_here(&self, network: &str, mut container: Container) -> Result<(), EngineError> {
        let known = self.network(network)?;
        let id = container.id;
        let spec = &mut container.record.spec.network;
        match spec.mode {
            NetworkMode::Host => return Err(NetworkError::HostNetwork.into()),
            NetworkMode::Container(_) => return Err(NetworkError::SharedNetwork.into()),
            NetworkMode::None if known.name == "none" && spec.membership == Membership::Kept => {
                spec.membership = Membership::Left;
                return self.save(&container);
            }
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Named(_) => {}
        }
        let Some(place) = self.place_on(&container, &known) else {
            self.make_good(&mut container, Some(&known.id))?;
            return Err(NetworkError::NotOn { container: id, network: known.name }.into());
        };
        container.record.spec.network.leave(&place);
        if self.life(&container)?.is_running() {
            self.disconnect_live(&mut container, &known)?;
            self.tell_member("disconnect", &known, &id);
        } else {
            self.save(&container)?;
        }
        Ok(self.store().addresses().end(&known.id, &id)?)
    }

    /// By what name a container is to be on a network, if it is.
    fn place_on(&self, container: &Container, known: &Known) -> Option<String> {
        let is = |typed: &str| {
            let same = typed == known.name || (typed == "default" && known.name == super::BRIDGE);
            same || self.network(typed).is_ok_and(|other| other.id == known.id)
        };
        let places = container.record.spec.network.places();
        places.into_iter().map(|place| place.network).find(|typed| is(typed))
    }

    /// Does what a change that was killed has left undone, before another is told that nothing is to be done.
    fn make_good(
        &self,
        container: &mut Container,
        left: Option<&NetworkId>,
    ) -> Result<(), EngineError> {
        if !self.life(container)?.is_running() {
            return Ok(());
        }
        let netns = self.network_of(container)?;
        let inside = Inside::of(&netns).map_err(net_error)?;
        let places = places_of(container);
        self.settle_places(container, places, &inside, left)
    }

    fn connect_live(
        &self,
        (before, container): (&Container, &mut Container),
        known: &Known,
        place: &Attachment,
    ) -> Result<(), EngineError> {
        let netns = self.network_of(container)?;
        let inside = Inside::of(&netns).map_err(net_error)?;
        let mut places = places_of(container);
        if places.is_empty() && sys::rootless::is_member() && kept_of(container).is_none() {
            return Err(NetworkError::UsersLeft(container.name().to_owned()).into());
        }
        self.remove_strange_links((&container.id, &inside), &places)?;
        let mut link_names = LinkNames::of(places.iter());
        place.link_name().map_or(Ok(()), |name| link_names.keep(name))?;
        // The one that was looked at, whatever its name means by now.
        let sought = Attachment { network: known.id.to_string(), ..place.clone() };
        let end = |_: &EngineError| {
            let _ = self.store().addresses().end(&known.id, &container.id);
        };
        let mut seat = self.seat(container, &sought, &mut link_names).inspect_err(end)?;
        let plan = EndpointPlan { ways: Vec::new(), ..seat.plan.clone() };
        let made = EngineError::step(Point::ConnectLeased)
            .and_then(|()| endpoint::add(&plan, &inside).map_err(net_error));
        let made = made.and_then(|link| {
            seat.linked(link.as_ref());
            super::lead_out(&container.id, &seat.endpoint.addresses())?;
            places.push(seat.endpoint.clone());
            EngineError::step(Point::ConnectLinked)?;
            self.settle_places(container, places, &inside, None)
        });
        let Err(error) = made else { return Ok(()) };
        // This error is the one to tell; what cannot be taken back goes with the next change.
        if let Some(links) = &seat.endpoint.links {
            let _ = self.remove_link(links, &inside, &places_of(before));
        }
        let _ = self.settle_again((before, container), &inside);
        let _ = self.store().addresses().end(&known.id, &container.id);
        Err(error)
    }

    /// Everything is as it was before a change that failed.
    fn settle_again(
        &self,
        (before, failed): (&Container, &Container),
        inside: &Inside<'_>,
    ) -> Result<(), EngineError> {
        self.save(before)?;
        let ways = ways_of(endpoint_of(before));
        let led = ways.and_then(|ways| endpoint::lead_out(inside, &ways).map_err(net_error));
        let again = self.take_again(before, failed);
        let published = self.publish_moved((failed, before), &Publication::default(), None);
        self.leave_about(before, endpoint_of(before));
        self.rewrite_hosts(failed, before);
        // What the change has reserved can be had by others.
        let leased = self.lease_ports(&before.id, ports_of(before)).map_err(net_error);
        all([led, again, published, leased, self.name_anew(before, endpoint_of(before))])
    }

    fn disconnect_live(&self, container: &mut Container, known: &Known) -> Result<(), EngineError> {
        let netns = self.network_of(container)?;
        let inside = Inside::of(&netns).map_err(net_error)?;
        let mut places = places_of(container);
        let mut index = None;
        for (number, place) in places.iter().enumerate() {
            if self.network_id_of(place)? == known.id {
                index = Some(number);
            }
        }
        // It was put on it after its start failed to be; nothing is there.
        let Some(index) = index else { return self.save(container) };
        let gone = places.remove(index);
        match &gone.links {
            Some(links) => self.remove_link(links, &inside, &places)?,
            // Of an earlier dhow, which gave one link to each.
            None => self.remove_links(&container.id, |name| !is_noted(&places, name))?,
        }
        EngineError::step(Point::DisconnectUnlinked)?;
        self.settle_places(container, places, &inside, Some(&known.id))
    }

    /// Writes down where a container that runs is now, and makes all that depends on it so: its way out, its
    /// ports, its names, and what its shim knows. What fails keeps nothing else from being done; done again, it
    /// does what is missing. The address of the network that it has left is free when nothing leads there.
    fn settle_places(
        &self,
        container: &mut Container,
        places: Vec<Endpoint>,
        inside: &Inside<'_>,
        left: Option<&NetworkId>,
    ) -> Result<(), EngineError> {
        let before = container.clone();
        let mut main = ways::arranged(places);
        if let Some(main) = &mut main {
            main.host4 = host4_of(&before);
        }
        let moved = self.move_ports(&before, main.as_mut());
        if let (Err(_), Some(main)) = (&moved, main.as_mut()) {
            main.ports.clear();
        }
        let named = self.name_anew(container, main.as_ref());
        if let Some(start) = container.record.last_start_mut() {
            start.endpoint.clone_from(&main);
            start.kept = kept(&before, main.as_ref());
        }
        if let Err(error) = self.save(container) {
            *container = before;
            return Err(error);
        }
        sys::failpoint::pass(Point::ConnectSaved);
        let (there, withdrawn) = match self.withdraw(&before, container, left.is_some()) {
            Ok(there) => (Some(there), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let isolated = all([withdrawn, named]);
        let ended = match (left, &isolated) {
            (Some(left), Ok(())) => {
                self.store().addresses().end(left, &container.id).map_err(EngineError::from)
            }
            (Some(_), Err(_)) | (None, _) => Ok(()),
        };
        let ways = ways_of(main.as_ref());
        let led = ways.and_then(|ways| endpoint::lead_out(inside, &ways).map_err(net_error));
        let (publication, moved) = match moved {
            Ok(publication) => (publication, Ok(())),
            Err(error) => (Publication::default(), Err(error)),
        };
        let published = self.publish_moved((&before, container), &publication, there);
        let leased = self.lease_moved(&before, container);
        self.leave_about(container, main.as_ref());
        self.rewrite_hosts(&before, container);
        all([isolated, moved, ended, led, published, leased])
    }

    /// What is published no more can be had by others.
    fn lease_moved(&self, before: &Container, after: &Container) -> Result<(), EngineError> {
        let (had, has) = (ports_of(before), ports_of(after));
        if had == has {
            return Ok(());
        }
        self.lease_ports(&after.id, has).map_err(net_error)
    }

    /// Whether ports are published at a place.
    pub(super) fn has_ports(&self, place: &Endpoint) -> Result<bool, EngineError> {
        let Some(network) = &place.network else { return Ok(true) };
        Ok(self.network(&network.id.to_string())?.has_ports()?)
    }

    /// What others call it where it is now, and whose names its guardian knows.
    pub(crate) fn name_anew(
        &self,
        container: &Container,
        main: Option<&Endpoint>,
    ) -> Result<(), EngineError> {
        self.put_own_names(container, main)?;
        let resolver = self.resolver(container, main)?;
        let Some(mut shim) = self.shim(&container.id)? else { return Ok(()) };
        let told = shim.set_resolver(resolver.clone(), &[]);
        match told.map_err(|error| call_error(&container.id, error))? {
            Asked::No => self.begin_naming(container, main, (&mut shim, resolver)),
            Asked::Yes => self.finish_naming(container, main),
            Asked::Unknown => Ok(()),
        }
    }

    /// The lines of its own names change, and nothing that others have written. The container writes that file
    /// as well: one that it has made unusable is passed over.
    fn rewrite_hosts(&self, before: &Container, after: &Container) {
        let path = self.paths().container_dir(&after.id).join("hosts");
        let Some(text) = short_text(&path) else { return };
        let lines = |container: &Container| {
            let record = &container.record;
            let places = endpoint_of(container).into_iter().flat_map(Endpoint::all);
            etc_files::own_lines(&record.resolved.hostname, &record.spec.network, places)
        };
        let new = etc_files::exchanged(&text, &lines(before), &lines(after));
        if new != text {
            let _ = write_in_place(&path, &new);
        }
    }

    /// Removes the link of a place that is none of these any more.
    fn remove_link(
        &self,
        links: &Links,
        inside: &Inside<'_>,
        places: &[Endpoint],
    ) -> Result<(), EngineError> {
        let Some(host) = &links.host else { return self.leave_parents(inside, places) };
        let host: Result<LinkName, BadLinkName> = host.parse();
        links::delete(&self.names(), &[host.map_err(net_error)?]).map_err(net_error)
    }

    /// Removes what a container has on links of the host's own where none of these places is.
    fn leave_parents(&self, inside: &Inside<'_>, places: &[Endpoint]) -> Result<(), EngineError> {
        let on_parent = places.iter().filter(|place| place.is_on_parent());
        let kept = on_parent.map(|place| self.network_id_of(place));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        parent::leave_all_but(&self.names(), inside, &kept).map_err(net_error)
    }

    /// Links of a container that no place of it has, if all its places say which they have.
    fn remove_strange_links(
        &self,
        (id, inside): (&ContainerId, &Inside<'_>),
        places: &[Endpoint],
    ) -> Result<(), EngineError> {
        if places.iter().any(|place| place.links.is_none()) {
            return Ok(());
        }
        self.leave_parents(inside, places)?;
        self.remove_links(id, |name| !is_noted(places, name))
    }

    fn remove_links(
        &self,
        id: &ContainerId,
        is_doomed: impl Fn(&LinkName) -> bool,
    ) -> Result<(), EngineError> {
        let all = links::list(&self.names()).map_err(net_error)?;
        let own = all.into_iter().map(|link| link.name);
        let doomed: Vec<LinkName> =
            own.filter(|name| names::is_link_of(name.as_str(), id) && is_doomed(name)).collect();
        links::delete(&self.names(), &doomed).map_err(net_error)
    }
}

/// An ordinary user's default network goes with no other.
fn refuse_users_default(container: &Container, known: &Known) -> Result<(), NetworkError> {
    let mut places = container.record.spec.network.places();
    places.push(Attachment::of(&known.name));
    if places.iter().any(super::is_users_default) {
        return Err(NetworkError::UsersDefault);
    }
    Ok(())
}

/// The first error of several things that do not keep each other from being done.
fn all<const N: usize>(done: [Result<(), EngineError>; N]) -> Result<(), EngineError> {
    done.into_iter().collect()
}

/// The text of a file that a container writes as well, unless there is none or it is longer than those are.
pub(crate) fn short_text(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MAX_SHORT + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_SHORT).then_some(text)
}

/// The container has this very file mounted. Emptied first, it would be read so by who looks for a name just then,
/// and some file systems begin to write such a file to the disk when it is closed.
pub(crate) fn write_in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}

/// Whether one of these places says that a link is its own.
fn is_noted(places: &[Endpoint], name: &LinkName) -> bool {
    let host = |place: &Endpoint| place.links.as_ref().and_then(|links| links.host.clone());
    places.iter().filter_map(host).any(|host| host == name.as_str())
}

/// What is published of a container at its main place.
pub(super) fn rules_of(container: &Container, main: Option<&Endpoint>) -> Vec<PortRule> {
    main.map(|main| crate::ports::rules(container, main)).unwrap_or_default()
}

pub(super) fn endpoint_of(container: &Container) -> Option<&Endpoint> {
    container.record.last_start()?.endpoint.as_ref()
}

pub(super) fn ports_of(container: &Container) -> &[crate::record::PublishedPort] {
    endpoint_of(container).map_or(&[], |endpoint| &endpoint.ports)
}

/// Where an ordinary user's containers reach the host is the same on all networks.
fn host4_of(container: &Container) -> Option<Ipv4Addr> {
    let there = endpoint_of(container).and_then(|place| place.host4);
    there.or_else(|| kept_of(container)?.host4)
}

fn places_of(container: &Container) -> Vec<Endpoint> {
    endpoint_of(container).cloned().map(Endpoint::into_all).unwrap_or_default()
}

/// Which links lead out, and to where.
fn ways_of(main: Option<&Endpoint>) -> Result<Vec<(LinkName, Way)>, EngineError> {
    let places: Vec<&Endpoint> = main.into_iter().flat_map(Endpoint::all).collect();
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let Some(place) = ways::out(&places, family).and_then(|index| places.get(index)) else {
            continue;
        };
        if let Some(way) = place.way(family) {
            let link: Result<LinkName, BadLinkName> = inside_name(place).parse();
            found.push((link.map_err(net_error)?, way));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Its link is led out by again when the other's is gone.
    #[test]
    fn a_link_of_an_earlier_dhow_can_be_the_way_out() {
        let ways = |links: Option<Links>| {
            let place = ways::tests::place("a", 0, ("10.0.0.1", Some("fd00::1")));
            let ways = ways_of(Some(&Endpoint { links, ..place })).unwrap();
            ways.iter().map(|(link, way)| format!("{link} {:?}", way.family())).collect::<Vec<_>>()
        };
        assert_eq!(ways(None), ["eth0 V4", "eth0 V6"]);
        let named = Links { inside: "eth1".to_owned(), host: None };
        assert_eq!(ways(Some(named)), ["eth1 V4", "eth1 V6"]);
        assert!(ways_of(None).unwrap().is_empty());
    }

    #[test]
    fn what_is_written_in_its_place_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "1.2.3.4 long\n").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        for text in ["::1 a\n", "::1 a\n10.0.0.2 b\n"] {
            write_in_place(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        assert!(write_in_place(&dir.path().join("none"), b"x").is_err(), "it makes none");
    }
}
