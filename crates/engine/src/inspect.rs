//! `inspect`: a row, its record and how the container lives become a view. Lists have theirs from here as well.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use model::container::{Membership, NetworkMode, Source};
use model::health::Health;
use model::{ContainerId, ImageId, Life, NameOrId, NetworkId};
use shim::{Liveness, Watch};

use crate::container::Container;
use crate::network::is_built_in;
use crate::record::{Begun, Endpoint, NO_MAC, NamedMount};
use crate::resolve::Checkup;
use crate::view::{
    ContainerView, EndpointView, FilesView, MountView, PublishedView, RemovalProgress, SizeView,
    VolumePlace,
};
use crate::{Engine, EngineError};

impl Engine {
    /// Everything about one container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn inspect(&self, who: &NameOrId) -> Result<ContainerView, EngineError> {
        let container = self.find(who)?;
        let mut watch = Watch::new(self.shim_paths(&container.id));
        let id = &container.id;
        let liveness = self.liveness_at(&mut watch, id)?;
        let (begun, checkup) =
            (container.record.begun(), container.record.resolved.health.as_ref());
        let lives = self.lives(begun.as_ref(), checkup, (id, &mut watch), liveness)?;
        let mut view = self.view(container, lives, &mut Names::default())?;
        if view.life.is_running() {
            view.execs = self.execs_of(&view.id)?;
        }
        Ok(view)
    }

    /// How much a container's files take.
    ///
    /// # Errors
    /// There is no such container.
    pub fn size(&self, who: &NameOrId) -> Result<SizeView, EngineError> {
        let container = self.find(who)?;
        let usage = self.store().container_usage(&container.id)?;
        let written = usage.written.ok();
        Ok(SizeView { written, total: usage.layers.saturating_add(written.unwrap_or(0)) })
    }

    /// How a container lives and is at this moment.
    pub(crate) fn lives(
        &self,
        begun: Option<&Begun>,
        checkup: Option<&Checkup>,
        (id, watch): (&ContainerId, &mut Watch),
        liveness: Liveness,
    ) -> Result<Lives, EngineError> {
        let life = self.life_at(begun, (id, watch), liveness)?;
        let health = self.health(checkup, (id, watch), &life)?;
        Ok(Lives { life, health })
    }

    /// The view of a container that lives like this.
    pub(crate) fn view(
        &self,
        container: Container,
        Lives { life, health }: Lives,
        names: &mut Names,
    ) -> Result<ContainerView, EngineError> {
        let id = container.id;
        let endpoint = self.endpoint(&container, &life);
        Ok(ContainerView {
            id,
            name: container.row.name.clone(),
            created: timestamp(container.row.created_ns),
            image: container.record.image,
            image_name: names.image(self, &container)?,
            removal: RemovalProgress::NotAsked,
            health,
            restarts: restarts(&container, &life),
            again_failed: container
                .record
                .last_start()
                .and_then(|start| start.again_failed.clone()),
            mounts: container.record.mounts.iter().map(|mount| self.mount_view(mount)).collect(),
            networks: self.networks_of(&container, endpoint, names)?,
            ports: endpoint.map(published).unwrap_or_default(),
            files: self.files(&container, &life)?,
            // A list asks no shim: one that does not answer would hold up all.
            execs: Vec::new(),
            profile: container.record.profile().map(str::to_owned),
            labels: container.record.labels,
            life,
            spec: container.record.spec,
            resolved: container.record.resolved,
        })
    }

    /// The place on the bridge that a container has right now.
    fn endpoint<'c>(&self, container: &'c Container, life: &Life) -> Option<&'c Endpoint> {
        let start = container.record.last_start().filter(|_| life.is_running())?;
        start.endpoint.as_ref()
    }

    fn networks_of(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        names: &mut Names,
    ) -> Result<BTreeMap<String, EndpointView>, EngineError> {
        let network = &container.record.spec.network;
        let alone = match &network.mode {
            NetworkMode::Host => Some("host"),
            NetworkMode::None if network.membership == Membership::Kept => Some("none"),
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Named(_) => None,
            NetworkMode::Container(_) => return Ok(BTreeMap::new()),
        };
        if let Some(name) = alone {
            let mac = network.mac_address;
            let id = names.network(self, name)?;
            let view = EndpointView { mac, network: id, ..EndpointView::default() };
            return Ok(BTreeMap::from([(name.to_owned(), view)]));
        }
        let mut views = BTreeMap::new();
        for place in network.places() {
            let typed = place.network.as_str();
            let joined = endpoint.and_then(|all| self.place_typed(all, typed));
            let wished = EndpointView { mac: place.mac, ..EndpointView::default() };
            let mut view = joined.map_or(wished, endpoint_view);
            // A network that was named by its id has a name while it is known.
            let name = joined.map_or(typed, Endpoint::network_name).to_owned();
            view.network = match joined.and_then(|joined| joined.network.as_ref()) {
                Some(joined) => Some(joined.id),
                None => names.network(self, &name)?,
            };
            view.asked = Some(place);
            views.insert(name, view);
        }
        Ok(views)
    }

    /// The place on the network that was typed: a name may be the beginning of another's id.
    fn place_typed<'e>(&self, endpoint: &'e Endpoint, typed: &str) -> Option<&'e Endpoint> {
        if let Some(named) = endpoint.all().find(|place| place.network_name() == typed) {
            return Some(named);
        }
        let id = self.network(typed).ok()?.id;
        endpoint.all().find(|place| place.network.as_ref().is_some_and(|on| on.id == id))
    }

    fn mount_view(&self, named: &NamedMount) -> MountView {
        let place = |name: &String| VolumePlace {
            name: name.clone(),
            path: self.paths().volume_data(name),
        };
        MountView {
            mount: named.mount.clone(),
            volume: named.volume.as_ref().map(place),
            image: named.image,
        }
    }

    fn files(&self, container: &Container, life: &Life) -> Result<FilesView, EngineError> {
        let owner = match self.network_owner(container) {
            Err(EngineError::NoSuchContainer(_) | EngineError::Ambiguous(_)) => None,
            // It has these files all the same.
            Err(EngineError::Record { id, .. }) => Some(id),
            owner => owner?.map(|owner| owner.id),
        };
        let dir = self.paths().container_dir(&owner.unwrap_or(container.id));
        let started = container.record.last_start().is_some();
        let file = |name: &str| if started { dir.join(name) } else { PathBuf::new() };
        Ok(FilesView {
            resolv_conf: file("resolv.conf"),
            hostname: file("hostname"),
            hosts: file("hosts"),
            log: self.shown_log(container),
            netns: life
                .pid()
                .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")))
                .unwrap_or_default(),
        })
    }
}

