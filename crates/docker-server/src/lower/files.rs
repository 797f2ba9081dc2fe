//! What a container sees of files: `-v`, `--mount`, `--tmpfs`, `--volumes-from`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use docker_api::types::config::ContainerConfig;
use docker_api::types::containers::UpdateExtension;
use docker_api::types::host_config::{BindOptions, HostConfig, Mount as WireMount, TmpfsOptions};
use engine::view::MountChanges;
use model::container::FilesSpec;
use model::id::is_plain_name;
use model::mount::{
    Access, CopyUp, Ids, MissingSource, Mount, MountSource, ParseIdsError, ParseMountError,
    Propagation, Recursion, Relabel, VolumeWish, clean_target, parse_volume,
};

use super::{LowerError, Unsupported, text};
use crate::given;
use crate::quirks::ApiVersion;

/// The permissions of a tmpfs that says nothing about them.
const TMPFS_MODE: u32 = 0o1777;

/// Options of tmpfs without a value.
const TMPFS_FLAGS: [&str; 22] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
];

/// Options of tmpfs with a value that is passed on.
const TMPFS_VALUES: [&str; 5] = ["uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// A mount that cannot be made so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FilesError {
    #[error(transparent)]
    Volume(#[from] ParseMountError),
    #[error(transparent)]
    Ids(#[from] ParseIdsError),
    #[error("Duplicate mount point: {}", .0.display())]
    Duplicate(PathBuf),
    #[error("invalid mount config for type \"{0}\": mount type unknown")]
    UnknownType(String),
    #[error("invalid mount config for type \"{kind}\": field {field} must not be empty")]
    Missing { kind: &'static str, field: &'static str },
    #[error("invalid mount config for type \"{kind}\": field {field} must not be specified")]
    Extra { kind: &'static str, field: &'static str },
    #[error(
        "invalid mount config for type \"{kind}\": invalid mount path: '{path}' mount path must be absolute"
    )]
    Relative { kind: &'static str, path: String },
    #[error(
        "invalid mount config for type \"{0}\": invalid specification: destination can't be '/'"
    )]
    Root(&'static str),
    #[error("invalid mount config for type \"bind\": invalid propagation mode: {0}")]
    Propagation(String),
    #[error("invalid mount config for type \"bind\": {0} needs ReadOnly")]
    NeedsReadOnly(&'static str),
    #[error(
        "invalid mount config for type \"bind\": ReadOnlyNonRecursive and ReadOnlyForceRecursive contradict each other"
    )]
    RecursionConflict,
    #[error("invalid tmpfs option \"{0}\"")]
    TmpfsOption(String),
    #[error("invalid tmpfs size: {0}")]
    TmpfsSize(String),
    #[error("invalid tmpfs mode: {0}")]
    TmpfsMode(String),
    #[error("volumes-from specification cannot be an empty string")]
    NothingFrom,
    #[error("invalid mode: {0}")]
    Mode(String),
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    Driver(String),
    #[error(
        "invalid mount config for type \"{0}\": subpath must be a relative path within the {0}"
    )]
    Part(&'static str),
    #[error("Mount type \"Image\" needs API v1.48 or newer")]
    OldImage,
    #[error("VolumeOptions.Subpath needs API v1.45 or newer")]
    OldPart,
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    NoTarget(String),
    #[error("Unknown option {0}")]
    StorageOption(String),
    #[error("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")]
    StorageSize,
}

/// Lowers everything that is mounted, and sees to it that no two are mounted at one place.
pub(super) fn lower(
    config: &ContainerConfig,
    host: &HostConfig,
    api: ApiVersion,
) -> Result<FilesSpec, LowerError> {
    check_storage(host)?;
    let binds = host.binds.clone().unwrap_or_default();
    let mut mounts = Vec::new();
    for spec in &binds {
        mounts.push(old_style(spec, api)?);
    }
    let mut asked = Vec::new();
    for wire in host.mounts.iter().flatten() {
        mounts.push(mount(wire, api)?);
        asked.push(given::keep(wire));
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        mounts.push(tmpfs(target, options)?);
    }
    let mut targets = BTreeSet::new();
    if let Some(twice) = mounts.iter().find(|mount| !targets.insert(mount.target.clone())) {
        return Err(FilesError::Duplicate(twice.target.clone()).into());
    }
    // They stand behind what `-v` has a source for.
    let mut place = binds.len();
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        let volume = old_style(path, api)?;
        // As the image's own: where something is mounted already it is not needed.
        if targets.insert(volume.target.clone()) {
            mounts.insert(place, volume);
            place += 1;
        }
    }
    // It makes the volumes of these, and not those of `--mount`; where there are none nobody looks for it.
    let is_volume = |mount: &Mount| matches!(mount.source, MountSource::Volume { .. });
    if mounts[..place].iter().any(is_volume) {
        check_driver(&host.volume_driver)?;
    }
    let volumes_from = host.volumes_from.clone().unwrap_or_default();
    for spec in &volumes_from {
        check_volumes_from(spec)?;
    }
    let tmpfs = host.tmpfs.clone().unwrap_or_default();
    let volume_driver = text::plain("VolumeDriver", &host.volume_driver)?.to_owned();
    Ok(FilesSpec { mounts, binds, asked, tmpfs, volumes_from, volume_driver })
}

