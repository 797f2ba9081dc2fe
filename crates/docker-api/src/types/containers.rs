//! Requests and replies under `/containers`, apart from configuration, networks and stats.

use serde::{Deserialize, Serialize};

use super::config::ContainerConfig;
use super::host_config::{HostConfig, Mount, RestartPolicy};
use super::network_settings::{EndpointSettings, NetworkSettings, NetworkingConfig, PortMap};
use super::{Descriptor, DriverData, Map, is_zero};
use crate::json::{JsonError, Parsed, Tree, from_tree};

/// The body of `POST /containers/create`: [`ContainerConfig`] at the top level and two objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateContainer {
    #[serde(flatten)]
    pub config: ContainerConfig,
    pub host_config: HostConfig,
    pub networking_config: NetworkingConfig,
    /// What Docker's API has no field for. Docker ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhow: Option<Extension>,
}

/// Our additions to a create request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Extension {
    /// A directory of the host to run instead of an image: `PATH` or, with a throw-away writable
    /// layer over it, `PATH:O`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rootfs: String,
    /// Whether the container is prepared for systemd: `true` (if its command is), `false`, `always`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd: String,
    /// What happens when the container becomes unhealthy: `none`, `restart`, `stop`, `kill`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub on_unhealthy: String,
}

impl CreateContainer {
    /// Reads a body. What is neither of the objects belongs to the configuration.
    pub fn from_json(text: &[u8]) -> Result<Parsed<Self>, JsonError> {
        let mut tree = Tree::parse(text)?;
        // Before the parts are taken out: a second `HostConfig` must not become an unknown field.
        tree.refuse_duplicate_fields(&["HostConfig", "NetworkingConfig", "Dhow"])?;
        let host = part::<HostConfig>(&mut tree, "HostConfig")?;
        let net = part::<NetworkingConfig>(&mut tree, "NetworkingConfig")?;
        let dhow = part::<Option<Extension>>(&mut tree, "Dhow")?;
        let config = from_tree::<ContainerConfig>(tree)?;
        let unknown = [config.unknown, host.unknown, net.unknown, dhow.unknown].concat();
        let value = Self {
            config: config.value,
            host_config: host.value,
            networking_config: net.value,
            dhow: dhow.value,
        };
        Ok(Parsed { value, unknown })
    }
}

fn part<T: serde::de::DeserializeOwned>(
    tree: &mut Tree,
    name: &str,
) -> Result<Parsed<T>, JsonError> {
    let Some(tree) = tree.take(name) else { return from_tree(Tree::Null) };
    let mut parsed = from_tree(tree).map_err(|e| e.under(name))?;
    for field in &mut parsed.unknown {
        *field = format!("{name}.{field}");
    }
    Ok(parsed)
}

/// The answer to create.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateResponse {
    pub id: String,
    pub warnings: Vec<String>,
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerInspect {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: ContainerState,
    pub image: String,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    /// With its leading slash.
    pub name: String,
    pub restart_count: i64,
    pub driver: String,
    pub platform: String,
    pub mount_label: String,
    pub process_label: String,
    pub app_armor_profile: String,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    pub host_config: HostConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_driver: Option<DriverData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    pub mounts: Vec<MountPoint>,
    pub config: ContainerConfig,
    pub network_settings: NetworkSettings,
    /// What Docker's API has no field for, if there is anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhow: Option<Extension>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
}

/// `State` of an inspection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerState {
    pub status: String,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: i64,
    pub exit_code: i64,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    pub status: String,
    pub failing_streak: i64,
    pub log: Option<Vec<HealthcheckResult>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthcheckResult {
    pub start: String,
    pub end: String,
    pub exit_code: i64,
    pub output: String,
}

/// A mount as it is, in inspections and lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub source: String,
    pub destination: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
}

/// One line of `GET /containers/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSummary {
    pub id: String,
    /// With leading slashes.
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    /// Unix seconds.
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    pub labels: Map<String>,
    pub state: String,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub network_settings: SummaryNetworkSettings,
    pub mounts: Vec<MountPoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
}

