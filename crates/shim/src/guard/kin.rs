//! What an exec has started and what is no longer in its part of the container's cgroup: `su` where
//! systemd runs has its session moved to a cgroup of its own.
//!
//! Such processes are known by their descent and by their session. Whoever is not in the container's
//! cgroup is nobody's kin: no signal ever leaves it. A process is its number and when it began, and it
//! is held by a pidfd before that is asked for the last time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cgroup::Cgroup;
use model::ExecId;
use rustix::process::Pid;
use sys::signal::Signal;

use super::Guard;
use crate::protocol::Target;

/// How often is looked whether all of the kin stands still. One that was told to may have had a child on the
/// way, or be where the kernel does not stop it.
const ROUNDS: usize = 64;
/// How long those who were told to stand still are left alone before they are looked at again.
const PAUSE: Duration = Duration::from_millis(1);
/// How many are held at a time, within the usual limit of descriptors.
const BATCH: usize = 256;

/// A process that belongs to an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kin {
    pid: Pid,
    /// In ticks since the host's boot.
    began: u64,
}

/// The kin of an exec that was told to end, for the time when what is left of it is killed: whoever is
/// an orphan by then is no longer known by its descent.
#[derive(Debug)]
pub(super) struct Told {
    exec: ExecId,
    kin: Vec<Kin>,
}

/// What the kernel says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    process: Kin,
    parent: i32,
    session: i32,
    motion: Motion,
}

/// Whether a process may have children yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Motion {
    Runs,
    Still,
}

impl Guard {
    /// Sends a signal to all of a process's own: the container's, or those of an exec.
    pub(super) fn signal_everyone(&mut self, target: Target, signal: Signal, later: Later) {
        let Target::Exec(exec) = target else {
            return self.signal_kin(target, signal, Vec::new());
        };
        // Before its first process dies, and with it what makes the others its kin.
        let (kin, motion) = self.find_kin(exec, signal, later);
        self.signal_kin(target, signal, kin);
        if signal == Signal::KILL && motion == Motion::Runs {
            // Whoever was born at the last moment is known by whom it descends from, or by its session.
            let (late, _) = self.find_kin(exec, signal, Later::Nothing);
            self.signal_kin(target, signal, late);
        }
    }

    fn signal_kin(&self, target: Target, signal: Signal, kin: Vec<Kin>) {
        let proc = self.procs.values().find(|proc| proc.target == target);
        let cgroup = self.cgroup_of(target);
        if let Some(cgroup) = cgroup {
            // Their ends are events: the init's comes when we have reaped its execs. Whom SIGKILL cannot
            // end, the machine gives up waiting for.
            let _ = cgroup.signal(signal);
        }
        // One that is still in its part is not told twice.
        let told = cgroup.and_then(|cgroup| cgroup.pids().ok()).unwrap_or_default();
        if let Some(proc) = proc.filter(|proc| !told.contains(&proc.pid)) {
            let _ = sys::process::pidfd_send_signal(&proc.pidfd, signal);
        }
        if let Some(container) = &self.container {
            let first = proc.map(|proc| proc.pid);
            let others: Vec<Kin> = kin.into_iter().filter(|kin| Some(kin.pid) != first).collect();
            send(&container.cgroup, &others, signal);
        }
    }

