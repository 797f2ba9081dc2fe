//! Removing names and images, by Docker's rules of conflict.

use std::collections::BTreeSet;

use model::{ContainerId, Digest, ImageId, Reference};
use sys::failpoint::{Point, reach};

use super::resolve::{self, ResolveError};
use super::{ImageRecord, Images, IndexError, load, write_index};
use crate::db::{DbError, Durability, IsFull, Text, Tx};
use crate::gc::{self, GcError};
use crate::layout::Layout;
use crate::trash::{Moved, TrashError};

/// Whether soft conflicts are overridden (`--force`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Tags in several repositories and stopped containers keep an image.
    No,
    /// Only running containers do.
    Yes,
}

/// One thing that was removed, in Docker's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name: `repo:tag` or `repo@digest`, as people write it.
    Untagged(String),
    /// The image, or a stack of layers that nothing else has.
    Deleted(Digest),
}

/// Why nothing was removed. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Which image.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A container was created from it, and this is its last name.
    #[error(
        "conflict: unable to remove repository reference {typed:?} (must force) - \
         container {} is using its referenced image {}", container.short(), image.short()
    )]
    Referenced {
        /// As typed.
        typed: String,
        /// The container.
        container: ContainerId,
        /// The image.
        image: ImageId,
    },
    /// A stopped container was created from it.
    #[error(
        "conflict: unable to delete {} (must be forced) - \
         image is being used by stopped container {}", image.short(), container.short()
    )]
    Stopped {
        /// The image.
        image: ImageId,
        /// The container.
        container: ContainerId,
    },
    /// A running container was created from it.
    #[error(
        "conflict: unable to delete {} (cannot be forced) - \
         image is being used by running container {}", image.short(), container.short()
    )]
    Running {
        /// The image.
        image: ImageId,
        /// The container.
        container: ContainerId,
    },
    /// It has several names, and was given by id.
    #[error(
        "conflict: unable to delete {} (must be forced) - \
         image is referenced in multiple repositories", .0.short()
    )]
    ManyNames(ImageId),
    /// `index.json`.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What was no longer needed.
    #[error(transparent)]
    Collect(#[from] GcError),
    /// The trash.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl IsFull for RemoveError {
    fn is_full(&self) -> bool {
        match self {
            Self::Db(error) | Self::Index(IndexError::Db(error)) => error.is_full(),
            Self::Collect(error) => error.is_full(),
            Self::Index(IndexError::Io { source, .. }) => {
                source.kind() == std::io::ErrorKind::StorageFull
            }
            Self::Resolve(_)
            | Self::Referenced { .. }
            | Self::Stopped { .. }
            | Self::Running { .. }
            | Self::ManyNames(_)
            | Self::Trash(_) => false,
        }
    }
}

/// What is to be removed.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    untag: Vec<Reference>,
    delete: bool,
}

impl Images<'_> {
    /// Removes a name, and the image with its last name, or an image by its id.
    ///
    /// `running` are the containers that run now; those that were created from the image or mount it
    /// are known here. Layers that a container needs stay until it goes.
    ///
    /// # Errors
    /// There is no such image, or it is needed: nothing has been removed.
    pub fn remove(
        &self,
        typed: &str,
        force: Force,
        running: &BTreeSet<ContainerId>,
    ) -> Result<Vec<Removed>, RemoveError> {
        let inner = self.inner;
        let mut moved = Moved::default();
        let reserve = inner.layout.reserve();
        let removed = inner.db.write_freeing("remove an image", Durability::Now, &reserve, |tx| {
            let id = resolve::id_of(tx, typed)?;
            let image = load(tx, &id)?.ok_or_else(|| ResolveError::not_found(typed))?;
            let users = users(tx, &id)?;
            let decision = decide(&image, typed, force, &Users { all: &users, running })?;
            let removed = apply(tx, &image, &decision)?;
            write_index(tx, &inner.layout)?;
            moved.or_put_back(|moved| {
                gc::collect(tx, inner, moved)?;
                Ok::<_, RemoveError>(step(Point::UntagRows, &inner.layout)?)
            })?;
            Ok(removed)
        });
        match removed {
            Ok(removed) => {
                step(Point::UntagTrash, &inner.layout)?;
                moved.delete(&inner.layout)?;
                reserve.keep();
                Ok(removed)
            }
            Err(error) => {
                // If it was the commit that failed.
                moved.put_back();
                Err(error)
            }
        }
    }
}

fn step(point: Point, layout: &Layout) -> Result<(), TrashError> {
    let path = layout.trash();
    reach(point).map_err(|errno| TrashError::Move { path, source: errno.into() })
}

/// The containers that were created from the image or mount it, and those of all that run.
struct Users<'u> {
    all: &'u [ContainerId],
    running: &'u BTreeSet<ContainerId>,
}

impl Users<'_> {
    fn running(&self) -> Option<ContainerId> {
        self.all.iter().find(|id| self.running.contains(id)).copied()
    }

    fn stopped(&self) -> Option<ContainerId> {
        self.all.iter().find(|id| !self.running.contains(id)).copied()
    }
}