/// Lowers what an update mounts and takes away.
pub(super) fn changes(
    update: &UpdateExtension,
    api: ApiVersion,
) -> Result<MountChanges, LowerError> {
    let mut changes = MountChanges::default();
    for spec in &update.bind_add {
        changes.add.push(old_style(spec, api)?);
        // As in a create, where what has no source stands elsewhere.
        changes.binds.extend(spec.contains(':').then(|| spec.clone()));
    }
    for wire in &update.mount_add {
        changes.add.push(mount(wire, api)?);
        changes.asked.push(given::keep(wire));
    }
    for path in &update.mount_rm {
        text::plain("mount target", path)?;
        let target = clean_target(path).ok_or_else(|| FilesError::NoTarget(path.clone()))?;
        changes.rm.push(target);
    }
    changes.rm.sort_unstable();
    changes.rm.dedup();
    Ok(changes)
}

/// One `-v`.
fn old_style(spec: &str, api: ApiVersion) -> Result<Mount, LowerError> {
    text::plain("volume", spec)?;
    Ok(old_read_only(parse_volume(spec).map_err(FilesError::Volume)?, api))
}

fn old_read_only(mut mount: Mount, api: ApiVersion) -> Mount {
    if mount.access == Access::ReadOnly && !api.read_only_is_recursive() {
        mount.access = Access::ReadOnlyNonRecursive;
    }
    mount
}

fn check_volumes_from(spec: &str) -> Result<(), FilesError> {
    let (name, mode) = spec.split_once(':').unwrap_or((spec, "rw"));
    if name.is_empty() {
        return Err(FilesError::NothingFrom);
    }
    let is_mode = |word: &str| matches!(word, "ro" | "rw" | "z" | "Z");
    if mode.split(',').all(is_mode) { Ok(()) } else { Err(FilesError::Mode(mode.to_owned())) }
}

/// `local` is the only driver.
fn check_driver(name: &str) -> Result<(), FilesError> {
    match name {
        "" | "local" => Ok(()),
        other => Err(FilesError::Driver(other.to_owned())),
    }
}

/// Writable layers have no size of their own: what Docker says where it cannot give them one.
fn check_storage(host: &HostConfig) -> Result<(), FilesError> {
    match host.storage_opt.iter().flatten().next() {
        None => Ok(()),
        Some((key, _)) if key.eq_ignore_ascii_case("size") => Err(FilesError::StorageSize),
        Some((key, _)) => Err(FilesError::StorageOption(key.clone())),
    }
}

fn mount(wire: &WireMount, api: ApiVersion) -> Result<Mount, LowerError> {
    text::plain("mount source", &wire.source)?;
    let kind = match wire.kind.as_str() {
        "bind" => "bind",
        "volume" => "volume",
        "tmpfs" => "tmpfs",
        "image" => "image",
        later @ ("npipe" | "cluster") => {
            return Err(Unsupported::new(format!("mount type '{later}'")).into());
        }
        other => return Err(FilesError::UnknownType(other.to_owned()).into()),
    };
    refuse_others_options(kind, wire)?;
    let target = target(kind, &wire.target)?;
    // Such a mount has no word for it.
    let relabel = Relabel::No;
    let source = match kind {
        "bind" => bind(wire, api)?,
        "volume" => volume(wire, api)?,
        "image" => {
            return Ok(Mount {
                target,
                source: image(wire, api)?,
                access: Access::ReadOnly,
                relabel,
            });
        }
        _ => mount_tmpfs(wire)?,
    };
    Ok(Mount { target, source, access: access(wire, api)?, relabel })
}

