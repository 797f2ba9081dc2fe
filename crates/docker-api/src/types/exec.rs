//! Requests and replies about additional processes in a running container.

use serde::{Deserialize, Serialize};

use super::{StrSlice, is_zero};

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecCreate {
    pub user: String,
    pub privileged: bool,
    pub tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u64; 2]>,
    pub attach_stdin: bool,
    pub attach_stderr: bool,
    pub attach_stdout: bool,
    /// Sent by old clients here and by all in [`ExecStart`], where it counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub detach: bool,
    pub detach_keys: String,
    pub env: Option<Vec<String>>,
    pub working_dir: String,
    pub cmd: Option<StrSlice>,
    /// dhow's own; Docker ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhow: Option<Extension>,
}

/// Our additions to a request for an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Extension {
    /// It ends when the connection of the client that has started it breaks.
    pub ends_with_client: bool,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecStart {
    pub detach: bool,
    pub tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u64; 2]>,
    /// dhow's own; Docker ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhow: Option<StartExtension>,
}

/// Our additions to the start of an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StartExtension {
    /// A process that cannot start is an error of the request. Docker gives the connection over first,
    /// and says it there.
    pub refuse: bool,
}

/// `GET /exec/{id}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecInspect {
    #[serde(rename = "ID")]
    pub id: String,
    pub running: bool,
    /// `null` until the process has ended.
    pub exit_code: Option<i64>,
    pub process_config: ProcessConfig,
    pub open_stdin: bool,
    pub open_stderr: bool,
    pub open_stdout: bool,
    pub can_remove: bool,
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    pub detach_keys: Option<String>,
    pub pid: i64,
    /// dhow's own: the kernel killed it, since the container's memory ran out.
    #[serde(rename = "OOMKilled", skip_serializing_if = "is_zero")]
    pub oom_killed: bool,
}

/// One of `GET /dhow/containers/{id}/execs` (dhow's own).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecSummary {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// 0 unless it runs.
    pub pid: i64,
    pub user: String,
    pub command: String,
    pub running: bool,
    /// `null` until the process has ended.
    pub exit_code: Option<i64>,
    /// What made it end; empty if it ended by itself.
    pub reason: String,
    /// For people.
    pub status: String,
    /// Empty where they are not known.
    pub started_at: String,
    pub finished_at: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    pub tty: bool,
    pub entrypoint: String,
    pub arguments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}
