//! Images as mounts: the files of an image, or a part of them, read-only in a container.
//!
//! The layers are pinned by the container's row, so that what is mounted stays when the image's names
//! move on, and when it is removed by force.

use std::os::fd::OwnedFd;
use std::path::Path;

use model::mount::MountSource;
use model::{ContainerId, ImageId};
use store::container_layer::ContainerLayer;
use sys::mount::{Depth, Propagation};
use sys::process::Namespaces;
use sys::root::{Final, Root};

use crate::error::words;
use crate::prepare::store_error;
use crate::record::NamedMount;
use crate::userns::Users;
use crate::{Engine, EngineError};

impl Engine {
    /// The image of a mount, if it is one of an image.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn image_of_mount(
        &self,
        source: &MountSource,
    ) -> Result<Option<ImageId>, EngineError> {
        let MountSource::Image { name, .. } = source else { return Ok(None) };
        match self.image(name) {
            Ok(image) => Ok(Some(image.id)),
            // Clients take "not found" for the container's own image, and pull.
            Err(error @ EngineError::NoSuchImage(_)) => {
                Err(EngineError::Invalid(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// The files of an image that a container mounts, attached nowhere, with the ids of `users`.
    ///
    /// # Errors
    /// A layer is gone and its blob too, or there is no such part.
    pub(crate) fn image_tree(
        &self,
        container: &ContainerId,
        image: ImageId,
        part: Option<&Path>,
        users: Option<&Users>,
    ) -> Result<OwnedFd, EngineError> {
        let layer = self.store().mounted_image(container, image).map_err(store_error)?;
        let tree = match users {
            None => layer.mount_lowers()?,
            Some(users) => users.as_root(|| shown(&layer, users))?,
        };
        match part {
            None => Ok(tree),
            Some(part) => part_of(tree, part),
        }
    }
}

/// The images of a container's mounts, each once.
pub(crate) fn images(mounts: &[NamedMount]) -> Vec<ImageId> {
    let mut images: Vec<ImageId> = mounts.iter().filter_map(|mount| mount.image).collect();
    images.sort_unstable();
    images.dedup();
    images
}

fn shown(layer: &ContainerLayer, users: &Users) -> Result<OwnedFd, EngineError> {
    layer.mount_lowers_shown(|tree, path| {
        users.show(&tree, Depth::Single, path)?;
        Ok(tree)
    })
}

/// Kernels before 6.15 copy a part only of what is attached: in a mount namespace that goes with its
/// thread.
fn part_of(tree: OwnedFd, part: &Path) -> Result<OwnedFd, EngineError> {
    let failed =
        |errno: sys::Errno| EngineError::file("take a part of an image", part)(errno.into());
    let inside = || {
        sys::process::unshare(Namespaces::MOUNT).map_err(failed)?;
        sys::mount::set_propagation_of_all(Propagation::Private).map_err(failed)?;
        sys::mount::attach_on_root(&tree).map_err(failed)?;
        let root = Root::from_fd(tree);
        let found = root.resolve(part, Final::Follow).map_err(|error| {
            let reason = error.errno().map_or_else(|| error.to_string(), words);
            EngineError::Invalid(format!(
                "cannot access path {} of the image: {reason}",
                part.display()
            ))
        })?;
        sys::mount::clone_tree_of(&found, Depth::Single).map_err(failed)
    };
    // A panic aborts the program, so that there is always an outcome.
    std::thread::scope(|scope| scope.spawn(inside).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
