//! The writable layer of a container, and the overlay that makes it one tree with its image.
//!
//! The overlay is mounted detached: it appears in no mount namespace until the container's own
//! init attaches it, so there is nothing on the host to leak or to be busy.

mod changes;
mod usage;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{ContainerId, Digest, ImageId};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use sys::mount::{Depth, Layer, Overlay, OverlayError, Param};
use sys::root::Root;

pub use changes::{Change, ChangeKind};
pub use usage::ContainerUsage;
pub(crate) use usage::file_bytes;

use crate::db::Text;
use crate::layers::{self, LayerError, LayerRow};
use crate::layout::make_dir;
use crate::{Inner, Store};

/// The tree of a container could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused the overlay.
    #[error("mount the root file system of container {container}: {source}")]
    Overlay {
        /// The container.
        container: ContainerId,
        /// What the kernel says.
        source: Box<OverlayError>,
    },
    /// A layer could not be taken for an overlay of other ids.
    #[error("take a layer of container {container}: {source}")]
    Tree {
        /// The container.
        container: ContainerId,
        /// Why not.
        source: sys::Errno,
    },
    /// A layer or a directory.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Whether what a container writes must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It must: the overlay syncs its upper file system when it is unmounted.
    Durable,
    /// The container goes when it exits: nothing is synced (`volatile`, 5.10).
    Volatile,
}

/// A container's writable layer on its lower layers.
#[derive(Debug, Clone)]
pub struct ContainerLayer {
    id: ContainerId,
    dir: PathBuf,
    lowers: Vec<PathBuf>,
    xattrs: Xattrs,
    /// The label of SELinux that all of its files have.
    label: Option<CString>,
}

/// In which namespace overlayfs keeps its own attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Xattrs {
    /// `trusted.overlay.*`
    Trusted,
    /// `user.overlay.*`: all that a user namespace may write (5.11).
    User,
}

impl Store {
    /// The writable layer of `id` on the layers that its row has pinned. Damaged layers are
    /// unpacked again from their blobs.
    ///
    /// # Errors
    /// A layer is gone and its blob too; the file system, the database.
    pub fn container_layer(&self, id: &ContainerId) -> Result<ContainerLayer, LayerError> {
        let lowers = self.lowers_of_container(id)?;
        self.writable(id, lowers)
    }

    /// The writable layer of `id` on a directory of the host (`--rootfs PATH:O`).
    ///
    /// # Errors
    /// The file system.
    pub fn container_layer_on(
        &self,
        id: &ContainerId,
        lower: &Path,
    ) -> Result<ContainerLayer, LayerError> {
        self.writable(id, vec![lower.to_owned()])
    }

