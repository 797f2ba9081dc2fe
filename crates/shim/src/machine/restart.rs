//! When the container is started again after its end, and what keeps it from that.
//!
//! The rules are Docker's: each end doubles the time that passes before the next start, a run of
//! ten seconds forgets that, and what somebody has stopped stays down.

use std::time::Duration;

use model::container::RestartPolicy;
use model::{ExitCode, Signal};

use super::{Effect, KILL_LIMIT, Machine, Now, Phase, Reviver, Stay, Traces};
use crate::protocol::{ByHand, Escalated, Restarts, Target};

/// What passes before the first start.
const FIRST: Duration = Duration::from_millis(100);
/// What passes at most.
const LONGEST: Duration = Duration::from_secs(60);
/// Who ran so long begins anew.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// The policy, and what has come of it since somebody started the container.
#[derive(Debug)]
pub(super) struct Restart {
    plan: Restarts,
    /// How often it has been started again.
    count: u32,
    /// What passed before the last time.
    delay: Duration,
    by_hand: ByHand,
    wanted: Wanted,
    traces: Traces,
}

/// Whether the policy still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    /// Whatever it says, the container is started again.
    Anyway,
    /// Somebody stopped the container, it is unhealthy, or the host goes down.
    No,
}

impl Restart {
    pub(super) const fn new() -> Self {
        let plan = Restarts { policy: RestartPolicy::No, revive: Vec::new(), stop_signal: None };
        Self {
            plan,
            count: 0,
            delay: Duration::ZERO,
            by_hand: ByHand::No,
            wanted: Wanted::Yes,
            traces: Traces::None,
        }
    }

    /// Another life begins. One that somebody began knows nothing of those before.
    pub(super) fn launched(&mut self, plan: Restarts, revival: u32) {
        if revival == 0 {
            *self = Self::new();
        }
        (self.plan, self.count, self.traces) = (plan, revival, Traces::None);
    }

    /// The user has another policy in mind. A start that is waited for comes nevertheless (Docker).
    pub(super) fn set(&mut self, plan: Restarts) {
        self.plan = plan;
    }

    /// Somebody sent a signal. A container whose stop signal has a name may be sent others.
    pub(super) fn signalled(&mut self, signal: Signal) {
        self.by_hand = ByHand::Yes;
        let is_other = self.plan.stop_signal.is_some_and(|own| own != signal);
        if signal == Signal::KILL || !is_other {
            self.wanted = Wanted::No;
        }
    }

    /// Somebody stops it, by whatever signal.
    pub(super) const fn stopped(&mut self) {
        (self.by_hand, self.wanted) = (ByHand::Yes, Wanted::No);
    }

    /// It is not started again, and that was nobody's wish.
    pub(super) const fn let_rest(&mut self) {
        self.wanted = Wanted::No;
    }

    /// It is started again after its next end, unless somebody stops it.
    pub(super) fn insist(&mut self) {
        if self.wanted == Wanted::Yes {
            self.wanted = Wanted::Anyway;
        }
    }

    pub(super) const fn by_hand(&self) -> ByHand {
        self.by_hand
    }

    /// Whether this life was begun by the policy.
    pub(super) const fn is_revival(&self) -> bool {
        self.count > 0
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted != Wanted::No
    }

    #[cfg(test)]
    pub(super) const fn traces(&self) -> Traces {
        self.traces
    }

    /// How long after this end it is started again; `None`: it stays as it is.
    pub(super) fn after(&mut self, code: ExitCode, ran: Duration) -> Option<Duration> {
        let is_due = match self.plan.policy {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => self.by_hand == ByHand::No,
            RestartPolicy::OnFailure { retries } => {
                code != ExitCode::SUCCESS && (retries == 0 || self.count < retries)
            }
        };
        match self.wanted {
            Wanted::No => return None,
            Wanted::Yes if !is_due => return None,
            Wanted::Yes | Wanted::Anyway => self.wanted = Wanted::Yes,
        }
        if ran >= GOOD_RUN {
            self.delay = Duration::ZERO;
        }
        Some(self.next_delay())
    }

    fn next_delay(&mut self) -> Duration {
        self.delay = if self.delay.is_zero() { FIRST } else { LONGEST.min(self.delay * 2) };
        self.delay
    }
}

impl Machine {
    /// Its time has come.
    pub(super) fn revive(&mut self) -> Vec<Effect> {
        self.phase = Phase::Reviving { kill_at: None };
        vec![Effect::Revive(self.restart.plan.revive.clone())]
    }

    /// It is not to be started again. A program that is at it is given time to see that, since what
    /// it has begun would lie about.
    pub(super) fn cancel_restart(&mut self, now: Now) -> Vec<Effect> {
        match &mut self.phase {
            Phase::Waiting { .. } => self.rest(now),
            Phase::Reviving { kill_at } => {
                kill_at.get_or_insert(now.elapsed + KILL_LIMIT);
                Vec::new()
            }
            Phase::Idle { .. } | Phase::Launching(_) | Phase::Running(_) => Vec::new(),
        }
    }

    /// The program that was to start it takes too long.
    pub(super) fn end_reviver(&mut self, now: Now) -> Vec<Effect> {
        self.restart.traces = Traces::Some;
        let mut effects = vec![Effect::EndReviver];
        effects.extend(self.rest(now));
        effects
    }

    /// One that was killed is tried again, later each time; one that ended by itself has said to
    /// whom it may concern why the container cannot be started.
    pub(super) fn on_reviver_ended(&mut self, how: Reviver, now: Now) -> Vec<Effect> {
        let Phase::Reviving { .. } = self.phase else { return Vec::new() };
        if how == Reviver::Killed {
            self.restart.traces = Traces::Some;
            if self.restart.is_wanted() {
                self.phase = Phase::Waiting { at: now.elapsed + self.restart.next_delay() };
                return Vec::new();
            }
        }
        self.rest(now)
    }

    /// It has ended for good, as it did before it waited.
    pub(super) fn rest(&mut self, now: Now) -> Vec<Effect> {
        self.phase = Phase::Idle { until: now.elapsed, why: Stay::Door };
        let Some(last) = &mut self.last else { return Vec::new() };
        last.by_hand = self.restart.by_hand;
        let last = *last;
        let mut effects = vec![Effect::RecordRest(last, self.restart.traces)];
        let waiting = std::mem::take(&mut self.waiters);
        effects.extend(waiting.into_iter().map(|waiter| waiter.told(last, Escalated::No)));
        effects.push(Effect::EndStreams(Target::Container));
        effects
    }
}
