//! How a container is asked to end, and killed when its time is up.

use model::{Life, Signal};

use super::{
    Effect, Ending, Freeze, KILL_LIMIT, Machine, News, Now, Phase, Running, Waiter, Wants, requests,
};
use crate::protocol::{Escalated, Reach, Reply, Started, StopDefaults, Target};

impl Machine {
    /// Sends the stop signal and sets the timer; an earlier deadline stays.
    pub(super) fn ask_to_end(&mut self, stop: StopDefaults, now: Now) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        if let Ending::Killed { give_up_at, .. } = &mut running.ending {
            // Whoever asks again is told again if it does not end.
            give_up_at.get_or_insert(now.elapsed + KILL_LIMIT);
            return Vec::new();
        }
        if stop.signal == Signal::KILL {
            return running.kill(Escalated::No, now);
        }
        let wanted = requests::kill_time(stop.timeout, now);
        let kill_at = match running.ending {
            Ending::Asked { kill_at: Some(earlier) } => {
                Some(wanted.map_or(earlier, |at| at.min(earlier)))
            }
            Ending::No | Ending::Asked { kill_at: None } | Ending::Killed { .. } => wanted,
        };
        running.ending = Ending::Asked { kill_at };
        // Who is looked at after it was sent the signal may have taken its handler away in that.
        let look =
            kill_at.is_some_and(|at| at > now.elapsed).then_some(Effect::Listen(stop.signal));
        let mut effects = Vec::from_iter(look);
        effects.extend(self.signal_and_thaw(stop.signal, now));
        effects
    }

    /// Sends the init a signal on which it can act; a container that goes on runs from here on, and is
    /// checked.
    pub(super) fn signal_and_thaw(&mut self, signal: Signal, now: Now) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        let was = running.freeze;
        let mut effects = running.signal_and_thaw(signal);
        if was != running.freeze {
            effects.extend(self.health.froze(running.freeze, now));
        }
        effects
    }

    /// Tells those who asked for the end that it does not come. Those who merely wait go on.
    pub(super) fn give_up_waiting(&mut self) -> Vec<Effect> {
        let (asked, waiting): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| !matches!(waiter.wants, Wants::Exit(_)));
        self.waiters = waiting;
        let message = "the container was killed but does not end: \
            a process of it is stuck in the kernel";
        asked
            .into_iter()
            .map(|waiter| Effect::Reply(waiter.conn, Reply::Failed { message: message.to_owned() }))
            .collect()
    }
}

impl Running {
    pub(super) const fn life(&self) -> Life {
        let Started { pid, since } = self.started;
        match self.freeze {
            Freeze::Thawed => Life::Running { pid, since },
            Freeze::Frozen => Life::Paused { pid, since },
        }
    }

    /// A frozen process does not act on a signal (on cgroup v1 not even on SIGKILL), so the
    /// signal goes first and the thaw after it.
    fn signal_and_thaw(&mut self, signal: Signal) -> Vec<Effect> {
        let mut effects = vec![
            Effect::Tell(News::Signalled(signal)),
            Effect::Signal(Target::Container, signal, Reach::Process),
        ];
        if self.freeze == Freeze::Frozen {
            self.freeze = Freeze::Thawed;
            self.frozen_for = None;
            effects.push(Effect::Thaw);
            effects.push(Effect::RecordLife(self.life()));
        }
        effects
    }

    pub(super) fn kill(&mut self, by: Escalated, now: Now) -> Vec<Effect> {
        self.ending = Ending::Killed { give_up_at: Some(now.elapsed + KILL_LIMIT), by };
        self.deaf = None;
        self.signal_and_thaw(Signal::KILL)
    }
}
