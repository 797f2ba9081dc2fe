//! What a shim decides: one closed set of events, one of effects, and no I/O between them.
//!
//! The machine owns the container's phase, who waits for what, the stop timer, when it is started
//! again, the execs, the duty to remove, and when the shim may end. Streams are not its business: `guard` carries
//! them. Time comes in with each event.

mod deaf;
mod ending;
mod event;
mod exec;
mod freeze;
mod health;
mod removal;
mod requests;
mod restart;

use std::collections::BTreeSet;
use std::time::Duration;

use model::container::AttachedStreams;
use model::life::StartFailure;
use model::{ExecId, ExitCode, Life};

use crate::protocol::{
    Delivery, Escalated, ExitRecord, HealthPlan, Refusal, Reply, Started, State, StopDefaults,
    Target, Which,
};
use deaf::Deaf;
pub(crate) use event::{
    After, Attachment, ConnId, Effect, Event, Finish, Freeze, Hearing, News, Now, Oom, Pace,
    Reviver, Traces,
};
use exec::Execs;
pub(crate) use exec::{KILLED, is_to_end};
use health::Health;
pub(crate) use health::{Checked, Verdict};
use removal::{Duty, Removal};
use restart::Restart;

/// How long a shim waits for its first launch.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How long a killed container may take to end before clients are told that it does not.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(10);
/// When to look again after somebody was at the door but did not come in.
const RETRY: Duration = Duration::from_secs(1);

/// Where the container is in its life.
#[derive(Debug)]
enum Phase {
    /// Nothing runs. The shim stays until this time even if nobody needs it.
    Idle { until: Duration, why: Stay },
    /// `Effect::Launch` is under way.
    Launching(Box<Launching>),
    /// The init lives.
    Running(Running),
    /// It has ended, and is started again at this time.
    Waiting { at: Duration },
    /// The program that starts it again is at it. If nobody wants that any more, it is killed at
    /// this time.
    Reviving { kill_at: Option<Duration> },
}

/// What is known of a container that is being launched.
#[derive(Debug)]
struct Launching {
    stop: StopDefaults,
    reap: Option<Vec<String>>,
    health: Option<Box<HealthPlan>>,
    after: After,
}

/// Why a shim stays that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// Its first launch may come.
    Unused,
    /// Somebody was at the door; once they are in, there is no more reason.
    Door,
}

/// A container that lives.
#[derive(Debug)]
struct Running {
    started: Started,
    /// By the clock that never goes back.
    since: Duration,
    stop: StopDefaults,
    freeze: Freeze,
    /// The client that is to have it frozen, or has.
    frozen_for: Option<ConnId>,
    oom: Oom,
    ending: Ending,
    /// Set while it does not hear the signal that asks it to end.
    deaf: Option<Deaf>,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody asked for one.
    No,
    /// It was asked to end, and is killed at this time, if at any.
    Asked { kill_at: Option<Duration> },
    /// It was killed; at this time those who wait are told that it does not end.
    Killed { give_up_at: Option<Duration>, by: Escalated },
}

/// Who waits for the end, and for which answer.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    conn: ConnId,
    wants: Wants,
}

impl Waiter {
    /// What it hears.
    const fn told(self, exit: ExitRecord, escalated: Escalated) -> Effect {
        let reply = match self.wants {
            Wants::Exit(_) => Reply::Exited(exit),
            Wants::Stop => Reply::Stopped { exit, escalated },
            Wants::Kill => Reply::Ok,
        };
        Effect::Reply(self.conn, reply)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// `Exited`
    Exit(Which),
    /// `Stopped`
    Stop,
    /// `Ok`
    Kill,
}

/// The state of one shim.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    /// How the container ended last.
    last: Option<ExitRecord>,
    waiters: Vec<Waiter>,
    execs: Execs,
    removal: Removal,
    restart: Restart,
    health: Health,
    conns: BTreeSet<ConnId>,
    /// Those of `conns` that carry streams.
    streaming: BTreeSet<ConnId>,
}

impl Machine {
    /// A shim that has just started.
    pub(crate) const fn new(now: Now) -> Self {
        let until = now.elapsed.saturating_add(IDLE_LIMIT);
        Self {
            phase: Phase::Idle { until, why: Stay::Unused },
            last: None,
            waiters: Vec::new(),
            execs: Execs::new(),
            removal: Removal::new(),
            restart: Restart::new(),
            health: Health::new(),
            conns: BTreeSet::new(),
            streaming: BTreeSet::new(),
        }
    }

