//! What can go wrong with a verb: what the user caused, by name, and what lies below.
//!
//! Status codes, exit codes and hints are decided at the doors, from these variants.

use std::io;
use std::path::PathBuf;

use model::life::StartFailure;
use model::{ContainerId, ContainerName, ExecId, ImageId};
use net::nft::NftError;
use store::ContainerRowError;
use sys::failpoint::{Point, reach};

use crate::resolve::ResolveError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    // What the user named.
    /// Nothing is called so.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// A prefix of several ids.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// Nothing is called so, here.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// Nothing is called so.
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// Nothing is called so.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// No exec has this id, or it has been forgotten.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// Nothing is there in a container.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile {
        /// As asked for.
        path: String,
        /// As asked for.
        container: String,
    },
    /// The text is no image reference.
    #[error(transparent)]
    BadReference(#[from] model::reference::ParseReferenceError),

    /// No checkpoint is called so.
    #[error("checkpoint {name} does not exist for container {container}")]
    NoSuchCheckpoint {
        /// As typed.
        name: String,
        /// Its container's name.
        container: String,
    },
    /// The text is no name of a checkpoint.
    #[error("Invalid checkpoint ID ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    BadCheckpointName(String),

    // What is in the way.
    /// There is a checkpoint of this name.
    #[error(
        "cannot checkpoint container {container}: checkpoint with name {name} already exists for container {container}"
    )]
    CheckpointExists {
        /// The checkpoint's.
        name: String,
        /// The container's.
        container: String,
    },
    /// It is frozen, and so out of criu's reach.
    #[error("Container {0} is paused, unpause the container before checkpoint")]
    CheckpointPaused(ContainerId),
    /// It is not one that criu can make again.
    #[error("cannot checkpoint container {container}: {reason}")]
    CannotCheckpoint {
        /// Its name.
        container: String,
        /// What of it.
        reason: String,
    },
    /// The name is another container's.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{by}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name, without a slash.
        name: String,
        /// Who has it.
        by: ContainerId,
    },
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// A namespace of one that does not run.
    #[error("failed to join {what} namespace: container {id} is not running")]
    CannotJoin {
        /// The kind of namespace.
        what: &'static str,
        /// Whose.
        id: ContainerId,
    },
    /// The network of one that does not run.
    #[error("cannot join network of a non running container: {0}")]
    CannotJoinNetwork(ContainerId),
    /// An IPC namespace that its container keeps for itself.
    #[error(
        "failed to join IPC namespace: container {0}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
    )]
    NotShareable(ContainerId),
    /// It runs, or soon will again.
    #[error(
        "cannot remove container \"{name}\": container is {state}: stop the container before removing or force remove"
    )]
    StillRunning {
        /// Its name.
        name: String,
        /// Docker's word.
        state: &'static str,
    },
    /// It is frozen, and nothing can be started in it.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// It is between two lives.
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(ContainerId),
    /// It is between two lives, and nothing comes from it.
    #[error("container {0} is restarting, wait until the container is running")]
    AttachRestarting(String),
    /// It goes with its process, and would be started again.
    #[error(
        "Cannot update container {0}: Restart policy cannot be updated because AutoRemove is enabled for the container"
    )]
    RestartOfAutoRemoved(ContainerId),
    /// Its restart policy would start it, and somebody does not want that any more.
    #[error("container {0} is not to be started again")]
    NotWanted(ContainerId),
    /// It is frozen, and nothing would come from it.
    #[error("container {0} is paused, unpause the container before attach")]
    AttachPaused(String),
    /// It is frozen already.
    #[error("Container {0} is already paused")]
    AlreadyPaused(ContainerId),
    /// It is not frozen.
    #[error("Container {0} is not paused")]
    NotPaused(ContainerId),
    /// Somebody else removes it.
    #[error("removal of container {0} is already in progress")]
    BeingRemoved(String),
    /// It would be renamed to what it is called.
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    /// A frozen container would be started.
    #[error("cannot start a paused container, try unpause instead")]
    StartPaused,
    /// An exec runs once.
    #[error("exec command {0} has already run")]
    ExecHasRun(ExecId),
    /// An exec that has ended gets no signal.
    #[error("exec {0} is not running")]
    ExecEnded(ExecId),
    /// Containers use the volume.
    #[error("remove {name}: volume is in use - [{}]", ids(.by))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Who uses it.
        by: Vec<ContainerId>,
    },
    /// A volume's new name is taken, or the volume cannot change now.
    #[error(transparent)]
    Volume(#[from] VolumeConflict),
    /// Two mounts at one place.
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    /// Containers or tags keep the image.
    #[error(transparent)]
    ImageInUse(Box<store::images::RemoveError>),

    // What cannot be done as asked.
    /// The specification and the image do not fit.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A wish that makes no sense here.
    #[error("{0}")]
    Invalid(String),
    /// The start failed; the container stays as it was, with this failure noted.
    #[error("{}", .0.message)]
    Start(StartFailure),
    /// A user or group that the container's files do not know.
    #[error(transparent)]
    User(#[from] sys::users::UserError),
    /// A bind's source is not there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    NoBindSource(PathBuf),
    /// `top` is asked for what it does not know.
    #[error(transparent)]
    Top(#[from] crate::top::OptionError),
    /// Limits that do not suit those that a container has.
    #[error("Cannot update container {id}: {source}")]
    Update {
        /// Which.
        id: ContainerId,
        /// Why.
        source: crate::update::UpdateError,
    },
    /// A container that runs cannot be given a mount.
    #[error("Cannot update container {id}: {what}")]
    Unmountable {
        /// Which.
        id: ContainerId,
        /// What was done, to what, and why it failed.
        what: String,
    },
    /// Its log's tag does not fit.
    #[error("failed to initialize logging driver: tag {tag:?}: {reason}")]
    LogTag {
        /// The template.
        tag: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Nobody knows the host that its log goes to.
    #[error("failed to initialize logging driver: lookup {host}: {reason}")]
    LogHost {
        /// Which.
        host: String,
        /// Why.
        reason: String,
    },

    /// No container of this name was removed of late, or it had no log.
    #[error("no log of a removed container {0:?} is kept")]
    NoPreviousLog(String),

    /// Its driver keeps nothing.
    #[error("configured logging driver does not support reading")]
    LogNotKept,

    /// The kernel has no randomness yet.
    #[error(transparent)]
    NoRandomness(#[from] crate::random::NoRandomness),

    /// There is no criu.
    #[error("checkpoints need criu, which is not there ({:?} is not found): install the package criu", .0.display())]
    NoCriu(PathBuf),

    // What lies below.
    /// criu has failed.
    #[error("Cannot checkpoint container {container}: {reason}")]
    CheckpointFailed {
        /// Its name.
        container: String,
        /// What criu says.
        reason: String,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] store::DbError),
    /// Images, layers, archives.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// A registry has no such image, or does not show it to whoever asks.
    #[error(transparent)]
    NotInRegistry(Box<registry::PullError>),
    /// A registry does not take the credentials.
    #[error(transparent)]
    RegistryUnauthorized(Box<registry::PullError>),
    /// A registry wants to be asked less often.
    #[error(transparent)]
    RegistryRateLimit(Box<registry::PullError>),
    /// A registry has the image in a form that is no longer read.
    #[error(transparent)]
    OldImage(Box<registry::PullError>),
    /// A registry fails, or what it gives is wrong.
    #[error(transparent)]
    Registry(Box<registry::PullError>),
    /// A registry does not do what is asked beside pulls.
    #[error(transparent)]
    Registries(#[from] crate::push::RegistryFailure),
    /// An archive at an address.
    #[error(transparent)]
    Download(#[from] registry::DownloadError),
    /// What is configured about a registry.
    #[error(transparent)]
    RegistryConfig(#[from] registry::ConfigError),
    /// A network as a whole.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
    /// The network.
    #[error(transparent)]
    Net(Box<dyn std::error::Error + Send + Sync>),
    /// A cgroup.
    #[error("{0}")]
    Cgroup(String),
    /// A path in a container that cannot be walked.
    #[error("lstat {path}: {}", words(*.reason))]
    ContainerPath {
        /// The path, made plain.
        path: String,
        /// Why.
        reason: rustix::io::Errno,
    },
    /// A shim that does not answer as it should.
    #[error("container {id}: {what}")]
    Shim {
        /// Whose.
        id: ContainerId,
        /// One line.
        what: String,
    },
    /// A file that a shim keeps is not what this version's shims write.
    #[error("container {id}: {what}")]
    Damaged {
        /// Whose.
        id: ContainerId,
        /// One line, with the file's name.
        what: String,
    },
    /// A record in the database that this version cannot read.
    #[error(
        "the record of container {name} ({}) cannot be read, it may be of a newer dhow: {source}",
        .id.short()
    )]
    Record {
        /// Whose.
        id: ContainerId,
        /// What that one is called.
        name: ContainerName,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of the engine's own.
    #[error("{what} {}: {source}", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// What is in the way of a volume's new name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeConflict {
    /// There is a volume of this name.
    #[error("volume {0} already exists")]
    Taken(String),
    /// A container that runs uses the volume.
    #[error("rename {name}: volume is in use by container {by}, which runs: stop it first")]
    Runs {
        /// The volume.
        name: String,
        /// The container's name.
        by: String,
    },
}

impl EngineError {
    /// For `map_err`: an operation on one of the engine's own files.
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// Passes through a place where a test may want a step to fail.
    pub(crate) fn step(point: Point) -> Result<(), Self> {
        reach(point).map_err(|errno| Self::file("pass", point.name())(errno.into()))
    }

    /// An image that a container still names but that is gone.
    pub(crate) fn image_gone(id: ImageId) -> Self {
        Self::NoSuchImage(id.to_string())
    }
}

impl From<NftError> for EngineError {
    fn from(error: NftError) -> Self {
        Self::Net(Box::new(error))
    }
}

impl From<store::MountError> for EngineError {
    fn from(error: store::MountError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<ContainerRowError> for EngineError {
    fn from(error: ContainerRowError) -> Self {
        match error {
            ContainerRowError::NameTaken { name, by } => {
                Self::NameTaken { name: name.to_string(), by }
            }
            ContainerRowError::NoSuchImage(id) => Self::image_gone(id),
            ContainerRowError::NoSuchContainer(id) => Self::NoSuchContainer(id.to_string()),
            ContainerRowError::Db(error) => error.into(),
        }
    }
}

/// The kernel's words, without a number.
pub(crate) fn words(errno: rustix::io::Errno) -> String {
    let text = io::Error::from(errno).to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn ids(ids: &[ContainerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