    /// The kin of an exec outside of its part, and whether it may have more by now. Whom SIGKILL is for
    /// stands still from here on, so that none is born behind our back; of whom is killed later, who they
    /// are is remembered.
    fn find_kin(&mut self, exec: ExecId, signal: Signal, later: Later) -> (Vec<Kin>, Motion) {
        let target = Target::Exec(exec);
        let first = self.procs.values().find(|proc| proc.target == target);
        let first = first.and_then(|proc| look(proc.pid)).map(|seen| seen.process);
        let part = self.cgroup_of(target).and_then(|part| part.pids().ok()).unwrap_or_default();
        let part: HashSet<Pid> = part.into_iter().collect();
        let Some(container) = &mut self.container else { return (Vec::new(), Motion::Still) };
        let told = container.told.extract_if(.., |told| told.exec == exec);
        let told: Vec<Kin> = told.flat_map(|told| told.kin).collect();
        let is_told = later == Later::Killed || !told.is_empty();
        let mut known: HashSet<Kin> = told.into_iter().chain(first).collect();
        // Who is in the part is kin whatever it has made of its parents.
        known.extend(part.iter().filter_map(|pid| look(*pid)).map(|seen| seen.process));
        let motion = if signal == Signal::KILL {
            stop(&container.cgroup, &mut known)
        } else {
            known.extend(new_kin(&known, &members(&container.cgroup)));
            Motion::Runs
        };
        let outside = |kin: &Kin| !part.contains(&kin.pid);
        let kin: Vec<Kin> = known.iter().copied().filter(outside).collect();
        let has_others = kin.iter().any(|kin| Some(*kin) != first);
        let goes_on = if signal == Signal::KILL { motion == Motion::Runs } else { is_told };
        if has_others && goes_on {
            // What others have left that went on, and then ended by themselves.
            container.told.retain(|told| told.kin.iter().any(|kin| is_there(*kin)));
            container.told.push(Told { exec, kin: known.into_iter().collect() });
        }
        (kin, motion)
    }
}

/// What follows a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Later {
    /// What is left is killed.
    Killed,
    Nothing,
}

/// Has all kin stand still, also that which it finds meanwhile.
fn stop(container: &Cgroup, known: &mut HashSet<Kin>) -> Motion {
    let all: Vec<Kin> = known.iter().copied().collect();
    send(container, &all, Signal::STOP);
    let mut stood = false;
    for _ in 0..ROUNDS {
        let seen = members(container);
        let new = new_kin(known, &seen);
        if new.is_empty() && stood {
            return Motion::Still;
        }
        send(container, &new, Signal::STOP);
        known.extend(new.iter().copied());
        // They are listed before they are looked at: a child of the last moment is in the next list.
        let runs = |seen: &Seen| seen.motion == Motion::Runs && known.contains(&seen.process);
        stood = new.is_empty() && !seen.iter().any(runs);
        if new.is_empty() && !stood {
            std::thread::sleep(PAUSE);
        }
    }
    Motion::Runs
}

fn members(container: &Cgroup) -> Vec<Seen> {
    container.pids().unwrap_or_default().into_iter().filter_map(look).collect()
}

fn is_there(kin: Kin) -> bool {
    look(kin.pid).is_some_and(|seen| seen.process == kin)
}

/// Sends a signal to those who still are who they were, and in the container.
fn send(container: &Cgroup, kin: &[Kin], signal: Signal) {
    for batch in kin.chunks(BATCH) {
        let pids: Vec<Pid> = batch.iter().map(|kin| kin.pid).collect();
        let Ok(held) = container.hold(&pids) else { return };
        for (pid, pidfd) in held {
            let is_it = look(pid).is_some_and(|seen| batch.contains(&seen.process));
            if is_it {
                // If it has ended since, the kernel says so, and its number may be anybody's.
                let _ = sys::process::pidfd_send_signal(&pidfd, signal);
            }
        }
    }
}

/// Those who descend from somebody known, or are in a session that one of them has begun, and are not
/// known themselves.
fn new_kin(known: &HashSet<Kin>, seen: &[Seen]) -> Vec<Kin> {
    let holders: HashMap<i32, Kin> =
        seen.iter().map(|seen| (number_of(seen.process), seen.process)).collect();
    // By the number of whom they descend from, or of who began their session.
    let mut followers: HashMap<i32, Vec<Kin>> = HashMap::new();
    for seen in seen {
        for number in [seen.parent, seen.session] {
            followers.entry(number).or_default().push(seen.process);
        }
    }
    let mut kin = known.clone();
    let mut new: Vec<Kin> = Vec::new();
    let mut ahead: Vec<Kin> = known.iter().copied().collect();
    while let Some(one) = ahead.pop() {
        let number = number_of(one);
        // Nobody has the number of a session that goes on, but who began it. If another has it by now, who
        // follows is that one's.
        if holders.get(&number).is_some_and(|holder| *holder != one) {
            continue;
        }
        let more = followers.remove(&number).unwrap_or_default();
        let more: Vec<Kin> = more.into_iter().filter(|process| kin.insert(*process)).collect();
        new.extend(&more);
        ahead.extend(more);
    }
    new
}

