//! What differs between versions of Docker's API: the only place that knows them.
//!
//! Each difference is a function named after it and dated by the version that brought it. Replies
//! are made in the newest shape and patched down from there.

use std::fmt;
use std::str::FromStr;

use docker_api::types::containers::{ContainerInspect, ContainerSummary};
use docker_api::types::images::ImageSummary;
use docker_api::types::usage::DiskUsage;
use model::image::ImageConfig;
use model::{Event, EventKind};
use serde_json::{Value, json};

/// A version of Docker's API; all that exist are 1.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u32,
    /// Nothing where a client names the first number alone: such a version is older than all with that number.
    minor: Option<u32>,
}

/// The newest that is served, and what a request without a version gets.
pub(crate) const MAX: ApiVersion = ApiVersion::one(51);

/// The oldest that is served.
pub(crate) const MIN: ApiVersion = ApiVersion::one(24);

/// A version that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VersionError {
    #[error("client version {0} is too new. Maximum supported API version is {MAX}")]
    TooNew(ApiVersion),
    #[error(
        "client version {0} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
    )]
    TooOld(ApiVersion),
}

impl ApiVersion {
    pub(crate) const fn one(minor: u32) -> Self {
        Self { major: 1, minor: Some(minor) }
    }

    /// Whether this version is served.
    pub(crate) fn check(self) -> Result<Self, VersionError> {
        match self {
            version if version > MAX => Err(VersionError::TooNew(version)),
            version if version < MIN => Err(VersionError::TooOld(version)),
            version => Ok(version),
        }
    }

