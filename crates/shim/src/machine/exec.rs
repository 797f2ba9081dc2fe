//! The processes that were started beside the init, as far as they are remembered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use model::{ExecId, ExitCode, Signal};

use super::{ConnId, Effect, Now, Oom};
use crate::protocol::{Ended, ExecInfo, ExecState, Reach, Refusal, Started, Target};

/// How long an ended exec is remembered, as in Docker: a health check starts one every few seconds
/// for years.
pub(super) const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// How many are at most: some hundred kilobytes.
pub(super) const REMEMBERED: usize = 4096;
/// How many of the last are, however long ago they have ended: somebody may ask why.
pub(super) const LAST: usize = 16;

/// How long before its container an exec may be seen to end that dies with it.
const WITH_IT: Duration = Duration::from_secs(1);

/// How long an exec may take to end whose client has gone.
const GRACE: Duration = Duration::from_secs(10);

/// What a process gets whose container ends: it was killed by signal 9.
pub(crate) const KILLED: ExitCode = ExitCode(137);

#[derive(Debug)]
enum Phase {
    /// `Effect::Exec` is under way.
    Starting,
    Running(Started),
    Exited(Exit),
}

/// How one has ended.
#[derive(Debug, Clone, Copy)]
struct Exit {
    code: ExitCode,
    started: Started,
    at: Timestamp,
    oom: Oom,
    why: Ended,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Execs {
    known: BTreeMap<ExecId, Phase>,
    /// Those that have ended, and when: the oldest first.
    ended: VecDeque<(Duration, ExecId)>,
    /// Those that end with their clients, or were told to end.
    bound: Vec<(ExecId, Bound)>,
    /// What will have ended those that do so until this time.
    causes: Vec<(ExecId, Ended, Duration)>,
}

/// To what an exec is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// It ends when this client goes.
    To(ConnId),
    /// Somebody has sent it a signal to end. If it does by this time, those of its processes that do not
    /// are killed a while later; if it does not, it has another use for the signal.
    AskedUntil(Duration),
    /// What is left of it is killed at this time: its client has gone, or it has ended as it was asked
    /// to.
    Until(Duration),
}

