//! Volumes.

use docker_api::types::volumes::{UsageData, Volume};
use engine::view::VolumeView;

use super::{or_null, path, signed, time};

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

/// The same with the bytes of its files; -1, as in Docker, if they cannot be counted.
pub(crate) fn volume_usage((view, bytes): &(VolumeView, Option<u64>)) -> Volume {
    let usage = UsageData {
        ref_count: i64::try_from(view.used_by.len()).unwrap_or(i64::MAX),
        size: bytes.map_or(-1, signed),
    };
    Volume { usage_data: Some(usage), ..volume(view) }
}
