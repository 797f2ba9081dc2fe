//! Images.

use docker_api::types::images::{
    DeleteItem, HistoryItem, ImageConfig, ImageInspect, ImageMetadata, ImageSummary, ManifestImage,
    ManifestSize, ManifestSummary, RootFs, UnpackedSize,
};
use docker_api::types::{Descriptor, DriverData, Empty, Map, Platform};
use engine::view::{HistoryView, ImageRemoval, ImageView};
use model::image::RunConfig;

use super::{DRIVER, or_null, signed, time, time_or_none};

/// A line of `GET /images/json`.
pub(crate) fn image_summary(view: &ImageView) -> ImageSummary {
    ImageSummary {
        containers: signed(view.containers),
        created: view.created.map(|at| at.as_second()).unwrap_or_default(),
        id: view.id.to_string(),
        labels: or_null(view.config.config.labels.clone()),
        repo_digests: view.digests.clone(),
        repo_tags: view.tags.clone(),
        // Only computed where it is asked for.
        shared_size: -1,
        size: signed(view.size),
        ..ImageSummary::default()
    }
}

/// The same with the bytes that other images have as well.
pub(crate) fn image_usage((view, shared): &(ImageView, u64)) -> ImageSummary {
    ImageSummary { shared_size: signed(*shared), ..image_summary(view) }
}

/// The one platform that an image is here for.
pub(crate) fn manifests(view: &ImageView) -> Vec<ManifestSummary> {
    let (packed, unpacked) = (signed(view.packed), signed(view.size));
    let platform = Platform {
        architecture: view.config.architecture.clone(),
        os: view.config.os.clone(),
        variant: view.config.variant.clone().unwrap_or_default(),
        ..Platform::default()
    };
    let digest = view.manifest.to_string();
    vec![ManifestSummary {
        id: digest.clone(),
        descriptor: Descriptor {
            media_type: view.manifest_type.clone(),
            digest,
            size: signed(view.manifest_size),
            ..Descriptor::default()
        },
        available: true,
        size: ManifestSize { total: packed.saturating_add(unpacked), content: packed },
        kind: "image".to_owned(),
        image_data: Some(ManifestImage {
            platform,
            containers: Vec::new(),
            size: UnpackedSize { unpacked },
        }),
    }]
}

/// `GET /images/{name}/json`.
pub(crate) fn image(view: &ImageView) -> ImageInspect {
    let config = &view.config;
    ImageInspect {
        id: view.id.to_string(),
        repo_tags: view.tags.clone(),
        repo_digests: view.digests.clone(),
        parent: view.parent.map(|id| id.to_string()).unwrap_or_default(),
        comment: config.comment.clone().unwrap_or_default(),
        created: view.created.map(time).unwrap_or_default(),
        author: config.author.clone().unwrap_or_default(),
        config: Some(run_config(&config.config)),
        architecture: config.architecture.clone(),
        variant: config.variant.clone().unwrap_or_default(),
        os: config.os.clone(),
        size: signed(view.size),
        graph_driver: DriverData { data: None, name: DRIVER.to_owned() },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: ImageMetadata { last_tag_time: time_or_none(view.tagged) },
        ..ImageInspect::default()
    }
}

fn run_config(config: &RunConfig) -> ImageConfig {
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: or_null(keys(&config.exposed_ports)),
        env: or_null(config.env.clone()),
        entrypoint: config.entrypoint.clone().map(Into::into),
        cmd: config.cmd.clone().map(Into::into),
        volumes: or_null(keys(&config.volumes)),
        working_dir: config.working_dir.clone(),
        labels: or_null(config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        args_escaped: false,
        // An image may hold anything here; what is no health check is not shown as one.
        healthcheck: config
            .healthcheck
            .clone()
            .and_then(|check| serde_json::from_value(check).ok()),
        on_build: config.on_build.clone(),
        shell: config.shell.clone().map(Into::into),
    }
}

fn keys<V>(map: &Map<V>) -> Map<Empty> {
    map.keys().map(|key| (key.clone(), Empty {})).collect()
}

/// A line of `GET /images/{name}/history`.
pub(crate) fn history(view: &HistoryView) -> HistoryItem {
    HistoryItem {
        comment: view.comment.clone(),
        created: view.created.map(|at| at.as_second()).unwrap_or_default(),
        created_by: view.created_by.clone(),
        id: view.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: signed(view.size),
        tags: or_null(view.tags.clone()),
    }
}

/// One step of a removal.
pub(crate) fn removal(step: &ImageRemoval) -> DeleteItem {
    match step {
        ImageRemoval::Untagged(name) => {
            DeleteItem { untagged: name.clone(), ..DeleteItem::default() }
        }
        ImageRemoval::Deleted(digest) => {
            DeleteItem { deleted: digest.to_string(), ..DeleteItem::default() }
        }
    }
}
