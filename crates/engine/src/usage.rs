//! `system df`: what images and volumes take on the disk.
//!
//! What containers take is [`Engine::size`]'s to say.

use std::collections::{BTreeMap, BTreeSet};

use model::Digest;
use store::images::ImageRecord;

use crate::view::{ImagesUsage, VolumeView};
use crate::{Engine, EngineError};

impl Engine {
    /// What the images take, together and each with others.
    ///
    /// # Errors
    /// The database.
    pub fn images_usage(&self) -> Result<ImagesUsage, EngineError> {
        let shared = shared(&self.store().images().list()?);
        let images = self.image_list()?.into_iter().map(|view| {
            let bytes = shared.get(&view.id).copied().unwrap_or_default();
            (view, bytes)
        });
        Ok(ImagesUsage { layers: self.store().layer_bytes()?, images: images.collect() })
    }

    /// Every volume with the bytes of its files; `None` if they cannot be counted: they may be
    /// nested deeper than a path is long.
    ///
    /// # Errors
    /// The database.
    pub fn volumes_usage(&self) -> Result<Vec<(VolumeView, Option<u64>)>, EngineError> {
        let volumes = self.volumes()?.into_iter().map(|view| {
            let bytes = self.store().volumes().bytes(&view.name).ok();
            (view, bytes)
        });
        Ok(volumes.collect())
    }
}

/// Of each image, the bytes of the layers that another one has as well. Layers are one tree
/// whatever they are stacked on, so that it does not matter at which height.
fn shared(images: &[ImageRecord]) -> BTreeMap<model::ImageId, u64> {
    let mut users: BTreeMap<&Digest, BTreeSet<&model::ImageId>> = BTreeMap::new();
    for image in images {
        for layer in &image.layers {
            users.entry(&layer.diff_id).or_default().insert(&image.id);
        }
    }
    let is_shared = |diff_id: &Digest| users.get(diff_id).is_some_and(|images| images.len() > 1);
    let bytes = |image: &ImageRecord| {
        image.layers.iter().filter(|layer| is_shared(&layer.diff_id)).map(|layer| layer.size).sum()
    };
    images.iter().map(|image| (image.id, bytes(image))).collect()
}
