//! Signals for everything in a cgroup, and killing it so that nothing is left, whatever it does.
//!
//! v2 kills all at once (`cgroup.kill`, 5.14). On v1 nothing may be born any more, then all that is
//! there is killed by pidfd: a pid read from a list may name another process by the time it is used,
//! a pidfd checked against a second reading of the list does not.

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Access, AtFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::Errno;
use sys::process::pidfd_send_signal;
use sys::signal::Signal;

use crate::detect::{Controller, Version};
use crate::error::CgroupError;
use crate::file::{self, Deadline};
use crate::group::Cgroup;

/// A process that hangs in the kernel does not die. Nobody waits longer for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many are killed at a time: within the usual limit of descriptors.
const BATCH: usize = 256;

/// After this long without a death, the list is read again.
const SLICE: Duration = Duration::from_millis(100);

const PIDS_MAX: &str = "pids.max";
const PIDS: (Version, Option<Controller>) = (Version::V1, Some(Controller::Pids));
const FREEZER: (Version, Option<Controller>) = (Version::V1, Some(Controller::Freezer));

/// What keeps a v1 cgroup from growing while it is killed.
enum Brake {
    /// No task may be started; holds the limit to go back to.
    NoTasks(String),
    /// All are frozen while they are listed and killed, again and again until none is left.
    Freezing,
    /// The host has neither controller.
    None,
}

impl Cgroup {
    /// Kills every process in the cgroup and below it, frozen or not, and returns when all are dead.
    /// Their parents have yet to reap them, and must not be who calls this: the first process of a
    /// pid namespace dies when all others in it are reaped, and newer kernels (seen on 7.2) keep it
    /// in its cgroup until then. Nobody is in one that is gone, as a scope is that systemd has removed with
    /// its last process.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.kill_whoever_is_there() {
            Err(_) if self.is_gone() => Ok(()),
            killed => killed,
        }
    }

    /// Of a group that nothing tracks nobody knows: it is not taken for gone.
    fn is_gone(&self) -> bool {
        let has_none = |(root, _): (BorrowedFd<'_>, &Path)| {
            let found = rustix::fs::accessat(root, &*self.path, Access::EXISTS, AtFlags::empty());
            found == Err(Errno::NOENT)
        };
        self.tracking().is_some_and(has_none)
    }

    fn kill_whoever_is_there(&self) -> Result<(), CgroupError> {
        let deadline = Deadline::after(PATIENCE);
        self.start_kill()?;
        if let Some(dir) = self.clone_into() {
            let empty = file::wait_for_line(dir, "cgroup.events", "populated 0", deadline);
            let empty = empty.map_err(|source| CgroupError::Wait {
                path: self.file_path(Version::V2, None, "cgroup.events"),
                source,
            })?;
            if !empty {
                return Err(self.unkillable(self.pids()?));
            }
        }
        match self.legacy_tracking() {
            Some(legacy) => self.wait_for_deaths(legacy, deadline),
            None => Ok(()),
        }
    }

    /// Sends SIGKILL to every process in the cgroup and below it, frozen or not, and leaves none
    /// out; they die a moment later.
    pub fn start_kill(&self) -> Result<(), CgroupError> {
        if self.clone_into().is_some() {
            self.write((Version::V2, None), "cgroup.kill", "1")?;
        }
        // On a hybrid host there may be some who entered the v1 side only.
        let Some((root, mount)) = self.legacy_tracking() else { return Ok(()) };
        if self.pids_in(root, mount)?.is_empty() {
            return Ok(());
        }
        let brake = self.brake()?;
        let killed = self.kill_listed((root, mount), &brake);
        self.release(&brake)?;
        killed
    }

    /// Sends a signal to every process in the cgroup and below it; all get it, whatever becomes of one.
    /// Whoever is born meanwhile may not, but for SIGKILL ([`Cgroup::start_kill`]), from which nobody
    /// gets away.
    ///
    /// # Errors
    /// The list cannot be read, or the first process that could not be signalled.
    pub fn signal(&self, signal: Signal) -> Result<(), CgroupError> {
        if signal == Signal::KILL {
            return self.start_kill();
        }
        let Some(tracking @ (root, mount)) = self.tracking() else { return Ok(()) };
        let listed = self.pids_in(root, mount)?;
        let sent = listed.chunks(BATCH).map(|batch| self.signal_batch(tracking, batch, signal));
        sent.fold(Ok(()), Result::and)
    }

    /// Pidfds of those of these processes that are in the cgroup or below it: none is of a later process
    /// with the same number.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn hold(&self, pids: &[Pid]) -> Result<Vec<(Pid, OwnedFd)>, CgroupError> {
        still_listed(pids, || self.pids())
    }

    fn unkillable(&self, pids: Vec<Pid>) -> CgroupError {
        let pids = pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        CgroupError::Unkillable { path: self.place(), pids }
    }

    fn brake(&self) -> Result<Brake, CgroupError> {
        if self.hierarchies.legacy_of(Controller::Pids).is_some() {
            let limit = self.read(PIDS.0, PIDS.1, PIDS_MAX)?;
            self.write(PIDS, PIDS_MAX, "0")?;
            return Ok(Brake::NoTasks(limit.trim().to_owned()));
        }
        if self.hierarchies.legacy_of(Controller::Freezer).is_some() {
            return Ok(Brake::Freezing);
        }
        Ok(Brake::None)
    }

    fn release(&self, brake: &Brake) -> Result<(), CgroupError> {
        match brake {
            Brake::NoTasks(limit) => self.write(PIDS, PIDS_MAX, limit),
            Brake::Freezing => self.write(FREEZER, "freezer.state", "THAWED"),
            Brake::None => Ok(()),
        }
    }

    /// Kills all that are listed, until a list names nobody new: whoever was being born when the
    /// brake was put on is in the next one. Who is to die starts nobody any more.
    fn kill_listed(
        &self,
        (root, mount): (BorrowedFd<'_>, &Path),
        brake: &Brake,
    ) -> Result<(), CgroupError> {
        let deadline = Deadline::after(PATIENCE);
        let mut killed = HashSet::new();
        loop {
            if matches!(brake, Brake::Freezing) {
                self.write(FREEZER, "freezer.state", "FROZEN")?;
            }
            let mut listed = self.pids_in(root, mount)?;
            listed.retain(|pid| !killed.contains(pid));
            for batch in listed.chunks(BATCH) {
                self.signal_batch((root, mount), batch, Signal::KILL)?;
            }
            // What v1 has frozen takes the signal when it goes on, whoever froze it.
            if self.hierarchies.legacy_of(Controller::Freezer).is_some() {
                self.write(FREEZER, "freezer.state", "THAWED")?;
            }
            if listed.is_empty() {
                return Ok(());
            }
            if deadline.is_over() {
                return Err(self.unkillable(listed));
            }
            killed.extend(listed);
        }
    }

    fn wait_for_deaths(
        &self,
        (root, mount): (BorrowedFd<'_>, &Path),
        deadline: Deadline,
    ) -> Result<(), CgroupError> {
        loop {
            let listed = self.pids_in(root, mount)?;
            if listed.is_empty() {
                return Ok(());
            }
            if deadline.is_over() {
                return Err(self.unkillable(listed));
            }
            wait_for(&hold(&listed[..listed.len().min(BATCH)]), deadline)
                .map_err(|source| CgroupError::Wait { path: self.place(), source })?;
            // Without a brake somebody may have got away.
            self.start_kill()?;
        }
    }

    fn signal_batch(
        &self,
        (root, mount): (BorrowedFd<'_>, &Path),
        batch: &[Pid],
        signal: Signal,
    ) -> Result<(), CgroupError> {
        let members = still_listed(batch, || self.pids_in(root, mount))?;
        let sent = members.iter().map(|(pid, pidfd)| self.signal_one(*pid, pidfd, signal));
        sent.fold(Ok(()), Result::and)
    }

    fn signal_one(&self, pid: Pid, pidfd: &OwnedFd, signal: Signal) -> Result<(), CgroupError> {
        match pidfd_send_signal(pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => {
                let (number, pid) = (signal.number(), pid.as_raw_nonzero().get());
                Err(CgroupError::Signal { number, pid, path: self.place(), source })
            }
        }
    }
}

/// Pidfds of those whom a second look at the list, when they are open, still finds: a number that is in
/// it then is of the process that was opened, which has not ended yet.
fn still_listed(
    listed: &[Pid],
    look: impl FnOnce() -> Result<Vec<Pid>, CgroupError>,
) -> Result<Vec<(Pid, OwnedFd)>, CgroupError> {
    let mut held = hold(listed);
    let still: HashSet<Pid> = look()?.into_iter().collect();
    held.retain(|(pid, _)| still.contains(pid));
    Ok(held)
}

/// Pidfds of those that still exist.
pub(crate) fn hold(pids: &[Pid]) -> Vec<(Pid, OwnedFd)> {
    let open = |pid: &Pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?));
    pids.iter().filter_map(open).collect()
}

