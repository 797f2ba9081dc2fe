//! Mounts as they are: `Mounts` of inspect and ps.

use docker_api::types::containers::MountPoint;
use engine::view::MountView;
use model::container::FilesSpec;
use model::mount::{Access, Mount, MountSource, clean_target, parse_volume};

use super::path;
use crate::given;

/// What is mounted. Of tmpfs only what `--mount` asked for, as in Docker.
pub(super) fn points(mounts: &[MountView], files: &FilesSpec) -> Vec<MountPoint> {
    mounts.iter().filter_map(|view| point(view, files)).collect()
}

fn point(view: &MountView, files: &FilesSpec) -> Option<MountPoint> {
    let mount = &view.mount;
    let destination = path(&mount.target);
    let rw = mount.access == Access::ReadWrite;
    let typed = typed(mount, files);
    match &mount.source {
        MountSource::Bind { path: source, propagation, .. } => Some(MountPoint {
            kind: "bind".to_owned(),
            source: path(source),
            destination,
            mode: typed.unwrap_or_default(),
            rw,
            propagation: propagation.word().to_owned(),
            ..MountPoint::default()
        }),
        MountSource::Volume { name, .. } => {
            let place = view.volume.as_ref();
            // Docker's default mode for SELinux, which it prints for all volumes with a name.
            let default = if name.is_some() { "z" } else { "" };
            Some(MountPoint {
                kind: "volume".to_owned(),
                name: place.map(|place| place.name.clone()).unwrap_or_default(),
                source: place.map(|place| path(&place.path)).unwrap_or_default(),
                destination,
                driver: "local".to_owned(),
                mode: typed.filter(|mode| !mode.is_empty()).unwrap_or_else(|| default.to_owned()),
                rw,
                propagation: String::new(),
            })
        }
        // Docker shows where it is mounted on the host; here it is nowhere.
        MountSource::Image { name, .. } => Some(MountPoint {
            kind: "image".to_owned(),
            name: name.clone(),
            source: view.image.map(|id| id.to_string()).unwrap_or_default(),
            destination,
            ..MountPoint::default()
        }),
        MountSource::Tmpfs { .. } if files.tmpfs.keys().any(|target| is_at(mount, target)) => None,
        MountSource::Tmpfs { .. } => {
            Some(MountPoint { kind: "tmpfs".to_owned(), destination, rw, ..MountPoint::default() })
        }
    }
}

/// The modes that were typed for a mount that came from `-v`; `None` if it did not.
fn typed(mount: &Mount, files: &FilesSpec) -> Option<String> {
    let same =
        |spec: &&String| parse_volume(spec).is_ok_and(|parsed| parsed.target == mount.target);
    let spec = files.binds.iter().find(same)?;
    Some(spec.splitn(3, ':').nth(2).unwrap_or_default().to_owned())
}

/// The volumes that `-v /path` or the image asked for, and `--mount` did not.
pub(super) fn is_bare_volume(mount: &Mount, files: &FilesSpec) -> bool {
    let is_anonymous = matches!(mount.source, MountSource::Volume { name: None, .. });
    is_anonymous && !given::read(files).iter().any(|asked| is_at(mount, &asked.target))
}

fn is_at(mount: &Mount, target: &str) -> bool {
    clean_target(target).is_some_and(|target| target == mount.target)
}
