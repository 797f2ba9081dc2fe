//! Everything that a container's init needs, made before it exists: its root file system as a
//! detached mount, its users, its files, its place on the network, its filter.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroup::Ability;
use model::ContainerId;
use model::container::{Removal, Source};
use model::mount::{Access, MissingSource, MountSource};
use oci_spec::runtime::Spec;
use shim::protocol::{FdRole, NamespaceKind};
use store::container_layer::{ContainerLayer, Persistence};
use sys::failpoint::Point;
use sys::mount::{Attributes, Depth, Propagation};
use sys::root::{Final, Root};
use sys::users::{self, Databases};

use crate::bundle::{self, Attached, AttachedMount, UserIds};
use crate::caller::Caller;
use crate::container::Container;
use crate::idmap::{IdMapped, Owner, showing};
use crate::limits::Numbered;
use crate::naming::{Naming, etc_sources};
use crate::ports::Publication;
use crate::record::{Endpoint, NamedMount, Record};
use crate::start::Prepared;
use crate::trees::{mounted, trees, with_host_ids};
use crate::userns::Users;
use crate::volume_source::VolumeFiles;
use crate::{Engine, EngineError, cdi, processors, propagation, security, selinux};

/// What `systemd-detect-virt`, installers and test runners look for.
const MARK: &str = "/.dockerenv";

/// For `map_err`: what the store says.
pub(crate) fn store_error(error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Store(Box::new(error))
}

/// What a container's start has made or taken outside of the container.
struct Surroundings {
    /// Of other containers, and its own on a network.
    namespaces: Vec<(FdRole, OwnedFd)>,
    /// Its place on a bridge.
    endpoint: Option<Endpoint>,
    /// How it asks for names.
    naming: Option<Naming>,
    /// What it publishes.
    network: Publication,
    /// Whose network it shares.
    owner: Option<Container>,
    /// Shared memory of the container whose IPC namespace it joins.
    shm: Option<OwnedFd>,
    /// Its user namespace.
    users: Option<Users>,
}

/// What a root file system is made of.
enum Base {
    /// A writable layer on others.
    Layer(ContainerLayer),
    /// A directory of the host.
    Directory(PathBuf),
}

impl Base {
    /// Mounts it nowhere, with the ids of a user namespace if there is one.
    fn mount(
        &self,
        persistence: Persistence,
        users: Option<&Users>,
    ) -> Result<OwnedFd, EngineError> {
        match (self, users) {
            (Self::Layer(layer), None) => layer.mount(persistence).map_err(store_error),
            (Self::Layer(layer), Some(users)) => layer.mount_shown(persistence, |tree, path| {
                users.show(&tree, Depth::Single, path)?;
                Ok::<_, EngineError>(tree)
            }),
            (Self::Directory(path), users) => {
                let cannot =
                    |errno: sys::Errno| EngineError::file("clone the mount of", path)(errno.into());
                let tree = sys::mount::clone_tree(path.as_path(), Depth::Recursive);
                let tree = tree.map_err(cannot)?;
                // systemd shares every mount: the container's would be the host's as well, and the
                // kernel makes such a one nobody's root.
                let private = Attributes::propagation(Propagation::Private);
                sys::mount::set_attr(&tree, Depth::Recursive, &private).map_err(cannot)?;
                users.map_or(Ok(()), |users| users.show(&tree, Depth::Recursive, path))?;
                Ok(tree)
            }
        }
    }
}

/// What the user mounts, found.
#[derive(Default)]
struct Sources {
    mounts: Vec<AttachedMount>,
    /// Those that are mounts already, by their place in the container.
    trees: Vec<(PathBuf, OwnedFd)>,
}

impl Engine {
    /// Prepares a start. A container on another's network takes that one's name, which its record has from then on, as in Docker.
    pub(crate) fn prepare(&self, container: &mut Container) -> Result<Prepared, EngineError> {
        let slice = self.slice_for(container.record.spec.limits.cgroup_parent.as_deref())?;
        let mut around = self.surroundings(container)?;
        if let Some(owner) = &around.owner {
            let record = &mut container.record;
            record.resolved.hostname.clone_from(&owner.record.resolved.hostname);
            record.spec.network.domainname.clone_from(&owner.record.spec.network.domainname);
        }
        match self.spec_and_fds(container, &mut around, slice.as_deref()) {
            Ok((spec, fds)) => {
                let Surroundings { endpoint, network, naming, .. } = around;
                let mounted = mounted(&container.record, &spec, &fds)?;
                let resolver = naming.map(|naming| Box::new(naming.resolver));
                Ok(Prepared { spec, fds, endpoint, network, mounted, slice, resolver })
            }
            Err(error) => {
                // While the sockets are still ours, or the port's next owner would lose it.
                let _ = self.unpublish(&around.network);
                Err(error)
            }
        }
    }

