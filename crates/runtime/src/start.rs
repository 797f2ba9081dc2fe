//! The parent's side of a start: clone, listen until the child is ready, say go.
//!
//! Shared by `launch` and `enter`. What the child does meanwhile is `init`'s.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::process::{Child, CloneArgs, ExecStrings, Namespaces};
use sys::seccomp::{Flags, Instruction};

use crate::error::{LaunchError, Missing, Reason};
use crate::hooks::Hooks;
use crate::init::{self, Asks, Filter, Hands};
use crate::listener::Listener;
use crate::message::{self, Report};
use crate::plan::{Candidates, DEADLINE, Program, Terminal};
use crate::step::{Conduct, Place, Step, Symlinks};

/// The standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// Descriptors of the caller; the process gets copies.
    Pipes {
        /// To read from.
        stdin: OwnedFd,
        /// To write to.
        stdout: OwnedFd,
        /// To write errors to.
        stderr: OwnedFd,
    },
    /// A pseudo terminal of the container. Its master comes back with [`Ready`].
    Pty,
}

/// The control groups of a process.
#[derive(Debug, Default)]
pub struct CgroupEntry<'a> {
    /// A directory of version 2, which it is born in.
    pub into: Option<BorrowedFd<'a>>,
    /// `cgroup.procs` files, open for writing, of those that it enters itself: version 1.
    pub procs: Vec<OwnedFd>,
}

/// A compiled seccomp filter.
#[derive(Debug, Clone, Copy)]
pub struct FilterRef<'a> {
    /// The program.
    pub instructions: &'a [Instruction],
    /// How it is loaded.
    pub flags: Flags,
    /// Who is asked about calls, if it asks.
    pub listener: Option<&'a Listener>,
}

/// A process that is set up and waits. Dropping it ends it; the caller still has to reap it.
#[derive(Debug)]
pub struct Ready {
    child: Child,
    terminal: Option<OwnedFd>,
    channel: OwnedFd,
    steps: Vec<Step>,
    program: Program,
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Running {
    /// As seen from here.
    pub pid: Pid,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// What `launch` and `enter` have decided and opened.
pub(crate) struct Start<'a> {
    pub(crate) steps: Vec<Step>,
    pub(crate) program: Program,
    pub(crate) namespaces: Namespaces,
    pub(crate) born_into: Option<BorrowedFd<'a>>,
    pub(crate) cgroup: CgroupEntry<'a>,
    pub(crate) root: Option<BorrowedFd<'a>>,
    pub(crate) container: Option<BorrowedFd<'a>>,
    pub(crate) trees: &'a [OwnedFd],
    pub(crate) joins: &'a [OwnedFd],
    pub(crate) filter: Option<FilterRef<'a>>,
    pub(crate) stdio: Stdio,
    pub(crate) terminal: Terminal,
    pub(crate) hooks: Option<Hooks<'a>>,
    pub(crate) door: Option<BorrowedFd<'a>>,
}

/// What a process does once it was started by a visitor, to explain what goes wrong then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastSteps {
    /// The index of the first of them.
    first: usize,
    /// What each is called.
    names: Vec<String>,
    /// As it was given.
    program: String,
}

impl Start<'_> {
    /// Clones the child and waits until it is ready.
    pub(crate) fn run(self) -> Result<Ready, LaunchError> {
        let streams = streams(self.stdio, self.terminal)?;
        let (ours, theirs) = channel()?;
        let argv = ExecStrings::new(self.program.argv.clone());
        let env = ExecStrings::new(self.program.env.clone());
        let mut hands = Hands {
            root: self.root,
            container: self.container,
            trees: self.trees,
            joins: self.joins,
            cgroups: &self.cgroup.procs,
            streams: streams.as_ref().map(|streams| streams.each_ref().map(AsFd::as_fd)),
            channel: theirs.as_fd(),
            door: self.door,
            filter: self.filter.map(|filter| Filter {
                program: filter.instructions,
                flags: filter.flags,
                asks: if filter.listener.is_some() { Asks::Parent } else { Asks::Nobody },
            }),
            candidates: self.program.candidates.paths(),
            in_path: matches!(self.program.candidates, Candidates::InPath(_)),
            argv: &argv,
            env: &env,
            kept: &[],
            passed: passed(&self.steps),
        };
        let kept = hands.descriptors();
        hands.kept = &kept;
        let nested = self.born_into.filter(|_| sys::rootless::is_nested());
        let namespaces = if nested.is_some() { Namespaces::NONE } else { self.namespaces };
        let args = CloneArgs { namespaces, cgroup: self.cgroup.into };
        let mut ours = Some(ours);
        let guard = self.born_into.filter(|_| nested.is_none()).map(BornInto::enter).transpose()?;
        let child = sys::process::clone3(&args, || {
            // The child's copy of our end would keep it from seeing that we are gone.
            drop(ours.take());
            match nested {
                Some(pid) => init::run_born_into(pid, self.namespaces, &hands, &self.steps),
                None => init::run(&hands, &self.steps),
            }
        });
        guard.map(BornInto::leave).transpose()?;
        let child = child.map_err(LaunchError::prepare("create", "the process"))?;
        drop(theirs);
        let Some(channel) = ours else {
            return Err(LaunchError::prepare("keep", "the channel")(Errno::BADF));
        };
        let waiting =
            Ready { child, terminal: None, channel, steps: self.steps, program: self.program };
        waiting.until_ready(self.hooks)
    }
}

