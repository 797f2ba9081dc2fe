//! What the verbs tell whoever looks on: Docker's events, written into the journal.
//!
//! A journal that cannot be written keeps no verb from its work, so nothing here fails. What its
//! shim sees first (the start, signals, the end, execs that end, the OOM killer) is told by it;
//! for that it is told here what its container is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::container::Source;
use model::mount::{Access, MountSource};
use model::{ContainerId, Event, EventKind, ImageId};
use shim::{About, Journal, Use};

use crate::Engine;
use crate::container::{Container, now};
use crate::network::Known;
use crate::record::Endpoint;

/// Attributes beside those that each event of a kind has.
pub(crate) type More<'a> = &'a [(&'a str, String)];

impl Engine {
    fn append(&self, events: &[Event]) {
        let _ = Journal::of(self.paths().run()).append(events);
    }

    /// Tells something of a container.
    pub(crate) fn tell(&self, container: &Container, action: &str, more: More<'_>) {
        self.append(&[of_container(container, action, more, now())]);
    }

    /// Tells something of an image. Some actions are on a reference, not on an id.
    pub(crate) fn tell_image(&self, action: &str, actor: String, more: More<'_>) {
        self.append(&[event(EventKind::Image, action, actor, owned(more), now())]);
    }

    /// Tells something of a volume.
    pub(crate) fn tell_volume(&self, action: &str, name: &str, more: More<'_>) {
        let mut more = owned(more);
        more.insert("driver".to_owned(), crate::volume::DRIVER.to_owned());
        self.append(&[event(EventKind::Volume, action, name.to_owned(), more, now())]);
    }

    /// Tells something of a network.
    pub(crate) fn tell_network(&self, action: &str, known: &Known) {
        let pairs = [("name", known.name.clone()), ("type", known.record.driver.clone())];
        self.append(&[event(
            EventKind::Network,
            action,
            known.id.to_string(),
            owned(&pairs),
            now(),
        )]);
    }

    /// Tells that a container has come to a network, or gone from it.
    pub(crate) fn tell_member(&self, action: &str, known: &Known, container: &ContainerId) {
        let pairs = [
            ("container", container.to_string()),
            ("name", known.name.clone()),
            ("type", known.record.driver.clone()),
        ];
        let actor = known.id.to_string();
        self.append(&[event(EventKind::Network, action, actor, owned(&pairs), now())]);
    }

    /// Tells that what nobody used is gone, and how many bytes it took.
    pub(crate) fn tell_prune(&self, kind: EventKind, reclaimed: u64) {
        let more = owned(&[("reclaimed", reclaimed.to_string())]);
        self.append(&[event(kind, "prune", String::new(), more, now())]);
    }

    /// Leaves what a container is where its shim finds it.
    pub(crate) fn leave_about(&self, container: &Container, endpoint: Option<&Endpoint>) {
        let _ = self.about(container, endpoint).write(&self.shim_paths(&container.id));
    }

    fn about(&self, container: &Container, endpoint: Option<&Endpoint>) -> About {
        let mut uses = volumes(container);
        for place in endpoint.into_iter().flat_map(Endpoint::all) {
            // Where the default network's id cannot be found out, its event goes untold.
            let Ok(id) = self.network_id_of(place) else { continue };
            let attributes = owned(&[
                ("container", container.id.to_string()),
                ("name", place.network_name().to_owned()),
                ("type", "bridge".to_owned()),
            ]);
            uses.push(Use {
                kind: EventKind::Network,
                actor: id.to_string(),
                begins: attributes.clone(),
                ends: attributes,
            });
        }
        About { attributes: attributes(container), uses }
    }
}

/// Docker's attribute of an image's events: its name, if it has one.
pub(crate) fn image_name(id: &ImageId, tags: &[model::Reference]) -> Vec<(&'static str, String)> {
    let name = tags.first().map_or_else(|| id.to_string(), model::Reference::familiar);
    vec![("name", name)]
}

fn of_container(container: &Container, action: &str, more: More<'_>, at: Timestamp) -> Event {
    let mut attributes = attributes(container);
    attributes.extend(owned(more));
    event(EventKind::Container, action, container.id.to_string(), attributes, at)
}

/// Labels first: a label cannot pass for the name or the image.
fn attributes(container: &Container) -> BTreeMap<String, String> {
    let mut attributes = container.record.resolved.labels.clone();
    let image = match &container.record.spec.source {
        Source::Image(name) => name.clone(),
        Source::Directory(path) | Source::DirectoryOverlay(path) => path.display().to_string(),
    };
    attributes.insert("image".to_owned(), image);
    attributes.insert("name".to_owned(), container.name().to_owned());
    attributes
}

fn volumes(container: &Container) -> Vec<Use> {
    let used = |named: &crate::record::NamedMount| {
        let MountSource::Volume { .. } = named.mount.source else { return None };
        let name = named.volume.clone()?;
        let ends = owned(&[
            ("container", container.id.to_string()),
            ("driver", crate::volume::DRIVER.to_owned()),
        ]);
        let mut begins = ends.clone();
        begins.extend(owned(&[
            ("destination", named.mount.target.display().to_string()),
            ("propagation", String::new()),
            ("read/write", (named.mount.access == Access::ReadWrite).to_string()),
        ]));
        Some(Use { kind: EventKind::Volume, actor: name, begins, ends })
    };
    container.record.mounts.iter().filter_map(used).collect()
}

fn event(
    kind: EventKind,
    action: &str,
    actor: String,
    attributes: BTreeMap<String, String>,
    at: Timestamp,
) -> Event {
    Event { kind, action: action.to_owned(), actor, attributes, at }
}

fn owned(more: More<'_>) -> BTreeMap<String, String> {
    more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}
