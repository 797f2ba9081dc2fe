//! Talking to a shim, in blocking calls.
//!
//! One connection asks one thing after another. `attach` and an attached `exec_start` turn it
//! into a stream for good.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use model::ExecId;
use model::container::{AttachedStreams, StopTimeout, TerminalSize};
use model::life::StartFailure;
use model::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sys::Errno;
use sys::fdpass::{self, PassError};

use crate::frame::{FrameError, MAX_LARGE, MAX_SMALL};
use crate::paths::{self, ShimPaths};
use crate::patience::{How, Patience, Quiet};
use crate::protocol::{
    Delivery, Escalated, ExecInfo, ExecStart, ExitRecord, Launch, NOT_UNDERSTOOD, OTHER_RESOLVER,
    Published, Reach, Refusal, Reply, Request, Resolver, Restarts, Started, State, Target, Then,
    Until, Which,
};
use crate::silent::{self, Silence};

/// A question was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The shim has ended before it answered. Nothing runs any more, or its end is written down.
    #[error("the container's shim has ended")]
    Gone,
    /// The question does not fit the container's state.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The container or exec could not be started.
    #[error("{}", .0.message)]
    LaunchFailed(StartFailure),
    /// The kernel did not do it.
    #[error("{0}")]
    Failed(String),
    /// The shim says nothing at all: it is stopped, or hangs.
    #[error("{0}")]
    Silent(Silence),
    /// The connection broke.
    #[error("talk to the container's shim")]
    Connection(#[source] PassError),
    /// The request cannot be put on the wire.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The request or the answer is not JSON of this version.
    #[error("message of the container's shim")]
    Json(#[from] serde_json::Error),
    /// The answer is to another question.
    #[error("the container's shim answered something else: {0:?}")]
    Confused(Box<Reply>),
}

/// Whether a container asks its shim for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It does, and is answered as was told.
    Yes,
    /// It does not, since it was started so: its shim has no sockets for that.
    No,
    /// Nobody is there to tell.
    Unknown,
}

/// How long a shim may say nothing, unless somebody is less patient.
const SILENT: Duration = Duration::from_secs(5);

/// A connection to a container's shim.
#[derive(Debug)]
pub struct Shim {
    stream: UnixStream,
    paths: ShimPaths,
    patience: Patience,
    /// How many times it was asked only whether it still answers, and has not.
    owed: usize,
}