fn refuse_others_options(kind: &'static str, wire: &WireMount) -> Result<(), FilesError> {
    let options = [
        ("bind", "BindOptions", wire.bind_options.is_some()),
        ("volume", "VolumeOptions", wire.volume_options.is_some()),
        ("tmpfs", "TmpfsOptions", wire.tmpfs_options.is_some()),
        ("image", "ImageOptions", wire.image_options.is_some()),
        ("cluster", "ClusterOptions", wire.cluster_options.is_some()),
    ];
    if wire.idmap.is_some() && !matches!(kind, "bind" | "volume") {
        return Err(FilesError::Extra { kind, field: "Idmap" });
    }
    match options.iter().find(|(owner, _, given)| *given && *owner != kind) {
        Some((_, field, _)) => Err(FilesError::Extra { kind, field }),
        None => Ok(()),
    }
}

fn target(kind: &'static str, path: &str) -> Result<PathBuf, LowerError> {
    if path.is_empty() {
        return Err(FilesError::Missing { kind, field: "Target" }.into());
    }
    text::plain("mount target", path)?;
    let clean =
        clean_target(path).ok_or_else(|| FilesError::Relative { kind, path: path.to_owned() })?;
    if clean == Path::new("/") {
        return Err(FilesError::Root(kind).into());
    }
    Ok(clean)
}

fn access(wire: &WireMount, api: ApiVersion) -> Result<Access, FilesError> {
    let options = wire.bind_options.clone().unwrap_or_default();
    let BindOptions { read_only_non_recursive: top, read_only_force_recursive: all, .. } = options;
    match (wire.read_only, top, all) {
        (_, true, true) => Err(FilesError::RecursionConflict),
        (false, true, false) => Err(FilesError::NeedsReadOnly("ReadOnlyNonRecursive")),
        (false, false, true) => Err(FilesError::NeedsReadOnly("ReadOnlyForceRecursive")),
        (false, false, false) => Ok(Access::ReadWrite),
        (true, true, false) => Ok(Access::ReadOnlyNonRecursive),
        (true, false, true) => Ok(Access::ReadOnly),
        (true, false, false) if api.read_only_is_recursive() => Ok(Access::ReadOnly),
        (true, false, false) => Ok(Access::ReadOnlyNonRecursive),
    }
}

fn bind(wire: &WireMount, api: ApiVersion) -> Result<MountSource, FilesError> {
    let kind = "bind";
    if wire.source.is_empty() {
        return Err(FilesError::Missing { kind, field: "Source" });
    }
    let path = clean_target(&wire.source)
        .ok_or_else(|| FilesError::Relative { kind, path: wire.source.clone() })?;
    let options = wire.bind_options.clone().unwrap_or_default();
    let propagation = match options.propagation.as_str() {
        "" => Propagation::RecursivePrivate,
        word => {
            Propagation::from_word(word).ok_or_else(|| FilesError::Propagation(word.to_owned()))?
        }
    };
    let create = options.create_mountpoint && api.has_create_mountpoint();
    Ok(MountSource::Bind {
        path,
        missing: if create { MissingSource::Create } else { MissingSource::Refuse },
        propagation,
        recursive: if options.non_recursive {
            Recursion::TopOnly
        } else {
            Recursion::WithSubmounts
        },
        ids: ids(wire)?,
    })
}

fn ids(wire: &WireMount) -> Result<Ids, FilesError> {
    Ok(wire.idmap.as_deref().map(str::parse).transpose()?.unwrap_or_default())
}

fn volume(wire: &WireMount, api: ApiVersion) -> Result<MountSource, LowerError> {
    let options = wire.volume_options.clone().unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    check_driver(&driver.name)?;
    let name = match wire.source.as_str() {
        "" => None,
        name if is_plain_name(name) => Some(name.to_owned()),
        other => {
            return Err(FilesError::Volume(ParseMountError::VolumeName(other.to_owned())).into());
        }
    };
    let part = match options.subpath.as_str() {
        "" => None,
        _ if !api.has_subpath() => return Err(FilesError::OldPart.into()),
        path => Some(part("volume", path)?),
    };
    // A part has what it has.
    let copy_up = if options.no_copy || part.is_some() { CopyUp::Never } else { CopyUp::WhenEmpty };
    let wish = VolumeWish {
        labels: options.labels.unwrap_or_default().into_iter().collect(),
        options: driver.options.unwrap_or_default().into_iter().collect(),
    };
    Ok(MountSource::Volume { name, copy_up, part, wish, ids: ids(wire)? })
}

