//! What each request does to the machine.

use std::time::Duration;

use model::container::{StopTimeout, TerminalSize};
use model::{ExecId, Signal};

use super::{
    After, Attachment, ConnId, Effect, Ending, Finish, Freeze, Launching, Machine, News, Now,
    Phase, Running, Waiter, Wants, refuse,
};
use crate::protocol::{
    Escalated, ExecStart, Launch, Reach, Refusal, Reply, Request, StopDefaults, Target, Then,
    Until, Which, WithoutClient,
};

/// When a stop with this timeout kills; `None`: never.
pub(super) fn kill_time(timeout: StopTimeout, now: Now) -> Option<Duration> {
    match timeout {
        StopTimeout::Seconds(seconds) => {
            Some(now.elapsed + Duration::from_secs(u64::from(seconds)))
        }
        StopTimeout::Forever => None,
    }
}

impl Machine {
    pub(super) fn on_request(&mut self, conn: ConnId, request: Request, now: Now) -> Vec<Effect> {
        match request {
            Request::Launch(launch) => self.launch(conn, launch),
            Request::State => vec![Effect::Reply(conn, Reply::State(self.state()))],
            Request::Attach { target, streams, delivery } => {
                self.attach(conn, Attachment { target, streams, delivery })
            }
            Request::Kill { target: Target::Container, signal, reach } => {
                self.kill(conn, signal, reach, now)
            }
            Request::Kill { target: Target::Exec(exec), signal, reach } => {
                match self.signal_exec(exec, signal, reach, now) {
                    Ok(effect) => vec![effect, Effect::Reply(conn, Reply::Ok)],
                    Err(refusal) => refuse(conn, refusal),
                }
            }
            Request::Stop { signal, timeout, then } => {
                let effects = self.stop(conn, signal, timeout, now);
                if then == Then::Restart && matches!(self.phase, Phase::Running(_)) {
                    self.removal.hold(conn);
                }
                effects
            }
            Request::Resize { target, size } => self.resize(conn, target, size),
            Request::Wait { until, which } => self.wait(conn, until, which),
            Request::ExecStart(start) => self.exec_start(conn, start),
            Request::ExecState { exec } => match self.execs.info(exec) {
                Some(info) => vec![Effect::Reply(conn, Reply::Exec(info))],
                None => refuse(conn, Refusal::NoSuchExec),
            },
            Request::ExecList => vec![Effect::Reply(conn, Reply::Execs(self.execs.list()))],
            Request::ExecKeep { exec } => {
                self.execs.keep(exec);
                answer(conn, Ok(()))
            }
            Request::Pause => self.freeze(conn, None, Freeze::Frozen),
            Request::PauseWhileConnected => self.freeze(conn, Some(conn), Freeze::Frozen),
            Request::Resume => self.freeze(conn, None, Freeze::Thawed),
            Request::Claim => answer(conn, self.removal.claim(conn)),
            Request::Release => answer(conn, self.removal.release(conn)),
            Request::SetRestarts(restarts) => {
                self.restart.set(*restarts);
                answer(conn, Ok(()))
            }
            Request::SetPublished(published) => match self.phase {
                Phase::Running(_) => vec![Effect::Publish(conn, published)],
                Phase::Idle { .. }
                | Phase::Launching(_)
                | Phase::Waiting { .. }
                | Phase::Reviving { .. } => refuse(conn, Refusal::NotRunning),
            },
            Request::SetResolver(resolver) => match self.phase {
                Phase::Running(_) => vec![Effect::Resolve(conn, resolver)],
                Phase::Idle { .. }
                | Phase::Launching(_)
                | Phase::Waiting { .. }
                | Phase::Reviving { .. } => refuse(conn, Refusal::NotRunning),
            },
            Request::Quit => self.quit(conn),
        }
    }

