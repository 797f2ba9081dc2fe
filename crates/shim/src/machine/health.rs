//! When the container's health is checked, and what follows from what a check says.
//!
//! The rules are Docker's: the first check comes an interval after the start, the next an interval
//! after the end of the one before; a first success makes it healthy, so many failures in a row
//! unhealthy, and none of them counts in the time that it may take to start.

use std::time::Duration;

use jiff::Timestamp;
use model::health::{HealthStatus, OnUnhealthy};
use model::{ExecId, ExitCode};

use super::exec::KILLED;
use super::{Effect, Ending, Freeze, Machine, News, Now, Phase};
use crate::protocol::{Escalated, HealthPlan, Reach, Target};

/// How long a container may take to end whose processes were killed.
const DOUBT: Duration = Duration::from_millis(100);

/// What is known of the container's health.
#[derive(Debug)]
pub(super) struct Health {
    /// `None`: it is not checked.
    plan: Option<Box<HealthPlan>>,
    status: HealthStatus,
    /// Failures in a row.
    streak: u32,
    /// When the container was started.
    began: Duration,
    check: Check,
}

/// How far the next check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// None comes: nothing runs, or it is frozen.
    Off,
    /// It comes at this time.
    At(Duration),
    /// It is being started.
    Starting { begin: Timestamp, elapsed: Duration },
    /// It was killed, and not by us: the container may be about to end with all that is in it. If it
    /// has not by this time, the check has failed.
    Killed { begin: Timestamp, elapsed: Duration, until: Duration },
    /// It runs; at `kill_at`, it takes too long.
    Runs { exec: ExecId, begin: Timestamp, elapsed: Duration, kill_at: Option<Duration> },
}

/// What a check said, but for its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// When it began.
    pub(crate) begin: Timestamp,
    /// When it ended.
    pub(crate) end: Timestamp,
    /// How it ended.
    pub(crate) verdict: Verdict,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By itself.
    Exited(ExitCode),
    /// It took longer than this.
    TooLong(Duration),
    /// It could not be started.
    NotRun(String),
}

impl Health {
    pub(super) const fn new() -> Self {
        Self {
            plan: None,
            status: HealthStatus::Starting,
            streak: 0,
            began: Duration::ZERO,
            check: Check::Off,
        }
    }

    /// Whether this is the check that runs.
    pub(super) fn is_check(&self, exec: ExecId) -> bool {
        matches!(self.check, Check::Runs { exec: running, .. } if running == exec)
    }

    /// When something is to be done about it.
    pub(super) const fn deadline(&self) -> Option<Duration> {
        match self.check {
            Check::At(at) | Check::Killed { until: at, .. } => Some(at),
            Check::Runs { kill_at, .. } => kill_at,
            Check::Off | Check::Starting { .. } => None,
        }
    }

    /// The container runs.
    pub(super) fn launched(&mut self, plan: Option<Box<HealthPlan>>, now: Now) -> Vec<Effect> {
        *self = Self { plan, began: now.elapsed, ..Self::new() };
        if self.plan.is_none() {
            return Vec::new();
        }
        self.rest(now);
        vec![self.record(None)]
    }

    fn rest(&mut self, now: Now) {
        let Some(plan) = &self.plan else { return };
        let ran = now.elapsed.saturating_sub(self.began);
        let is_starting = self.status == HealthStatus::Starting && ran < plan.start_period;
        let pause = if is_starting { plan.start_interval } else { plan.interval };
        self.check = Check::At(now.elapsed + pause);
    }

    fn record(&self, checked: Option<Checked>) -> Effect {
        Effect::RecordHealth(self.status, self.streak, checked)
    }

    /// The check that runs now, if any, is nobody's business any more.
    pub(super) fn stop(&mut self) -> Vec<Effect> {
        let check = std::mem::replace(&mut self.check, Check::Off);
        match check {
            Check::Runs { exec, .. } => vec![kill(exec)],
            Check::Off | Check::At(_) | Check::Starting { .. } | Check::Killed { .. } => Vec::new(),
        }
    }

    /// A frozen container is not checked; nobody knows how it is, and Docker calls that unhealthy.
    pub(super) fn froze(&mut self, freeze: Freeze, now: Now) -> Vec<Effect> {
        if self.plan.is_none() {
            return Vec::new();
        }
        if freeze == Freeze::Thawed {
            self.rest(now);
            return Vec::new();
        }
        let mut effects = self.stop();
        self.status = HealthStatus::Unhealthy;
        effects.push(self.record(None));
        effects
    }

    pub(super) fn tick(&mut self, now: Now) -> Vec<Effect> {
        match &mut self.check {
            Check::At(at) if *at <= now.elapsed => {
                self.check = Check::Starting { begin: now.wall, elapsed: now.elapsed };
                vec![Effect::Check]
            }
            Check::Runs { exec, kill_at, .. } if kill_at.is_some_and(|at| at <= now.elapsed) => {
                // What it says when it has ended is told from this.
                *kill_at = None;
                vec![kill(*exec)]
            }
            Check::Off
            | Check::At(_)
            | Check::Starting { .. }
            | Check::Killed { .. }
            | Check::Runs { .. } => Vec::new(),
        }
    }

