//! A container's files as it sees them, whether it runs or not.
//!
//! Of one that runs, the root of its first process's mount namespace, with all that is mounted there. Of
//! another the root file system with its volumes and binds, put together in a mount namespace of a
//! thread's own, which goes with the thread. Paths in it are resolved by the kernel below that root;
//! the container may move things about meanwhile. Not owned: what is done there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::container::UserNamespace;
use model::mount::{Access, Ids, MountSource, Recursion};
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags};
use sys::Errno;
use sys::mount::{Attributes, Depth, Propagation};
use sys::process::Namespaces;
use sys::root::{Final, Root};
use sys::userns::IdMap;

use crate::container::Container;
use crate::idmap::{IdMapped, Owner, ids_of, owner, plan};
use crate::join::LiveFiles;
use crate::naming::etc_sources;
use crate::prepare::store_error;
use crate::record::NamedMount;
use crate::userns::as_root_of;
use crate::volume_source::VolumeFiles;
use crate::{Engine, EngineError};

/// What is mounted into the files of a container that does not run.
struct Place {
    tree: OwnedFd,
    target: PathBuf,
    access: Access,
    kind: Kind,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lasting,
    /// Memory that nobody else has: what would be put there were lost.
    Memory,
}

impl Kind {
    const fn limit(self, access: Access) -> Access {
        match self {
            Self::Lasting => access,
            Self::Memory => Access::ReadOnly,
        }
    }
}

/// A container's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) root: &'a Root,
    /// The ids of the host that its users are; `None`: the same.
    pub(crate) ids: Option<IdMap>,
    /// The mounts in which nothing lasts.
    memory: &'a [u64],
}

impl Files<'_> {
    /// Whether what is put into a directory is lost at once.
    ///
    /// # Errors
    /// What the kernel says of the directory.
    pub(crate) fn forgets(&self, dir: &Root) -> Result<bool, Errno> {
        Ok(self.memory.contains(&mount_id(dir)?))
    }
}

/// Which mount something is in.
///
/// # Errors
/// What `statx(2)` gives.
pub(crate) fn mount_id(at: impl AsFd) -> Result<u64, Errno> {
    rustix::fs::statx(at, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id)
}

impl Engine {
    /// Lets `work` see the files of a container. One that does not run is kept from starting and from
    /// being removed meanwhile, as in Docker.
    ///
    /// # Errors
    /// Its files cannot be had; what `work` says.
    pub(crate) fn with_files<T: Send>(
        &self,
        container: &Container,
        work: impl FnOnce(Files<'_>) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        match self.running_files(container)? {
            Some(files) => with_live_files(container, &files, work),
            None => self.with_lone_files(container, work),
        }
    }

    /// What a container's first process has; `None`: it does not run.
    fn running_files(&self, container: &Container) -> Result<Option<LiveFiles>, EngineError> {
        if self.life(container)?.pid().is_none() {
            return Ok(None);
        }
        match self.init_of(container).and_then(|init| init.files()) {
            Err(EngineError::NotRunning(_)) => Ok(None),
            files => files.map(Some),
        }
    }

