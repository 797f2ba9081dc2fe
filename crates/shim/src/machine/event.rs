//! What can happen to a shim, and what it can do: the two closed sets between the machine and the
//! loop around it.

use std::time::Duration;

use jiff::Timestamp;
use model::container::{AttachedStreams, TerminalSize};
use model::health::HealthStatus;
use model::life::StartFailure;
use model::{ExecId, ExitCode, Life, Signal};

use super::health::Checked;
use crate::protocol::{
    Delivery, ExecInfo, ExecStart, ExitRecord, Launch, Published, Reach, Reply, Request, Resolver,
    Started, Target,
};

/// One client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(crate) u32);

/// The time of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since some moment; never goes back.
    pub(crate) elapsed: Duration,
    /// By the wall's clock.
    pub(crate) wall: Timestamp,
}

/// What can happen to a shim.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client came.
    Connected(ConnId),
    /// A client left, or was thrown out.
    Closed(ConnId),
    /// A client asks.
    Request(ConnId, Request),
    /// `Effect::Launch` is done.
    Launched(ConnId, Started),
    /// `Effect::Launch` failed.
    LaunchFailed(ConnId, StartFailure),
    /// `Effect::Freeze` or `Effect::Thaw` for a client is done, or why not.
    Froze(ConnId, Freeze, Result<(), String>),
    /// `Effect::Exec` is done; the client wants these streams of it.
    ExecLaunched(ConnId, ExecId, Started, Option<AttachedStreams>),
    /// `Effect::Exec` failed.
    ExecFailed(ConnId, ExecId, StartFailure),
    /// The init has ended and all of its output is read; whether the OOM killer struck.
    InitExited(ExitCode, Oom),
    /// An exec has ended and all of its output is read; whether the OOM killer took it.
    ExecExited(ExecId, ExitCode, Oom),
    /// To `Effect::Listen`: what the init would do with this signal.
    Hearing(Signal, Hearing),
    /// The OOM killer struck in the container's cgroup.
    OomKill,
    /// `Effect::Check` is done: this process runs.
    CheckRuns(ExecId, Started),
    /// `Effect::Check` failed.
    CheckFailed(String),
    /// A client that carries streams is gone; what it has sent before still waits for its process.
    HungUp(ConnId),
    /// The program that starts the container again has ended.
    ReviverEnded(Reviver),
    /// The host asks this process to end.
    Terminate,
    /// A deadline has passed.
    Tick,
    /// `Effect::Finish` was not possible: somebody is at the door.
    FinishPutOff,
}

/// How the program ended that was to start the container again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reviver {
    /// By itself: the container was launched, or cannot be.
    Done,
    /// It was killed, could not be started, or could not say why the container cannot be: what it has
    /// begun may lie about.
    Killed,
}

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Rest,
    /// Its policy starts it again.
    Restart,
}

/// What programs that were to start the container again have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traces {
    /// Nothing.
    None,
    /// One was killed in the middle of it.
    Some,
}

/// What the kernel's counters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oom {
    /// Nothing was killed.
    Unseen,
    /// Something was.
    Seen,
}

/// Whether a process can act on a signal. The kernel drops one for which the first process of a pid
/// namespace has neither a handler nor a place to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It can, or nobody can tell.
    Hears,
    /// It would be dropped.
    Deaf(Pace),
}

/// What a process is at. One that works may be about to install its handlers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// For how long its threads have run so far.
    pub(crate) ran: Duration,
    /// Whether one of them waits for a disk.
    pub(crate) reads: bool,
}

/// Whether a cgroup runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freeze {
    /// It does.
    Thawed,
    /// It does not.
    Frozen,
}

/// What a shim does.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answer a client.
    Reply(ConnId, Reply),
    /// Start the container; `Launched` or `LaunchFailed` follows.
    Launch(ConnId, Box<Launch>),
    /// Start an exec; `ExecLaunched` or `ExecFailed` follows.
    Exec(ConnId, Box<ExecStart>),
    /// Carry a process's streams on this connection, after the reply.
    Stream(ConnId, Attachment),
    /// Send a signal.
    Signal(Target, Signal, Reach),
    /// Send SIGHUP to all that an exec has started; what is left of it is killed later.
    HangUp(ExecId),
    /// Look whether the init would hear this signal at all; `Hearing` follows.
    Listen(Signal),
    /// Freeze or thaw for a client; `Froze` follows.
    Freeze(ConnId, Freeze),
    /// Thaw, so that a signal can act.
    Thaw,
    /// Set a terminal's size and answer the client.
    Resize(ConnId, Target, TerminalSize),
    /// Publish this from now on, and answer the client, who has brought the sockets of what is new.
    Publish(ConnId, Option<Published>),
    /// Answer the container's questions for names so from now on, and answer the client.
    Resolve(ConnId, Box<Resolver>),
    /// Write `state.json`.
    RecordLife(Life),
    /// Unpublish its ports, write `exit.json`, then remove `state.json`, or say there that it is
    /// started again.
    RecordExit(ExitRecord, After),
    /// Write down how execs have ended: nobody can be asked any more.
    RecordExecs(Vec<ExecInfo>),
    /// It is not started again after all: write `exit.json` anew and take `state.json` away.
    RecordRest(ExitRecord, Traces),
    /// Remove `exit.json`: another life has begun, of which it must not seem to tell.
    ForgetExit,
    /// Start the program that starts the container again; `Launch` or `ReviverEnded` follows.
    Revive(Vec<String>),
    /// Kill that program.
    EndReviver,
    /// Start a health check; `CheckRuns` or `CheckFailed` follows.
    Check,
    /// Write `health.json`, with the output of the check that has ended.
    RecordHealth(HealthStatus, u32, Option<Checked>),
    /// No more output comes from this process: its clients get the rest and the end.
    EndStreams(Target),
    /// Tell whoever looks on.
    Tell(News),
    /// Remove its cgroup and forget its descriptors.
    TearDown,
    /// End this process.
    Finish(Finish),
}

/// What a shim has to tell, besides what its answers and records say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The container runs.
    Started,
    /// The container was sent this signal.
    Signalled(Signal),
    /// The OOM killer struck.
    OutOfMemory,
    /// The container was killed, since its first process would never hear this signal.
    Unheard(Signal),
    /// It goes on, since the client has gone that had it frozen.
    Thawed,
    /// An exec has ended; whether the OOM killer took it.
    ExecEnded(ExecId, ExitCode, Oom),
    /// Its health has changed.
    Health(HealthStatus),
}

/// How a client is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// To whom.
    pub(crate) target: Target,
    /// Which streams.
    pub(crate) streams: AttachedStreams,
    /// If it is slow.
    pub(crate) delivery: Delivery,
}

/// How this process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It exits, unless somebody is at the door (then `FinishPutOff` follows).
    Exit,
    /// It exits, whoever is at the door.
    ExitNow,
    /// As `Exit`, and it becomes the program that removes the container.
    Reap(Vec<String>),
}