    /// What other containers give comes first: they may end.
    fn surroundings(&self, container: &Container) -> Result<Surroundings, EngineError> {
        let mut namespaces = self.joined_namespaces(container)?;
        let owner = self.network_owner(container)?;
        let shm = self.joined_shm(container)?;
        let mut users = self.users(container)?;
        let netns = users.as_mut().and_then(|users| users.net.take());
        let place = self.connect(container, netns)?;
        let naming = self.naming(container, &place)?;
        namespaces.extend(place.netns.map(|netns| (FdRole::Namespace(NamespaceKind::Net), netns)));
        let (network, endpoint) = match place.joined {
            None => (Publication::default(), None),
            Some((joined, mut endpoint)) => {
                let at = (&joined, place.ground);
                (self.publish(container, at, &mut endpoint)?, Some(endpoint))
            }
        };
        Ok(Surroundings { namespaces, endpoint, naming, network, owner, shm, users })
    }

    /// All but the network.
    fn spec_and_fds(
        &self,
        container: &Container,
        around: &mut Surroundings,
        slice: Option<&str>,
    ) -> Result<(Spec, Vec<(FdRole, OwnedFd)>), EngineError> {
        let record = &container.record;
        let caps = security::capabilities(&record.spec.security)?;
        let mut devices = security::devices(&record.spec.security, caps)?;
        let mut given = self.cdi(&record.spec.security.device_requests)?;
        given.check(around.users.as_ref())?;
        for node in given.nodes.drain(..) {
            cdi::put_node(&mut devices.nodes, node);
        }
        if !record.spec.security.privileged {
            devices.rules.append(&mut given.rules);
        }
        let filter = self.seccomp(&record.spec.security, caps)?;
        let (rootfs, mut user) = self.settled_rootfs(container, around.users.as_ref())?;
        user.groups.append(&mut given.groups);
        let mut sources = self.mount_sources(container, around.users.as_ref())?;
        let etc_files = self.etc_files(container, around)?;
        let labels = selinux::labels(container);
        let naming = (&*etc_files, around.owner.as_ref());
        selinux::label_files(labels, &sources.mounts, &mut sources.trees, naming)?;
        let attached = Attached {
            labels: labels.cloned(),
            apparmor: self.profile(&record.spec.security)?,
            env: given.env,
            more_mounts: given.mounts,
            hooks: given.hooks,
            user,
            id: container.id,
            cgroup: self.group_path(container, slice),
            mounts: sources.mounts,
            etc_files,
            capabilities: security::oci_capabilities(caps),
            devices: devices.nodes,
            device_rules: devices.rules,
            block_devices: Numbered::find(&record.spec.limits.block_devices)?,
            rlimits: security::rlimits(&record.spec.limits)?,
            heat_counters: processors::heat_counters(),
            systemd: Self::systemd_groups(record)?,
            users: around.users.as_ref().map(|users| users.map),
            own_groups: sys::userns::own_groups(),
            limits_tasks: !sys::rootless::is_nested() || self.hierarchies()?.can(Ability::Pids),
        };
        EngineError::step(Point::StartFiles)?;
        let spec = bundle::spec(&record.spec, &record.resolved, &attached)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let mut fds = vec![(FdRole::Rootfs, rootfs)];
        fds.append(&mut around.namespaces);
        fds.extend(around.naming.iter_mut().flat_map(Naming::take_fds));
        let shm = around.shm.take().filter(|_| !is_mounted(record, bundle::SHM));
        let user = Owner { uid: attached.user.uid, gid: attached.user.gid };
        let own = IdMapped::of(&attached.mounts, &sources.trees, user, attached.users)?;
        let shown = showing(&own, around.users.as_ref(), with_host_ids(&attached));
        fds.extend(trees(&spec, shm, sources.trees, shown)?);
        let users = around.users.take();
        fds.extend(users.map(|users| (FdRole::Namespace(NamespaceKind::User), users.user)));
        let ports = around.network.sockets.iter().map(|one| Ok((FdRole::Port, one.try_clone()?)));
        let ports = ports.collect::<std::io::Result<Vec<_>>>();
        fds.extend(ports.map_err(EngineError::file("duplicate", "a socket"))?);
        let ground = around.network.ground_fds();
        fds.extend(ground.map_err(EngineError::file("duplicate", "a network namespace"))?);
        if let Some(filter) = filter {
            fds.push((FdRole::Seccomp, security::filter_file(&filter)?));
        }
        EngineError::step(Point::StartPrepared)?;
        Ok((spec, fds))
    }

