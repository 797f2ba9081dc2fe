//! What happened to a container, an image, a volume or a network, as it is told to whoever looks
//! on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One event, in Docker's words (Engine API, `GET /events`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What it happened to.
    pub kind: EventKind,
    /// `create`, `die`, `exec_start: ls -l`, …
    pub action: String,
    /// The id of what it happened to; volumes have a name, and pulls a reference.
    pub actor: String,
    /// More about both. A container's labels, image and name are among them.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub at: Timestamp,
}

/// What an event can happen to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container, or an exec in one.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

impl EventKind {
    /// Docker's word: `container`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}