    /// `Effect::Check` is done.
    pub(super) fn runs(&mut self, exec: ExecId, now: Now) {
        let (Check::Starting { begin, elapsed }, Some(plan)) = (self.check, &self.plan) else {
            return;
        };
        let kill_at = Some(now.elapsed + plan.timeout);
        self.check = Check::Runs { exec, begin, elapsed, kill_at };
    }

    /// What the check that runs says by its end; `None` if it is another process that has ended.
    fn verdict(&self, exec: ExecId, code: ExitCode) -> Option<(Timestamp, Duration, Verdict)> {
        let (Check::Runs { exec: own, begin, elapsed, kill_at }, Some(plan)) =
            (self.check, &self.plan)
        else {
            return None;
        };
        let verdict =
            if kill_at.is_some() { Verdict::Exited(code) } else { Verdict::TooLong(plan.timeout) };
        (own == exec).then_some((begin, elapsed, verdict))
    }

    /// Notes a result. The last effect is the news, if there are any.
    fn note(
        &mut self,
        begin: Timestamp,
        began: Duration,
        verdict: Verdict,
        now: Now,
    ) -> Vec<Effect> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let before = self.status;
        if verdict == Verdict::Exited(ExitCode::SUCCESS) {
            (self.status, self.streak) = (HealthStatus::Healthy, 0);
        } else if before != HealthStatus::Starting
            || began.saturating_sub(self.began) >= plan.start_period
        {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= plan.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.rest(now);
        let mut effects = vec![self.record(Some(Checked { begin, end: now.wall, verdict }))];
        if self.status != before {
            effects.push(Effect::Tell(News::Health(self.status)));
        }
        effects
    }

    /// Whether it has failed as often in a row as its plan allows.
    fn failed_often(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| self.streak >= plan.retries)
    }
}

/// All that a check has started goes with it.
const fn kill(exec: ExecId) -> Effect {
    Effect::Signal(Target::Exec(exec), model::Signal::KILL, Reach::Everyone)
}

impl Machine {
    /// A process that was started beside the init has ended; it may be the check.
    pub(super) fn on_check_exited(
        &mut self,
        exec: ExecId,
        code: ExitCode,
        now: Now,
    ) -> Vec<Effect> {
        let Some((begin, elapsed, verdict)) = self.health.verdict(exec, code) else {
            return Vec::new();
        };
        if verdict == Verdict::Exited(KILLED) {
            self.health.check = Check::Killed { begin, elapsed, until: now.elapsed + DOUBT };
            return Vec::new();
        }
        self.on_checked(begin, elapsed, verdict, now)
    }

    /// A time has come that has to do with the container's health.
    pub(super) fn on_health_tick(&mut self, now: Now) -> Vec<Effect> {
        match self.health.check {
            Check::Killed { begin, elapsed, until } if until <= now.elapsed => {
                self.on_checked(begin, elapsed, Verdict::Exited(KILLED), now)
            }
            Check::Off
            | Check::At(_)
            | Check::Starting { .. }
            | Check::Killed { .. }
            | Check::Runs { .. } => self.health.tick(now),
        }
    }

    /// The check could not be started.
    pub(super) fn on_check_failed(&mut self, why: String, now: Now) -> Vec<Effect> {
        let Check::Starting { begin, elapsed } = self.health.check else { return Vec::new() };
        self.on_checked(begin, elapsed, Verdict::NotRun(why), now)
    }

    fn on_checked(
        &mut self,
        begin: Timestamp,
        began: Duration,
        verdict: Verdict,
        now: Now,
    ) -> Vec<Effect> {
        // Whoever was paused is unhealthy without having failed, so the failures in a row count.
        let before = self.health.failed_often();
        let mut effects = self.health.note(begin, began, verdict, now);
        if !before && self.health.failed_often() {
            effects.extend(self.on_unhealthy(now));
        }
        effects
    }

    fn on_unhealthy(&mut self, now: Now) -> Vec<Effect> {
        let action =
            self.health.plan.as_ref().map_or(OnUnhealthy::Nothing, |plan| plan.on_unhealthy);
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        if running.ending != Ending::No {
            return Vec::new();
        }
        let stop = running.stop;
        match action {
            OnUnhealthy::Nothing => Vec::new(),
            OnUnhealthy::Kill => running.kill(Escalated::No, now),
            OnUnhealthy::Stop => {
                self.restart.let_rest();
                self.ask_to_end(stop, now)
            }
            OnUnhealthy::Restart => {
                self.restart.insist();
                self.ask_to_end(stop, now)
            }
        }
    }
}
