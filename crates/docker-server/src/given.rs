//! `--mount` as it was given: kept beside what was made of it, so that an inspection shows the
//! client's own words.

use std::path::PathBuf;

use docker_api::types::host_config::Mount;
use model::container::FilesSpec;
use model::mount::{clean_target, parse_volume};

/// The words of one mount, for its container's specification.
pub(crate) fn keep(mount: &Mount) -> String {
    // A mount is texts, numbers and lists of them: nothing that JSON cannot say.
    serde_json::to_string(mount).unwrap_or_default()
}

/// The words of a mount of a volume that is called otherwise by now.
pub(crate) fn renamed(text: &str, from: &str, to: &str) -> String {
    match serde_json::from_str::<Mount>(text) {
        Ok(mount) if mount.kind == "volume" && mount.source == from => {
            keep(&Mount { source: to.to_owned(), ..mount })
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// The mounts that [`keep`] has written, but those that an update has taken away since.
pub(crate) fn read(files: &FilesSpec) -> Vec<Mount> {
    let mut mounts: Vec<Mount> =
        files.asked.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let at = |target: &Option<PathBuf>, typed: &str| clean_target(typed) == *target;
    let is_there = |mount: &Mount| {
        let target = clean_target(&mount.target);
        let is_typed = |spec: &String| parse_volume(spec).is_ok_and(|it| Some(it.target) == target);
        files.mounts.iter().any(|it| Some(&it.target) == target.as_ref())
            && !files.binds.iter().any(is_typed)
            && !files.tmpfs.keys().any(|typed| at(&target, typed))
    };
    mounts.retain(is_there);
    // Of two at one place the later one came when the other had gone.
    let mut index = 0;
    while index < mounts.len() {
        let target = clean_target(&mounts[index].target);
        let has_later = mounts[index + 1..].iter().any(|later| at(&target, &later.target));
        if has_later {
            mounts.remove(index);
        } else {
            index += 1;
        }
    }
    mounts
}