    /// The root file system with what a start needs in it, and the user whom it knows.
    fn settled_rootfs(
        &self,
        container: &Container,
        users: Option<&Users>,
    ) -> Result<(OwnedFd, UserIds), EngineError> {
        // On disk, and so with the host's ids.
        let base = self.base(container)?;
        let record = &container.record;
        let settle = || {
            let rootfs = base.mount(persistence(container), users)?;
            EngineError::step(Point::StartRootfs)?;
            let root = Root::from_fd(
                rootfs
                    .try_clone()
                    .map_err(EngineError::file("duplicate", "the root file system"))?,
            );
            let user = self.user_in(&root, &record.resolved.user, &record.spec.process.groups)?;
            mark(&root, &record.spec.source)?;
            make_working_dir(&root, &record.resolved.working_dir)?;
            Ok((rootfs, user))
        };
        match users {
            None => settle(),
            Some(users) => users.as_root(settle),
        }
    }

    /// The root file system, mounted nowhere yet.
    pub(crate) fn rootfs(&self, container: &Container) -> Result<OwnedFd, EngineError> {
        self.base(container)?.mount(persistence(container), None)
    }

    /// What a container had before it wrote anything; it may run meanwhile.
    pub(crate) fn image_files(&self, container: &Container) -> Result<Root, EngineError> {
        match self.base(container)? {
            Base::Layer(layer) => Ok(layer.lower_tree()?),
            Base::Directory(path) => Root::open(path).map_err(store_error),
        }
    }

    fn base(&self, container: &Container) -> Result<Base, EngineError> {
        let layer = match &container.record.spec.source {
            Source::Image(_) => self.store().container_layer(&container.id),
            Source::DirectoryOverlay(path) => self.store().container_layer_on(&container.id, path),
            Source::Directory(path) => return Ok(Base::Directory(path.clone())),
        };
        let layer = layer.map_err(store_error)?;
        let label = selinux::labels(container).map(|labels| labels.mount.to_string());
        Ok(Base::Layer(layer.labelled(label)))
    }