    /// The trees of an image's layers, the uppermost first. Damaged ones are unpacked again.
    ///
    /// # Errors
    /// A layer is gone and its blob too; the file system, the database.
    pub fn lowers(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>, LayerError> {
        let rows = self.inner.db.read("find layers", |tx| {
            diff_ids.iter().map(|id| Ok::<_, LayerError>((*id, layers::find(tx, id)?))).collect()
        })?;
        self.sound_trees(rows)
    }

    fn lowers_of_container(&self, id: &ContainerId) -> Result<Vec<PathBuf>, LayerError> {
        let rows = self.inner.db.read("find the layers of a container", |tx| {
            tx.all(
                "SELECT l.number, c.diff_id, l.entries, l.bytes, l.opaque FROM container_layers c
                 LEFT JOIN layers l ON l.diff_id = c.diff_id
                 WHERE c.container = ?1 ORDER BY c.position",
                [Text(*id)],
                read_pinned,
            )
        })?;
        self.sound_trees(rows)
    }

    /// The files of an image that a container mounts, of the layers that its row has pinned for that.
    /// It has nothing to write to.
    ///
    /// # Errors
    /// As [`Store::container_layer`].
    pub fn mounted_image(
        &self,
        id: &ContainerId,
        image: ImageId,
    ) -> Result<ContainerLayer, LayerError> {
        let rows = self.inner.db.read("find the layers of a mounted image", |tx| {
            tx.all(
                "SELECT l.number, c.diff_id, l.entries, l.bytes, l.opaque FROM mounted_layers c
                 LEFT JOIN layers l ON l.diff_id = c.diff_id
                 WHERE c.container = ?1 AND c.image = ?2 ORDER BY c.position",
                (Text(*id), Text(image)),
                read_pinned,
            )
        })?;
        let mut lowers = self.sound_trees(rows)?;
        let dir = self.inner.layout.container(id);
        // One alone would be no overlay, and an image may have none.
        for name in ["empty", "empty.below"].into_iter().take(2_usize.saturating_sub(lowers.len()))
        {
            let empty = dir.join(name);
            make_dir(&empty).map_err(LayerError::io("create", &empty))?;
            lowers.push(empty);
        }
        Ok(ContainerLayer { id: *id, dir, lowers, xattrs: self.inner.xattrs(), label: None })
    }

    fn sound_trees(
        &self,
        rows: Vec<(Digest, Option<LayerRow>)>,
    ) -> Result<Vec<PathBuf>, LayerError> {
        let mut trees = Vec::with_capacity(rows.len());
        for (diff_id, row) in rows.into_iter().rev() {
            let sound = row.filter(|row| layers::is_sound(&self.inner.layout, row));
            let row = sound.map_or_else(|| self.heal(&diff_id), Ok)?;
            trees.push(layers::tree(&self.inner.layout, row.number));
            if row.facts.opaque {
                break;
            }
        }
        Ok(trees)
    }

    fn writable(
        &self,
        id: &ContainerId,
        mut lowers: Vec<PathBuf>,
    ) -> Result<ContainerLayer, LayerError> {
        let dir = self.inner.layout.container(id);
        let mut subdirs = vec![dir.join("work")];
        if lowers.is_empty() {
            // An overlay needs a lower layer, also that of an image from scratch.
            lowers.push(dir.join("empty"));
            subdirs.push(dir.join("empty"));
        }
        for path in subdirs {
            make_dir(&path).map_err(LayerError::io("create", &path))?;
        }
        make_upper(&dir, lowers.first())?;
        Ok(ContainerLayer { id: *id, dir, lowers, xattrs: self.inner.xattrs(), label: None })
    }
}

impl Inner {
    /// Only the initial user namespace may write `trusted.*`.
    pub(crate) fn xattrs(&self) -> Xattrs {
        *self.xattrs.get_or_init(|| {
            let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let fields: Vec<&str> = map.split_ascii_whitespace().collect();
            if fields == ["0", "0", "4294967295"] { Xattrs::Trusted } else { Xattrs::User }
        })
    }
}

fn read_pinned(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Digest, Option<LayerRow>)> {
    let diff_id = row.get::<_, Text<Digest>>(1)?.0;
    let number: Option<i64> = row.get(0)?;
    Ok((diff_id, number.map(|_| layers::read_row(row)).transpose()?))
}

/// The root of the tree looks like the uppermost layer's: the overlay shows the upper directory's
/// own mode and owner.
fn make_upper(dir: &Path, lower: Option<&PathBuf>) -> Result<(), LayerError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let upper = dir.join("upper");
    if upper.is_dir() {
        return Ok(());
    }
    let fresh = dir.join("upper.new");
    let at = |action| LayerError::io(action, &fresh);
    make_dir(&fresh).map_err(at("create"))?;
    if let Some(lower) = lower {
        let like = std::fs::metadata(lower).map_err(LayerError::io("look at", lower))?;
        std::os::unix::fs::chown(&fresh, Some(like.uid()), Some(like.gid()))
            .map_err(at("change the owner of"))?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(like.mode() & 0o7777))
            .map_err(at("change the mode of"))?;
    }
    // By rename, so that a directory called `upper` has always got its mode.
    std::fs::rename(&fresh, &upper).map_err(at("rename"))
}