    fn launch(&mut self, conn: ConnId, launch: Box<Launch>) -> Vec<Effect> {
        let after = match self.phase {
            Phase::Launching(_) | Phase::Running(_) => {
                return refuse(conn, Refusal::AlreadyRunning);
            }
            Phase::Reviving { .. } if self.restart.is_wanted() => After::Restart,
            // Its program was given up, or somebody changed their mind meanwhile.
            Phase::Idle { .. } | Phase::Waiting { .. } | Phase::Reviving { .. }
                if launch.revival > 0 =>
            {
                return refuse(conn, Refusal::NotWanted);
            }
            Phase::Idle { .. } => After::Rest,
            Phase::Waiting { .. } | Phase::Reviving { .. } => After::Restart,
        };
        let (stop, reap) = (launch.stop, launch.reap.clone());
        let health = launch.health.clone();
        self.phase = Phase::Launching(Box::new(Launching { stop, reap, health, after }));
        self.restart.launched(launch.restarts.clone(), launch.revival);
        self.execs.clear();
        vec![Effect::Launch(conn, launch)]
    }

    fn attach(&mut self, conn: ConnId, attachment: Attachment) -> Vec<Effect> {
        if let Target::Exec(exec) = attachment.target
            && let Err(refusal) = self.execs.require_running(exec)
        {
            return refuse(conn, refusal);
        }
        // Nothing would ever come.
        if attachment.target == Target::Container && self.removal.is_due() {
            return refuse(conn, Refusal::NotRunning);
        }
        self.streaming.insert(conn);
        vec![Effect::Reply(conn, Reply::Ok), Effect::Stream(conn, attachment)]
    }

    fn kill(&mut self, conn: ConnId, signal: Signal, reach: Reach, now: Now) -> Vec<Effect> {
        self.restart.signalled(signal);
        let running = match &mut self.phase {
            Phase::Running(running) => running,
            Phase::Waiting { .. } | Phase::Reviving { .. } => {
                return self.kill_restarting(conn, now);
            }
            Phase::Idle { .. } | Phase::Launching(_) => {
                return refuse(conn, Refusal::NotRunning);
            }
        };
        let everyone = (reach == Reach::Everyone).then_some(Effect::Signal(
            Target::Container,
            signal,
            Reach::Everyone,
        ));
        if signal == Signal::KILL {
            let mut effects = Vec::from_iter(everyone);
            effects.extend(running.kill(Escalated::No, now));
            self.waiters.push(Waiter { conn, wants: Wants::Kill });
            return effects;
        }
        let effect = everyone.unwrap_or(Effect::Signal(Target::Container, signal, Reach::Process));
        // Docker thaws a container for its stop signal.
        let mut effects = if signal == running.stop.signal && reach == Reach::Process {
            self.signal_and_thaw(signal, now)
        } else {
            vec![Effect::Tell(News::Signalled(signal)), effect]
        };
        effects.push(Effect::Reply(conn, Reply::Ok));
        effects
    }

    fn signal_exec(
        &mut self,
        exec: ExecId,
        signal: Signal,
        reach: Reach,
        now: Now,
    ) -> Result<Effect, Refusal> {
        self.execs.require_running(exec)?;
        if reach == Reach::Everyone {
            self.execs.signalled(exec, signal, now);
        }
        Ok(Effect::Signal(Target::Exec(exec), signal, reach))
    }

    /// There is no process to be sent a signal; what counts is whether it keeps it from being
    /// started again.
    fn kill_restarting(&mut self, conn: ConnId, now: Now) -> Vec<Effect> {
        if self.restart.is_wanted() {
            return answer(conn, Ok(()));
        }
        self.waiters.push(Waiter { conn, wants: Wants::Kill });
        self.cancel_restart(now)
    }

    fn stop(
        &mut self,
        conn: ConnId,
        signal: Option<Signal>,
        timeout: Option<StopTimeout>,
        now: Now,
    ) -> Vec<Effect> {
        let stop = match &self.phase {
            Phase::Running(running) => StopDefaults {
                signal: signal.unwrap_or(running.stop.signal),
                timeout: timeout.unwrap_or(running.stop.timeout),
            },
            Phase::Waiting { .. } | Phase::Reviving { .. } => {
                self.restart.stopped();
                self.waiters.push(Waiter { conn, wants: Wants::Stop });
                return self.cancel_restart(now);
            }
            Phase::Idle { .. } | Phase::Launching(_) => {
                return refuse(conn, Refusal::NotRunning);
            }
        };
        self.restart.stopped();
        self.waiters.push(Waiter { conn, wants: Wants::Stop });
        self.ask_to_end(stop, now)
    }