impl Execs {
    pub(super) const fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            ended: VecDeque::new(),
            bound: Vec::new(),
            causes: Vec::new(),
        }
    }

    /// Forgets all: another life of the container begins.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.ended.clear();
        self.bound.clear();
        self.causes.clear();
    }

    pub(super) fn begin(&mut self, exec: ExecId) -> Result<(), Refusal> {
        if self.known.contains_key(&exec) {
            return Err(Refusal::ExecExists);
        }
        self.known.insert(exec, Phase::Starting);
        Ok(())
    }

    pub(super) fn started(&mut self, exec: ExecId, started: Started) {
        self.known.insert(exec, Phase::Running(started));
    }

    pub(super) fn forget(&mut self, exec: ExecId) {
        self.known.remove(&exec);
        self.bound.retain(|(bound, _)| *bound != exec);
        self.causes.retain(|(caused, ..)| *caused != exec);
        self.ended.retain(|(_, ended)| *ended != exec);
    }

    /// It ends when this client goes.
    pub(super) fn bind(&mut self, exec: ExecId, conn: ConnId) {
        self.bound.push((exec, Bound::To(conn)));
    }

    /// It is sent a signal; what it has started ends with it if that is one to end.
    pub(super) fn signalled(&mut self, exec: ExecId, signal: Signal, now: Now) {
        if signal == Signal::KILL || signal == Signal::HUP || is_to_end(signal) {
            // Whoever goes on for longer has another use for the signal.
            self.cause(exec, Ended::Signalled(signal), now.elapsed + GRACE);
        }
        let is_ending =
            |(bound, how): &(ExecId, Bound)| *bound == exec && matches!(how, Bound::Until(_));
        if !is_to_end(signal) || self.bound.iter().any(is_ending) {
            return;
        }
        self.bound.retain(|(bound, how)| *bound != exec || !matches!(how, Bound::AskedUntil(_)));
        self.bound.push((exec, Bound::AskedUntil(now.elapsed + GRACE)));
    }

    /// It goes on without a client. Who has asked it to end is another matter.
    pub(super) fn keep(&mut self, exec: ExecId) {
        self.bound.retain(|(bound, how)| *bound != exec || !matches!(how, Bound::To(_)));
    }

    /// A client has gone; what it leaves is told to end.
    pub(super) fn client_gone(&mut self, conn: ConnId, now: Now) -> Vec<Effect> {
        let mut left = Vec::new();
        for (exec, bound) in &mut self.bound {
            if *bound == Bound::To(conn) {
                *bound = Bound::Until(now.elapsed + GRACE);
                left.push(*exec);
            }
        }
        for exec in &left {
            self.cause(*exec, Ended::ClientGone, Duration::MAX);
        }
        left.into_iter().map(Effect::HangUp).collect()
    }

    /// The last word counts.
    fn cause(&mut self, exec: ExecId, why: Ended, until: Duration) {
        self.causes.retain(|(caused, ..)| *caused != exec);
        self.causes.push((exec, why, until));
    }

    /// Takes the cause of an end of now.
    fn why(&mut self, exec: ExecId, now: Now) -> Ended {
        let Some(at) = self.causes.iter().position(|(caused, ..)| *caused == exec) else {
            return Ended::ByItself;
        };
        let (_, why, until) = self.causes.swap_remove(at);
        if now.elapsed <= until { why } else { Ended::ByItself }
    }

    /// When an exec without its client is to be killed.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let until = |(_, bound): &(ExecId, Bound)| match bound {
            Bound::Until(until) => Some(*until),
            Bound::To(_) | Bound::AskedUntil(_) => None,
        };
        self.bound.iter().filter_map(until).min()
    }

    /// Kills those whose time is up.
    pub(super) fn tick(&mut self, now: Now) -> Vec<Effect> {
        let is_due = |bound: &Bound| matches!(bound, Bound::Until(until) if *until <= now.elapsed);
        let due = self.bound.extract_if(.., |(_, bound)| is_due(bound));
        let kill = |exec| Effect::Signal(Target::Exec(exec), Signal::KILL, Reach::Everyone);
        due.map(|(exec, _)| kill(exec)).collect()
    }

    pub(super) fn exited(&mut self, exec: ExecId, code: ExitCode, oom: Oom, now: Now) {
        let Some(&Phase::Running(started)) = self.known.get(&exec) else { return };
        let why = self.why(exec, now);
        // A clock that was set back makes nothing end before it began.
        let at = now.wall.max(started.since);
        self.known.insert(exec, Phase::Exited(Exit { code, started, at, oom, why }));
        self.exited_bound(exec, now);
        self.ended.push_back((now.elapsed, exec));
        self.forget_oldest(now);
    }

    /// One that ends by itself leaves what it has started behind, as in Docker. With one that was to
    /// end, all of it goes.
    fn exited_bound(&mut self, exec: ExecId, now: Now) {
        self.bound.retain(|(bound, how)| {
            let is_over = match how {
                Bound::To(_) => true,
                Bound::AskedUntil(until) => *until < now.elapsed,
                Bound::Until(_) => false,
            };
            *bound != exec || !is_over
        });
        for (bound, how) in &mut self.bound {
            if *bound == exec && matches!(how, Bound::AskedUntil(_)) {
                *how = Bound::Until(now.elapsed + GRACE);
            }
        }
    }

    /// Those that were seen to be killed a moment before the container's end were, by the kernel, with it.
    fn went_with_it(&mut self, now: Now) {
        let recent = self.ended.iter().rev();
        let recent = recent.take_while(|(at, _)| now.elapsed.saturating_sub(*at) <= WITH_IT);
        for (_, exec) in recent {
            if let Some(Phase::Exited(exit)) = self.known.get_mut(exec)
                && (exit.code, exit.oom, exit.why) == (KILLED, Oom::Unseen, Ended::ByItself)
            {
                exit.why = Ended::Container;
            }
        }
    }

    /// Ends those that still ran; they died with the container.
    pub(super) fn container_exited(&mut self, now: Now) -> impl Iterator<Item = ExecId> + use<> {
        let running: Vec<ExecId> = self
            .known
            .iter()
            .filter(|(_, phase)| matches!(phase, Phase::Running(_)))
            .map(|(exec, _)| *exec)
            .collect();
        for exec in &running {
            self.cause(*exec, Ended::Container, Duration::MAX);
            self.exited(*exec, KILLED, Oom::Unseen, now);
        }
        self.bound.clear();
        self.went_with_it(now);
        running.into_iter()
    }

    pub(super) fn require_running(&self, exec: ExecId) -> Result<(), Refusal> {
        match self.known.get(&exec) {
            Some(Phase::Running(_)) => Ok(()),
            Some(Phase::Starting | Phase::Exited(_)) => Err(Refusal::ExecNotRunning),
            None => Err(Refusal::NoSuchExec),
        }
    }

    pub(super) fn info(&self, exec: ExecId) -> Option<ExecInfo> {
        info_of(exec, self.known.get(&exec)?)
    }

    pub(super) fn list(&self) -> Vec<ExecInfo> {
        self.known.iter().filter_map(|(exec, phase)| info_of(*exec, phase)).collect()
    }

    /// The last that have ended: the oldest first.
    pub(super) fn last(&self) -> Vec<ExecInfo> {
        let skipped = self.ended.len().saturating_sub(LAST);
        self.ended.iter().skip(skipped).filter_map(|(_, exec)| self.info(*exec)).collect()
    }

    fn forget_oldest(&mut self, now: Now) {
        while let Some((at, oldest)) = self.ended.front()
            && (self.ended.len() > REMEMBERED
                || (self.ended.len() > LAST && now.elapsed.saturating_sub(*at) > REMEMBERED_FOR))
        {
            self.known.remove(oldest);
            self.ended.pop_front();
        }
    }
}

/// Whether all that an exec has started ends with it, if it ends by this signal. Not SIGHUP: to many it says
/// that they have something to read anew.
pub(crate) fn is_to_end(signal: Signal) -> bool {
    [Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal)
}

fn info_of(exec: ExecId, phase: &Phase) -> Option<ExecInfo> {
    let state = match phase {
        Phase::Starting => return None,
        Phase::Running(started) => ExecState::Running(*started),
        Phase::Exited(Exit { code, started, at, oom, why }) => ExecState::Exited {
            code: *code,
            pid: started.pid,
            oom: *oom == Oom::Seen,
            why: *why,
            span: Some([started.since, *at]),
        },
    };
    Some(ExecInfo { exec, state })
}