fn image(wire: &WireMount, api: ApiVersion) -> Result<MountSource, LowerError> {
    if !api.has_image_mounts() {
        return Err(FilesError::OldImage.into());
    }
    if wire.source.is_empty() {
        return Err(FilesError::Missing { kind: "image", field: "Source" }.into());
    }
    let options = wire.image_options.clone().unwrap_or_default();
    let part = match options.subpath.as_str() {
        "" => None,
        path => Some(part("image", path)?),
    };
    Ok(MountSource::Image { name: wire.source.clone(), part })
}

fn part(kind: &'static str, path: &str) -> Result<PathBuf, LowerError> {
    text::plain("mount subpath", path)?;
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(is_inside) {
        Ok(PathBuf::from(path))
    } else {
        Err(FilesError::Part(kind).into())
    }
}

fn mount_tmpfs(wire: &WireMount) -> Result<MountSource, FilesError> {
    if !wire.source.is_empty() {
        return Err(FilesError::Extra { kind: "tmpfs", field: "Source" });
    }
    let TmpfsOptions { size_bytes, mode, options } = wire.tmpfs_options.clone().unwrap_or_default();
    let size = match size_bytes {
        0 => None,
        _ => Some(
            u64::try_from(size_bytes).map_err(|_| FilesError::TmpfsSize(size_bytes.to_string()))?,
        ),
    };
    let mut words = Vec::new();
    for option in options.iter().flatten() {
        let word = option.join("=");
        tmpfs_word(&word)?;
        words.push(word);
    }
    Ok(MountSource::Tmpfs { size, mode: tmpfs_mode(mode)?, options: words })
}

fn tmpfs_mode(mode: u32) -> Result<u32, FilesError> {
    match mode {
        0 => Ok(TMPFS_MODE),
        1..=0o7777 => Ok(mode),
        _ => Err(FilesError::TmpfsMode(format!("{mode:o}"))),
    }
}

/// Judges an option that is neither size nor mode.
fn tmpfs_word(word: &str) -> Result<(), FilesError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    let known = match word.split_once('=') {
        Some((name, value)) => TMPFS_VALUES.contains(&name) && value.chars().all(plain),
        None => TMPFS_FLAGS.contains(&word),
    };
    if known { Ok(()) } else { Err(FilesError::TmpfsOption(word.to_owned())) }
}

/// One `--tmpfs target:options`.
fn tmpfs(path: &str, options: &str) -> Result<Mount, LowerError> {
    let target = target("tmpfs", path)?;
    let (mut size, mut mode, mut words) = (None, TMPFS_MODE, Vec::new());
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            // Of the memory that there is. The last one counts.
            Some(("size", value)) if is_percentage(value) => {
                size = None;
                words.retain(|word: &String| !word.starts_with("size="));
                words.push(word.to_owned());
            }
            Some(("size", value)) => {
                words.retain(|word| !word.starts_with("size="));
                size = Some(tmpfs_size(value)?);
            }
            Some(("mode", value)) => {
                mode = u32::from_str_radix(value, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .ok_or_else(|| FilesError::TmpfsMode(value.to_owned()))?;
            }
            Some(_) | None => {
                tmpfs_word(word)?;
                words.push(word.to_owned());
            }
        }
    }
    let access =
        if words.iter().any(|word| word == "ro") { Access::ReadOnly } else { Access::ReadWrite };
    words.retain(|word| !matches!(word.as_str(), "ro" | "rw" | "defaults"));
    let relabel = Relabel::No;
    Ok(Mount { target, source: MountSource::Tmpfs { size, mode, options: words }, access, relabel })
}

fn is_percentage(text: &str) -> bool {
    let number = text.strip_suffix('%').filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    number.and_then(|number| number.parse().ok()).is_some_and(|n: u16| n > 0)
}

/// The kernel's own suffixes: k, m, g.
fn tmpfs_size(text: &str) -> Result<u64, FilesError> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['k', 'm', 'g']);
    let shift = match &lower[digits.len()..] {
        "" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(shift);
    let bytes = bytes.and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| FilesError::TmpfsSize(text.to_owned()))
}