    /// Takes an event in; what is to be done follows from it.
    pub(crate) fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = match event {
            Event::Connected(conn) => self.on_connected(conn, now),
            Event::Closed(conn) => {
                let mut effects = self.execs.client_gone(conn, now);
                effects.extend(self.thaw_after(conn, now));
                effects.extend(self.on_closed(conn));
                effects
            }
            Event::HungUp(conn) => self.execs.client_gone(conn, now),
            Event::Request(conn, request) => self.on_request(conn, request, now),
            Event::Launched(conn, started) => self.on_launched(conn, started, now),
            Event::LaunchFailed(conn, failure) => self.on_launch_failed(conn, &failure, now),
            Event::Froze(conn, wanted, result) => self.on_froze(conn, wanted, result, now),
            Event::ExecLaunched(conn, exec, started, streams) => {
                self.execs.started(exec, started);
                let mut effects = vec![Effect::Reply(conn, Reply::Started(started))];
                effects.extend(streams.map(|streams| self.stream_exec(conn, exec, streams)));
                effects
            }
            Event::ExecFailed(conn, exec, failure) => {
                self.execs.forget(exec);
                vec![Effect::Reply(conn, Reply::LaunchFailed(failure))]
            }
            Event::InitExited(code, oom) => self.on_init_exited(code, oom, now),
            Event::ExecExited(exec, code, oom) => {
                self.execs.exited(exec, code, oom, now);
                let mut effects = vec![
                    Effect::Tell(News::ExecEnded(exec, code, oom)),
                    Effect::EndStreams(Target::Exec(exec)),
                ];
                if self.health.is_check(exec) {
                    // They come every few seconds, and what they were is told with the health.
                    self.execs.forget(exec);
                }
                effects.extend(self.on_check_exited(exec, code, now));
                effects
            }
            Event::Hearing(signal, hearing) => self.on_hearing(signal, hearing, now),
            Event::OomKill => self.on_oom_kill(),
            Event::CheckRuns(exec, started) => {
                self.execs.started(exec, started);
                self.health.runs(exec, now);
                Vec::new()
            }
            Event::CheckFailed(why) => self.on_check_failed(why, now),
            Event::ReviverEnded(how) => self.on_reviver_ended(how, now),
            Event::Terminate => self.on_terminate(now),
            Event::Tick => self.on_tick(now),
            Event::FinishPutOff => self.on_finish_put_off(now),
        };
        effects.extend(self.finish_if_done(now));
        effects
    }

    /// When to send a `Tick`, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Idle { until, .. } => self.may_finish().map(|_| *until),
            Phase::Launching(_) => None,
            Phase::Running(running) => {
                let ending = match running.ending {
                    Ending::No => None,
                    Ending::Asked { kill_at } => kill_at,
                    Ending::Killed { give_up_at, .. } => give_up_at,
                };
                let deaf = running.deaf.map(|deaf| deaf.look_at);
                let others = [self.health.deadline(), self.execs.deadline(), deaf];
                ending.into_iter().chain(others.into_iter().flatten()).min()
            }
            Phase::Waiting { at } => Some(*at),
            Phase::Reviving { kill_at } => *kill_at,
        }
    }

    /// For `Request::State`; what the log lost is known elsewhere.
    fn state(&self) -> State {
        let (life, oom) = match (&self.phase, &self.last) {
            (Phase::Running(running), _) => (running.life(), running.oom == Oom::Seen),
            (Phase::Waiting { .. } | Phase::Reviving { .. }, Some(last)) => {
                (last.restarting(), last.oom)
            }
            (_, Some(last)) => (last.life(), last.oom),
            (_, None) => (Life::NEW, false),
        };
        State { life, oom, log_lines_lost: 0 }
    }

    fn on_connected(&mut self, conn: ConnId, now: Now) -> Vec<Effect> {
        self.conns.insert(conn);
        if let Phase::Idle { until, why: Stay::Door } = &mut self.phase {
            *until = now.elapsed;
        }
        Vec::new()
    }

    fn on_closed(&mut self, conn: ConnId) -> Vec<Effect> {
        self.conns.remove(&conn);
        self.streaming.remove(&conn);
        self.waiters.retain(|waiter| waiter.conn != conn);
        if !self.removal.on_closed(conn) {
            return Vec::new();
        }
        // It is not started again after all, so that end was the last.
        let (Phase::Idle { .. }, Some(last)) = (&self.phase, self.last) else { return Vec::new() };
        let mut effects = self.tell_waiting(last);
        // Whoever has come since waits for what does not come.
        effects.push(Effect::EndStreams(Target::Container));
        effects
    }

    /// Tells everybody who waits how the container ended.
    fn tell_waiting(&mut self, last: ExitRecord) -> Vec<Effect> {
        let waiting = std::mem::take(&mut self.waiters);
        waiting.iter().map(|waiter| Effect::Reply(waiter.conn, Reply::Exited(last))).collect()
    }

    fn on_launched(&mut self, conn: ConnId, started: Started, now: Now) -> Vec<Effect> {
        let Phase::Launching(launching) = &mut self.phase else { return Vec::new() };
        let (stop, reap) = (launching.stop, launching.reap.take());
        let health = launching.health.take();
        self.removal.launched(reap);
        let running = Running {
            started,
            since: now.elapsed,
            stop,
            freeze: Freeze::Thawed,
            frozen_for: None,
            oom: Oom::Unseen,
            ending: Ending::No,
            deaf: None,
        };
        let life = running.life();
        self.phase = Phase::Running(running);
        let mut effects = Vec::new();
        if self.restart.is_revival() {
            // Its row takes notice when this start is answered; until then it names the life before.
            effects.push(Effect::ForgetExit);
        }
        effects.push(Effect::RecordLife(life));
        // Before anybody hears of the start who may ask how it is.
        effects.extend(self.health.launched(health, now));
        effects.push(Effect::Tell(News::Started));
        effects.push(Effect::Reply(conn, Reply::Started(started)));
        effects
    }

    /// A launch that failed ends what was attached to it and answers those who wait: nothing
    /// will ever come.
    fn on_launch_failed(&mut self, conn: ConnId, failure: &StartFailure, now: Now) -> Vec<Effect> {
        let reply = Reply::LaunchFailed(failure.clone());
        let mut effects = vec![Effect::TearDown, Effect::Reply(conn, reply.clone())];
        if matches!(&self.phase, Phase::Launching(it) if it.after == After::Restart) {
            effects.extend(self.rest(now));
            return effects;
        }
        self.phase = Phase::Idle { until: now.elapsed, why: Stay::Door };
        let waiting = std::mem::take(&mut self.waiters);
        effects.extend(waiting.iter().map(|waiter| Effect::Reply(waiter.conn, reply.clone())));
        effects.push(Effect::EndStreams(Target::Container));
        effects
    }

    fn on_init_exited(&mut self, code: ExitCode, oom: Oom, now: Now) -> Vec<Effect> {
        let Phase::Running(running) = &self.phase else { return Vec::new() };
        let running_oom = running.oom;
        let record = ExitRecord {
            code,
            oom: oom == Oom::Seen || running.oom == Oom::Seen,
            since: running.started.since,
            // A clock that was set back makes nothing end before it began.
            at: now.wall.max(running.started.since),
            by_hand: self.restart.by_hand(),
        };
        let again = self.restart.after(code, now.elapsed.saturating_sub(running.since));
        let escalated = match running.ending {
            Ending::No | Ending::Asked { .. } => Escalated::No,
            Ending::Killed { by, .. } => by,
        };
        let after = if again.is_some() { After::Restart } else { After::Rest };
        self.phase = match again {
            Some(delay) => Phase::Waiting { at: now.elapsed + delay },
            None => Phase::Idle { until: now.elapsed, why: Stay::Door },
        };
        self.last = Some(record);
        self.removal.exited();
        // It ends with the others.
        let _ = self.health.stop();
        // Those that still ran died with the container, and are told of before it.
        let killed: Vec<ExecId> = self.execs.container_exited(now).collect();
        let ended = |exec: &ExecId| Effect::Tell(News::ExecEnded(*exec, KILLED, Oom::Unseen));
        let mut effects: Vec<Effect> = killed.iter().map(ended).collect();
        if oom == Oom::Seen && running_oom == Oom::Unseen {
            effects.push(Effect::Tell(News::OutOfMemory));
        }
        let execs = self.execs.last();
        effects.extend((!execs.is_empty()).then_some(Effect::RecordExecs(execs)));
        effects.push(Effect::RecordExit(record, after));
        let (later, told) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.wants == Wants::Exit(Which::Last) && self.removal.is_held());
        self.waiters = later;
        effects.extend(Vec::into_iter(told).map(|waiter: Waiter| waiter.told(record, escalated)));
        let streams = killed.into_iter().map(|exec| Effect::EndStreams(Target::Exec(exec)));
        effects.extend(streams);
        effects.push(Effect::EndStreams(Target::Container));
        effects.push(Effect::TearDown);
        effects
    }

    fn on_oom_kill(&mut self) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        running.oom = Oom::Seen;
        vec![Effect::Tell(News::OutOfMemory)]
    }

    /// The host goes down, or somebody wants this process gone: the container gets the time
    /// that `stop` would give it.
    fn on_terminate(&mut self, now: Now) -> Vec<Effect> {
        self.restart.let_rest();
        match &self.phase {
            Phase::Running(running) => {
                let stop = running.stop;
                self.ask_to_end(stop, now)
            }
            Phase::Launching(_) => Vec::new(),
            Phase::Idle { .. } => vec![Effect::Finish(Finish::ExitNow)],
            Phase::Waiting { .. } => {
                let mut effects = self.cancel_restart(now);
                effects.push(Effect::Finish(Finish::ExitNow));
                effects
            }
            Phase::Reviving { .. } => self.cancel_restart(now),
        }
    }

    fn on_tick(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = self.on_health_tick(now);
        effects.extend(self.execs.tick(now));
        effects.extend(self.on_phase_tick(now));
        effects
    }

    fn on_phase_tick(&mut self, now: Now) -> Vec<Effect> {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now.elapsed);
        let running = match &mut self.phase {
            Phase::Running(running) => running,
            Phase::Waiting { at } if is_due(Some(*at)) => return self.revive(),
            Phase::Reviving { kill_at } if is_due(*kill_at) => return self.end_reviver(now),
            Phase::Idle { .. }
            | Phase::Launching(_)
            | Phase::Waiting { .. }
            | Phase::Reviving { .. } => return Vec::new(),
        };
        if let Some(deaf) = running.deaf.filter(|deaf| is_due(Some(deaf.look_at))) {
            // What it says decides; until then nobody looks again.
            running.deaf = Some(Deaf { look_at: Duration::MAX, ..deaf });
            return vec![Effect::Listen(deaf.signal)];
        }
        match running.ending {
            Ending::Asked { kill_at } if is_due(kill_at) => running.kill(Escalated::Killed, now),
            Ending::Killed { give_up_at, by } if is_due(give_up_at) => {
                running.ending = Ending::Killed { give_up_at: None, by };
                self.give_up_waiting()
            }
            Ending::No | Ending::Asked { .. } | Ending::Killed { .. } => Vec::new(),
        }
    }

    fn on_finish_put_off(&mut self, now: Now) -> Vec<Effect> {
        if let Phase::Idle { until, why } = &mut self.phase {
            (*until, *why) = (now.elapsed + RETRY, Stay::Door);
        }
        Vec::new()
    }

    /// Ends the shim once nothing runs and nobody needs it.
    fn finish_if_done(&self, now: Now) -> Option<Effect> {
        match self.phase {
            Phase::Idle { until, .. } if until <= now.elapsed => {
                self.may_finish().map(Effect::Finish)
            }
            Phase::Idle { .. }
            | Phase::Launching(_)
            | Phase::Running(_)
            | Phase::Waiting { .. }
            | Phase::Reviving { .. } => None,
        }
    }

    /// How the shim ends if nothing runs and its time has come; `None` while it is needed.
    fn may_finish(&self) -> Option<Finish> {
        match self.removal.duty() {
            // Those who are only connected would wait for nothing: the container goes.
            Duty::Ours(arguments) if self.streaming.is_empty() => {
                Some(Finish::Reap(arguments.to_vec()))
            }
            Duty::Done if self.streaming.is_empty() => Some(Finish::Exit),
            Duty::Nobody if self.conns.is_empty() => Some(Finish::Exit),
            Duty::Ours(_) | Duty::Done | Duty::Theirs | Duty::Nobody => None,
        }
    }

    /// The client that started an exec is the consumer of its output.
    fn stream_exec(&mut self, conn: ConnId, exec: ExecId, streams: AttachedStreams) -> Effect {
        self.streaming.insert(conn);
        let (target, delivery) = (Target::Exec(exec), Delivery::Everything);
        Effect::Stream(conn, Attachment { target, streams, delivery })
    }
}

fn refuse(conn: ConnId, refusal: Refusal) -> Vec<Effect> {
    vec![Effect::Reply(conn, Reply::Refused(refusal))]
}

#[cfg(test)]
mod tests;
