//! What is said to a shim and what it answers.
//!
//! Types alone; `frame` puts them on the wire and `client` speaks them. The peer is always this
//! very program (the shim was executed from the image of the one that talks to it, or from an
//! older one that still runs), so a field that a newer version adds must have a serde default.

mod descriptors;
mod log;
mod names;
mod plans;
mod ports;

use std::path::PathBuf;

use jiff::Timestamp;
use model::container::{AttachedStreams, Stdin, StopTimeout, TerminalSize};
use model::life::StartFailure;
use model::{ExecId, ExitCode, Life, Signal};
use serde::{Deserialize, Serialize};

pub use descriptors::{FdRole, NamespaceKind};
pub use log::{LogConfig, LogCopy, LogSink, SinkAddress, SinkForm, SinkTls};
pub use names::{BareNames, NamedNetwork, Outside, Resolver};
pub use plans::{HealthPlan, Restarts, Restoration};
pub use ports::{Published, PublishedPort};

/// How the answer to a question begins that the shim does not know: of any version.
pub(crate) const NOT_UNDERSTOOD: &str = "the shim does not understand the request";

/// The answer to what concerns names, where the container's questions do not come to its shim.
pub(crate) const OTHER_RESOLVER: &str = "the container has another resolver";

/// A question or an order.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start the container. Its descriptors come with the message, as [`Launch::fds`] says.
    Launch(Box<Launch>),
    /// How is the container?
    State,
    /// Carry a process's streams on this connection from the reply on. Before the launch it
    /// waits for the container's first output.
    Attach {
        /// Whose streams.
        target: Target,
        /// Which of them.
        streams: AttachedStreams,
        /// What happens when this client reads too slowly.
        delivery: Delivery,
    },
    /// Send a signal. SIGKILL to the container is answered when it has ended.
    Kill {
        /// To whom.
        target: Target,
        /// Which.
        signal: Signal,
        /// To the process alone or to all in its cgroup.
        reach: Reach,
    },
    /// Ask the container to end, and kill it when its time is up. Answered when it has ended.
    Stop {
        /// `None`: the one of the launch.
        signal: Option<Signal>,
        /// `None`: the one of the launch.
        timeout: Option<StopTimeout>,
        /// What this client does then.
        #[serde(default)]
        then: Then,
    },
    /// The client's terminal has this size.
    Resize {
        /// Whose terminal.
        target: Target,
        /// Its new size.
        size: TerminalSize,
    },
    /// Answered when the container has ended.
    Wait {
        /// Whether an end in the past counts.
        until: Until,
        /// Whether an end counts that is part of a restart.
        #[serde(default)]
        which: Which,
    },
    /// Start one more process in the container. With `attach`, the connection carries its
    /// streams from the reply on.
    ExecStart(Box<ExecStart>),
    /// How is this process?
    ExecState {
        /// Which.
        exec: ExecId,
    },
    /// All processes that were started by `ExecStart`, as far as they are remembered.
    ExecList,
    /// This process goes on without the client that started it, who detaches.
    ExecKeep {
        /// Which.
        exec: ExecId,
    },
    /// Freeze the container.
    Pause,
    /// Freeze it for as long as this connection is there: it is thawed when that breaks, unless
    /// somebody has done it before.
    PauseWhileConnected,
    /// Thaw it.
    Resume,
    /// This client removes the container after its end. If the connection breaks before it has
    /// said `Release`, the shim sees to the removal itself.
    Claim,
    /// The removal is done, or nobody's business any more.
    Release,
    /// From now on it is started again as this says.
    SetRestarts(Box<Restarts>),
    /// This is what the container that runs publishes from now on. The sockets of ports that are new
    /// come with the message; those of ports that are not named any more are let go.
    SetPublished(Option<Published>),
    /// This is how the questions of the container that runs are answered from now on: it is on other networks. If
    /// nobody has answered it so far, the sockets at which it will ask come with the message, that of packets first.
    SetResolver(Box<Resolver>),
    /// End now if nothing runs, whoever is connected: a client wants the container's lock.
    Quit,
}

/// A process of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Its init.
    Container,
    /// One started by `ExecStart`.
    Exec(ExecId),
}

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The process alone.
    Process,
    /// All processes of its cgroup.
    Everyone,
}