/// A port of a list entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    pub private_port: u16,
    #[serde(skip_serializing_if = "is_zero")]
    pub public_port: u16,
    #[serde(rename = "Type")]
    pub protocol: String,
    /// How many ports there are from these on, in a list of dhow's that was asked for ranges; else none is one.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryHostConfig {
    pub network_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryNetworkSettings {
    /// Boxed, since a map makes room for eleven values at once, and lists are long.
    pub networks: Option<Map<Box<EndpointSettings>>>,
}

/// The answer of `wait`, once it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitResponse {
    pub status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitError {
    pub message: String,
}

/// `GET /containers/{id}/top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopResponse {
    pub processes: Vec<Vec<String>>,
    pub titles: Vec<String>,
}

/// One changed path; `kind` is 0 for modified, 1 for added, 2 for deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FilesystemChange {
    pub kind: u8,
    pub path: String,
}

/// The header of `archive` that says what is at a path, as JSON in base64.
pub const PATH_STAT: &str = "x-docker-container-path-stat";

/// What is at a path of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    /// Kind and permissions, in Go's bits.
    pub mode: u32,
    pub mtime: String,
    pub link_target: String,
}

impl PathStat {
    /// Whether it is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        self.mode & 1 << 31 != 0
    }

    /// Whether it is a symlink.
    #[must_use]
    pub const fn is_link(&self) -> bool {
        self.mode & 1 << 27 != 0
    }

    /// Whether it is a device.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.mode & 1 << 26 != 0
    }
}

/// The body of `update`, as it is sent. A field that is absent keeps its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateContainer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_realtime_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// What Docker's API has no field for. Docker ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhow: Option<UpdateExtension>,
}

/// Our additions to an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateExtension {
    /// Labels to add or to change.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub label_add: Map<String>,
    /// Names of labels to take away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_rm: Vec<String>,
    /// Variables (`NAME=value`) to add or to change, from the next start on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_add: Vec<String>,
    /// Names of variables to take away, from the next start on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_rm: Vec<String>,
    /// What is mounted, in the form of `HostConfig.Binds`; `/path` alone is an anonymous volume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_add: Vec<String>,
    /// What is mounted, in the form of `HostConfig.Mounts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_add: Vec<Mount>,
    /// Places in the container whose mounts are taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_rm: Vec<String>,
    /// What is published, in the form of `HostConfig.PortBindings`.
    #[serde(skip_serializing_if = "PortMap::is_empty")]
    pub port_add: PortMap,
    /// Ports of the container (`80/tcp`) that are published no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_rm: Vec<String>,
}

/// The body of `update`, as it is read: Docker's clients send a part of a host configuration, with
/// zero and nothing where they have nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateBody {
    /// Docker's part.
    pub host_config: HostConfig,
    /// Ours.
    pub dhow: UpdateExtension,
}

impl UpdateBody {
    /// Reads a body.
    pub fn from_json(text: &[u8]) -> Result<Parsed<Self>, JsonError> {
        let mut tree = Tree::parse(text)?;
        tree.refuse_duplicate_fields(&["Dhow"])?;
        let dhow = part::<Option<UpdateExtension>>(&mut tree, "Dhow")?;
        let host = from_tree::<HostConfig>(tree)?;
        let value = Self { host_config: host.value, dhow: dhow.value.unwrap_or_default() };
        Ok(Parsed { value, unknown: [host.unknown, dhow.unknown].concat() })
    }
}

/// The answer to `update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateResponse {
    pub warnings: Option<Vec<String>>,
}

