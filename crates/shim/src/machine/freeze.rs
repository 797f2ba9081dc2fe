//! A container that stands still, and for whom.

use super::{ConnId, Effect, Freeze, Machine, News, Now, Phase, refuse};
use crate::protocol::{Refusal, Reply};

impl Machine {
    /// `Effect::Freeze` is done, or why not.
    pub(super) fn on_froze(
        &mut self,
        conn: ConnId,
        wanted: Freeze,
        result: Result<(), String>,
        now: Now,
    ) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else {
            return refuse(conn, Refusal::NotRunning);
        };
        match result {
            Err(message) => {
                running.frozen_for = None;
                vec![Effect::Reply(conn, Reply::Failed { message })]
            }
            Ok(()) => {
                running.freeze = wanted;
                let mut effects =
                    vec![Effect::RecordLife(running.life()), Effect::Reply(conn, Reply::Ok)];
                effects.extend(self.health.froze(wanted, now));
                effects
            }
        }
    }

    /// A client has gone; if it had the container frozen, that goes on.
    pub(super) fn thaw_after(&mut self, conn: ConnId, now: Now) -> Vec<Effect> {
        let Phase::Running(running) = &mut self.phase else { return Vec::new() };
        if running.frozen_for != Some(conn) {
            return Vec::new();
        }
        running.frozen_for = None;
        if running.freeze == Freeze::Thawed {
            return Vec::new();
        }
        running.freeze = Freeze::Thawed;
        let mut effects =
            vec![Effect::Thaw, Effect::RecordLife(running.life()), Effect::Tell(News::Thawed)];
        effects.extend(self.health.froze(Freeze::Thawed, now));
        effects
    }
}
