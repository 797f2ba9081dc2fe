//! Volumes.

use docker_api::types::volumes::Volume;
use engine::view::VolumeView;

use super::{or_null, path, time};

/// A volume.
pub(crate) fn volume(view: &VolumeView) -> Volume {
    Volume {
        created_at: time(view.created),
        driver: "local".to_owned(),
        labels: or_null(view.labels.clone()),
        mountpoint: path(&view.mountpoint),
        name: view.name.clone(),
        options: or_null(view.options.clone()),
        scope: "local".to_owned(),
        usage_data: None,
    }
}