impl Shim {
    /// Connects to the shim of a container, if there is one. One that says nothing for five seconds is
    /// asked how the container is; if it says nothing to that either, a question fails with
    /// [`CallError::Silent`]. An answer that takes its time is waited for. So is a shim that has written
    /// down that it is at work, and the start of a process, which is all that a shim does meanwhile: of
    /// that one it is looked only whether it is stopped.
    ///
    /// # Errors
    /// There is a socket that cannot be connected to.
    pub fn connect(paths: &ShimPaths) -> std::io::Result<Option<Self>> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        match paths::connect(&paths.socket()) {
            Ok(stream) => Ok(Some(Self::over(stream, paths.clone()))),
            Err(error) if matches!(error.kind(), ConnectionRefused | NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    const fn over(stream: UnixStream, paths: ShimPaths) -> Self {
        Self { stream, paths, patience: Patience::asking(SILENT), owed: 0 }
    }

    /// From now on a shim is given up that says nothing for so long.
    pub const fn give_up_if_silent(&mut self, patience: Duration) {
        self.patience = Patience::asking(patience);
    }

    /// Starts the container; the descriptors are what [`Launch::fds`] says, in that order.
    ///
    /// # Errors
    /// `LaunchFailed` with Docker's code and one line.
    pub fn launch(&mut self, launch: Launch, fds: &[BorrowedFd<'_>]) -> Result<Started, CallError> {
        self.patience = Patience::looking();
        self.send(&Request::Launch(Box::new(launch)), fds)?;
        started(self.receive()?)
    }

    /// How the container is.
    ///
    /// # Errors
    /// The connection's.
    pub fn state(&mut self) -> Result<State, CallError> {
        let reply = self.ask(&Request::State)?;
        let Reply::State(state) = reply else { return Err(unexpected(reply)) };
        Ok(state)
    }

    /// Sends a signal to the container. SIGKILL returns when it has ended.
    ///
    /// # Errors
    /// `Refused(NotRunning)`.
    pub fn kill(&mut self, signal: Signal, reach: Reach) -> Result<(), CallError> {
        done(self.ask(&Request::Kill { target: Target::Container, signal, reach })?)
    }

    /// Sends a signal that ends the container, and returns at once: [`Shim::killed`] waits for the end.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_kill(&mut self, signal: Signal) -> Result<(), CallError> {
        let (target, reach) = (Target::Container, Reach::Process);
        self.send(&Request::Kill { target, signal, reach }, &[])
    }

    /// Returns when the container has ended that [`Shim::send_kill`] was for.
    ///
    /// # Errors
    /// `Refused(NotRunning)`.
    pub fn killed(&mut self) -> Result<(), CallError> {
        done(self.receive()?)
    }

    /// Stops the container and returns how it ended. What is `None` is as the launch said. With
    /// [`Then::Restart`] this connection is kept until the container has been started again.
    ///
    /// # Errors
    /// `Refused(NotRunning)`; `Failed` if it does not even end when killed.
    pub fn stop(
        &mut self,
        signal: Option<Signal>,
        timeout: Option<StopTimeout>,
        then: Then,
    ) -> Result<(ExitRecord, Escalated), CallError> {
        let reply = self.ask(&Request::Stop { signal, timeout, then })?;
        let Reply::Stopped { exit, escalated } = reply else { return Err(unexpected(reply)) };
        Ok((exit, escalated))
    }

    /// Waits for the container's end.
    ///
    /// # Errors
    /// `Refused(NotRunning)` if it never ran and only a past end was asked for; `LaunchFailed`
    /// if its start fails meanwhile.
    pub fn wait(&mut self, until: Until) -> Result<ExitRecord, CallError> {
        let reply = self.ask(&Request::Wait { until, which: Which::Any })?;
        let Reply::Exited(exit) = reply else { return Err(unexpected(reply)) };
        Ok(exit)
    }

    /// Tells the process its terminal's size.
    ///
    /// # Errors
    /// `Refused(NotRunning)`, `Refused(NoTerminal)`.
    pub fn resize(&mut self, target: Target, size: TerminalSize) -> Result<(), CallError> {
        done(self.ask(&Request::Resize { target, size })?)
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// `Refused(AlreadyPaused)`, `Refused(NotRunning)`.
    pub fn pause(&mut self) -> Result<(), CallError> {
        done(self.ask(&Request::Pause)?)
    }

    /// Freezes the container for as long as this connection is there, or until it is thawed.
    ///
    /// # Errors
    /// As [`Shim::pause`].
    pub fn pause_while_connected(&mut self) -> Result<(), CallError> {
        match self.ask(&Request::PauseWhileConnected) {
            // One of an older version, which does not know the question.
            Err(CallError::Failed(message)) if message.starts_with(NOT_UNDERSTOOD) => self.pause(),
            asked => done(asked?),
        }
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// `Refused(NotPaused)`, `Refused(NotRunning)`.
    pub fn resume(&mut self) -> Result<(), CallError> {
        done(self.ask(&Request::Resume)?)
    }

    /// Takes the duty to remove the container after its end, for as long as this connection
    /// lives.
    ///
    /// # Errors
    /// `Refused(Claimed)`.
    pub fn claim(&mut self) -> Result<(), CallError> {
        done(self.ask(&Request::Claim)?)
    }

    /// Says that the removal is done.
    ///
    /// # Errors
    /// `Refused(NotClaimed)`.
    pub fn release(&mut self) -> Result<(), CallError> {
        done(self.ask(&Request::Release)?)
    }

    /// From now on the container is started again as this says.
    ///
    /// # Errors
    /// The connection's.
    pub fn set_restarts(&mut self, restarts: Restarts) -> Result<(), CallError> {
        done(self.ask(&Request::SetRestarts(Box::new(restarts)))?)
    }

    /// From now on the container publishes this; the sockets are those of new ports.
    ///
    /// # Errors
    /// `Refused(NotRunning)`; the connection's; a shim of before there was this question.
    pub fn set_published(
        &mut self,
        published: Option<Published>,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), CallError> {
        self.send(&Request::SetPublished(published), sockets)?;
        done(self.receive()?)
    }

    /// From now on the container's questions for names are answered so. A shim that has ended, or of before there
    /// was this question is passed over. One whom the container does not ask begins to listen at the sockets, if there
    /// are two: that of packets, and that of connections.
    ///
    /// # Errors
    /// `Refused(NotRunning)`; the connection's.
    pub fn set_resolver(
        &mut self,
        resolver: Resolver,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<Asked, CallError> {
        let sent = self.send(&Request::SetResolver(Box::new(resolver)), sockets);
        match sent.and_then(|()| self.receive()).and_then(done) {
            Err(CallError::Gone) => Ok(Asked::Unknown),
            Err(CallError::Failed(message)) if message.starts_with(NOT_UNDERSTOOD) => {
                Ok(Asked::Unknown)
            }
            Err(CallError::Failed(message)) if message == OTHER_RESOLVER => Ok(Asked::No),
            told => told.map(|()| Asked::Yes),
        }
    }

    /// Ends an idle shim and waits until it is gone and the container's lock is free.
    ///
    /// # Errors
    /// `Refused(AlreadyRunning)`.
    pub fn quit(mut self) -> Result<(), CallError> {
        match self.ask(&Request::Quit) {
            Err(CallError::Gone) => Ok(()),
            Err(error) => Err(error),
            Ok(reply) => Err(unexpected(reply)),
        }
    }

    /// Attaches to a process. The stream carries Docker's 8-byte frames (bare bytes from a
    /// terminal) to the client and bare bytes to the process; shutting down its writing side
    /// ends the input.
    ///
    /// # Errors
    /// `Refused(NoSuchExec)`, `Refused(ExecNotRunning)`.
    pub fn attach(
        mut self,
        target: Target,
        streams: AttachedStreams,
        delivery: Delivery,
    ) -> Result<UnixStream, CallError> {
        // What was asked meanwhile would be taken for input.
        self.patience = Patience::looking();
        done(self.ask(&Request::Attach { target, streams, delivery })?)?;
        Ok(self.stream)
    }

    /// Starts a process in the container. If `start.attach` is set, the connection is its stream
    /// from now on, as [`Shim::attach`] says; its end means that the exit code is known.
    ///
    /// # Errors
    /// `LaunchFailed`, `Refused(Paused)`, `Refused(NotRunning)`, `Refused(ExecExists)`.
    pub fn exec_start(mut self, start: ExecStart) -> Result<(Started, UnixStream), CallError> {
        self.patience = Patience::looking();
        let started = started(self.ask(&Request::ExecStart(Box::new(start)))?)?;
        Ok((started, self.stream))
    }

    /// How an exec is.
    ///
    /// # Errors
    /// `Refused(NoSuchExec)`.
    pub fn exec_state(&mut self, exec: ExecId) -> Result<ExecInfo, CallError> {
        let reply = self.ask(&Request::ExecState { exec })?;
        let Reply::Exec(info) = reply else { return Err(unexpected(reply)) };
        Ok(info)
    }

    /// All execs that the shim remembers.
    ///
    /// # Errors
    /// The connection's.
    pub fn execs(&mut self) -> Result<Vec<ExecInfo>, CallError> {
        self.send(&Request::ExecList, &[])?;
        // Each takes some 130 bytes, and there may be thousands of them.
        let reply = self.receive_up_to(MAX_LARGE)?;
        let Reply::Execs(execs) = reply else { return Err(unexpected(reply)) };
        Ok(execs)
    }

    /// Lets an exec go on without the client that started it.
    ///
    /// # Errors
    /// The connection's.
    pub fn exec_keep(&mut self, exec: ExecId) -> Result<(), CallError> {
        done(self.ask(&Request::ExecKeep { exec })?)
    }

    /// Sends a signal to an exec.
    ///
    /// # Errors
    /// `Refused(NoSuchExec)`, `Refused(ExecNotRunning)`.
    pub fn exec_kill(
        &mut self,
        exec: ExecId,
        signal: Signal,
        reach: Reach,
    ) -> Result<(), CallError> {
        done(self.ask(&Request::Kill { target: Target::Exec(exec), signal, reach })?)
    }

    /// The bare connection, for a caller that waits for answers in its own way. Answers are
    /// frames of [`crate::frame`].
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, CallError> {
        self.send(request, &[])?;
        self.receive()
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), CallError> {
        let message = serde_json::to_vec(request)?;
        if message.len() > MAX_LARGE {
            return Err(FrameError::TooLong { length: message.len() }.into());
        }
        fdpass::send_frame(&self.stream, &message, fds).map_err(broken)
    }

    fn receive(&mut self) -> Result<Reply, CallError> {
        self.receive_up_to(MAX_SMALL)
    }

    fn receive_up_to(&mut self, max: usize) -> Result<Reply, CallError> {
        loop {
            self.await_word()?;
            match self.receive_next(max) {
                Ok(Reply::State(_)) if self.owed > 0 => self.owed -= 1,
                received => return received,
            }
        }
    }

    /// Waits until the shim says something.
    fn await_word(&mut self) -> Result<(), CallError> {
        let mut quiet = Quiet::default();
        while !self.is_heard().map_err(|errno| broken(PassError::Recv(errno)))? {
            if self.patience.how == How::Asking && self.owed == 0 {
                self.send(&Request::State, &[])?;
                self.owed += 1;
                continue;
            }
            let silence = silent::look(&self.paths);
            if !quiet.goes_on(silence.why, &self.patience) {
                return Err(CallError::Silent(silence));
            }
        }
        Ok(())
    }

    fn is_heard(&self) -> Result<bool, Errno> {
        let patience = Timespec::try_from(self.patience.slice).map_err(|_| Errno::INVAL)?;
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience))).map(|ready| ready > 0)
    }

    fn receive_next(&self, max: usize) -> Result<Reply, CallError> {
        let frame = fdpass::recv_frame(&self.stream, max, 0).map_err(broken)?;
        let reply = serde_json::from_slice(&frame.ok_or(CallError::Gone)?.bytes)?;
        match reply {
            Reply::Refused(refusal) => Err(refusal.into()),
            Reply::LaunchFailed(failure) => Err(CallError::LaunchFailed(failure)),
            Reply::Failed { message } => Err(CallError::Failed(message)),
            Reply::Ok
            | Reply::Started(_)
            | Reply::State(_)
            | Reply::Exited(_)
            | Reply::Stopped { .. }
            | Reply::Exec(_)
            | Reply::Execs(_) => Ok(reply),
        }
    }
}

/// A shim that ends while it is being talked to is gone, in whatever way the kernel puts it.
fn broken(error: PassError) -> CallError {
    match error.errno() {
        Some(Errno::PIPE | Errno::CONNRESET) => CallError::Gone,
        _ => CallError::Connection(error),
    }
}

fn done(reply: Reply) -> Result<(), CallError> {
    if reply == Reply::Ok { Ok(()) } else { Err(unexpected(reply)) }
}

fn started(reply: Reply) -> Result<Started, CallError> {
    let Reply::Started(started) = reply else { return Err(unexpected(reply)) };
    Ok(started)
}

fn unexpected(reply: Reply) -> CallError {
    CallError::Confused(Box::new(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::protocol::{Ended, ExecState};
    use model::{ContainerId, ExitCode};

    /// Nobody guards it.
    fn paths() -> ShimPaths {
        let id = ContainerId::from_random([7; 32]);
        let (root, run) = ("/nonexistent".into(), "/nonexistent".into());
        ShimPaths { id, root, run, cgroup: "dhow-test".to_owned() }
    }

    #[test]
    fn a_list_of_as_many_execs_as_are_remembered_can_be_heard() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let info = |n: u32| ExecInfo {
            exec: ExecId::from_random([n.to_le_bytes()[0]; 32]),
            state: ExecState::Exited {
                code: ExitCode(255),
                pid: 4_194_304,
                oom: false,
                why: Ended::Signalled(Signal::TERM),
                span: Some([jiff::Timestamp::MAX; 2]),
            },
        };
        let told: Vec<ExecInfo> = (0..4096).map(info).collect();
        let answer = serde_json::to_vec(&Reply::Execs(told.clone())).unwrap();
        let guard = std::thread::spawn(move || {
            fdpass::recv_frame(&theirs, MAX_SMALL, 0).unwrap().unwrap();
            // The one who asked may have gone away.
            let _ = fdpass::send_frame(&theirs, &answer, &[]);
        });
        let mut shim = Shim::over(ours, paths());
        let heard = shim.execs();
        drop(shim);
        guard.join().unwrap();
        assert_eq!(heard.unwrap(), told);
    }

    /// A shim at the other end that is asked for its stop. It answers as many questions after the
    /// state as this, then says that it has stopped.
    fn stopped(answers: usize) -> (Shim, std::thread::JoinHandle<UnixStream>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let guard = std::thread::spawn(move || {
            let hear = || fdpass::recv_frame(&theirs, MAX_SMALL, 0).unwrap().unwrap().bytes;
            let say = |reply: &Reply| {
                fdpass::send_frame(&theirs, &serde_json::to_vec(reply).unwrap(), &[]).unwrap();
            };
            hear();
            let at = jiff::Timestamp::UNIX_EPOCH;
            let life = model::Life::Running { pid: 1, since: at };
            for _ in 0..answers {
                assert_eq!(hear(), br#""State""#);
                say(&Reply::State(State { life: life.clone(), oom: false, log_lines_lost: 0 }));
            }
            if answers > 0 {
                let code = model::ExitCode(0);
                let (oom, by_hand) = (false, crate::protocol::ByHand::Yes);
                let exit = ExitRecord { code, oom, since: at, at, by_hand };
                say(&Reply::Stopped { exit, escalated: Escalated::No });
            }
            theirs
        });
        (Shim::over(ours, paths()), guard)
    }

    #[test]
    fn only_who_does_not_know_the_question_is_asked_for_another_pause() {
        let asked = |answer: &str| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            for reply in [Reply::Failed { message: answer.to_owned() }, Reply::Ok] {
                let reply = serde_json::to_vec(&reply).unwrap();
                fdpass::send_frame(&theirs, &reply, &[]).unwrap();
            }
            Shim::over(ours, paths()).pause_while_connected().map_err(|error| error.to_string())
        };
        let unknown =
            "the shim does not understand the request: unknown variant `PauseWhileConnected`";
        assert_eq!(asked(unknown), Ok(()));
        assert_eq!(asked("freeze the container"), Err("freeze the container".to_owned()));
    }

    #[test]
    fn an_answer_that_takes_its_time_is_waited_for_while_others_come() {
        let (mut shim, guard) = stopped(3);
        // The answers come after that, each as late as it pleases.
        let patience = Patience::asking(Duration::from_millis(20));
        shim.patience = patience.giving_up_after(Duration::from_secs(60));
        assert!(shim.stop(None, None, Then::Stay).is_ok());
        drop(shim);
        guard.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_one_that_says_nothing() {
        let (mut shim, guard) = stopped(0);
        shim.give_up_if_silent(Duration::from_millis(20));
        let error = shim.stop(None, None, Then::Stay).unwrap_err();
        assert!(matches!(error, CallError::Silent(_)), "{error}");
        guard.join().unwrap();
    }
}
