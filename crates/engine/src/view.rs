//! What goes into the verbs and what comes out of them, as plain data.
//!
//! The doors lower their wire types to the questions here and raise the views to theirs; nothing
//! here knows a wire format, a file or a process. This file has containers and what runs in them.

mod files;
mod host;
mod images;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use model::container::{ContainerSpec, TerminalSize};
use model::health::Health;
use model::life::StartFailure;
use model::mount::Mount;
use model::network::Attachment;
use model::port::ContainerPort;
use model::selinux::Labels;
use model::{ContainerId, ContainerName, ExecId, ExitCode, ImageId, Life, NetworkId};
pub use store::layer::Compression;

pub use self::files::*;
pub use self::host::*;
pub use self::images::*;
pub use crate::resolve::Resolved;
pub use crate::update::{Changes, LimitChanges, MountChanges, PortChanges, TextChanges};
pub use runtime::criu::After;
pub use shim::protocol::Ended;
pub use store::{Change, ChangeKind};

/// What `create` has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The new container.
    pub id: ContainerId,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What `start` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// It runs now.
    Started,
    /// It ran before.
    AlreadyRunning,
}

/// One of a container's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPlace {
    /// Its name, as typed.
    pub name: String,
    /// Where checkpoints are kept; `None`: with the container, and as long as it.
    pub dir: Option<PathBuf>,
}

/// How a checkpoint is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// What becomes of the container.
    pub after: After,
}

/// A container that `start_wished` has tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// Its name.
    pub name: String,
    /// Why it does not run, if it does not.
    pub failed: Option<String>,
}

/// What `stop` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// It has ended now.
    Stopped,
    /// It did not run.
    AlreadyStopped,
}

/// How `remove` goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes as well.
    pub volumes: bool,
}

/// What a prune has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    /// In the order in which it went.
    pub removed: Vec<T>,
    /// How many bytes it took: of containers, what they had written.
    pub reclaimed: u64,
}

impl<T> Default for Pruned<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), reclaimed: 0 }
    }
}

/// Which containers `list` gives, newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListQuery {
    /// Those that run, paused ones among them.
    #[default]
    Running,
    /// All.
    All,
}

/// When `wait` comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// As soon as it does not run, at once if it does not run now.
    #[default]
    NotRunning,
    /// At its next exit.
    NextExit,
    /// When it is gone.
    Removed,
}

/// How a container ended, as `wait` reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// The code; 0 for one that never ran.
    pub code: ExitCode,
    /// Why waiting failed after all: the removal did not succeed, say.
    pub error: Option<String>,
}

/// Which output streams are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Streams {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Which records `logs` gives.
#[derive(Debug)]
pub struct LogQuery {
    /// Of which streams.
    pub streams: Streams,
    /// Not older.
    pub since: Option<Timestamp>,
    /// Not newer.
    pub until: Option<Timestamp>,
    /// Only the last so many of those.
    pub tail: Option<u64>,
    /// `Some`: go on until the container stops, or until this descriptor (the reading end of a
    /// pipe) hangs up because whoever asked has gone.
    pub follow: Option<OwnedFd>,
}

/// Which events are told.
#[derive(Debug)]
pub struct EventQuery {
    /// Not older. Without it and without an end, only what happens from now on.
    pub since: Option<Timestamp>,
    /// Not newer; in the future, it is waited for.
    pub until: Option<Timestamp>,
    /// The reading end of a pipe that hangs up when whoever asked has gone.
    pub gone: OwnedFd,
}

/// Which stream a log record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal's.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One record of a log: a line with its end, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Of which stream.
    pub stream: LogStream,
    /// When it was written.
    pub time: Timestamp,
    /// What was written.
    pub bytes: Vec<u8>,
    /// What log options add to each line.
    pub attributes: BTreeMap<String, String>,
}

/// What a client attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// Whether it gives input.
    pub stdin: bool,
    /// What it reads.
    pub streams: Streams,
    /// Whether the log so far comes first.
    pub logs: bool,
    /// Whether it stays for what comes; without it only the log is given.
    pub stream: bool,
}

/// A process to run in a container that runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExecSpec {
    /// Never empty.
    pub argv: Vec<String>,
    /// `KEY=value`, over the container's own.
    pub env: Vec<String>,
    /// `None`: the container's.
    pub working_dir: Option<PathBuf>,
    /// `None`: the container's.
    pub user: Option<String>,
    /// Whether it may everything.
    pub privileged: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// The terminal's first size.
    pub size: Option<TerminalSize>,
    /// Which streams its client attaches.
    pub stdin: bool,
    /// Which streams its client attaches.
    pub streams: Streams,
    /// As typed; kept for whoever starts it.
    pub detach_keys: Option<String>,
    /// Whether it ends when the client that has started it goes; one that detaches has not gone.
    #[serde(default)]
    pub ends_with_client: bool,
}

