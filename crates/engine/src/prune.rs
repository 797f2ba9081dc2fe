//! `container prune`, `volume prune`, `image prune`: what nobody uses goes. Networks are pruned beside their
//! removal.
//!
//! What is wanted gone is the door's to say. Whether something is used is decided again by each
//! removal, so that whoever begins to use it in between keeps it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use model::{ContainerId, Digest, EventKind, NameOrId};

use crate::network::NetworkError;
use crate::view::{
    ContainerView, ImageRemoval, ImageRemoveMode, ImageView, ListQuery, Listed, Pruned,
    RemoveOptions, VolumeView,
};
use crate::{Engine, EngineError};

impl Engine {
    /// Removes every container that does not run and is wanted gone. Their volumes stay, also the
    /// anonymous ones.
    ///
    /// # Errors
    /// The first that happens; all are tried, and what was removed stays removed.
    pub fn prune_containers(
        &self,
        is_wanted: impl Fn(&ContainerView) -> bool,
    ) -> Result<Pruned<ContainerId>, EngineError> {
        let mut candidates = Vec::new();
        self.list(ListQuery::All, |listed| {
            // Of what cannot be read nobody knows whether it is wanted.
            if let Listed::Whole(view) = listed
                && !view.life.is_up()
                && is_wanted(&view)
            {
                candidates.push(view.id);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.prune(EventKind::Container, candidates, |id, pruned| {
            let who = NameOrId::from(id);
            let written = self.size(&who)?.written.unwrap_or(0);
            self.remove(&who, RemoveOptions::default())?;
            pruned.removed.push(id);
            pruned.reclaimed += written;
            Ok(())
        })
    }

    /// Removes every volume that no container uses and is wanted gone.
    ///
    /// # Errors
    /// As [`Engine::prune_containers`].
    pub fn prune_volumes(
        &self,
        is_wanted: impl Fn(&VolumeView) -> bool,
    ) -> Result<Pruned<String>, EngineError> {
        let mut candidates = self.volumes()?;
        candidates.retain(|view| view.used_by.is_empty() && is_wanted(view));
        self.prune(EventKind::Volume, candidates, |view, pruned| {
            // Files that cannot be counted can be removed all the same.
            let bytes = self.store().volumes().bytes(&view.name).unwrap_or(0);
            self.volume_remove(&view.name)?;
            pruned.removed.push(view.name);
            pruned.reclaimed += bytes;
            Ok(())
        })
    }

    /// Takes every name from the images that are wanted gone, but the last of one that a container
    /// was made from (Docker); an image goes with its last name. What is reclaimed is the files of
    /// the layers that no other image has.
    ///
    /// # Errors
    /// As [`Engine::prune_containers`].
    pub fn prune_images(
        &self,
        is_wanted: impl Fn(&ImageView) -> bool,
    ) -> Result<Pruned<ImageRemoval>, EngineError> {
        let mut candidates = self.image_list()?;
        candidates.retain(is_wanted);
        let sizes = self.layer_sizes()?;
        let names = candidates.iter().flat_map(names);
        self.prune(EventKind::Image, names, |name, pruned| {
            let steps = self.image_remove(&name, ImageRemoveMode::Careful)?;
            let size = |step: &ImageRemoval| match step {
                ImageRemoval::Deleted(digest) => sizes.get(digest).copied().unwrap_or(0),
                ImageRemoval::Untagged(_) => 0,
            };
            pruned.reclaimed += steps.iter().map(size).sum::<u64>();
            pruned.removed.extend(steps);
            Ok(())
        })
    }

    /// The bytes of the files of every layer that an image has, by the stack that it tops.
    fn layer_sizes(&self) -> Result<BTreeMap<Digest, u64>, EngineError> {
        let images = self.store().images().list()?;
        let layers = images.iter().flat_map(|image| &image.layers);
        Ok(layers.map(|layer| (layer.chain_id, layer.size)).collect())
    }

    pub(crate) fn prune<C, T>(
        &self,
        kind: EventKind,
        candidates: impl IntoIterator<Item = C>,
        mut remove: impl FnMut(C, &mut Pruned<T>) -> Result<(), EngineError>,
    ) -> Result<Pruned<T>, EngineError> {
        let mut pruned = Pruned::default();
        let mut failed = Ok(());
        for candidate in candidates {
            match remove(candidate, &mut pruned) {
                Err(error) if !is_in_time(&error) => failed = failed.and(Err(error)),
                Ok(()) | Err(_) => {}
            }
        }
        self.tell_prune(kind, pruned.reclaimed);
        failed.map(|()| pruned)
    }
}

/// The names that an image is removed by; its id if it has none.
fn names(view: &ImageView) -> Vec<String> {
    let names: Vec<String> = view.tags.iter().chain(&view.digests).cloned().collect();
    if names.is_empty() { vec![view.id.to_string()] } else { names }
}

/// Whether somebody has begun to use it in between, or was faster.
fn is_in_time(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::StillRunning { .. }
            | EngineError::NoSuchContainer(_)
            | EngineError::VolumeInUse { .. }
            | EngineError::NoSuchVolume(_)
            | EngineError::ImageInUse(_)
            | EngineError::NoSuchImage(_)
            | EngineError::NoSuchNetwork(_)
            | EngineError::Network(NetworkError::Active { .. })
    )
}