impl Ready {
    /// Its process id, as seen from here.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Its pidfd.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The master of its terminal, if it has one.
    #[must_use]
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    fn until_ready(mut self, hooks: Option<Hooks<'_>>) -> Result<Self, LaunchError> {
        let mut fds = Vec::new();
        loop {
            match self.hear(&mut fds)? {
                Some(Report::Ready) => {
                    self.terminal = fds.pop();
                    return Ok(self);
                }
                Some(Report::Born) => self.follow(fds.pop())?,
                Some(Report::AtHooks) => self = self.run_hooks(hooks)?,
                report => return Err(self.fail(report)),
            }
        }
    }

    fn run_hooks(self, hooks: Option<Hooks<'_>>) -> Result<Self, LaunchError> {
        let done = hooks.map_or(Ok(()), |hooks| hooks.create(self.child.pid, self.pidfd()));
        if let Err(error) = done {
            self.abort();
            return Err(error.into());
        }
        self.say_go()?;
        Ok(self)
    }

    /// The process goes on as a sibling, which is our child as well.
    fn follow(&mut self, pidfd: Option<OwnedFd>) -> Result<(), LaunchError> {
        let lost = LaunchError::prepare("follow", "the process into its namespaces");
        let Some(pidfd) = pidfd else { return Err(lost(Errno::PROTO)) };
        let Some(pid) = number_of(&pidfd) else { return Err(lost(Errno::SRCH)) };
        let first = std::mem::replace(&mut self.child, Child { pid, pidfd });
        sys::process::wait(&first.pidfd).map(drop).map_err(lost)
    }

    /// Lets it run its program. Returns when the program runs, or with why it does not.
    ///
    /// # Errors
    /// If a step failed; the process is gone then and has been reaped.
    pub fn go(self) -> Result<Running, LaunchError> {
        self.go_with(None)
    }

    /// The same of a process whose filter asks somebody.
    pub(crate) fn go_with(self, listener: Option<&Listener>) -> Result<Running, LaunchError> {
        self.say_go()?;
        let mut fds = Vec::new();
        let report = loop {
            let report = self.hear(&mut fds)?;
            let (Some(Report::Listener), Some(listener)) = (&report, listener) else {
                break report;
            };
            if let Err(error) = pass(&mut fds, listener, self.child.pid) {
                self.abort();
                return Err(error);
            }
        };
        match report {
            // execve has closed the channel.
            None => {
                let Child { pid, pidfd } = self.child;
                Ok(Running { pid, pidfd, terminal: self.terminal })
            }
            report => Err(self.fail(report)),
        }
    }

