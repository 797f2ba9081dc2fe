//! What a shim does by itself while its container runs, and after that.

use std::path::PathBuf;
use std::time::Duration;

use model::Signal;
use model::container::RestartPolicy;
use model::health::OnUnhealthy;
use runtime::criu::Descriptors;
use serde::{Deserialize, Serialize};

/// When the shim checks the health of its container. What runs then is in a file
/// ([`crate::write_probe`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// From the end of one check, or the start, to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How long failures do not count.
    pub start_period: Duration,
    /// The interval in that time.
    pub start_interval: Duration,
    /// So many failures in a row make it unhealthy; at least 1.
    pub retries: u32,
    /// What follows then.
    pub on_unhealthy: OnUnhealthy,
}

/// When and how a container is started again by its shim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// After which ends.
    pub policy: RestartPolicy,
    /// What starts it: arguments for this very program, without its name. It launches it as
    /// revival number so and so, or ends by itself if it cannot.
    pub revive: Vec<String>,
    /// The stop signal that the user or the image named: other signals are then no wish that it
    /// should stop. `None`: every signal is one (Docker).
    pub stop_signal: Option<Signal>,
}

/// How a container is made of the checkpoint that comes with its launch ([`FdRole::Checkpoint`]).
///
/// [`FdRole::Checkpoint`]: super::FdRole::Checkpoint
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// criu, absolute.
    pub program: PathBuf,
    /// An empty directory to work in. The log stays there.
    pub work: PathBuf,
    /// What the streams were.
    pub descriptors: Descriptors,
}
