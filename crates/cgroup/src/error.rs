//! What can go wrong with a cgroup, by operation and object.

use std::path::PathBuf;

use sys::Errno;

use crate::devices::NotExpressible;
use crate::name::BadName;
use crate::plan::LimitError;

/// A failed operation on a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The name or the parent is not taken.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The limits contradict each other, or the host cannot enforce one of them.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The device rules cannot be said to this host's device controller.
    #[error(transparent)]
    Devices(#[from] NotExpressible),
    /// Device rules were asked for and the host has no way to enforce them.
    #[error(
        "device rules need the cgroup controller `devices` or cgroup v2, and this host has neither"
    )]
    NoDeviceController,
    /// A cgroup of this name exists.
    #[error("cgroup {0} exists")]
    Exists(PathBuf),
    /// No hierarchy has this cgroup.
    #[error("cgroup {0} does not exist")]
    NotFound(PathBuf),
    /// A directory could not be made.
    #[error("create cgroup {path}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A directory or a file could not be read.
    #[error("read {path}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A file has a content that its kernel documentation excludes.
    #[error("{path} has the unexpected content {content:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Its content.
        content: String,
    },
    /// A file did not take a value.
    #[error("write {value:?} to {path}")]
    Write {
        /// What was to be written.
        value: String,
        /// The file.
        path: PathBuf,
        /// Why. `ENOENT` where the kernel lacks the feature.
        source: Errno,
    },
    /// The device program of a v2 cgroup could not be loaded or attached.
    #[error("attach the device program to cgroup {path}")]
    AttachDevices {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// No watch for out-of-memory events.
    #[error("watch cgroup {path} for out-of-memory events")]
    WatchOom {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Waiting for an event of the kernel failed.
    #[error("wait for {path}")]
    Wait {
        /// What was waited for.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Nobody else may change the cgroups above this one meanwhile, and somebody does not let go.
    #[error("lock cgroup {path}")]
    Lock {
        /// The topmost of them.
        path: PathBuf,
        /// Why; `ETIMEDOUT` if another process holds the lock.
        source: Errno,
    },
    /// The kernel did not stop all processes in time.
    #[error("cgroup {0} did not freeze")]
    NotFrozen(PathBuf),
    /// Neither version offers freezing here.
    #[error(
        "freezing needs the cgroup controller `freezer` or cgroup v2, and this host has neither"
    )]
    NoFreezer,
    /// It is one of nowhere: see [`crate::Hierarchies::none`].
    #[error(
        "there is no control group to freeze: none was delegated where it was started (cgroup v2: systemd-run --user \
         --scope dhow ..., or a user service)"
    )]
    Nowhere,
    /// A process could not be sent a signal.
    #[error("send signal {number} to process {pid} of cgroup {path}")]
    Signal {
        /// The signal's.
        number: u8,
        /// The process.
        pid: i32,
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Processes survived `SIGKILL` for longer than anyone waits: they hang in the kernel.
    #[error("cgroup {path} still has the processes {pids:?} after SIGKILL")]
    Unkillable {
        /// The cgroup.
        path: PathBuf,
        /// Those left.
        pids: Vec<i32>,
    },
    /// A directory could not be removed.
    #[error("remove cgroup {path}")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why; `EBUSY` if it still has processes.
        source: Errno,
    },
}