fn number_of(kin: Kin) -> i32 {
    kin.pid.as_raw_nonzero().get()
}

/// `None` if it has ended.
fn look(pid: Pid) -> Option<Seen> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse(pid, &stat)
}

/// The process chooses its own name, so what follows the last bracket counts (`proc_pid_stat(5)`).
fn parse(pid: Pid, stat: &[u8]) -> Option<Seen> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // The first of these is the third of the page.
    let number = |field: usize| fields.get(field - 3)?.parse().ok();
    let began = fields.get(22 - 3)?.parse().ok()?;
    // Stopped, by a signal or by whoever traces it, or at its end.
    let is_still = matches!(*fields.first()?, "T" | "t" | "Z" | "X");
    let motion = if is_still { Motion::Still } else { Motion::Runs };
    let process = Kin { pid, began };
    Some(Seen { process, parent: number(4)?, session: number(6)?, motion })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kin(pid: i32, began: u64) -> Kin {
        Kin { pid: Pid::from_raw(pid).unwrap(), began }
    }

    fn seen(process: Kin, parent: i32, session: i32) -> Seen {
        Seen { process, parent, session, motion: Motion::Runs }
    }

    fn check(known: &[Kin], all: &[Seen], expected: &[i32]) {
        let mut found: Vec<i32> =
            new_kin(&known.iter().copied().collect(), all).into_iter().map(number_of).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn kin_descends_from_it_or_is_in_its_session() {
        let all = [
            seen(kin(1, 5), 0, 1),
            seen(kin(20, 50), 0, 20),
            // Its child, whose child has a session of its own.
            seen(kin(21, 51), 20, 20),
            seen(kin(22, 52), 21, 22),
            // An orphan of its session, and one of a session that its grandchild began.
            seen(kin(23, 53), 1, 20),
            seen(kin(24, 54), 1, 22),
            // Others.
            seen(kin(30, 55), 1, 30),
            seen(kin(31, 56), 30, 30),
        ];
        check(&[kin(20, 50)], &all, &[21, 22, 23, 24]);
    }

    /// As many as a container may have by default, each the child of the one before, the last one first.
    #[test]
    fn a_long_line_of_descent_is_followed_to_its_end() {
        let link = |number: i32| seen(kin(number, 50), number - 1, number);
        let all: Vec<Seen> = (21..200_000).rev().map(link).collect();
        assert_eq!(new_kin(&HashSet::from([kin(20, 50)]), &all).len(), all.len());
    }

    #[test]
    fn a_session_outlives_who_began_it_and_a_number_does_not() {
        let orphan = seen(kin(23, 53), 1, 20);
        check(&[kin(20, 50)], &[orphan], &[23]);
        // Another process has the number: what it starts, and its session, are its own.
        let other = [seen(kin(20, 90), 1, 20), seen(kin(40, 91), 20, 20)];
        check(&[kin(20, 50)], &other, &[]);
        // The container's first process, and the shim itself, have sessions as well.
        check(&[kin(20, 50)], &[seen(kin(50, 60), 1, 1), seen(kin(51, 60), 0, 0)], &[]);
    }

    #[test]
    fn a_name_cannot_look_like_numbers() {
        let stat = b"7 (a) S 1 1 1 (b) R 3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let parsed = parse(Pid::from_raw(7).unwrap(), stat);
        assert_eq!(parsed, Some(seen(kin(7, 777), 3, 5)));
        assert_eq!(parse(Pid::from_raw(7).unwrap(), b"7 (a) S 1"), None);
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        let own = look(rustix::process::getpid()).unwrap();
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        assert_eq!((own.process.pid, own.parent), (rustix::process::getpid(), parent));
        assert!(own.process.began > 0);
    }
}
