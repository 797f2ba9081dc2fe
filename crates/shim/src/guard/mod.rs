//! The loop of a shim: waits for descriptors, tells the machine what happened, and does what it
//! decides.
//!
//! Everything that a shim owns in the kernel is here: its listener, its clients, its processes
//! and their streams, the container's cgroup and log. `machine` decides over the container's
//! life; how bytes flow is decided here, by three rules: the log is written first, an observer
//! never holds a process back, a consumer loses nothing.

mod check;
mod clients;
mod conn;
mod effects;
mod given;
mod hearing;
mod hooks;
mod kin;
mod launch;
mod logged;
mod names;
mod oom;
mod parts;
mod poller;
mod proc;
mod publish;
mod reviver;
mod streams;
mod tell;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Parts};
use jiff::Timestamp;
use model::ExitCode;
use net::nft::Firewall;
use net::user::UserNetwork;
use runtime::HostFacts;
use runtime::plan::Surroundings;
use rustix::process::Pid;
use sys::Errno;
use sys::exe::Origin;
use sys::rootless::networks::Networks;
use sys::signal::{Signal, SignalFd};

use crate::life_lock::LifeLock;
use crate::machine::{ConnId, Event, Finish, Machine, Now};
use crate::paths::ShimPaths;
use crate::protocol::{CgroupName, Published, Target};
use conn::Conn;
use logged::Logged;
use poller::{Interest, Poller, ProcKey, Ready, Token, Watch};
use proc::Proc;
pub use reviver::TRY_AGAIN;
pub use tell::tell_end;

/// Bytes of one read.
const READ: usize = 64 << 10;
/// How long buffers are kept after the last byte.
const WARM: Duration = Duration::from_secs(1);
/// When to listen again after the host was out of descriptors.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What a shim was started with.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) paths: ShimPaths,
    pub(crate) lock: LifeLock,
    pub(crate) listener: UnixListener,
    /// What a process is to the OOM killer that was not told otherwise; `None`: what it inherits.
    pub(crate) oom_score: Option<i32>,
    /// Where its program was executed from, if that has a name.
    pub(crate) origin: Option<Rc<Origin>>,
}

/// A shim at work.
#[derive(Debug)]
pub(crate) struct Guard {
    paths: ShimPaths,
    lock: LifeLock,
    listener: Listener,
    signals: SignalFd,
    poller: Poller,
    started: Instant,
    machine: Machine,
    /// What the machine has yet to hear.
    events: VecDeque<Event>,
    conns: BTreeMap<ConnId, Conn>,
    procs: BTreeMap<ProcKey, Proc>,
    container: Option<Container>,
    /// The health check that runs.
    check: Option<check::Check>,
    /// The program that starts the container again, while it does.
    reviver: Option<reviver::Running>,
    /// Which program is to do that the next time.
    reviver_image: reviver::Image,
    /// By which ports were taken back.
    firewall: Option<Firewall>,
    /// The last number that a client or a process got.
    numbers: u32,
    scratch: Scratch,
    oom_score: Option<i32>,
    origin: Option<Rc<Origin>>,
    finish: Option<Finish>,
}

#[derive(Debug)]
struct Listener {
    socket: UnixListener,
    watch: Watch,
    /// When to listen again.
    again_at: Option<Duration>,
}

/// What a launched container has besides its processes.
#[derive(Debug)]
struct Container {
    cgroup: Cgroup,
    /// Where that is, and who has made it.
    place: CgroupName,
    /// Where its execs' parts are made.
    parts: Parts,
    /// Those of execs that have ended, and in which somebody still is.
    leftovers: Vec<parts::Leftover>,
    /// What execs that were told to end have outside of their parts.
    told: Vec<kin::Told>,
    log: Option<Logged>,
    /// The kernel's notices of OOM kills.
    oom: Option<OwnedFd>,
    oom_told: oom::Told,
    facts: HostFacts,
    /// The seccomp filter, for execs.
    filter: Option<OwnedFd>,
    /// What all its processes have around them, for execs.
    around: Surroundings,
    groups: Groups,
    exit_record: PathBuf,
    published: Option<Published>,
    /// Sockets that reserve the published ports.
    ports: Vec<OwnedFd>,
    /// Where its questions for names come in.
    names: Option<names::Names>,
    /// The program that is its network, for an ordinary user.
    user_network: Option<UserNetwork>,
    /// Where an ordinary user's networks are, if it is on one.
    networks: Option<Networks>,
    /// How often its program has ended.
    networks_lost: u32,
    /// What its hooks look at, if it has some.
    bundle: Option<hooks::Bundle>,
}

