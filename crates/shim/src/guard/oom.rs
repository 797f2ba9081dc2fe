//! Out of memory: when the kernel's notices mean that it killed, and how often that is told.

use std::time::Duration;

use model::ExitCode;

use super::poller::ProcKey;
use super::{Container, Guard};
use crate::machine::{Event, KILLED, Oom};

/// The longest notice of an OOM kill that `cgroup` promises.
const NOTICE: usize = 4 << 10;

/// How long one that was killed may take until its end is seen.
const RECENT: Duration = Duration::from_secs(5);

/// How many kills have been told, and when the last was seen. The kernel's notice says only that
/// something about memory has changed: that the limit was reached, say, on cgroup v2.
#[derive(Debug, Default)]
pub(super) struct Told {
    kills: u64,
    at: Option<Duration>,
}

impl Told {
    /// Whether there are more of them now.
    const fn grew(&mut self, kills: u64, now: Duration) -> bool {
        let grew = kills > self.kills;
        if grew {
            *self = Self { kills, at: Some(now) };
        }
        grew
    }

    /// Whether one may have ended a process that was killed just now.
    fn may_be(&self, since: Duration, now: Duration) -> Oom {
        let is_it = self.at.is_some_and(|at| at >= since && now.saturating_sub(at) <= RECENT);
        if is_it { Oom::Seen } else { Oom::Unseen }
    }
}

impl Guard {
    pub(super) fn on_oom_notice(&mut self) {
        if let Some(oom) = self.container.as_ref().and_then(|container| container.oom.as_ref()) {
            // Empties the notice; how often it struck is in the cgroup's counter.
            let _ = rustix::io::read(oom, &mut [0_u8; NOTICE]);
        }
        self.look_for_oom();
    }

    /// Tells the machine of kills that it has not heard of; whether there was any so far.
    pub(super) fn look_for_oom(&mut self) -> Oom {
        let now = self.elapsed();
        let Some(Container { cgroup, oom_told, .. }) = &mut self.container else {
            return Oom::Unseen;
        };
        // A counter that cannot be read is none that has moved.
        let kills = cgroup.oom_kills().unwrap_or(0);
        if oom_told.grew(kills, now) {
            self.events.push_back(Event::OomKill);
        }
        // A scope of systemd's goes with its last process: what was seen before stays seen.
        if oom_told.kills > 0 { Oom::Seen } else { Oom::Unseen }
    }

    /// Whether an exec that ended so was taken by the OOM killer. The kernel counts its victims and
    /// names none; so it is told of one that was killed, and not from here, while the count moved.
    pub(super) fn oom_of_exec(&mut self, key: ProcKey, code: ExitCode) -> Oom {
        let since = self.procs.get(&key).and_then(|proc| proc.oom_since);
        let (KILLED, Some(since)) = (code, since) else { return Oom::Unseen };
        self.look_for_oom();
        let now = self.elapsed();
        let told = self.container.as_ref().map(|container| &container.oom_told);
        told.map_or(Oom::Unseen, |told| told.may_be(since, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_told_once_however_often_the_kernel_wakes_us() {
        let mut told = Told::default();
        let grew = [0, 0, 1, 1, 0, 1, 3, 3].map(|kills| told.grew(kills, Duration::ZERO));
        assert_eq!(grew, [false, false, true, false, false, false, true, false]);
    }

    #[test]
    fn a_kill_ends_who_ran_then_and_ends_soon_after() {
        let second = Duration::from_secs;
        let mut told = Told::default();
        assert_eq!(told.may_be(second(1), second(2)), Oom::Unseen);
        told.grew(1, second(10));
        assert_eq!(told.may_be(second(1), second(11)), Oom::Seen);
        assert_eq!(told.may_be(second(11), second(11)), Oom::Unseen);
        assert_eq!(told.may_be(second(1), second(16)), Oom::Unseen);
    }
}