    fn say_go(&self) -> Result<(), LaunchError> {
        match sys::fdpass::send(&self.channel, &[message::GO], &[]) {
            // It has ended already. What it may have said is still there to be heard.
            Err(error) if error.errno() == Some(Errno::PIPE) => Ok(()),
            Err(error) => {
                let errno = error.errno().unwrap_or(Errno::IO);
                Err(LaunchError::prepare("say go to", "the process")(errno))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Leaves it to a visitor to let it run. Returns when it waits for one.
    ///
    /// # Errors
    /// As [`Ready::go`].
    pub(crate) fn leave(self) -> Result<Running, LaunchError> {
        self.say_go()?;
        match self.hear(&mut Vec::new())? {
            Some(Report::Ready) => {
                let Child { pid, pidfd } = self.child;
                Ok(Running { pid, pidfd, terminal: self.terminal })
            }
            report => Err(self.fail(report)),
        }
    }

    /// What it does once a visitor has said start.
    pub(crate) fn last_steps(&self) -> LastSteps {
        let waits = self.steps.iter().position(|step| matches!(step, Step::AwaitStart(_)));
        let first = waits.map_or(self.steps.len(), |at| at + 1);
        let names = self.steps[first..].iter().map(Step::to_string).collect();
        LastSteps { first, names, program: self.program.name.clone() }
    }

    /// Ends it instead of letting it run, and reaps it.
    pub fn abort(self) {
        let Self { child, channel, .. } = self;
        drop(channel);
        // An init that waits for go ends by itself at once; the signal is for one that hangs.
        let _ = sys::process::pidfd_send_signal(&child.pidfd, sys::signal::Signal::KILL);
        let _ = sys::process::wait(&child.pidfd);
    }

    /// The next message; `None` at the end of the stream.
    fn hear(&self, fds: &mut Vec<OwnedFd>) -> Result<Option<Report>, LaunchError> {
        let mut bytes = [0; message::MAX];
        let failed = LaunchError::prepare("hear from", "the process");
        match sys::fdpass::recv(&self.channel, &mut bytes, fds) {
            Ok(0) => Ok(None),
            Ok(len) => Report::parse(&bytes[..len]).map(Some).ok_or(Errno::PROTO).map_err(failed),
            Err(error) => Err(failed(error.errno().unwrap_or(Errno::IO))),
        }
    }

    /// Reaps the child and says what went wrong.
    fn fail(self, report: Option<Report>) -> LaunchError {
        let exit = sys::process::wait(&self.child.pidfd).ok();
        match report {
            Some(Report::Failed { step, errno, detail }) => {
                let reason = Reason { errno, detail };
                match self.steps.get(step) {
                    Some(step) => explain(step, &self.program, reason),
                    None => LaunchError::Died { exit },
                }
            }
            Some(Report::Ready | Report::AtHooks | Report::Born | Report::Listener) | None => {
                LaunchError::Died { exit }
            }
        }
    }
}

/// The first number that the program does not inherit.
fn passed(steps: &[Step]) -> u32 {
    let first = steps
        .iter()
        .find_map(|step| if let Step::KeepDescriptors(first) = step { Some(*first) } else { None });
    first.unwrap_or(3)
}

/// The number of a process as this one sees it: whoever has made it may be in a pid namespace of its own.
pub(crate) fn number_of(pidfd: impl AsFd) -> Option<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

/// Passes the descriptor that came last on to whoever answers.
fn pass(fds: &mut Vec<OwnedFd>, listener: &Listener, pid: Pid) -> Result<(), LaunchError> {
    let lost = || LaunchError::prepare("take", "the seccomp descriptor")(Errno::PROTO);
    listener.hand_over(&fds.pop().ok_or_else(lost)?, pid)
}

/// Says start to a process that was left to visitors. Returns when its program runs.
///
/// # Errors
/// If a step failed; the process has ended then.
pub(crate) fn knock(
    visitor: BorrowedFd<'_>,
    last: &LastSteps,
    agent: Option<(&Listener, Pid)>,
) -> Result<(), LaunchError> {
    let failed = |errno| LaunchError::prepare("start", "the process")(errno);
    let sent = sys::fdpass::send(visitor, &[message::GO], &[]);
    sent.map_err(|error| failed(error.errno().unwrap_or(Errno::IO)))?;
    let mut bytes = [0; message::MAX];
    let mut fds = Vec::new();
    let len = loop {
        let heard = sys::fdpass::recv(visitor, &mut bytes, &mut fds);
        let len = heard.map_err(|error| failed(error.errno().unwrap_or(Errno::IO)))?;
        match (len, agent) {
            (0, _) => return Ok(()),
            (len, Some((listener, pid))) if bytes[..len] == message::LISTENER => {
                pass(&mut fds, listener, pid)?;
            }
            (len, _) => break len,
        }
    };
    let Some(Report::Failed { step, errno, detail }) = Report::parse(&bytes[..len]) else {
        return Err(failed(Errno::PROTO));
    };
    let at = step.checked_sub(last.first);
    let name = at.and_then(|at| last.names.get(at)).cloned().unwrap_or_default();
    let (path, errno) = (last.program.clone(), Reason { errno, detail });
    Err(if name != Step::Execute.to_string() {
        LaunchError::Init { step: name, errno }
    } else if errno.errno == Errno::ACCESS {
        LaunchError::NotExecutable { path, errno }
    } else {
        LaunchError::Exec { path, errno }
    })
}

/// What the failure of a step means to people.
fn explain(step: &Step, program: &Program, mut reason: Reason) -> LaunchError {
    let path = program.name.clone();
    match (step, &program.candidates) {
        (Step::FindProgram, Candidates::InPath(_)) => LaunchError::NotFound(Missing::InPath(path)),
        (Step::FindProgram, Candidates::At(_)) if reason.errno == Errno::NOENT => {
            LaunchError::NotFound(Missing::At(path))
        }
        (Step::FindProgram, Candidates::At(_)) => {
            LaunchError::NotExecutable { path, errno: reason }
        }
        (Step::Execute, _) if reason.errno == Errno::ACCESS => {
            LaunchError::NotExecutable { path, errno: reason }
        }
        (Step::Execute, _) => LaunchError::Exec { path, errno: reason },
        (Step::ApproachDirectory(path) | Step::ChangeDirectory(path), _)
        | (Step::MakeWorkingDirectory(Place { path, .. }), _) => {
            if reason.errno == Errno::LOOP {
                reason.detail = "it leads outside of the container's root".to_owned();
            }
            let path = path.to_string_lossy().into_owned();
            LaunchError::WorkingDirectory { path, errno: reason }
        }
        (step, _) => {
            hint(step, &mut reason);
            LaunchError::Init { step: step.to_string(), errno: reason }
        }
    }
}

/// Error numbers that say too little on their own.
fn hint(step: &Step, reason: &mut Reason) {
    if !reason.detail.is_empty() {
        return;
    }
    if let (Step::Conduct(Conduct::Scheduling(how)), Errno::PERM) = (step, reason.errno)
        && how.policy == DEADLINE
    {
        // runc's words behind ours.
        let words = "SCHED_DEADLINE wants CAP_SYS_NICE and all of the host's processors: process scheduler can't be used together with AllowedCPUs";
        words.clone_into(&mut reason.detail);
    }
    let Some(place) = step.place() else { return };
    let words = match (reason.errno, place.symlinks) {
        // runc's words, and ours.
        (Errno::LOOP, Symlinks::Refuse) if matches!(step, Step::Mount(_)) => {
            "it must be mounted on ordinary directory: a symbolic link of the image is in the way"
        }
        (Errno::LOOP, Symlinks::Refuse | Symlinks::Kernels) => {
            "a symbolic link of the image is in the way"
        }
        (Errno::LOOP, Symlinks::InRoot) => "a symbolic link of the image leads nowhere or to /proc",
        (Errno::NOTDIR, _) => "a directory and a file cannot be mounted on each other",
        _ => return,
    };
    words.clone_into(&mut reason.detail);
}

/// The streams that the caller gives, none of them at a number that they are copied to.
fn streams(stdio: Stdio, terminal: Terminal) -> Result<Option<[OwnedFd; 3]>, LaunchError> {
    let mismatch = |what| Err(LaunchError::prepare("connect", what)(Errno::INVAL));
    match (stdio, terminal) {
        (Stdio::Pty, Terminal::Yes) => Ok(None),
        (Stdio::Pipes { stdin, stdout, stderr }, Terminal::No) => {
            let high = |fd| above_streams(fd, "the standard streams");
            Ok(Some([high(stdin)?, high(stdout)?, high(stderr)?]))
        }
        (Stdio::Pty, Terminal::No) => mismatch("a terminal that the specification does not want"),
        (Stdio::Pipes { .. }, Terminal::Yes) => {
            mismatch("pipes where the specification wants a terminal")
        }
    }
}

fn channel() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let pair = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    );
    let (ours, theirs) = pair.map_err(LaunchError::prepare("create", "the channel"))?;
    Ok((above_streams(ours, "the channel")?, above_streams(theirs, "the channel")?))
}

/// Moves a descriptor to a number above the standard streams, if a caller without those has caused
/// it to be one of them.
fn above_streams(fd: OwnedFd, what: &'static str) -> Result<OwnedFd, LaunchError> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(LaunchError::prepare("move", what))
}

/// While it lives, children of this thread are born into another pid namespace. That saves a
/// second clone, and the child stays a child of this process.
pub(crate) struct BornInto {
    own: OwnedFd,
}

impl BornInto {
    pub(crate) fn enter(target: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(CWD, c"/proc/thread-self/ns/pid", flags, Mode::empty())
            .map_err(LaunchError::prepare("open", "/proc/thread-self/ns/pid"))?;
        sys::process::setns(target, Namespaces::PID)
            .map_err(LaunchError::prepare("enter", "the pid namespace of the container"))?;
        Ok(Self { own })
    }

    pub(crate) fn leave(self) -> Result<(), LaunchError> {
        sys::process::setns(&self.own, Namespaces::PID)
            .map_err(LaunchError::prepare("leave", "the pid namespace of the container"))
    }
}