    fn with_lone_files<T: Send>(
        &self,
        container: &Container,
        work: impl FnOnce(Files<'_>) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let (lock, container) = self.lock(&container.id)?;
        // It has been started since: whoever did that has the lock no more.
        if let Some(files) = self.running_files(&container)? {
            drop(lock);
            return with_live_files(&container, &files, work);
        }
        let rootfs = Root::from_fd(self.rootfs(&container)?);
        let places = self.places(&container)?;
        self.show_owners(&container, &rootfs, &places)?;
        let is_read_only = container.record.spec.security.read_only_root;
        let inside = || {
            assemble(&rootfs, &places)?;
            if is_read_only {
                let set = sys::mount::set_attr(&rootfs, Depth::Single, &Attributes::READ_ONLY);
                set.map_err(|errno| EngineError::file("protect", container.name())(errno.into()))?;
            }
            let memory = places.iter().filter(|place| place.kind == Kind::Memory);
            let memory: Result<Vec<u64>, _> = memory.map(|place| mount_id(&place.tree)).collect();
            let memory = memory
                .map_err(|errno| EngineError::file("look at", container.name())(errno.into()))?;
            // Nothing on disk has other ids than those that the container sees.
            work(Files { root: &rootfs, ids: None, memory: &memory })
        };
        // A panic aborts the program, so that there is always an outcome.
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What `idmap` says of mounts holds for a copy as well.
    fn show_owners(
        &self,
        container: &Container,
        rootfs: &Root,
        places: &[Place],
    ) -> Result<(), EngineError> {
        let mut user = None;
        for mount in container.record.mounts.iter().map(|named| &named.mount) {
            let ids = ids_of(&mount.source);
            let place = places.iter().find(|place| place.target == mount.target);
            let (Ids::Owner | Ids::Mapped(_), Some(place)) = (ids, place) else { continue };
            let user = match user {
                Some(user) => user,
                None => {
                    let found = self.user_in(rootfs, &container.record.resolved.user, &[])?;
                    *user.insert(Owner { uid: found.uid, gid: found.gid })
                }
            };
            let mut own = IdMapped::default();
            // The ids of a user namespace are nowhere seen here.
            own.add(&mount.target, plan(ids, || owner(Some(&place.tree), None), user, None)?)?;
            if let Some(shown) = own.at(&mount.target) {
                shown.show(&place.tree, Depth::Recursive, &mount.target)?;
            }
        }
        Ok(())
    }

    /// Parents before children. A source that is not there is left out: a start would say so.
    fn places(&self, container: &Container) -> Result<Vec<Place>, EngineError> {
        let record = &container.record;
        let mut places = Vec::new();
        for (source, target) in etc_sources(record, &self.paths().container_dir(&container.id)) {
            let tree = clone(&source, Depth::Single)?;
            let (target, access) = (target.into(), Access::ReadWrite);
            places.push(Place { tree, target, access, kind: Kind::Lasting });
        }
        for mount in &record.mounts {
            let tree = self.tree_of(&container.id, mount)?;
            let (target, access) = (mount.mount.target.clone(), mount.mount.access);
            places.extend(tree.map(|(tree, kind)| Place {
                tree,
                target,
                access: kind.limit(access),
                kind,
            }));
        }
        places.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(places)
    }

    fn tree_of(
        &self,
        container: &ContainerId,
        mount: &NamedMount,
    ) -> Result<Option<(OwnedFd, Kind)>, EngineError> {
        let (path, depth) = match (&mount.mount.source, &mount.volume) {
            (MountSource::Image { part, .. }, _) => {
                let Some(image) = mount.image else { return Ok(None) };
                let tree = self.image_tree(container, image, part.as_deref(), None)?;
                return Ok(Some((tree, Kind::Lasting)));
            }
            (MountSource::Bind { path, recursive: Recursion::TopOnly, .. }, _) => {
                (path.clone(), Depth::Single)
            }
            (MountSource::Bind { path, .. }, _) => (path.clone(), Depth::Recursive),
            (MountSource::Volume { part, .. }, Some(name)) => {
                match self.volume_files(name, part.as_deref())? {
                    VolumeFiles::Directory(path) => (path, Depth::Recursive),
                    VolumeFiles::Tree(tree) => return Ok(Some((tree, Kind::Lasting))),
                    VolumeFiles::Memory(tree) => return Ok(Some((tree, Kind::Memory))),
                }
            }
            // Memory of a container that does not run holds nothing.
            (MountSource::Volume { .. }, None) | (MountSource::Tmpfs { .. }, _) => return Ok(None),
        };
        if !path.exists() {
            return Ok(None);
        }
        clone(&path, depth).map(|tree| Some((tree, Kind::Lasting)))
    }
}

pub(crate) fn with_live_files<T: Send>(
    container: &Container,
    files: &LiveFiles,
    work: impl FnOnce(Files<'_>) -> Result<T, EngineError> + Send,
) -> Result<T, EngineError> {
    let ids = match container.record.spec.security.userns {
        UserNamespace::Host => None,
        UserNamespace::Auto => files.ids,
    };
    files.with(|inside| {
        let work = || work(Files { root: &inside.root, ids, memory: &[] });
        match ids {
            Some(ids) => as_root_of(ids, work),
            None => work(),
        }
    })
}

fn clone(path: &Path, depth: Depth) -> Result<OwnedFd, EngineError> {
    let tree = sys::mount::clone_tree(path, depth);
    tree.map_err(|errno| EngineError::file("clone the mount of", path)(errno.into()))
}

/// Mounts a root file system and what belongs into it, where only this thread sees it.
fn assemble(rootfs: &Root, places: &[Place]) -> Result<(), EngineError> {
    let failed = |errno: Errno| EngineError::file("make", "a mount namespace")(errno.into());
    sys::process::unshare(Namespaces::MOUNT).map_err(failed)?;
    sys::mount::set_propagation_of_all(Propagation::Private).map_err(failed)?;
    sys::mount::attach_on_root(rootfs).map_err(failed)?;
    places.iter().try_for_each(|place| {
        let shown = || EngineError::file("mount", &place.target);
        if let Some(depth) = read_only(place.access) {
            let set = sys::mount::set_attr(&place.tree, depth, &Attributes::READ_ONLY);
            set.map_err(|errno| shown()(errno.into()))?;
        }
        let private = Attributes::propagation(Propagation::Private);
        let set = sys::mount::set_attr(&place.tree, Depth::Recursive, &private);
        set.map_err(|errno| shown()(errno.into()))?;
        let target = mount_point(rootfs, &place.target, &place.tree)?;
        sys::mount::attach(&place.tree, &target).map_err(|errno| shown()(errno.into()))
    })
}

fn read_only(access: Access) -> Option<Depth> {
    match access {
        Access::ReadWrite => None,
        Access::ReadOnly => Some(Depth::Recursive),
        Access::ReadOnlyNonRecursive => Some(Depth::Single),
    }
}

/// Where something is mounted; a place that is missing is made, as a start would do it.
fn mount_point(root: &Root, target: &Path, tree: impl AsFd) -> Result<OwnedFd, EngineError> {
    match root.resolve(target, Final::Follow) {
        Err(error) if error.not_found() => {}
        found => return found.map_err(store_error),
    }
    let failed = |errno: Errno| EngineError::file("look at", target)(errno.into());
    let stat = rustix::fs::fstat(tree).map_err(failed)?;
    let mode = Mode::from_raw_mode(0o755);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(root.mkdir_all(target, mode).map_err(store_error)?.into());
    }
    if let Some(parent) = target.parent() {
        root.mkdir_all(parent, mode).map_err(store_error)?;
    }
    root.create_file(target, mode).map_err(store_error)?;
    root.resolve(target, Final::Follow).map_err(store_error)
}
