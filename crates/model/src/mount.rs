//! What a container has mounted: binds, volumes, tmpfs; and the syntax of `-v`.

mod ids;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::is_plain_name;

pub use ids::{Frame, IdMapping, IdSpan, Ids, ParseIdsError};

/// One mount that the user asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute and normalised path inside the container, never `/`.
    pub target: PathBuf,
    /// What is mounted there.
    pub source: MountSource,
    /// Whether writing is refused.
    pub access: Access,
    /// Whether its files get the container's label of SELinux; those of the first records do not.
    #[serde(default, skip_serializing_if = "Relabel::is_no")]
    pub relabel: Relabel,
}

/// Whether the files of a mount get a label of SELinux that lets the container have them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Relabel {
    /// They stay as they are.
    #[default]
    No,
    /// `z`: one that all containers may have.
    Shared,
    /// `Z`: the container's own.
    Private,
}

impl Relabel {
    fn is_no(&self) -> bool {
        *self == Self::No
    }
}

/// Whether a mount can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Access {
    /// `rw`
    ReadWrite,
    /// `ro`, and everything mounted below it as well.
    ReadOnly,
    /// `ro`, while what is mounted below keeps its own mode.
    ReadOnlyNonRecursive,
}

/// What is mounted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// What happens when it does not exist: `-v` makes a directory, `--mount` fails.
        missing: MissingSource,
        /// Mount propagation.
        propagation: Propagation,
        /// Whether mounts below the source come along.
        recursive: Recursion,
        /// Whose ids its files show; the first records had only the host's.
        #[serde(default, skip_serializing_if = "Ids::is_default")]
        ids: Ids,
    },
    /// A named volume, or an anonymous one.
    Volume {
        /// `None`: an anonymous volume; its name is drawn when the container is made.
        name: Option<String>,
        /// Whether an empty volume is filled with what the image has at the target.
        copy_up: CopyUp,
        /// The part of it that is mounted, relative and without `..`; `None` is all of it, as in
        /// the first records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<PathBuf>,
        /// What it is given if it is made for this mount; the first records gave it nothing.
        #[serde(default, skip_serializing_if = "VolumeWish::is_default")]
        wish: VolumeWish,
        /// Whose ids its files show; the first records had nothing to say of it.
        #[serde(default, skip_serializing_if = "Ids::is_default")]
        ids: Ids,
    },
    /// The files of an image, read-only.
    Image {
        /// As typed.
        name: String,
        /// The part of it that is mounted, relative and without `..`; `None` is all of it.
        part: Option<PathBuf>,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None` leaves the kernel's half of memory.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
        /// Other options as given (`noexec`, `uid=…`), one each.
        options: Vec<String>,
    },
}

impl MountSource {
    /// A whole volume without labels and options.
    #[must_use]
    pub fn volume(name: Option<String>, copy_up: CopyUp) -> Self {
        Self::Volume { name, copy_up, part: None, wish: VolumeWish::default(), ids: Ids::Host }
    }
}

/// What a volume is given when it is made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeWish {
    /// Free text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl VolumeWish {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens when a bind's source does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MissingSource {
    /// A directory is made there, mode 0755.
    Create,
    /// The container is refused.
    Refuse,
}

/// Mount propagation of a bind (mount_namespaces(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Propagation {
    /// Docker's default.
    RecursivePrivate,
    /// `private`
    Private,
    /// `shared`
    Shared,
    /// `rshared`
    RecursiveShared,
    /// `slave`
    Slave,
    /// `rslave`
    RecursiveSlave,
}

impl Propagation {
    /// The option's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RecursivePrivate => "rprivate",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::RecursiveShared => "rshared",
            Self::Slave => "slave",
            Self::RecursiveSlave => "rslave",
        }
    }

    /// Reads the option's name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::RecursivePrivate,
            Self::Private,
            Self::Shared,
            Self::RecursiveShared,
            Self::Slave,
            Self::RecursiveSlave,
        ]
        .into_iter()
        .find(|propagation| propagation.word() == word)
    }
}

/// Whether a bind takes the mounts below its source along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Recursion {
    /// `rbind`, Docker's default.
    WithSubmounts,
    /// `bind-recursive=disabled`
    TopOnly,
}

/// Whether an empty volume is filled from the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CopyUp {
    /// Docker's default.
    WhenEmpty,
    /// `nocopy`
    Never,
}

/// Why a mount cannot be read; the words are Docker's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMountError {
    /// Neither a path nor a name.
    #[error("invalid volume specification: '{0}'")]
    Spec(String),
    /// The target is not absolute.
    #[error(
        "invalid volume specification: '{spec}': invalid mount config for type \"{kind}\": invalid mount path: '{target}' mount path must be absolute"
    )]
    RelativeTarget {
        /// As typed.
        spec: String,
        /// bind or volume.
        kind: &'static str,
        /// The target as typed.
        target: String,
    },
    /// The whole container would be covered.
    #[error("invalid volume specification: '{0}': invalid specification: destination can't be '/'")]
    TargetIsRoot(String),
    /// A word in the third field that is no mode, or two that contradict each other.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// Ids that cannot be mapped so.
    #[error(transparent)]
    Ids(#[from] ParseIdsError),
    /// A mode of binds for a volume, or the other way round.
    #[error(
        "invalid volume specification: '{spec}': invalid mount config for type \"{kind}\": field {field} must not be specified"
    )]
    OthersMode {
        /// As typed.
        spec: String,
        /// bind or volume.
        kind: &'static str,
        /// Where the API has such modes.
        field: &'static str,
    },
    /// A relative path where only a volume's name can stand.
    #[error(
        "\"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
}

/// Makes a container path absolute-normal: `.` and doubled slashes go; `..` climbs lexically
/// but never above the root, as Docker's `path.Clean` does. `None` if it is not absolute.
#[must_use]
pub fn clean_target(path: &str) -> Option<PathBuf> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(clean)
}

/// Reads one `-v`: `[source:]target[:mode[,mode…]]`.
///
/// # Errors
/// In Docker's words, with the specification as typed.
pub fn parse_volume(spec: &str) -> Result<Mount, ParseMountError> {
    let bad = || ParseMountError::Spec(spec.to_owned());
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, modes) = match parts[..] {
        [target] => (None, target, ""),
        // An anonymous volume has no modes.
        [first, second] if first.starts_with('/') && is_modes(second) => return Err(bad()),
        [source, target] => (Some(source), target, ""),
        [source, target, modes] => (Some(source), target, modes),
        _ => return Err(bad()),
    };
    if target.is_empty() || source.is_some_and(str::is_empty) {
        return Err(bad());
    }
    let modes = Modes::parse(modes)?;
    let kind = if source.is_some_and(|source| source.starts_with('/')) { "bind" } else { "volume" };
    let clean = clean_target(target).ok_or_else(|| ParseMountError::RelativeTarget {
        spec: spec.to_owned(),
        kind,
        target: target.to_owned(),
    })?;
    if clean == Path::new("/") {
        return Err(ParseMountError::TargetIsRoot(spec.to_owned()));
    }
    if let Some(field) = modes.of_other_kinds(kind) {
        return Err(ParseMountError::OthersMode { spec: spec.to_owned(), kind, field });
    }
    Ok(Mount {
        target: clean,
        source: volume_source(source, &modes)?,
        access: modes.access(),
        relabel: modes.label.unwrap_or_default(),
    })
}

fn volume_source(source: Option<&str>, modes: &Modes) -> Result<MountSource, ParseMountError> {
    match source {
        None => Ok(MountSource::volume(None, modes.copy_up())),
        Some(path) if path.starts_with('/') => Ok(MountSource::Bind {
            path: clean_target(path).ok_or_else(|| ParseMountError::Spec(path.to_owned()))?,
            missing: MissingSource::Create,
            propagation: modes.propagation.unwrap_or(Propagation::RecursivePrivate),
            recursive: Recursion::WithSubmounts,
            ids: modes.ids(),
        }),
        Some(name) if is_plain_name(name) => Ok(MountSource::Volume {
            name: Some(name.to_owned()),
            copy_up: modes.copy_up(),
            part: None,
            wish: VolumeWish::default(),
            ids: modes.ids(),
        }),
        Some(other) => Err(ParseMountError::VolumeName(other.to_owned())),
    }
}

fn is_modes(text: &str) -> bool {
    !text.is_empty() && Modes::parse(text).is_ok()
}

/// The words of the third field, as yet without defaults.
#[derive(Default)]
struct Modes {
    access: Option<Access>,
    propagation: Option<Propagation>,
    copy_up: Option<CopyUp>,
    ids: Option<Ids>,
    label: Option<Relabel>,
    consistency: Option<()>,
}

impl Modes {
    fn parse(text: &str) -> Result<Self, ParseMountError> {
        let mut modes = Self::default();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let is_new = match Ids::of_word(word) {
                Some(ids) => modes.ids.replace(ids?).is_none(),
                None => modes.add(word),
            };
            if !is_new {
                return Err(ParseMountError::Mode(text.to_owned()));
            }
        }
        Ok(modes)
    }

    /// Whether the word is a mode and the first of its kind.
    fn add(&mut self, word: &str) -> bool {
        match word {
            "rw" => self.access.replace(Access::ReadWrite).is_none(),
            "ro" => self.access.replace(Access::ReadOnly).is_none(),
            "nocopy" => self.copy_up.replace(CopyUp::Never).is_none(),
            "z" => self.label.replace(Relabel::Shared).is_none(),
            "Z" => self.label.replace(Relabel::Private).is_none(),
            // How far a Mac's file system may lag behind; on Linux it is one file system.
            "consistent" | "cached" | "delegated" => self.consistency.replace(()).is_none(),
            other => Propagation::from_word(other)
                .is_some_and(|propagation| self.propagation.replace(propagation).is_none()),
        }
    }

    /// Where the API has the modes that make no sense for this kind.
    fn of_other_kinds(&self, kind: &str) -> Option<&'static str> {
        match kind {
            "bind" => self.copy_up.map(|_| "VolumeOptions"),
            _ => self.propagation.map(|_| "BindOptions"),
        }
    }

    fn access(&self) -> Access {
        self.access.unwrap_or(Access::ReadWrite)
    }

    fn ids(&self) -> Ids {
        self.ids.clone().unwrap_or_default()
    }

    fn copy_up(&self) -> CopyUp {
        self.copy_up.unwrap_or(CopyUp::WhenEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str) -> Mount {
        parse_volume(spec).unwrap()
    }

    #[test]
    fn a_path_is_a_bind_and_a_name_is_a_volume() {
        assert!(matches!(
            read("/src:/dst:ro").source,
            MountSource::Bind { missing: MissingSource::Create, .. }
        ));
        assert_eq!(read("/src:/dst:ro").access, Access::ReadOnly);
        assert!(
            matches!(read("data:/dst").source, MountSource::Volume { name: Some(name), .. } if name == "data")
        );
        assert!(matches!(read("/dst").source, MountSource::Volume { name: None, .. }));
        assert_eq!(read("data:/a/./b//c/../d").target, Path::new("/a/b/d"));
        assert!(matches!(
            read("v1:/dst:nocopy").source,
            MountSource::Volume { copy_up: CopyUp::Never, .. }
        ));
    }

    #[test]
    fn binds_and_volumes_say_whose_ids_they_show() {
        let ids = |spec: &str| match read(spec).source {
            MountSource::Bind { ids, .. } | MountSource::Volume { ids, .. } => ids,
            other @ (MountSource::Image { .. } | MountSource::Tmpfs { .. }) => panic!("{other:?}"),
        };
        assert_eq!((ids("/a:/b"), ids("v1:/b")), (Ids::Host, Ids::Host));
        assert_eq!((ids("/a:/b:ro,idmap"), ids("v1:/b:idmap")), (Ids::Owner, Ids::Owner));
        assert!(matches!(ids("/a:/b:idmap=uids=0-5-1"), Ids::Mapped(_)));
        assert_eq!(
            parse_volume("/a:/b:idmap,idmap").unwrap_err().to_string(),
            "invalid mode: idmap,idmap"
        );
        assert!(parse_volume("/a:/b:idmap=x").unwrap_err().to_string().contains("invalid idmap"));
        // A record has the field only where it says something.
        let record = |spec: &str| serde_json::to_string(&read(spec)).unwrap();
        assert!(!record("/a:/b").contains("ids") && record("/a:/b:idmap").contains("ids"));
        assert!(!record("v1:/b").contains("ids") && record("v1:/b:idmap").contains("ids"));
    }

    #[test]
    fn modes_of_macs_say_nothing_on_linux() {
        for modes in ["cached", "delegated,ro", "consistent,Z,rslave"] {
            let mount = read(&format!("/a:/b:{modes}"));
            assert_eq!(mount.access == Access::ReadOnly, modes.contains("ro"), "{modes}");
        }
    }

    #[test]
    fn bad_specifications_say_what_is_wrong() {
        for (spec, message) in [
            ("", "invalid volume specification: ''"),
            ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
            (":/x", "invalid volume specification: ':/x'"),
            ("/a:", "invalid volume specification: '/a:'"),
            ("/a:/b:foo", "invalid mode: foo"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:ro,", "invalid mode: ro,"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/a:/b:cached,delegated", "invalid mode: cached,delegated"),
            ("/a:/b:shared,slave", "invalid mode: shared,slave"),
            ("/dst:ro", "invalid volume specification: '/dst:ro'"),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "v1:/b:shared",
                "invalid volume specification: 'v1:/b:shared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid specification: destination can't be '/'",
            ),
            (
                "/a:/x/..",
                "invalid volume specification: '/a:/x/..': invalid specification: destination can't be '/'",
            ),
        ] {
            assert_eq!(parse_volume(spec).unwrap_err().to_string(), message, "{spec}");
        }
        assert!(
            parse_volume("./rel:/x")
                .unwrap_err()
                .to_string()
                .contains("includes invalid characters")
        );
        assert!(
            parse_volume("/a:rel").unwrap_err().to_string().contains("mount path must be absolute")
        );
    }
}