/// How often its policy has started a container since somebody did; the start that it waits for
/// counts (Docker).
fn restarts(container: &Container, life: &Life) -> u32 {
    let waits = u32::from(matches!(life, Life::Restarting { .. }));
    container.record.last_start().map_or(0, |start| start.restarts.saturating_add(waits))
}

pub(crate) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}

pub(crate) fn endpoint_view(endpoint: &Endpoint) -> EndpointView {
    EndpointView {
        network: None,
        ipv4: endpoint.v4().map(|address| (address, endpoint.ipv4_prefix)),
        gateway4: Some(endpoint.gateway4).filter(|gateway| !gateway.is_unspecified()),
        ipv6: endpoint.ipv6.map(|address| (address, endpoint.ipv6_prefix)),
        gateway6: endpoint.gateway6,
        mac: Some(endpoint.mac).filter(|mac| *mac != NO_MAC),
        asked: None,
    }
}

fn published(endpoint: &Endpoint) -> Vec<PublishedView> {
    let view = |port: &crate::record::PublishedPort| PublishedView {
        container: port.container,
        host_ip: port.host_ip,
        host_port: port.host_port,
        count: port.count,
    };
    endpoint.ports.iter().map(view).collect()
}

/// What a view tells that its row does not: what the shim and the kernel say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lives {
    pub(crate) life: Life,
    pub(crate) health: Option<Health>,
}

/// What names mean at the moment: each is looked up once a listing.
#[derive(Debug, Default)]
pub(crate) struct Names {
    images: BTreeMap<(String, ImageId), String>,
    networks: BTreeMap<String, Option<NetworkId>>,
}

impl Names {
    /// The name as typed while it still means the same image, else the short id (Docker).
    fn image(&mut self, engine: &Engine, container: &Container) -> Result<String, EngineError> {
        let typed = match &container.record.spec.source {
            Source::Image(typed) => typed,
            Source::Directory(path) | Source::DirectoryOverlay(path) => {
                return Ok(path.display().to_string());
            }
        };
        let Some(id) = container.record.image else { return Ok(typed.clone()) };
        let key = (typed.clone(), id);
        if let Some(name) = self.images.get(&key) {
            return Ok(name.clone());
        }
        let current = engine.image_id(typed)?;
        let name = if current == Some(id) { typed.clone() } else { id.short() };
        self.images.insert(key, name.clone());
        Ok(name)
    }

    /// The network of that name; `None` if there is none (any more).
    fn network(&mut self, engine: &Engine, name: &str) -> Result<Option<NetworkId>, EngineError> {
        if let Some(id) = self.networks.get(name) {
            return Ok(*id);
        }
        let id = match engine.store().networks().by_name(name)? {
            Some(row) => Some(row.id),
            // Nobody has asked for it yet. Where its id cannot be written down (a full disk) none is shown:
            // whoever looks at a container is not to be kept from it.
            None if is_built_in(name) => engine.built_in(name).ok(),
            None => None,
        };
        self.networks.insert(name.to_owned(), id);
        Ok(id)
    }
}