/// Whether all of a container's processes are in its one control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    Whole,
    /// It can make others below, and move them there.
    Divided,
}

/// Buffers that are needed while bytes flow and a waste of memory while none do.
#[derive(Debug)]
struct Scratch {
    buffer: Vec<u8>,
    /// When to free what is not used.
    cool_at: Option<Duration>,
}

impl Scratch {
    /// What was needed a moment ago is freed in a while.
    fn cool_soon(&mut self, now: Duration) {
        self.cool_at.get_or_insert(now + WARM);
    }

    /// The buffer, made if it is not there.
    fn warm(&mut self, now: Duration) -> &mut [u8] {
        self.cool_at = Some(now + WARM);
        if self.buffer.is_empty() {
            self.buffer = vec![0; READ];
        }
        &mut self.buffer
    }
}

impl Guard {
    /// Takes up the work.
    ///
    /// # Errors
    /// The kernel gives no epoll set or signal descriptor.
    pub(crate) fn new(inherited: Inherited) -> Result<Self, Errno> {
        let Inherited { paths, lock, listener, oom_score, origin } = inherited;
        let signals =
            SignalFd::block(&[Signal::CHLD, Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE])?;
        let poller = Poller::new()?;
        let mut signal_watch = Watch::new(Token::Signals);
        poller.set(&signals, &mut signal_watch, Interest::Read)?;
        let mut watch = Watch::new(Token::Listener);
        listener.set_nonblocking(true).map_err(|error| errno_of(&error))?;
        poller.set(&listener, &mut watch, Interest::Read)?;
        let now = Now { elapsed: Duration::ZERO, wall: Timestamp::now() };
        Ok(Self {
            paths,
            lock,
            listener: Listener { socket: listener, watch, again_at: None },
            signals,
            poller,
            started: Instant::now(),
            machine: Machine::new(now),
            events: VecDeque::new(),
            conns: BTreeMap::new(),
            procs: BTreeMap::new(),
            container: None,
            check: None,
            reviver: None,
            reviver_image: reviver::Image::Newest,
            firewall: None,
            numbers: 0,
            // The start itself has left something to free.
            scratch: Scratch { buffer: Vec::new(), cool_at: Some(WARM) },
            oom_score,
            origin,
            finish: None,
        })
    }

    /// Works until nothing is left to do, then says how to end.
    ///
    /// # Errors
    /// The kernel refuses to wait for events.
    pub(crate) fn run(mut self) -> Result<Finish, Errno> {
        loop {
            let limit = self.next_deadline().map(|at| at.saturating_sub(self.elapsed()));
            for ready in self.poller.wait(limit)? {
                self.on_ready(ready);
                self.settle();
            }
            self.on_time();
            self.settle();
            if let Some(finish) = self.finish.take() {
                self.leave();
                return Ok(finish);
            }
        }
    }

    /// Gives up the container's life, and only then the clients: whoever sees its connection end
    /// can have the lock.
    fn leave(self) {
        let Self { lock, conns, .. } = self;
        lock.leave();
        drop(conns);
    }

    fn on_ready(&mut self, ready: Ready) {
        match ready.token {
            Token::Listener => self.accept(),
            Token::Signals => self.on_signals(),
            Token::Oom => self.on_oom_notice(),
            Token::Log => self.on_log(),
            Token::Parts => self.on_parts(),
            Token::Conn(id) => self.on_conn(id, ready.hung_up),
            Token::Output(key, stream) => self.on_output(key, stream),
            Token::Input(key) => self.on_input_room(key),
            Token::NamePackets
            | Token::NameListener
            | Token::NameClient(_)
            | Token::NameServer(_) => self.on_name(ready),
        }
    }