/// The answer to `POST /containers/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainersPruned {
    pub containers_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_reads_what_the_docker_cli_sends() {
        // The shape that docker 28 sends for `run -d --name x -p 80 busybox sleep 1`.
        let text = br#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,
            "AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,
            "StdinOnce":false,"Env":null,"Cmd":["sleep","1"],"Image":"busybox","Volumes":{},
            "WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},
            "ExposedPorts":{"80/tcp":{}},
            "HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},
            "NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}]},
            "RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,
            "ConsoleSize":[40,120],"Memory":0,"PidsLimit":0,"Ulimits":[],"MaskedPaths":null},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null}}}}"#;
        let parsed = CreateContainer::from_json(text).unwrap();
        assert_eq!(parsed.unknown, Vec::<String>::new());
        let create = parsed.value;
        assert_eq!(create.config.cmd.unwrap().0, ["sleep", "1"]);
        assert_eq!(create.host_config.console_size, [40, 120]);
        assert_eq!(create.host_config.pids_limit, Some(0));
        assert_eq!(create.host_config.masked_paths, None);
        assert!(create.host_config.port_bindings.unwrap()["80/tcp"].is_some());
        assert!(create.networking_config.endpoints_config.unwrap().contains_key("default"));
        assert_eq!(create.dhow, None);
    }

    #[test]
    fn create_is_lenient_in_case_and_names_what_it_does_not_know() {
        let text = br#"{"image":"a","cmd":"echo","hostconfig":{"AUTOREMOVE":true,"Nope":1},"X":1,
            "dhow":{"rootfs":"/:O"}}"#;
        let parsed = CreateContainer::from_json(text).unwrap();
        assert_eq!(parsed.unknown, ["X", "HostConfig.Nope"]);
        assert!(parsed.value.host_config.auto_remove);
        assert_eq!(parsed.value.config.cmd.unwrap().0, ["echo"]);
        assert_eq!(parsed.value.dhow.unwrap().rootfs, "/:O");
    }

    #[test]
    fn create_refuses_what_is_said_twice_or_has_the_wrong_shape() {
        for (text, want) in [
            (r#"{"HostConfig":{},"hostconfig":{}}"#, "duplicate key hostconfig"),
            (r#"{"HostConfig":{"Binds":[],"binds":[]}}"#, "duplicate key HostConfig.binds"),
            (r#"{"HostConfig":{"Memory":1e99}}"#, "HostConfig.Memory: 1e+99 is no 64-bit integer"),
            (
                r#"{"HostConfig":[]}"#,
                "HostConfig: invalid type: sequence, expected struct HostConfig",
            ),
            (r#"[]"#, "invalid type: sequence, expected struct ContainerConfig"),
        ] {
            let error = CreateContainer::from_json(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let create = CreateContainer {
            config: ContainerConfig {
                image: "a".into(),
                cmd: Some(vec!["b".to_owned()].into()),
                ..ContainerConfig::default()
            },
            host_config: HostConfig { init: Some(true), memory: 7, ..HostConfig::default() },
            dhow: Some(Extension {
                rootfs: "/x".into(),
                on_unhealthy: "stop".into(),
                ..Extension::default()
            }),
            ..CreateContainer::default()
        };
        let text = serde_json::to_vec(&create).unwrap();
        let parsed = CreateContainer::from_json(&text).unwrap();
        assert_eq!((parsed.value, parsed.unknown), (create, Vec::new()));
    }

    /// semantics 8: which of the fields are `null`, `[]`, `{}` or absent.
    #[test]
    fn nothing_has_three_shapes() {
        let text = serde_json::to_value(ContainerInspect::default()).unwrap();
        assert_eq!(text["ExecIDs"], serde_json::Value::Null);
        assert_eq!(text["Args"], serde_json::json!([]));
        assert_eq!(text["Mounts"], serde_json::json!([]));
        assert!(text.get("SizeRw").is_none());
        let host = &text["HostConfig"];
        for null in ["Binds", "CapAdd", "Links", "SecurityOpt", "PidsLimit", "MemorySwappiness"] {
            assert_eq!(host.get(null), Some(&serde_json::Value::Null), "{null}");
        }
        for absent in ["Sysctls", "Tmpfs", "Mounts", "Init", "StorageOpt", "Annotations"] {
            assert!(host.get(absent).is_none(), "{absent}");
        }
        assert_eq!(host["ConsoleSize"], serde_json::json!([0, 0]));
    }
}