/// Waits until all are dead, or for [`SLICE`] without a death.
pub(crate) fn wait_for(held: &[(Pid, OwnedFd)], deadline: Deadline) -> Result<(), Errno> {
    let mut waiting: Vec<&OwnedFd> = held.iter().map(|(_, pidfd)| pidfd).collect();
    while !waiting.is_empty() && !deadline.is_over() {
        let before = waiting.len();
        let mut fds: Vec<PollFd<'_>> =
            waiting.iter().map(|pidfd| PollFd::new(*pidfd, PollFlags::IN)).collect();
        deadline.poll(&mut fds, SLICE)?;
        let alive: Vec<bool> = fds.iter().map(|fd| fd.revents().is_empty()).collect();
        let mut alive = alive.into_iter();
        waiting.retain(|_| alive.next().unwrap_or(false));
        if waiting.len() == before {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use sys::process::{Child, CloneArgs, Exit, clone3, wait};

    fn idle() -> Child {
        let wait = || {
            loop {
                let _ = rustix::event::poll(&mut [], None);
            }
        };
        clone3(&CloneArgs::default(), wait).unwrap()
    }

    #[test]
    fn a_group_that_nothing_tracks_is_not_gone() {
        let hierarchies = crate::Hierarchies::none();
        let group = |path: &str| Cgroup {
            hierarchies: hierarchies.clone(),
            path: path.to_owned(),
            unified: None,
        };
        assert!(!group("nowhere").is_gone());
    }

    #[test]
    fn a_number_is_whose_it_is_at_the_second_look() {
        let (member, left) = (idle(), idle());
        // One has left the cgroup meanwhile: its number may have been another's all along.
        let held = still_listed(&[member.pid, left.pid], || Ok(vec![member.pid])).unwrap();
        assert_eq!(held.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [member.pid]);
        // One has ended, and a new process of the cgroup has its number: what is held is the old one.
        let held = still_listed(&[left.pid], || {
            pidfd_send_signal(&left.pidfd, Signal::KILL).unwrap();
            wait(&left.pidfd).unwrap();
            Ok(vec![left.pid])
        });
        let held = held.unwrap();
        assert_eq!(pidfd_send_signal(&held[0].1, Signal::TERM), Err(Errno::SRCH));
        pidfd_send_signal(&member.pidfd, Signal::KILL).unwrap();
        assert_eq!(wait(&member.pidfd), Ok(Exit::Signal(Signal::KILL)));
    }
}
