//! Out of memory: when the kernel's notices mean that it killed, and how often that is told.

use super::{Container, Guard};
use crate::machine::{Event, Oom};

/// The longest notice of an OOM kill that `cgroup` promises.
const NOTICE: usize = 4 << 10;

/// How many kills have been told. The kernel's notice says only that something about memory has
/// changed: that the limit was reached, say, on cgroup v2.
#[derive(Debug, Default)]
pub(super) struct Told(u64);

impl Told {
    /// Whether there are more of them now.
    const fn grew(&mut self, kills: u64) -> bool {
        let grew = kills > self.0;
        if grew {
            self.0 = kills;
        }
        grew
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
        let Some(Container { cgroup, oom_told, .. }) = &mut self.container else {
            return Oom::Unseen;
        };
        // A counter that cannot be read is none that has moved.
        let kills = cgroup.oom_kills().unwrap_or(0);
        if oom_told.grew(kills) {
            self.events.push_back(Event::OomKill);
        }
        if kills > 0 { Oom::Seen } else { Oom::Unseen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_told_once_however_often_the_kernel_wakes_us() {
        let mut told = Told::default();
        let grew = [0, 0, 1, 1, 0, 1, 3, 3].map(|kills| told.grew(kills));
        assert_eq!(grew, [false, false, true, false, false, false, true, false]);
    }
}