    /// Looks a user up in the files of a root.
    pub(crate) fn user_in(
        &self,
        root: &Root,
        name: &str,
        more: &[String],
    ) -> Result<UserIds, EngineError> {
        let read = |path: &str| match root.read_untrusted(path, users::MAX_FILE, Final::Follow) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.errno() == Some(sys::Errno::NOENT) => Ok(Vec::new()),
            Err(error) => {
                Err(EngineError::Invalid(format!("read {path} of the container: {error}")))
            }
        };
        let (passwd, group) = (read("etc/passwd")?, read("etc/group")?);
        let identity = users::resolve(name, &Databases { passwd: &passwd, group: &group })?;
        let mut groups = identity.groups;
        for name in more {
            let gid = users::resolve_group(name, &group)?;
            if !groups.contains(&gid) {
                groups.push(gid);
            }
        }
        // Those of the image's files give way.
        let too_many = groups.len().saturating_sub(users::MAX_GROUPS);
        groups.drain(..too_many);
        Ok(UserIds { uid: identity.uid, gid: identity.gid, groups, home: identity.home })
    }

    /// Where each of the user's mounts comes from; what `-v` may make is made.
    fn mount_sources(
        &self,
        container: &Container,
        users: Option<&Users>,
    ) -> Result<Sources, EngineError> {
        let mut sources = Sources::default();
        for named in &container.record.mounts {
            let source = self.mount_source(&container.id, users, named, &mut sources.trees)?;
            sources.mounts.push(AttachedMount { wish: named.mount.clone(), source });
        }
        Ok(sources)
    }

    pub(crate) fn mount_source(
        &self,
        container: &ContainerId,
        users: Option<&Users>,
        named: &NamedMount,
        trees: &mut Vec<(PathBuf, OwnedFd)>,
    ) -> Result<Option<PathBuf>, EngineError> {
        match (&named.mount.source, &named.volume) {
            (MountSource::Image { part, .. }, _) => {
                let Some(image) = named.image else { return Ok(None) };
                let tree = self.image_tree(container, image, part.as_deref(), users)?;
                trees.push((named.mount.target.clone(), tree));
                Ok(Some(self.paths().container_dir(container)))
            }
            (MountSource::Bind { path, missing, propagation, .. }, _) => {
                make_missing(path, *missing)?;
                propagation::check(path, *propagation)?;
                Ok(Some(path.clone()))
            }
            (MountSource::Volume { part, .. }, Some(name)) => {
                let tree = match self.volume_files(name, part.as_deref())? {
                    VolumeFiles::Directory(path) => return Ok(Some(path)),
                    VolumeFiles::Tree(tree) | VolumeFiles::Memory(tree) => tree,
                };
                trees.push((named.mount.target.clone(), tree));
                Ok(Some(self.paths().volume_data(name)))
            }
            (MountSource::Volume { .. }, None) | (MountSource::Tmpfs { .. }, _) => Ok(None),
        }
    }

    /// `hosts`, `hostname` and `resolv.conf`, where the user does not mount their own. Who shares a
    /// network shares them, so that what is written into one is seen in all.
    fn etc_files(
        &self,
        container: &Container,
        around: &Surroundings,
    ) -> Result<Vec<(PathBuf, &'static str)>, EngineError> {
        let owner = match &around.owner {
            Some(owner) => owner.id,
            None => {
                self.write_etc_files(container, around.endpoint.as_ref())?;
                container.id
            }
        };
        let files = etc_sources(&container.record, &self.paths().container_dir(&owner));
        self.make_places(container, &files)?;
        Ok(files)
    }

    /// Where our files go in a volume that is mounted read-only: nothing can be made in it any more
    /// when they are mounted, and what it was filled with from the image may lack them.
    fn make_places(
        &self,
        container: &Container,
        files: &[(PathBuf, &'static str)],
    ) -> Result<(), EngineError> {
        for NamedMount { mount, volume, .. } in &container.record.mounts {
            // In a part, or in what is mounted as a volume, there is no place that we could make.
            let is_whole = matches!(mount.source, MountSource::Volume { part: None, .. });
            let is_read_only = mount.access != Access::ReadWrite;
            let Some(volume) = volume.as_ref().filter(|_| is_whole && is_read_only) else {
                continue;
            };
            let inside = |target: &'static str| Path::new(target).strip_prefix(&mount.target).ok();
            for place in files.iter().filter_map(|(_, target)| inside(target)) {
                make_place(&self.paths().volume_data(volume), place)?;
            }
        }
        Ok(())
    }
}

fn persistence(container: &Container) -> Persistence {
    match container.record.spec.removal {
        Removal::Auto => Persistence::Volatile,
        Removal::Keep => Persistence::Durable,
    }
}

/// `-v` makes a directory where its source is missing. It belongs to whoever asks.
fn make_missing(path: &Path, missing: MissingSource) -> Result<(), EngineError> {
    if missing == MissingSource::Refuse || path.exists() {
        return Ok(());
    }
    Caller::of_process().make_dir(path)
}

/// An empty file in a volume, whose content nobody vouches for.
fn make_place(volume: &Path, place: &Path) -> Result<(), EngineError> {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    match Root::open(volume).and_then(|root| root.create_file(place, mode)) {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Some(sys::Errno::EXIST) => Ok(()),
        Err(error) => Err(EngineError::Invalid(format!(
            "make {} in the volume at {}: {error}",
            place.display(),
            volume.display()
        ))),
    }
}

/// What containers see does not depend on the caller's umask.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), EngineError> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).map_err(EngineError::file("set the mode of", path))
}

/// The file by which programs know that they are in a container. Docker has it in a layer of its own; a directory of the host gets none.
fn mark(root: &Root, source: &Source) -> Result<(), EngineError> {
    match source {
        Source::Directory(_) => return Ok(()),
        Source::Image(_) | Source::DirectoryOverlay(_) => {}
    }
    match root.create_file(MARK, rustix::fs::Mode::from_raw_mode(0o755)) {
        Err(error) if error.errno() != Some(sys::Errno::EXIST) => {
            Err(EngineError::Invalid(format!("mark the container's root: {error}")))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Docker makes the working directory if the image has none.
fn make_working_dir(root: &Root, dir: &Path) -> Result<(), EngineError> {
    let made = root.mkdir_all(dir, rustix::fs::Mode::from_raw_mode(0o755));
    let (Err(error), dir) = (made, dir.display()) else { return Ok(()) };
    Err(EngineError::Invalid(match error.errno() {
        Some(sys::Errno::NOTDIR) => format!("Cannot mkdir: {dir} is not a directory"),
        _ => format!("make the working directory {dir}: {error}"),
    }))
}

pub(crate) fn is_mounted(record: &Record, target: &str) -> bool {
    record.mounts.iter().any(|mount| mount.mount.target == Path::new(target))
}