impl ContainerLayer {
    /// The directory of the container's files; it goes with the container.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The writable directory.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// The lower layers, the uppermost first.
    #[must_use]
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }

    /// Mounts the overlay; it is attached nowhere.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mount(&self, persistence: Persistence) -> Result<OwnedFd, MountError> {
        let options = self.options(persistence)?;
        let (upper, work) = (self.upper(), self.dir.join("work"));
        let writable = Some((Layer::Path(&upper), Layer::Path(&work)));
        self.overlay(writable, &options)
    }

    /// The same with a label of SELinux for all files, whatever they have on disk.
    #[must_use]
    pub fn labelled(self, label: Option<String>) -> Self {
        // A label has no NUL.
        Self { label: label.and_then(|label| CString::new(label).ok()), ..self }
    }

    fn options(&self, persistence: Persistence) -> Result<Vec<Param<'_>>, MountError> {
        let mut options = vec![
            // No index: two containers on one layer are no hard links of each other.
            Param::String(c"index", c"off"),
            // Whole files and plain directories only, so that the upper tree is the difference.
            Param::String(c"metacopy", c"off"),
            Param::String(c"redirect_dir", c"nofollow"),
        ];
        if self.xattrs == Xattrs::User {
            options = vec![Param::Flag(c"userxattr"), Param::String(c"index", c"off")];
        }
        options.extend(self.label.as_deref().map(|label| Param::String(c"context", label)));
        if persistence == Persistence::Volatile {
            self.forget_volatile()?;
            options.push(Param::Flag(c"volatile"));
        }
        Ok(options)
    }

    /// Mounts the overlay so that its files are shown with the ids of a user namespace, though on disk
    /// they keep their own: each layer becomes an idmapped mount by `show`. The caller's files must
    /// belong to the namespace's root meanwhile, as the overlay's own are made by whoever mounts it.
    ///
    /// # Errors
    /// What the kernel says; it takes layers by descriptor since 6.13.
    pub fn mount_shown<E: From<MountError>>(
        &self,
        persistence: Persistence,
        show: impl Fn(OwnedFd, &Path) -> Result<OwnedFd, E>,
    ) -> Result<OwnedFd, E> {
        let options = self.options(persistence)?;
        let tree = |path: &Path| {
            let tree = sys::mount::clone_tree(path, Depth::Single);
            show(tree.map_err(|errno| self.failed(errno))?, path)
        };
        let lowers = self.lowers.iter().map(|lower| tree(lower)).collect::<Result<Vec<_>, E>>()?;
        // Both directories must be on one mount.
        let own = tree(&self.dir)?;
        let part = |name: &'static std::ffi::CStr| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&own, name, flags, Mode::empty()).map_err(|errno| self.failed(errno))
        };
        let (upper, work) = (part(c"upper")?, part(c"work")?);
        let lowers: Vec<Layer<'_>> = lowers.iter().map(|fd| Layer::Fd(fd.as_fd())).collect();
        let upper = Some((Layer::Fd(upper.as_fd()), Layer::Fd(work.as_fd())));
        let overlay = Overlay { lowers: &lowers, upper, options: &options };
        Ok(self.mounted(&overlay)?)
    }

    fn failed(&self, errno: sys::Errno) -> MountError {
        MountError::Tree { container: self.id, source: errno }
    }

    /// The lower layers alone, read-only.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lower_tree(&self) -> Result<Root, MountError> {
        match &self.lowers[..] {
            [only] => Ok(Root::open(only).map_err(LayerError::root(only))?),
            _ => self.mount_lowers().map(Root::from_fd),
        }
    }

    const fn lower_options(&self) -> &'static [Param<'static>] {
        match self.xattrs {
            Xattrs::Trusted => &[],
            Xattrs::User => &[Param::Flag(c"userxattr")],
        }
    }

    /// Mounts the lower layers alone, of which there must be two.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mount_lowers(&self) -> Result<OwnedFd, MountError> {
        self.overlay(None, self.lower_options())
    }

    /// The same with the ids of a user namespace, as [`ContainerLayer::mount_shown`].
    ///
    /// # Errors
    /// What the kernel says; it takes layers by descriptor since 6.13.
    pub fn mount_lowers_shown<E: From<MountError>>(
        &self,
        show: impl Fn(OwnedFd, &Path) -> Result<OwnedFd, E>,
    ) -> Result<OwnedFd, E> {
        let tree = |path: &PathBuf| {
            let tree = sys::mount::clone_tree(path.as_path(), Depth::Single);
            show(tree.map_err(|errno| self.failed(errno))?, path)
        };
        let lowers = self.lowers.iter().map(tree).collect::<Result<Vec<_>, E>>()?;
        let lowers: Vec<Layer<'_>> = lowers.iter().map(|fd| Layer::Fd(fd.as_fd())).collect();
        let overlay = Overlay { lowers: &lowers, upper: None, options: self.lower_options() };
        Ok(self.mounted(&overlay)?)
    }

    fn overlay(
        &self,
        upper: Option<(Layer<'_>, Layer<'_>)>,
        options: &[Param<'_>],
    ) -> Result<OwnedFd, MountError> {
        let lowers: Vec<Layer<'_>> = self.lowers.iter().map(|path| Layer::Path(path)).collect();
        self.mounted(&Overlay { lowers: &lowers, upper, options })
    }

    fn mounted(&self, overlay: &Overlay<'_>) -> Result<OwnedFd, MountError> {
        sys::mount::overlay(overlay, MountAttrFlags::empty())
            .map_err(|source| MountError::Overlay { container: self.id, source: Box::new(source) })
    }

    /// The mark of an earlier volatile mount makes the kernel refuse the next one, since a power
    /// cut may have come in between. The layer of a container that goes at its exit may be used
    /// again all the same: it was not promised to survive.
    fn forget_volatile(&self) -> Result<(), LayerError> {
        let mark = self.dir.join("work/work/incompat");
        if !mark.exists() {
            return Ok(());
        }
        let work = self.dir.join("work");
        let root = Root::open(&work).map_err(LayerError::root(&work))?;
        root.remove_tree("work").map_err(LayerError::root(&work))
    }
}
