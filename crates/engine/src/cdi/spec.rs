//! Specifications of the container device interface: what a vendor's file says that a container with
//! one of its devices needs.
//!
//! Reading alone. A field that is not known is an error, since it may be something that the device does
//! not work, or is not safe, without.

use std::path::PathBuf;

use serde::Deserialize;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// The longest file; NVIDIA's, of sixteen devices, have some 100 KiB.
pub(crate) const MAX_FILE: u64 = 4 << 20;
/// The most devices of one file.
const MAX_DEVICES: usize = 4096;

/// Versions whose fields are known here (`major.minor`).
const VERSIONS: [&str; 10] = ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "1.0", "1.1", "0.1", "0.2"];

/// One file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    cdi_version: String,
    /// `vendor.com/class`
    pub(crate) kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: std::collections::BTreeMap<String, String>,
    pub(crate) devices: Vec<Device>,
    /// For every device of the file, once.
    #[serde(default)]
    pub(crate) container_edits: Edits,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) name: String,
    #[serde(default, rename = "annotations")]
    _annotations: std::collections::BTreeMap<String, String>,
    pub(crate) container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Edits {
    pub(crate) env: Vec<String>,
    pub(crate) device_nodes: Vec<DeviceNode>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) intel_rdt: Option<serde::de::IgnoredAny>,
    pub(crate) net_devices: Vec<serde::de::IgnoredAny>,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeviceNode {
    /// In the container.
    pub(crate) path: PathBuf,
    /// On the host, if it is another.
    #[serde(default)]
    pub(crate) host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`; otherwise the host's node tells, as of the numbers.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) major: Option<i64>,
    #[serde(default)]
    pub(crate) minor: Option<i64>,
    #[serde(default)]
    pub(crate) file_mode: Option<u32>,
    /// Of `rwm`.
    #[serde(default)]
    pub(crate) permissions: Option<String>,
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    #[serde(default)]
    pub(crate) gid: Option<u32>,
}

/// Files of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Mount {
    pub(crate) host_path: PathBuf,
    pub(crate) container_path: PathBuf,
    #[serde(default)]
    pub(crate) options: Vec<String>,
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
}

/// A program that the vendor wants to be run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Hook {
    pub(crate) hook_name: String,
    pub(crate) path: PathBuf,
    /// The program's name first.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
    /// In seconds.
    #[serde(default)]
    pub(crate) timeout: Option<i64>,
}

/// A file that is no specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("{0}")]
    Syntax(String),
    #[error("cdiVersion {0:?} is not known")]
    Version(String),
    #[error("kind {0:?} is not of the form vendor.com/class")]
    Kind(String),
    #[error("device name {0:?} is not made of letters, digits, and _-.:")]
    Name(String),
    #[error("it has {0} devices, and at most {MAX_DEVICES} are read")]
    Devices(usize),
    #[error("{what} {path:?}: {why}")]
    Edit { what: &'static str, path: PathBuf, why: &'static str },
}

/// Reads a file's text.
pub(crate) fn parse(text: &str, format: Format) -> Result<Spec, SpecError> {
    let syntax = |error: &dyn std::fmt::Display| {
        SpecError::Syntax(error.to_string().lines().next().unwrap_or_default().to_owned())
    };
    let spec: Spec = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| syntax(&error))?,
        Format::Yaml => serde_saphyr::from_str(text).map_err(|error| syntax(&error))?,
    };
    check(&spec)?;
    Ok(spec)
}

fn check(spec: &Spec) -> Result<(), SpecError> {
    let version = spec.cdi_version.rsplit_once('.').map_or("", |(version, _)| version);
    if !VERSIONS.contains(&version.trim_start_matches('v')) {
        return Err(SpecError::Version(spec.cdi_version.clone()));
    }
    let kind = spec.kind.split_once('/').filter(|(vendor, class)| {
        is_name(vendor, "_-.")
            && is_name(class, "_-")
            && vendor.starts_with(letter)
            && class.starts_with(letter)
    });
    kind.ok_or_else(|| SpecError::Kind(spec.kind.clone()))?;
    if spec.devices.len() > MAX_DEVICES {
        return Err(SpecError::Devices(spec.devices.len()));
    }
    for device in &spec.devices {
        if !is_name(&device.name, "_-.:") {
            return Err(SpecError::Name(device.name.clone()));
        }
        check_edits(&device.container_edits)?;
    }
    check_edits(&spec.container_edits)
}

fn letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// Whether a name has only these characters, and ends as it begins, with a letter or digit.
pub(crate) fn is_name(text: &str, more: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 255
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || more.contains(c))
}

/// When hooks are run, as specifications call it.
const MOMENTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn check_hook(hook: &Hook) -> Result<(), SpecError> {
    let why = if !MOMENTS.contains(&hook.hook_name.as_str()) {
        "its hookName is not known"
    } else if !hook.path.is_absolute() {
        "it must be absolute"
    } else if hook.timeout.is_some_and(|seconds| seconds <= 0) {
        "its timeout is not greater than zero"
    } else if !hook.env.iter().all(|entry| entry.find('=').is_some_and(|at| at > 0)) {
        "its env is not made of NAME=VALUE"
    } else {
        return Ok(());
    };
    Err(SpecError::Edit { what: "hook", path: hook.path.clone(), why })
}

fn check_edits(edits: &Edits) -> Result<(), SpecError> {
    for node in &edits.device_nodes {
        let wrong = |why| SpecError::Edit { what: "device node", path: node.path.clone(), why };
        if !node.path.is_absolute()
            || node.host_path.as_ref().is_some_and(|path| !path.is_absolute())
        {
            return Err(wrong("it must be absolute"));
        }
        if node
            .kind
            .as_ref()
            .is_some_and(|kind| !matches!(kind.as_str(), "" | "b" | "c" | "u" | "p"))
        {
            return Err(wrong("its type is none of b, c, u and p"));
        }
        if node.permissions.as_ref().is_some_and(|p| !p.chars().all(|c| "rwm".contains(c))) {
            return Err(wrong("its permissions are not made of r, w and m"));
        }
    }
    edits.hooks.iter().try_for_each(check_hook)?;
    for mount in &edits.mounts {
        if !mount.host_path.is_absolute() || !mount.container_path.is_absolute() {
            let (what, path) = ("mount", mount.container_path.clone());
            return Err(SpecError::Edit { what, path, why: "both of its paths must be absolute" });
        }
    }
    Ok(())
}
