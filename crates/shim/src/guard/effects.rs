//! Does what the machine has decided.
//!
//! What can fail tells the machine so by an event. What fails here without one has nobody to be
//! told: the kernel's state is then found by whoever looks next (`engine::reconcile`).

use model::Life;
use sys::Errno;
use sys::failpoint::{Point, pass};

use super::Guard;
use super::kin::Later;
use super::poller::Interest;
use super::tell::tell_end;
use crate::machine::{After, Attachment, ConnId, Effect, Event, Finish, Freeze, Traces, is_to_end};
use crate::protocol::{ExitRecord, Reach, Reply, Target};
use crate::record;

impl Guard {
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(conn, Reply::State(mut state)) => {
                state.log_lines_lost = self.log_lines_lost();
                self.reply(conn, &Reply::State(state));
            }
            Effect::Reply(conn, reply) => self.reply(conn, &reply),
            Effect::Launch(conn, launch) => self.on_launch(conn, *launch),
            Effect::Exec(conn, start) => self.on_exec(conn, *start),
            Effect::Stream(conn, attachment) => self.stream(conn, attachment),
            Effect::Signal(target, signal, reach) => self.signal(target, signal, reach),
            Effect::HangUp(exec) => {
                let hangup = sys::signal::Signal::HUP;
                self.signal_everyone(Target::Exec(exec), hangup, Later::Killed);
            }
            Effect::Listen(signal) => {
                let hearing = self.init_hearing(signal);
                self.events.push_back(Event::Hearing(signal, hearing));
            }
            Effect::Freeze(conn, wanted) => self.freeze(conn, wanted),
            Effect::Thaw => {
                // What stays frozen is seen by `stop` and `kill`, which wait for the end.
                let _ = self.set_freeze(Freeze::Thawed);
            }
            Effect::Resize(conn, target, size) => self.resize(conn, target, size),
            Effect::Publish(conn, published) => self.publish(conn, published),
            Effect::Resolve(conn, resolver) => self.resolve(conn, *resolver),
            Effect::RecordLife(life) => self.record_life(&life),
            Effect::RecordExit(exit, after) => self.record_exit(&exit, after),
            Effect::RecordExecs(execs) => record::keep_execs(&self.paths, execs),
            Effect::RecordRest(exit, traces) => self.record_rest(&exit, traces),
            Effect::ForgetExit => {
                let _ = std::fs::remove_file(self.paths.exit_record());
            }
            Effect::Revive(arguments) => self.revive(&arguments),
            Effect::EndReviver => self.end_reviver(),
            Effect::Check => self.start_check(),
            Effect::RecordHealth(status, streak, checked) => {
                self.record_health(status, streak, checked);
            }
            Effect::Tell(news) => self.tell(news),
            Effect::EndStreams(target) => self.end_streams(target),
            Effect::TearDown => self.tear_down(),
            Effect::Finish(finish) => self.try_finish(finish),
        }
    }

    fn stream(&mut self, id: ConnId, attachment: Attachment) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.become_stream(attachment);
        }
        self.pump_input(id);
        self.rewatch(id);
    }

    fn signal(&mut self, target: Target, signal: model::Signal, reach: Reach) {
        let later = if is_to_end(signal) { Later::Killed } else { Later::Nothing };
        let Some(signal) = sys::signal::Signal::from_number(signal.number()) else { return };
        if signal == sys::signal::Signal::KILL
            && let Some(proc) = self.procs.values_mut().find(|proc| proc.target == target)
        {
            proc.oom_since = None;
        }
        match reach {
            Reach::Everyone => self.signal_everyone(target, signal, later),
            Reach::Process => {
                if let Some(proc) = self.procs.values().find(|proc| proc.target == target) {
                    // It has ended already, and its end is about to be seen here.
                    let _ = sys::process::pidfd_send_signal(&proc.pidfd, signal);
                }
            }
        }
    }

    fn freeze(&mut self, conn: ConnId, wanted: Freeze) {
        let result = self.set_freeze(wanted);
        self.events.push_back(Event::Froze(conn, wanted, result));
    }

    fn set_freeze(&mut self, wanted: Freeze) -> Result<(), String> {
        let Some(container) = &self.container else { return Ok(()) };
        let result = match wanted {
            Freeze::Frozen => container.cgroup.freeze(),
            Freeze::Thawed => container.cgroup.thaw(),
        };
        result.map_err(|error| chain(&error))
    }

    fn log_lines_lost(&self) -> u64 {
        let log = self.container.as_ref().and_then(|container| container.log.as_ref());
        log.map_or(0, |logged| logged.log.lines_lost())
    }

    /// A `<run>` that is full leaves the state unwritten: then the lock is held, and the shim
    /// can be asked.
    fn record_life(&self, life: &Life) {
        let _ = record::write(&self.paths.state(), life);
        pass(Point::ShimRecorded);
    }

    /// Nobody hears of the end before its ports are free and it is written down.
    fn record_exit(&mut self, exit: &ExitRecord, after: After) {
        pass(Point::ShimExitSeen);
        self.release_network();
        pass(Point::ShimUnpublished);
        if let Some(container) = &self.container {
            // Where no room was reserved a full disk leaves it unknown, but to the clients that wait.
            let _ = record::write(&container.exit_record, exit);
        }
        pass(Point::ShimExitRecorded);
        self.end_checks();
        tell_end(&self.paths, exit);
        match after {
            After::Rest => {
                let _ = std::fs::remove_file(self.paths.state());
            }
            After::Restart => {
                // What is there says that it runs; a full `<run>` leaves it, until it does.
                let _ = record::write(&self.paths.state(), &exit.restarting());
                pass(Point::ShimRestarts);
            }
        }
    }

    /// The container stays as it ended. If a program was killed that was to start it, what is known
    /// of the life before is left as last words, so that whoever comes next takes back what lies
    /// about.
    fn record_rest(&self, exit: &ExitRecord, traces: Traces) {
        let _ = record::write(&self.paths.exit_record(), exit);
        let _ = match traces {
            Traces::None => std::fs::remove_file(self.paths.state()),
            Traces::Some => std::fs::rename(self.paths.state(), self.paths.last_words()),
        };
    }

    /// Ends the loop, unless somebody is about to connect: they hold the door until they are in
    /// the backlog.
    fn try_finish(&mut self, finish: Finish) {
        if finish == Finish::ExitNow {
            self.finish = Some(finish);
            return;
        }
        if !self.lock.try_close_door() {
            self.events.push_back(Event::FinishPutOff);
            return;
        }
        self.listen(Interest::Read);
        self.accept();
        if self.events.iter().any(|event| matches!(event, Event::Connected(_))) {
            self.lock.open_door();
            return;
        }
        self.finish = Some(finish);
    }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The same of a kernel error.
pub(super) fn failed(what: &str, errno: Errno) -> String {
    format!("{what}: {errno}")
}
