//! A first process that does not hear the signal by which it is asked to end.
//!
//! The kernel drops a signal for the first process of a pid namespace that has no handler for it and
//! does not block it: a shell as first process, or `sleep`, never hears of SIGTERM. To wait for its
//! end is to wait for nothing. It may be about to install a handler, though, so it is looked at for
//! a while, and sent the signal again if it has one by then. One that was started a moment ago and works
//! (a large program that loads) is looked at for as long as it does.

use std::time::Duration;

use model::Signal;

use super::{Effect, Ending, Hearing, Machine, News, Now, Pace, Phase};
use crate::protocol::{Escalated, Reach, Target};

/// How long after its start a process may install its handlers.
const SETTLED: Duration = Duration::from_secs(10);
/// How long one is looked at that has just started.
const LONG: Duration = Duration::from_secs(1);
/// How long one is looked at that runs for longer.
const SHORT: Duration = Duration::from_millis(100);
/// When to look again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one has run from look to look that works: a shell in a loop, which installs nothing, takes
/// less.
const WORKS: Duration = Duration::from_millis(10);

/// A process that does not hear its signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deaf {
    /// Which signal.
    pub(super) signal: Signal,
    /// When to look again.
    pub(super) look_at: Duration,
    /// When it is given up.
    pub(super) until: Duration,
    /// What it was at.
    pub(super) pace: Pace,
}

impl Deaf {
    /// Whether it has worked since it was looked at.
    fn works(&self, pace: Pace) -> bool {
        pace.reads || pace.ran.saturating_sub(self.pace.ran) >= WORKS
    }
}

impl Machine {
    /// What the look at the first process has shown.
    pub(super) fn on_hearing(&mut self, signal: Signal, hearing: Hearing, now: Now) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        // It may have been killed since; who never is to be killed is not killed for this.
        let Ending::Asked { kill_at: Some(kill_at) } = running.ending else { return Vec::new() };
        let known = running.deaf.take().filter(|deaf| deaf.signal == signal);
        let is_new = now.elapsed.saturating_sub(running.since) < SETTLED;
        match (hearing, known) {
            // It was sent the signal after the look.
            (Hearing::Hears, None) => Vec::new(),
            (Hearing::Hears, Some(_)) => {
                vec![Effect::Signal(Target::Container, signal, Reach::Process)]
            }
            (Hearing::Deaf(pace), Some(deaf))
                if deaf.until <= now.elapsed && !(is_new && deaf.works(pace)) =>
            {
                let mut effects = vec![Effect::Tell(News::Unheard(signal))];
                effects.extend(running.kill(Escalated::Killed, now));
                effects
            }
            (Hearing::Deaf(pace), known) => {
                let patience = if is_new { LONG } else { SHORT };
                let rests = known.filter(|deaf| !(is_new && deaf.works(pace)));
                let until = rests.map_or(now.elapsed + patience, |deaf| deaf.until);
                let look_at = (now.elapsed + LOOK_EVERY).min(kill_at);
                running.deaf = Some(Deaf { signal, look_at, until, pace });
                Vec::new()
            }
        }
    }
}