    fn resize(&self, conn: ConnId, target: Target, size: TerminalSize) -> Vec<Effect> {
        let allowed = match (target, &self.phase) {
            (Target::Exec(exec), _) => self.execs.require_running(exec),
            (Target::Container, Phase::Running(_)) => Ok(()),
            (Target::Container, _) => Err(Refusal::NotRunning),
        };
        match allowed {
            Ok(()) => vec![Effect::Resize(conn, target, size)],
            Err(refusal) => refuse(conn, refusal),
        }
    }

    fn wait(&mut self, conn: ConnId, until: Until, which: Which) -> Vec<Effect> {
        match (&self.phase, until, self.last) {
            (Phase::Idle { .. }, Until::NotRunning, None) => refuse(conn, Refusal::NotRunning),
            (Phase::Idle { .. }, Until::NotRunning, Some(last)) => {
                vec![Effect::Reply(conn, Reply::Exited(last))]
            }
            // One that is about to be removed has no other end.
            (Phase::Idle { .. }, Until::NextExit, Some(last)) if self.removal.is_due() => {
                vec![Effect::Reply(conn, Reply::Exited(last))]
            }
            (Phase::Idle { .. }, Until::NextExit, _)
            | (
                Phase::Launching(_)
                | Phase::Running(_)
                | Phase::Waiting { .. }
                | Phase::Reviving { .. },
                _,
                _,
            ) => {
                self.waiters.push(Waiter { conn, wants: Wants::Exit(which) });
                Vec::new()
            }
        }
    }

    fn exec_start(&mut self, conn: ConnId, start: Box<ExecStart>) -> Vec<Effect> {
        let running = match &self.phase {
            Phase::Running(running) => running,
            Phase::Waiting { .. } | Phase::Reviving { .. } => {
                return refuse(conn, Refusal::Restarting);
            }
            Phase::Idle { .. } | Phase::Launching(_) => {
                return refuse(conn, Refusal::NotRunning);
            }
        };
        if running.freeze == Freeze::Frozen {
            return refuse(conn, Refusal::Paused);
        }
        if let Err(refusal) = self.execs.begin(start.exec) {
            return refuse(conn, refusal);
        }
        if start.without_client == WithoutClient::Ends {
            self.execs.bind(start.exec, conn);
        }
        vec![Effect::Exec(conn, start)]
    }

    fn freeze(&mut self, conn: ConnId, frozen_for: Option<ConnId>, wanted: Freeze) -> Vec<Effect> {
        let already = match wanted {
            Freeze::Frozen => Refusal::AlreadyPaused,
            Freeze::Thawed => Refusal::NotPaused,
        };
        match &mut self.phase {
            // On cgroup v1 a frozen process would not even die of SIGKILL.
            Phase::Running(Running { ending: Ending::Killed { .. }, .. })
            | Phase::Idle { .. }
            | Phase::Launching(_) => refuse(conn, Refusal::NotRunning),
            Phase::Waiting { .. } | Phase::Reviving { .. } => refuse(conn, Refusal::Restarting),
            Phase::Running(running) if running.freeze == wanted => refuse(conn, already),
            Phase::Running(running) => {
                running.frozen_for = frozen_for;
                vec![Effect::Freeze(conn, wanted)]
            }
        }
    }

    fn quit(&mut self, conn: ConnId) -> Vec<Effect> {
        match self.phase {
            // Clients are still to get what the container has said last.
            Phase::Idle { .. } if self.removal.is_due() && self.removal.release(conn).is_ok() => {
                answer(conn, Ok(()))
            }
            Phase::Idle { .. } => {
                // Those who were to hear of a later end hear of this one: there is no other.
                let last = self.last.filter(|_| self.removal.is_held());
                let mut effects = last.map_or_else(Vec::new, |last| self.tell_waiting(last));
                effects.push(Effect::Finish(Finish::ExitNow));
                effects
            }
            Phase::Launching(_)
            | Phase::Running(_)
            | Phase::Waiting { .. }
            | Phase::Reviving { .. } => refuse(conn, Refusal::AlreadyRunning),
        }
    }
}

fn answer(conn: ConnId, result: Result<(), Refusal>) -> Vec<Effect> {
    match result {
        Ok(()) => vec![Effect::Reply(conn, Reply::Ok)],
        Err(refusal) => refuse(conn, refusal),
    }
}
