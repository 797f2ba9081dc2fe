//! The container's log in the loop: when it wants to be looked at, and what waits for it.

use std::time::Duration;

use rustix::process::Pid;
use sys::process::Exit;

use super::Guard;
use super::poller::{Interest, Poller, Token, Watch};
use crate::log::{Awaited, Log};
use crate::protocol::Target;

/// A log, and the watch on whoever takes it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) log: Log,
    /// Of the socket with this number. A socket that is closed leaves the set by itself.
    watch: (u32, Watch),
}

impl Logged {
    pub(super) const fn new(log: Log) -> Self {
        Self { log, watch: (0, Watch::new(Token::Log)) }
    }

    /// Watches for what the log waits for.
    pub(super) fn rewatch(&mut self, poller: &Poller) {
        let Some((socket, number)) = self.log.socket() else { return };
        if self.watch.0 != number {
            self.watch = (number, Watch::new(Token::Log));
        }
        let interest = match self.log.awaits() {
            Awaited::Nothing => Interest::None,
            Awaited::Room => Interest::Write,
            Awaited::Words => Interest::Read,
        };
        // It cannot fail for a valid descriptor but for want of memory; then the log's next line
        // brings us back here.
        let _ = poller.set(socket, &mut self.watch.1, interest);
    }
}

impl Guard {
    /// Whoever takes the log has room, or it is time to look for them.
    pub(super) fn on_log(&mut self) {
        let Some(logged) = self.container.as_mut().and_then(|container| container.log.as_mut())
        else {
            return;
        };
        logged.log.go_on();
        logged.rewatch(&self.poller);
        if !logged.log.wants_room() {
            // What was kept for the one who takes it is not needed until there is more.
            self.scratch.cool_soon(self.started.elapsed());
        }
        self.let_flow(Target::Container);
    }

    /// When the log is to be looked at though nothing has happened.
    pub(super) fn log_deadline(&self) -> Option<Duration> {
        let logged = self.container.as_ref()?.log.as_ref()?;
        Some(logged.log.deadline()?.saturating_duration_since(self.started))
    }

    /// Whether a process has to wait for the log.
    pub(super) fn log_holds_back(&self, target: Target) -> bool {
        let logged = self.container.as_ref().and_then(|container| container.log.as_ref());
        target == Target::Container && logged.is_some_and(|logged| logged.log.holds_back())
    }

    /// A child has ended that is no process of the container's.
    pub(super) fn on_other_ended(&mut self, pid: Pid, exit: Exit) {
        if let Some(logged) = self.container.as_mut().and_then(|container| container.log.as_mut()) {
            logged.log.process_ended(pid, exit);
        }
        self.on_network_end(pid);
    }
}
