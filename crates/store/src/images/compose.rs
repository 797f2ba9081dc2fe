//! Manifest and configuration of an image that is made here: by commit, import, build, or from an
//! archive that has no manifest.

use std::collections::BTreeMap;

use model::image::{Descriptor, ImageConfig, Manifest, media_type};

use crate::oci::{self, LayerSpec};

/// The documents of a new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration's bytes.
    pub config: Vec<u8>,
}

/// Writes the documents of an image of these layers, lowest first. The configuration's diff ids
/// become those of the layers.
#[must_use]
pub fn compose(config: &ImageConfig, layers: &[LayerSpec]) -> Composed {
    let mut config = config.clone();
    config.rootfs.kind = "layers".to_owned();
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    let config = serde_json::json!(config).to_string().into_bytes();
    let manifest = manifest_for(&config, layers);
    Composed { manifest, config }
}

/// Writes a manifest for a configuration whose bytes are given.
pub(crate) fn manifest_for(config: &[u8], layers: &[LayerSpec]) -> Vec<u8> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: Descriptor {
            size: i64::try_from(config.len()).unwrap_or(i64::MAX),
            ..blank(media_type::OCI_CONFIG, oci::digest(config))
        },
        layers: layers.iter().map(descriptor).collect(),
        annotations: BTreeMap::new(),
    };
    serde_json::json!(manifest).to_string().into_bytes()
}

fn descriptor(layer: &LayerSpec) -> Descriptor {
    Descriptor { size: layer.size.cast_signed(), ..blank(&layer.media_type, layer.blob) }
}

fn blank(media_type: &str, digest: model::Digest) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: 0,
        platform: None,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
    }
}
