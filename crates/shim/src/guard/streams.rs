//! Bytes on their way: from a process to its log and its clients, and room for its input.

use jiff::Timestamp;
use model::container::TerminalSize;

use super::Guard;
use super::conn::Taken;
use super::poller::ProcKey;
use super::proc::Read;
use crate::machine::ConnId;
use crate::outbox::{Form, Piece};
use crate::protocol::{Refusal, Reply, StreamKind, Target};

/// How much is read of a process that has ended: more than a pipe can hold. A child that it left
/// behind in the container may go on writing, and is not waited for.
const DRAIN: usize = 4 << 20;

impl Guard {
    /// One read's worth, then others have their turn.
    pub(super) fn on_output(&mut self, key: ProcKey, stream: StreamKind) {
        self.carry(key, stream);
        self.rewatch_proc(key);
    }

    /// Reads once and passes on what came.
    fn carry(&mut self, key: ProcKey, stream: StreamKind) -> Read {
        let now = self.elapsed();
        let Some(proc) = self.procs.get_mut(&key) else { return Read::End };
        let read = proc.io.read(stream, self.scratch.warm(now));
        match read {
            Read::Some(count) => self.deliver(key, stream, count),
            Read::Nothing => {}
            Read::End => self.end_output(key, stream),
        }
        read
    }

    /// The log first, then every client.
    fn deliver(&mut self, key: ProcKey, stream: StreamKind, count: usize) {
        let now = self.elapsed();
        if let Some(target) = self.procs.get(&key).map(|proc| proc.target) {
            self.note_output(target, count);
        }
        let Some(proc) = self.procs.get_mut(&key) else { return };
        let (target, form) = (proc.target, proc.io.form());
        let data = &self.scratch.buffer[..count];
        let log = self.container.as_mut().and_then(|container| container.log.as_mut());
        let mut is_held_back = false;
        if let (Target::Container, Some(log)) = (target, log) {
            log.log.write(stream, data, wall_nanos());
            log.rewatch(&self.poller);
            is_held_back = log.log.holds_back();
        }
        let piece = Piece { stream, form, data };
        let mut broken: Vec<ConnId> = Vec::new();
        for (id, conn) in &mut self.conns {
            if conn.output(target, piece) == Taken::Yes && conn.flush(now).is_err() {
                broken.push(*id);
            }
            is_held_back |= conn.holds_back(target);
        }
        if is_held_back {
            proc.io.hold_back();
        }
        let attached = self.conns.iter().filter(|(_, conn)| conn.target() == Some(target));
        let attached: Vec<ConnId> = attached.map(|(id, _)| *id).collect();
        attached.into_iter().for_each(|id| self.rewatch(id));
        broken.into_iter().for_each(|id| self.close(id));
    }

    fn end_output(&mut self, key: ProcKey, stream: StreamKind) {
        let Some(proc) = self.procs.get_mut(&key) else { return };
        proc.io.close_output(stream);
        let log = self.container.as_mut().and_then(|container| container.log.as_mut());
        if let (Target::Container, Some(log)) = (proc.target, log) {
            log.log.finish(stream, wall_nanos());
            log.rewatch(&self.poller);
        }
    }

    /// Reads what a process has left in its pipes. It has ended: whoever else holds their other
    /// ends is not waited for.
    pub(super) fn drain(&mut self, key: ProcKey) {
        let Some(proc) = self.procs.get(&key) else { return };
        for stream in proc.io.open_outputs() {
            let mut left = DRAIN;
            while left > 0 {
                match self.carry(key, stream) {
                    Read::Some(count) => left = left.saturating_sub(count),
                    Read::Nothing | Read::End => break,
                }
            }
            self.end_output(key, stream);
        }
    }

    /// Reads a process on that had to wait, once no consumer is behind.
    pub(super) fn let_flow(&mut self, target: Target) {
        let log_holds_back = self.log_holds_back(target);
        let held = self.procs.iter_mut().find(|(_, p)| p.target == target && p.io.is_held_back());
        let Some((key, proc)) = held else { return };
        if log_holds_back || self.conns.values().any(|conn| conn.holds_back(target)) {
            return;
        }
        proc.io.let_flow();
        let key = *key;
        self.rewatch_proc(key);
    }

    /// The process takes more input: what waits goes first, then clients may send again.
    pub(super) fn on_input_room(&mut self, key: ProcKey) {
        let Some(proc) = self.procs.get_mut(&key) else { return };
        proc.io.resume_input();
        let (target, accepts) = (proc.target, proc.io.accepts_input());
        self.rewatch_proc(key);
        if accepts {
            self.wake_feeders(target);
        }
    }

    /// Lets the clients of a process send.
    pub(super) fn wake_feeders(&mut self, target: Target) {
        let feeders = self.conns.iter().filter(|(_, conn)| conn.target() == Some(target));
        let feeders: Vec<ConnId> = feeders.map(|(id, _)| *id).collect();
        for id in feeders {
            self.pump_input(id);
            self.rewatch(id);
        }
    }

    pub(super) fn rewatch_proc(&mut self, key: ProcKey) {
        if let Some(proc) = self.procs.get_mut(&key)
            && proc.io.update_watch(&self.poller).is_err()
        {
            // Out of kernel memory for the set. The process would wait for ever; its next exit
            // or signal brings us back here.
            self.scratch.cool_at = Some(self.started.elapsed());
        }
    }

    /// Gives the clients of a process the end, and forgets it.
    pub(super) fn end_streams(&mut self, target: Target) {
        let now = self.elapsed();
        let proc = self.procs.iter().find(|(_, proc)| proc.target == target);
        let form = proc.map_or(Form::Frames, |(_, proc)| proc.io.form());
        if let Some(key) = proc.map(|(key, _)| *key) {
            self.procs.remove(&key);
        }
        let attached = self.conns.iter().filter(|(_, conn)| conn.is_attached_to(target));
        let attached: Vec<ConnId> = attached.map(|(id, _)| *id).collect();
        for id in attached {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.end_output(form, now);
            }
            self.flush(id);
            self.rewatch(id);
        }
    }

    pub(super) fn resize(&mut self, id: ConnId, target: Target, size: TerminalSize) {
        let proc = self.procs.values().find(|proc| proc.target == target);
        let reply = match proc.map(|proc| proc.io.resize(size)) {
            None => Reply::Refused(Refusal::NotRunning),
            Some(Ok(true)) => Reply::Ok,
            Some(Ok(false)) => Reply::Refused(Refusal::NoTerminal),
            Some(Err(errno)) => Reply::Failed { message: format!("resize the terminal: {errno}") },
        };
        self.reply(id, &reply);
    }
}

/// Nanoseconds since 1970, for the log.
fn wall_nanos() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