fn decide(
    image: &ImageRecord,
    typed: &str,
    force: Force,
    users: &Users<'_>,
) -> Result<Decision, RemoveError> {
    let named: Option<Reference> = typed
        .parse::<Reference>()
        .ok()
        .filter(|name| is_name_of(image, name) && !resolve::is_id(typed, &image.id));
    match named {
        Some(name) => by_name(image, &name.with_default_tag(), force, users),
        None => by_id(image, force, users),
    }
    .map_err(|conflict| conflict.into_error(image.id, typed))
}

/// Which rule forbids it.
enum Conflict {
    Referenced(ContainerId),
    Stopped(ContainerId),
    Running(ContainerId),
    ManyNames,
}

impl Conflict {
    fn into_error(self, image: ImageId, typed: &str) -> RemoveError {
        match self {
            Self::Referenced(container) => {
                RemoveError::Referenced { typed: typed.to_owned(), container, image }
            }
            Self::Stopped(container) => RemoveError::Stopped { image, container },
            Self::Running(container) => RemoveError::Running { image, container },
            Self::ManyNames => RemoveError::ManyNames(image),
        }
    }
}

fn is_name_of(image: &ImageRecord, name: &Reference) -> bool {
    match name.digest() {
        Some(digest) => image.repo_digests.contains(&name.at_digest(*digest)),
        None => image.tags.contains(&name.clone().with_default_tag()),
    }
}

/// With a repository's last tag its digests go as well; with the last name, the image.
fn by_name(
    image: &ImageRecord,
    name: &Reference,
    force: Force,
    users: &Users<'_>,
) -> Result<Decision, Conflict> {
    let name = name.digest().map_or_else(|| name.clone(), |digest| name.at_digest(*digest));
    let tag_of_repository_stays =
        image.tags.iter().any(|tag| *tag != name && tag.name() == name.name());
    let goes = |other: &Reference| {
        *other == name
            || (name.digest().is_none()
                && !tag_of_repository_stays
                && other.digest().is_some()
                && other.name() == name.name())
    };
    if let (Force::No, true, Some(container)) = (force, is_single(image), users.all.first()) {
        return Err(Conflict::Referenced(*container));
    }
    let names = image.tags.iter().chain(&image.repo_digests);
    let (untag, keep): (Vec<Reference>, Vec<Reference>) = names.cloned().partition(goes);
    // By its name even an image that runs loses its last one, if that is forced. It stays, and can
    // only be reached by its id.
    let delete = keep.is_empty() && users.running().is_none();
    Ok(Decision { untag, delete })
}

/// Whether there is one name: a tag with digests of its repository, or digests of one.
fn is_single(image: &ImageRecord) -> bool {
    let names = image.tags.iter().chain(&image.repo_digests);
    let repositories: BTreeSet<String> = names.map(Reference::name).collect();
    image.tags.len() <= 1 && repositories.len() <= 1
}

fn by_id(image: &ImageRecord, force: Force, users: &Users<'_>) -> Result<Decision, Conflict> {
    if let (Force::No, false, None) = (force, is_single(image), users.running()) {
        return Err(Conflict::ManyNames);
    }
    check_users(force, users)?;
    let untag = image.tags.iter().chain(&image.repo_digests).cloned().collect();
    Ok(Decision { untag, delete: true })
}

fn check_users(force: Force, users: &Users<'_>) -> Result<(), Conflict> {
    match (users.running(), users.stopped(), force) {
        (Some(container), _, _) => Err(Conflict::Running(container)),
        (None, Some(container), Force::No) => Err(Conflict::Stopped(container)),
        (None, _, _) => Ok(()),
    }
}

fn users(tx: &Tx<'_>, id: &ImageId) -> Result<Vec<ContainerId>, DbError> {
    let sql = "SELECT id FROM containers
               WHERE image = ?1 OR id IN (SELECT container FROM mounted_images WHERE image = ?1)
               ORDER BY created_ns, id";
    tx.all(sql, [Text(*id)], |row| Ok(row.get::<_, Text<_>>(0)?.0))
}

fn apply(tx: &Tx<'_>, image: &ImageRecord, decision: &Decision) -> Result<Vec<Removed>, DbError> {
    let mut removed = Vec::new();
    for name in &decision.untag {
        tx.execute("DELETE FROM tags WHERE reference = ?1", [Text(name)])?;
        tx.execute("DELETE FROM repo_digests WHERE reference = ?1", [Text(name)])?;
        removed.push(Removed::Untagged(name.familiar()));
    }
    if decision.delete {
        tx.execute("DELETE FROM images WHERE id = ?1", [Text(image.id)])?;
        removed.push(Removed::Deleted(image.id.0));
        for layer in image.layers.iter().rev() {
            removed.extend(is_unused(tx, layer)?.then_some(Removed::Deleted(layer.chain_id)));
        }
    }
    Ok(removed)
}

fn is_unused(tx: &Tx<'_>, layer: &super::ImageLayer) -> Result<bool, DbError> {
    let used = tx.first(
        "SELECT 1 FROM image_layers WHERE chain_id = ?1
         UNION ALL SELECT 1 FROM container_layers WHERE diff_id = ?2
         UNION ALL SELECT 1 FROM mounted_layers WHERE diff_id = ?2 LIMIT 1",
        (Text(layer.chain_id), Text(layer.diff_id)),
        |_| Ok(()),
    )?;
    Ok(used.is_none())
}