    /// 1.42: `ConsoleSize` of create and exec counts.
    pub(crate) fn has_console_size(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.42: `?signal=` of stop and restart counts.
    pub(crate) fn has_stop_signal(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.42: framed streams say so in their `Content-Type`.
    pub(crate) fn names_multiplexed_streams(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.28: a websocket's messages are binary.
    pub(crate) fn has_binary_messages(self) -> bool {
        self >= Self::one(28)
    }

    /// 1.42: a websocket is for the streams that it asks for, and not for all.
    pub(crate) fn chooses_socket_streams(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.42: `CreateMountpoint` counts.
    pub(crate) fn has_create_mountpoint(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.42: a prune of volumes takes the anonymous ones alone.
    pub(crate) fn prunes_anonymous_volumes(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.44: a read-only bind is read-only all the way down.
    pub(crate) fn read_only_is_recursive(self) -> bool {
        self >= Self::one(44)
    }

    /// 1.42: `?type=` of the disk's usage and `?shared-size=` of image lists count.
    pub(crate) fn has_usage_types(self) -> bool {
        self >= Self::one(42)
    }

    /// 1.47: image lists say what there is for each platform.
    pub(crate) fn lists_manifests(self) -> bool {
        self >= Self::one(47)
    }

    /// 1.48: one platform of an image's history can be asked for, and `?manifests=` of an inspection counts.
    pub(crate) fn has_image_platforms(self) -> bool {
        self >= Self::one(48)
    }

    /// 1.49: one platform of an image can be inspected.
    pub(crate) fn inspects_platform(self) -> bool {
        self >= Self::one(49)
    }

    /// 1.48: images can be mounted.
    pub(crate) fn has_image_mounts(self) -> bool {
        self >= Self::one(48)
    }

    /// 1.45: a part of a volume can be mounted.
    pub(crate) fn has_subpath(self) -> bool {
        self >= Self::one(45)
    }

    /// 1.41: `?platform=` of create counts.
    pub(crate) fn has_create_platform(self) -> bool {
        self >= Self::one(41)
    }
}

/// Events: before 1.46 nothing told that an image was made.
pub(crate) fn tells_event(api: ApiVersion, event: &Event) -> bool {
    let is_new = event.kind == EventKind::Image && event.action == "create";
    !is_new || api >= ApiVersion::one(46)
}

impl FromStr for ApiVersion {
    type Err = ();

    /// Reads `1.51`, and `1`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().ok_or(())
        };
        let Some((major, minor)) = text.split_once('.') else {
            return Ok(Self { major: number(text)?, minor: None });
        };
        Ok(Self { major: number(major)?, minor: Some(number(minor)?) })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "{}.{minor}", self.major),
            None => write!(f, "{}", self.major),
        }
    }
}

/// Container lists: before 1.46 without annotations.
pub(crate) fn container_summary(api: ApiVersion, summary: &mut ContainerSummary) {
    if api < ApiVersion::one(46) {
        summary.host_config.annotations = None;
    }
}

/// Container inspections: before 1.45 the short id is among the aliases.
pub(crate) fn container_inspect(api: ApiVersion, inspect: &mut ContainerInspect) {
    if api >= ApiVersion::one(45) {
        return;
    }
    let short: String = inspect.id.chars().take(12).collect();
    for endpoint in inspect.network_settings.networks.iter_mut().flat_map(|map| map.values_mut()) {
        endpoint.aliases.get_or_insert_default().push(short.clone());
    }
}

/// Image lists: before 1.43 the nameless are called `<none>`, before 1.44 there is a
/// `VirtualSize`, and before 1.51 containers are not counted.
pub(crate) fn image_list(api: ApiVersion, list: &mut [ImageSummary]) {
    for image in list {
        image_summary(api, image);
        if api < ApiVersion::one(51) {
            image.containers = -1;
        }
    }
}

fn image_summary(api: ApiVersion, image: &mut ImageSummary) {
    if api < ApiVersion::one(43) && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        image.repo_tags = vec!["<none>:<none>".to_owned()];
        image.repo_digests = vec!["<none>@<none>".to_owned()];
    }
    if api < ApiVersion::one(44) {
        image.virtual_size = image.size;
    }
}

/// Usage of the disk: its images and containers are those of the lists, but for the containers of
/// an image, which were always counted here; before 1.42 a builder had a size of its own.
pub(crate) fn disk_usage(api: ApiVersion, usage: &mut DiskUsage) {
    for image in usage.images.iter_mut().flatten() {
        image_summary(api, image);
    }
    for container in usage.containers.iter_mut().flatten() {
        container_summary(api, container);
    }
    if api < ApiVersion::one(42) {
        usage.builder_size = Some(0);
    }
}

/// Image inspections: before 1.44 there is a `VirtualSize`, before 1.45 the container that the
/// image was committed from, and before 1.50 its configuration had all fields of a container's.
pub(crate) fn image_inspect(api: ApiVersion, image: &ImageConfig, inspect: &mut Value) {
    if let Some(config) = inspect.get_mut("Config").filter(|_| api < ApiVersion::one(50)) {
        fill_config(config);
    }
    let Some(fields) = inspect.as_object_mut() else { return };
    if api < ApiVersion::one(45) {
        let mut made_by = image.container_config.clone().unwrap_or_default();
        fill_config(&mut made_by);
        fields
            .insert("Container".to_owned(), json!(image.container.as_deref().unwrap_or_default()));
        fields.insert("ContainerConfig".to_owned(), made_by);
    }
    if api < ApiVersion::one(44) {
        let size = fields.get("Size").cloned().unwrap_or_default();
        fields.insert("VirtualSize".to_owned(), size);
    }
}

/// Adds what a container's configuration shows even where it is empty.
fn fill_config(config: &mut Value) {
    let Some(config) = config.as_object_mut() else { return };
    for (field, value) in legacy_image_config() {
        config.entry(field).or_insert(value);
    }
}

fn legacy_image_config() -> Vec<(&'static str, Value)> {
    vec![
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("User", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Env", Value::Null),
        ("Cmd", Value::Null),
        ("Image", json!("")),
        ("Volumes", Value::Null),
        ("WorkingDir", json!("")),
        ("Entrypoint", Value::Null),
        ("OnBuild", Value::Null),
        ("Labels", Value::Null),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_order_by_number_and_not_by_text() {
        assert!(version("1.9") < version("1.24"));
        assert!(version("2.0") > MAX);
        assert!(version("1") < version("1.0"));
        for bad in ["", "1.", ".1", "1.2.3", "1.+2", "v1.2", "1.99999999999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_served_says_what_is() {
        assert_eq!(version("1.51").check(), Ok(MAX));
        assert_eq!(version("1.24").check(), Ok(MIN));
        let old = version("1").check().unwrap_err();
        assert!(old.to_string().starts_with("client version 1 is too old."), "{old}");
        assert_eq!(
            version("1.99").check().unwrap_err().to_string(),
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            version("1.10").check().unwrap_err().to_string(),
            "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
    }

    #[test]
    fn nameless_images_have_a_name_before_1_43() {
        let mut list = [ImageSummary { size: 7, containers: 2, ..ImageSummary::default() }];
        image_list(MAX, &mut list);
        assert_eq!((list[0].repo_tags.len(), list[0].virtual_size, list[0].containers), (0, 0, 2));
        image_list(version("1.42"), &mut list);
        assert_eq!(list[0].repo_tags, ["<none>:<none>"]);
        assert_eq!((list[0].virtual_size, list[0].containers), (7, -1));
    }

    #[test]
    fn old_image_inspections_have_the_old_fields() {
        let new = json!({"Size": 7, "Config": {"Cmd": ["sh"]}});
        let image = ImageConfig {
            container: Some("ab".to_owned()),
            container_config: Some(json!({"Image": "base"})),
            ..ImageConfig::default()
        };
        let shape = |api| {
            let mut value = new.clone();
            image_inspect(version(api), &image, &mut value);
            value
        };
        assert_eq!(shape("1.50"), new);
        assert_eq!(shape("1.49")["Config"]["Cmd"], json!(["sh"]));
        assert_eq!(shape("1.49")["Config"]["AttachStdin"], json!(false));
        assert!(shape("1.49").get("Container").is_none());
        assert_eq!(shape("1.44")["Container"], json!("ab"));
        let made_by = &shape("1.44")["ContainerConfig"];
        assert_eq!((&made_by["Image"], &made_by["Tty"]), (&json!("base"), &json!(false)));
        assert_eq!(shape("1.43")["VirtualSize"], json!(7));
    }
}
