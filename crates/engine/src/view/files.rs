//! What `cp` and `commit` are asked and answer.

use std::path::PathBuf;

use jiff::Timestamp;
use model::image::RunConfig;

/// What is at a path of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// What it is called in an archive: the last component, `.` or `/`.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Kind and permissions, as `stat(2)` has them.
    pub mode: u32,
    /// When it was changed last.
    pub modified: Timestamp,
    /// Where a symlink leads in the end, absolute in the container.
    pub link_target: Option<PathBuf>,
}

/// How an archive is copied into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    /// The directory to unpack in.
    pub path: String,
    /// A directory does not replace anything else, and the other way round.
    pub keep_kinds: bool,
    /// Whom the files belong to.
    pub owner: CopyOwner,
}

/// Whom what is copied into a container belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOwner {
    /// As the archive has it.
    Archived,
    /// The container's user.
    ContainersUser,
}

/// What `commit` makes of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitOptions {
    /// The image's name, or none.
    pub reference: Option<String>,
    /// Who made it.
    pub author: String,
    /// The comment in its history.
    pub comment: String,
    /// Dockerfile instructions to apply to its configuration.
    pub changes: Vec<String>,
    /// Instead of the container's own; what it does not say is the container's.
    pub config: Option<RunConfig>,
    /// Whether the container stands still meanwhile.
    pub freezing: Freezing,
}

/// Whether a container stands still while its files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freezing {
    /// It does.
    Yes,
    /// It goes on, and may write.
    No,
}
