//! Where a container is in its life, with what that state knows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a process left: its own code, or 128 + n when signal n ended it (0..=255).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// The code of a process that returned 0.
    pub const SUCCESS: Self = Self(0);
}

/// A container's life. Each state carries what it has, so no field can contradict it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Life {
    /// Made, never started, or its last start failed.
    Created {
        /// Why the last start failed, in Docker's words.
        failed: Option<StartFailure>,
    },
    /// Its init process lives.
    Running {
        /// The init process on the host.
        pid: u32,
        /// When it was started.
        since: Timestamp,
    },
    /// Its init process lives and its cgroup is frozen.
    Paused {
        /// The init process on the host.
        pid: u32,
        /// When it was started.
        since: Timestamp,
    },
    /// Its init process ended, and its restart policy starts it again soon.
    Restarting {
        /// How.
        code: ExitCode,
        /// When it had been started.
        since: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// Whether the kernel's OOM killer struck in its cgroup.
        oom: bool,
    },
    /// Its init process ended.
    Exited {
        /// How.
        code: ExitCode,
        /// When it had been started.
        since: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// Whether the kernel's OOM killer struck in its cgroup.
        oom: bool,
    },
}

/// A start that failed: Docker keeps the container `created` with this code and text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartFailure {
    /// 126, 127 or 128.
    pub code: ExitCode,
    /// One line.
    pub message: String,
}

impl Life {
    /// Made and never started.
    pub const NEW: Self = Self::Created { failed: None };

    /// Whether an init process lives (Docker counts a paused container as running).
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }

    /// Whether it counts as running to Docker's lists and removals: its init process lives, or soon
    /// will again.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.is_running() || matches!(self, Self::Restarting { .. })
    }

    /// The init process on the host, while one lives.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Running { pid, .. } | Self::Paused { pid, .. } => Some(*pid),
            Self::Created { .. } | Self::Restarting { .. } | Self::Exited { .. } => None,
        }
    }

    /// Docker's word for the state: `created`, `running`, `paused`, `restarting`, `exited`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
        }
    }
}