/// What happens when a client reads more slowly than the process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// It gets every byte, and the process waits for it, as in a pipeline: a foreground `run`,
    /// an `exec`.
    Everything,
    /// It looks on. It is told how much it missed, and the process never waits.
    Recent,
}

/// Which end a `Wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// The next one.
    NextExit,
    /// None if nothing runs.
    NotRunning,
}

/// What follows a stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Nothing.
    #[default]
    Stay,
    /// The client starts the container again: until it has, or its connection breaks, nobody
    /// removes a container that goes with its process.
    Restart,
}

/// Which ends a `Wait` hears of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// Every one.
    #[default]
    Any,
    /// None after which it is started again by whoever stopped it.
    Last,
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StreamKind {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Everything that a container's start needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The OCI specification.
    pub spec: Box<oci_spec::runtime::Spec>,
    /// What each descriptor is that comes with the message, in order.
    pub fds: Vec<FdRole>,
    /// What standard input is. Whether there is a terminal, and its first size, the
    /// specification says.
    pub stdin: Stdin,
    /// Where output goes, besides to clients.
    pub log: LogConfig,
    /// Where its cgroup is.
    pub cgroup: CgroupName,
    /// How it is stopped if the request does not say.
    pub stop: StopDefaults,
    /// Where its end is written down: `exit.json` of its directory, absolute.
    pub exit_record: PathBuf,
    /// What is taken back from the firewall at its end; `None` if it publishes nothing.
    pub published: Option<Published>,
    /// What removes the container after its end if no claim is held: arguments for this very
    /// program, without its name. `None`: it stays.
    pub reap: Option<Vec<String>>,
    /// When it is started again after its end.
    #[serde(default)]
    pub restarts: Restarts,
    /// How its health is looked after; `None`: it is not.
    #[serde(default)]
    pub health: Option<Box<HealthPlan>>,
    /// How often its policy has started it since somebody did, this time included: 0 for somebody.
    #[serde(default)]
    pub revival: u32,
    /// What it is made of instead of being started; `None`: it is started.
    #[serde(default)]
    pub restoration: Option<Box<Restoration>>,
    /// When it was decided. The process did not begin earlier, whatever a clock that was set back
    /// meanwhile says; ends are told apart by that.
    #[serde(default)]
    pub decided: Option<Timestamp>,
    /// What the program forwards that is an ordinary user's network; `None`: it has no such network.
    #[serde(default)]
    pub forwards: Option<Vec<PublishedPort>>,
    /// How its questions for names are answered; `None`: it asks somebody else.
    #[serde(default)]
    pub resolver: Option<Box<Resolver>>,
}

/// The cgroup that the shim makes, and removes at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupName {
    /// Below the hierarchy's root: `dhow`.
    pub parent: String,
    /// Below the parent.
    pub name: String,
    /// The slice of systemd's that it is a scope in; `None`: the shim makes it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

/// How a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopDefaults {
    /// Asks it to end.
    pub signal: Signal,
    /// How long it may take.
    pub timeout: StopTimeout,
}

/// One more process in the container.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExecStart {
    /// Its name from now on.
    pub exec: ExecId,
    /// What runs, and as whom.
    pub process: Box<oci_spec::runtime::Process>,
    /// Whether it has a standard input.
    pub stdin: Stdin,
    /// The streams to carry on this connection; `None`: detached.
    pub attach: Option<AttachedStreams>,
    /// What becomes of it when this connection ends before it does.
    #[serde(default)]
    pub without_client: WithoutClient,
}

/// What becomes of an exec whose client goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithoutClient {
    /// It goes on.
    #[default]
    Stays,
    /// It is told to end (SIGHUP), and killed if it does not, with all that it has started.
    Ends,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Ok,
    /// The container, or the exec, runs.
    Started(Started),
    /// It could not be started.
    LaunchFailed(StartFailure),
    /// To `State`.
    State(State),
    /// The container has ended.
    Exited(ExitRecord),
    /// To `Stop`: it has ended, and this is how.
    Stopped {
        /// Its end.
        exit: ExitRecord,
        /// Whether its time was up and it was killed.
        escalated: Escalated,
    },
    /// To `ExecState`.
    Exec(ExecInfo),
    /// To `ExecList`.
    Execs(Vec<ExecInfo>),
    /// The request does not fit the state that the container is in.
    Refused(Refusal),
    /// The kernel did not do it.
    Failed {
        /// One line.
        message: String,
    },
}

