//! `--mount` as it was given: kept beside what was made of it, so that an inspection shows the
//! client's own words.

use docker_api::types::host_config::Mount;

/// The words of one mount, for its container's specification.
pub(crate) fn keep(mount: &Mount) -> String {
    // A mount is texts, numbers and lists of them: nothing that JSON cannot say.
    serde_json::to_string(mount).unwrap_or_default()
}

/// The mounts that [`keep`] has written.
pub(crate) fn read(kept: &[String]) -> Vec<Mount> {
    kept.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}
