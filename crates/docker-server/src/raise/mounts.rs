//! Mounts: as they are (`Mounts` of inspect and ps), and as they were asked for.

use docker_api::types::Map;
use docker_api::types::containers::MountPoint;
use docker_api::types::host_config::{BindOptions, Mount as WireMount, VolumeOptions};
use engine::view::MountView;
use model::container::FilesSpec;
use model::mount::{
    Access, CopyUp, MissingSource, Mount, MountSource, Propagation, Recursion, parse_volume,
};

use super::path;

/// What is mounted. tmpfs is not listed, as `--tmpfs` is not in Docker.
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
        MountSource::Tmpfs { .. } => None,
    }
}

/// The modes that were typed for a mount that came from `-v`; `None` if it did not.
fn typed(mount: &Mount, files: &FilesSpec) -> Option<String> {
    let same =
        |spec: &&String| parse_volume(spec).is_ok_and(|parsed| parsed.target == mount.target);
    let spec = files.binds.iter().find(same)?;
    Some(spec.splitn(3, ':').nth(2).unwrap_or_default().to_owned())
}

/// `HostConfig.Mounts`: what came from `--mount`.
pub(super) fn asked(files: &FilesSpec) -> Vec<WireMount> {
    let from_mount = |mount: &&Mount| typed(mount, files).is_none() && !is_anonymous(mount);
    files.mounts.iter().filter(from_mount).filter_map(wire).collect()
}

/// Whether a mount is a volume without a name: `-v /path`, or the image's.
pub(super) fn is_anonymous(mount: &Mount) -> bool {
    matches!(mount.source, MountSource::Volume { name: None, .. })
}

fn wire(mount: &Mount) -> Option<WireMount> {
    let base = WireMount {
        target: path(&mount.target),
        read_only: mount.access != Access::ReadWrite,
        ..WireMount::default()
    };
    match &mount.source {
        MountSource::Bind { path: source, missing, propagation, recursive } => {
            let options = BindOptions {
                // The default is not worth a word.
                propagation: if *propagation == Propagation::RecursivePrivate {
                    String::new()
                } else {
                    propagation.word().to_owned()
                },
                non_recursive: *recursive == Recursion::TopOnly,
                create_mountpoint: *missing == MissingSource::Create,
                read_only_non_recursive: mount.access == Access::ReadOnlyNonRecursive,
                read_only_force_recursive: false,
            };
            Some(WireMount {
                kind: "bind".to_owned(),
                source: path(source),
                bind_options: super::or_null(options),
                ..base
            })
        }
        MountSource::Volume { name, copy_up } => {
            let options =
                VolumeOptions { no_copy: *copy_up == CopyUp::Never, ..VolumeOptions::default() };
            Some(WireMount {
                kind: "volume".to_owned(),
                source: name.clone().unwrap_or_default(),
                volume_options: super::or_null(options),
                ..base
            })
        }
        MountSource::Tmpfs { .. } => None,
    }
}

/// `HostConfig.Tmpfs`: target → options.
pub(super) fn tmpfs(files: &FilesSpec) -> Map<String> {
    files.mounts.iter().filter_map(tmpfs_entry).collect()
}

fn tmpfs_entry(mount: &Mount) -> Option<(String, String)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else { return None };
    let mut words = options.clone();
    words.extend(size.map(|bytes| format!("size={bytes}")));
    if *mode != 0o1777 {
        words.push(format!("mode={mode:o}"));
    }
    if mount.access != Access::ReadWrite {
        words.push("ro".to_owned());
    }
    Some((path(&mount.target), words.join(",")))
}