/// Whether a stop had to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Escalated {
    /// It went when it was asked.
    No,
    /// It was killed.
    Killed,
}

/// A process that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// On the host.
    pub pid: u32,
    /// When.
    pub since: Timestamp,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it is in its life, as far as this shim knows: `Created` before its first launch.
    pub life: Life,
    /// Whether the kernel's OOM killer has struck while it ran.
    pub oom: bool,
    /// Log lines that could not be written since the launch.
    pub log_lines_lost: u64,
}

/// How a container ended. The content of `exit.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Its init's code, or 128 + n when signal n ended it.
    pub code: ExitCode,
    /// Whether the kernel's OOM killer struck.
    pub oom: bool,
    /// When it had been started.
    pub since: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// Whether somebody had wished it to end.
    #[serde(default, skip_serializing_if = "ByHand::is_no")]
    pub by_hand: ByHand,
}

/// Whether a user had a hand in an end: after a reboot, `unless-stopped` asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByHand {
    /// Nobody had, as far as is known.
    #[default]
    No,
    /// It was stopped or sent a signal.
    Yes,
}

impl ByHand {
    fn is_no(&self) -> bool {
        *self == Self::No
    }
}

impl ExitRecord {
    /// The same while it waits to be started again.
    #[must_use]
    pub const fn restarting(&self) -> Life {
        Life::Restarting { code: self.code, since: self.since, at: self.at, oom: self.oom }
    }

    /// The same as a state of life.
    #[must_use]
    pub const fn life(&self) -> Life {
        Life::Exited { code: self.code, since: self.since, at: self.at, oom: self.oom }
    }
}

/// One exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecInfo {
    /// Which.
    pub exec: ExecId,
    /// How it is.
    pub state: ExecState,
}

/// How an exec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecState {
    /// It runs.
    Running(Started),
    /// It has ended.
    Exited {
        /// How.
        code: ExitCode,
        /// What its process was on the host.
        pid: u32,
        /// Whether the OOM killer took it.
        #[serde(default)]
        oom: bool,
        /// What made it end.
        #[serde(default)]
        why: Ended,
        /// When it began and ended; `None` of a shim that does not say.
        #[serde(default)]
        span: Option<[Timestamp; 2]>,
    },
}

/// What made an exec end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Nobody who is known here.
    #[default]
    ByItself,
    /// Its client went.
    ClientGone,
    /// Somebody sent it a signal.
    Signalled(Signal),
    /// Its container ended.
    Container,
}

/// Why a request does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Nothing was launched, or it has ended.
    #[error("the container is not running")]
    NotRunning,
    /// `Launch` or `Quit` while it runs.
    #[error("the container is already running")]
    AlreadyRunning,
    /// `Pause` of a paused one.
    #[error("the container is already paused")]
    AlreadyPaused,
    /// `Resume` of one that is not.
    #[error("the container is not paused")]
    NotPaused,
    /// `ExecStart` would wait for ever.
    #[error("the container is paused")]
    Paused,
    /// `Pause` or `ExecStart` of one that is started again soon.
    #[error("the container is restarting")]
    Restarting,
    /// A launch by its policy, which nobody wants any more.
    #[error("the container is not to be started again")]
    NotWanted,
    /// No such process, or it has been forgotten.
    #[error("no such exec")]
    NoSuchExec,
    /// The exec has ended.
    #[error("the exec is not running")]
    ExecNotRunning,
    /// This exec id is in use.
    #[error("the exec has already run")]
    ExecExists,
    /// Somebody else holds the claim.
    #[error("the removal is claimed already")]
    Claimed,
    /// `Release` without a claim.
    #[error("the removal is not claimed by this client")]
    NotClaimed,
    /// `Resize` without a terminal.
    #[error("the process has no terminal")]
    NoTerminal,
}