/// Whether an exec is started with its streams attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecAttach {
    /// With those of its [`ExecSpec`]; a terminal may get another first size.
    Attached(Option<TerminalSize>),
    /// With none.
    Detached,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// What the user wished.
    pub spec: ContainerSpec,
    /// What runs.
    pub resolved: Resolved,
    /// What it was made from, unless that was a directory.
    pub image: Option<ImageId>,
    /// What lists call its image: as typed while that still names it, else the short id.
    pub image_name: String,
    /// Its state.
    pub life: Life,
    /// Where it is on its way out.
    pub removal: RemovalProgress,
    /// How often it was started again by its restart policy.
    pub restarts: u32,
    /// How it is, if somebody looks after that.
    pub health: Option<Health>,
    /// Why its policy could not start it once more.
    pub again_failed: Option<StartFailure>,
    /// What is mounted, sorted by target.
    pub mounts: Vec<MountView>,
    /// Its networks by name.
    pub networks: BTreeMap<String, EndpointView>,
    /// What is published right now; empty unless it runs.
    pub ports: Vec<PublishedView>,
    /// Files of the host that belong to it.
    pub files: FilesView,
    /// Processes started in it that are still known.
    pub execs: Vec<ExecId>,
    /// What SELinux calls it, where it does.
    pub labels: Option<Labels>,
    /// The AppArmor profile of its processes.
    pub profile: Option<String>,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// One that can be read.
    Whole(Arc<ContainerView>),
    /// One that cannot: a newer dhow has made it, say.
    Unread(UnreadView),
}

/// What is known of a container that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct UnreadView {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// What it was made from, unless that was a directory.
    pub image: Option<ImageId>,
    /// Its state, if that can be read.
    pub life: Option<Life>,
    /// What its record says, if that can be read: all but how it lives, in which it is as one that was never
    /// started.
    pub at_rest: Option<Arc<ContainerView>>,
    /// What cannot be read, and why.
    pub why: String,
}

/// Whether a container is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalProgress {
    /// No.
    NotAsked,
    /// Right now.
    Removing,
    /// It was begun and did not end.
    Dead,
}

/// One mount as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountView {
    /// The wish, with its target.
    pub mount: Mount,
    /// For a volume: its name, drawn for an anonymous one, and where it lies.
    pub volume: Option<VolumePlace>,
    /// The image that is mounted.
    pub image: Option<ImageId>,
}

/// A volume's name and directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlace {
    /// Its name.
    pub name: String,
    /// Its files.
    pub path: PathBuf,
}

/// A container's place on one network; the addresses are there while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointView {
    /// `None` for a network that does not exist (any more).
    pub network: Option<NetworkId>,
    /// Address and prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// The way out.
    pub gateway4: Option<Ipv4Addr>,
    /// Address and prefix length.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// The way out.
    pub gateway6: Option<Ipv6Addr>,
    /// Link address.
    pub mac: Option<[u8; 6]>,
    /// What it asks for; a list of a network's containers does not say.
    pub asked: Option<Attachment>,
}

/// A port that the container publishes, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedView {
    /// Inside.
    pub container: ContainerPort,
    /// Outside.
    pub host_ip: IpAddr,
    /// Outside; 0 where the host does not lead there, and it is reached at the container's own address.
    pub host_port: u16,
    /// How many ports there are from these on, inside and outside.
    pub count: u16,
}

impl PublishedView {
    /// Each port by itself.
    pub fn each(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.count).map_while(|index| {
            let port = self.container.port.checked_add(index)?;
            let container = ContainerPort { port, ..self.container };
            let host_port = match self.host_port {
                0 => 0,
                first => first.checked_add(index)?,
            };
            Some(Self { container, host_port, count: 1, ..*self })
        })
    }

    /// Whether it leads to a port of the container.
    #[must_use]
    pub fn leads_to(&self, port: ContainerPort) -> bool {
        let first = self.container;
        let index = port.port.checked_sub(first.port);
        port.protocol == first.protocol && index.is_some_and(|index| index < self.count)
    }
}

/// Files of the host that belong to a container. Empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesView {
    /// Its `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Its `/etc/hostname`.
    pub hostname: PathBuf,
    /// Its `/etc/hosts`.
    pub hosts: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its network namespace, while it has one of its own.
    pub netns: PathBuf,
}

/// How much a container's files take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeView {
    /// What it wrote itself; `None` if that cannot be counted: it may nest directories deeper than
    /// a path is long.
    pub written: Option<u64>,
    /// That and its image.
    pub total: u64,
}

/// The processes of a container, as `ps` would list them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopView {
    /// Of the columns.
    pub titles: Vec<String>,
    /// A cell for each column.
    pub processes: Vec<Vec<String>>,
}

/// Everything about one exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecView {
    /// Its id.
    pub id: ExecId,
    /// Where it runs.
    pub container: ContainerId,
    /// What runs.
    pub spec: ExecSpec,
    /// Its state.
    pub life: ExecLife,
}

/// The life of an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecLife {
    /// Not started.
    Created,
    /// Its process lives.
    Running {
        /// On the host.
        pid: u32,
        /// Since when.
        since: Timestamp,
    },
    /// Its process ended, or could not be started (126, 127).
    Exited {
        /// How.
        code: ExitCode,
        /// Whether the OOM killer took it.
        oom: bool,
        /// What made it end.
        why: Ended,
        /// When it began and ended, if that is known.
        span: Option<[Timestamp; 2]>,
    },
}

/// Paths that are hidden on this host from a container which says nothing about them.
#[must_use]
pub fn masked_paths() -> Vec<String> {
    crate::bundle::masked_paths(&crate::processors::heat_counters())
}

/// Paths that are read-only in a container which says nothing about them.
#[must_use]
pub fn readonly_paths() -> Vec<String> {
    crate::bundle::READONLY_PATHS.map(str::to_owned).to_vec()
}
