//! Checkpoints by criu, which freezes the processes of a container, writes them down, and makes
//! them again.
//!
//! Owns the talk with criu and what it must be told of a container of ours: which mounts,
//! namespaces and streams are not its to write down, and where they are when it makes the rest.
//! `survey` looks at a container that runs, `dump` writes it down, `restore` makes it again from its
//! specification and what was written. Where checkpoints are kept is the caller's matter.

mod dump;
mod error;
mod homes;
mod log;
mod mounts;
mod restore;
mod survey;
mod talk;
mod verify;
mod wire;

pub use dump::{After, Dump, Seal, dump};
pub use error::{CriuError, SurveyError};
pub use restore::{LONGEST, Restore, RestoreError, restore};
pub use survey::{Descriptors, Survey, survey};

/// What the file is called, in the directory for work, in which criu tells what it does.
pub const LOG: &str = "criu.log";

/// Settings of the machine's administrator: what stands there wins over what is said here.
const CONFIGURATION: &str = "/etc/criu/dhow.conf";

/// The network namespace, in a checkpoint.
const NETWORK: &str = "dhow-net";
/// What covers masked files and directories, in a checkpoint.
const MASK_FILE: &str = "dhow-mask-file";
const MASK_DIRECTORY: &str = "dhow-mask-directory";
