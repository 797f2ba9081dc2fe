//! What goes into the verbs and what comes out of them, as plain data.
//!
//! The doors lower their wire types to the questions here and raise the views to theirs; nothing
//! in this file knows a wire format, a file or a process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use model::container::{ContainerSpec, TerminalSize};
use model::image::ImageConfig;
use model::mount::Mount;
use model::port::ContainerPort;
use model::{ContainerId, ContainerName, Digest, ExecId, ExitCode, ImageId, Life, NetworkId};

pub use crate::resolve::Resolved;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// One port of the host that leads to the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedView {
    /// Inside.
    pub container: ContainerPort,
    /// Outside.
    pub host_ip: IpAddr,
    /// Outside.
    pub host_port: u16,
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
    /// What it wrote itself.
    pub writable: u64,
    /// That and its image.
    pub total: u64,
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
    },
    /// Its process ended, or could not be started (126, 127).
    Exited {
        /// How.
        code: ExitCode,
    },
}

/// What a container uses right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsView {
    /// Whose.
    pub id: ContainerId,
    /// Whose.
    pub name: ContainerName,
    /// When it was read.
    pub at: Timestamp,
    /// `None` unless it runs.
    pub usage: Option<Usage>,
}

/// The readings of a container's cgroup and network namespace. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its processes.
    pub cpu_total: u64,
    /// Of that, in the kernel.
    pub cpu_kernel: u64,
    /// Of that, outside.
    pub cpu_user: u64,
    /// CPU time of the whole host, idle time included.
    pub system_cpu: u64,
    /// CPUs of the host.
    pub online_cpus: u32,
    /// How often and how long it was throttled: periods, throttled periods, time.
    pub throttled: (u64, u64, u64),
    /// Bytes.
    pub memory: u64,
    /// Bytes; the host's memory if there is no limit.
    pub memory_limit: u64,
    /// The highest ever, where the kernel counts it.
    pub memory_max: Option<u64>,
    /// By the kernel's names.
    pub memory_details: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// `None`: no limit.
    pub pids_limit: Option<u64>,
    /// Bytes read and written by device.
    pub block_io: Vec<BlockIo>,
    /// By interface.
    pub networks: BTreeMap<String, Traffic>,
}

/// Bytes of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// What went over one interface, seen from the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes, packets, errors, drops received.
    pub received: [u64; 4],
    /// Bytes, packets, errors, drops sent.
    pub sent: [u64; 4],
}

/// Everything about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// The digest of its configuration.
    pub id: ImageId,
    /// As people write them: `debian:latest`.
    pub tags: Vec<String>,
    /// As people write them: `debian@sha256:…`.
    pub digests: Vec<String>,
    /// When it was made, if it says so.
    pub created: Option<Timestamp>,
    /// Unpacked bytes of all its layers.
    pub size: u64,
    /// How many containers are made from it.
    pub containers: u64,
    /// Its configuration.
    pub config: ImageConfig,
    /// When it last got a name here.
    pub tagged: Option<Timestamp>,
}

/// One step of an image's history, newest first in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryView {
    /// Only the newest step is an image of its own.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// Free text.
    pub comment: String,
    /// Bytes of its layer; 0 if it made none.
    pub size: u64,
    /// The image's names, at the newest step.
    pub tags: Vec<String>,
}

/// One thing that `image_remove` did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name went, as people write it.
    Untagged(String),
    /// An image or a layer that nothing needed any more went.
    Deleted(Digest),
}

/// How `image_remove` goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRemoveMode {
    /// Not if it has several names or stopped containers use it.
    Careful,
    /// Even then.
    Force,
}

/// What `image_import` gives the new image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Its name, or none.
    pub reference: Option<String>,
    /// The comment in its history.
    pub message: String,
    /// Dockerfile instructions to apply to its configuration.
    pub changes: Vec<String>,
    /// `None`: this machine's.
    pub platform: Option<model::Platform>,
}

