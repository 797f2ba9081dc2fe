//! Requests and replies under `/containers/{id}/checkpoints`.

use serde::{Deserialize, Serialize};

/// The body of `POST /containers/{id}/checkpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointCreate {
    #[serde(rename = "CheckpointID")]
    pub checkpoint_id: String,
    #[serde(rename = "CheckpointDir")]
    pub checkpoint_dir: String,
    /// The container ends when it has been written down.
    #[serde(rename = "Exit")]
    pub exit: bool,
}

/// One of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Checkpoint {
    pub name: String,
}