    /// Tells the machine all that has happened, and does what follows, until all is quiet.
    fn settle(&mut self) {
        while self.finish.is_none()
            && let Some(event) = self.events.pop_front()
        {
            let now = self.now();
            self.machine.on(event, now).into_iter().for_each(|effect| self.apply(effect));
        }
    }

    fn on_time(&mut self) {
        let now = self.elapsed();
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.machine.deadline()) {
            self.events.push_back(Event::Tick);
        }
        if is_due(self.listener.again_at) {
            self.listen(Interest::Read);
        }
        let late = self.conns.iter().filter(|(_, conn)| is_due(conn.deadline()));
        let late: Vec<ConnId> = late.map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.close(id));
        if is_due(self.log_deadline()) {
            self.on_log();
        }
        if is_due(self.names_deadline()) {
            self.on_names_late();
        }
        if is_due(self.scratch.cool_at) {
            self.cool_down();
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let conns = self.conns.values().filter_map(Conn::deadline);
        let log = self.log_deadline();
        let others = [self.machine.deadline(), self.listener.again_at, self.scratch.cool_at, log];
        let others = others.into_iter().chain([self.names_deadline()]);
        conns.chain(others.flatten()).min()
    }

    /// Frees all that an idle shim does not need.
    fn cool_down(&mut self) {
        self.scratch = Scratch { buffer: Vec::new(), cool_at: None };
        self.conns.values_mut().for_each(Conn::trim);
        if let Some(log) = self.container.as_mut().and_then(|container| container.log.as_mut()) {
            log.log.trim();
        }
        if let Some(names) = self.container.as_mut().and_then(|one| one.names.as_mut()) {
            names.trim();
        }
        sys::heap::trim();
    }

    fn on_signals(&mut self) {
        while let Ok(Some(delivered)) = self.signals.next() {
            if matches!(delivered.signal, Signal::TERM | Signal::INT) {
                self.events.push_back(Event::Terminate);
            }
        }
        let mut ended = Vec::new();
        while let Ok(Some((pid, exit))) = sys::process::reap() {
            self.look_for_reviver(pid, exit);
            // Whoever else ends here was orphaned below us, or has worked for the log: being reaped
            // was all it needed.
            match self.key_of(pid) {
                Some(key) => ended.push((key, exit)),
                None => self.on_other_ended(pid, exit),
            }
        }
        // The init takes its execs with it, so their ends come first.
        ended.sort_by_key(|(key, _)| {
            self.procs.get(key).map(|proc| proc.target == Target::Container)
        });
        for (key, exit) in ended {
            self.on_exited(key, ExitCode(exit.shell_code()));
        }
    }

    fn key_of(&self, pid: Pid) -> Option<ProcKey> {
        self.procs.iter().find(|(_, proc)| proc.pid == pid).map(|(key, _)| *key)
    }

    fn on_exited(&mut self, key: ProcKey, code: ExitCode) {
        let Some(target) = self.procs.get(&key).map(|proc| proc.target) else { return };
        match target {
            Target::Exec(exec) => {
                self.drain(key);
                let oom = self.oom_of_exec(key, code);
                let part = self.procs.get_mut(&key).and_then(|proc| proc.part.take());
                if let Some(part) = part {
                    self.leave_part(exec, part);
                }
                self.events.push_back(Event::ExecExited(exec, code, oom));
            }
            Target::Container => {
                // Without a pid namespace of its own, its other processes are still there; what
                // they hold open would keep the output from ending.
                self.kill_leftovers();
                self.drain(key);
                // cgroup v1 gives notice before it kills: the count may not have moved then.
                let oom = self.look_for_oom();
                self.events.push_back(Event::InitExited(code, oom));
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn now(&self) -> Now {
        Now { elapsed: self.elapsed(), wall: Timestamp::now() }
    }

    const fn next_number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