/// Who asks a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Name and password.
    pub basic: Option<(String, String)>,
    /// An OAuth2 refresh token.
    pub identity_token: Option<String>,
    /// A bearer token, used as it is.
    pub registry_token: Option<String>,
}

impl std::fmt::Debug for RegistryAuth {
    // Secrets do not reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryAuth")
    }
}

/// What a long operation on images tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A pull begins: repository as people write it without docker.io, and tag or digest.
    Pulling {
        /// `library/debian`
        repository: String,
        /// `latest`
        tag: String,
    },
    /// Something happened to one layer; `layer` is its short digest.
    Layer {
        /// 12 hex digits.
        layer: String,
        /// What.
        step: LayerStep,
    },
    /// What the pulled name stands for.
    Digest(Digest),
    /// A pull has ended.
    Pulled {
        /// As people write it.
        reference: String,
        /// Whether it was here already.
        fresh: Freshness,
    },
    /// An archive gave an image of this name.
    Loaded(String),
    /// An archive gave an image without a name.
    LoadedUnnamed(ImageId),
    /// A name now means another image.
    Renamed {
        /// As people write it.
        reference: String,
        /// What it meant before.
        old: ImageId,
    },
    /// An import has ended.
    Imported(ImageId),
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A newer image was fetched.
    Downloaded,
    /// It was here already.
    UpToDate,
}

/// How far one layer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// It will be fetched.
    Pulling,
    /// It waits for its turn.
    Waiting,
    /// Bytes have come.
    Downloading {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// Its digest is being checked.
    Verifying,
    /// It is here.
    Downloaded,
    /// Bytes have been unpacked.
    Extracting {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// It can be used.
    Done,
    /// It was here already.
    Exists,
}

/// Everything about one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// Its name.
    pub name: String,
    /// Its files.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: Timestamp,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Containers that have it mounted, running or not.
    pub used_by: Vec<ContainerId>,
}

/// Everything about one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkView {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its address ranges: `172.17.0.0/16` and the gateway in it.
    pub subnets: Vec<(String, IpAddr)>,
    /// Whether containers have addresses of the newer kind.
    pub ipv6: bool,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// Running containers on it.
    pub members: BTreeMap<ContainerId, (ContainerName, EndpointView)>,
}

/// What the engine is and runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoView {
    /// Where its state is.
    pub root: PathBuf,
    /// Containers that run, are paused, are stopped.
    pub containers: (u64, u64, u64),
    /// Images.
    pub images: u64,
    /// The file system below the root: `extfs`, `xfs`.
    pub backing_filesystem: String,
    /// The cgroup hierarchy in use.
    pub cgroup: CgroupVersion,
    /// What this host can limit.
    pub limits: LimitSupport,
    /// `6.1.0`
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub operating_system: String,
    /// `12`
    pub os_version: String,
    /// uname's `x86_64`.
    pub machine: String,
    /// The host's name.
    pub hostname: String,
    /// Processors.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
    /// Whether the kernel forwards between interfaces.
    pub ipv4_forwarding: bool,
    /// `seccomp`, `apparmor`, `selinux`, `cgroupns`, `rootless`: what protects containers here.
    pub security: Vec<String>,
    /// What the user should know about this host.
    pub warnings: Vec<String>,
    /// When this was read; `None` only in a default.
    pub at: Option<Timestamp>,
}

/// The cgroup hierarchy that containers are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupVersion {
    /// v1, or v1 beside an empty v2.
    V1,
    /// v2.
    #[default]
    V2,
}

/// What a host can limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSupport {
    /// Memory.
    pub memory: bool,
    /// Swap.
    pub swap: bool,
    /// CPU time each period.
    pub cpu_quota: bool,
    /// CPU weight.
    pub cpu_shares: bool,
    /// CPUs and memory nodes.
    pub cpuset: bool,
    /// Processes.
    pub pids: bool,
    /// Whether the OOM killer can be turned off.
    pub oom_kill_disable: bool,
}
