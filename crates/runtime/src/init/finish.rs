//! The last steps: who the process is, where it is, and the program.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::net::SocketFlags;
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, CpuSet};
use sys::Errno;
use sys::signal::SignalFd;

use super::{Asks, Done, Fault, Filter, Init, Then, place};
use crate::message;
use crate::step::{Capabilities, Conduct, Groups, Identity};

/// What asks a process that waits to be started to end.
const ENDING: [sys::signal::Signal; 4] = [
    sys::signal::Signal::HUP,
    sys::signal::Signal::INT,
    sys::signal::Signal::QUIT,
    sys::signal::Signal::TERM,
];

impl Init<'_> {
    /// Goes to a directory inside of the root. `/proc/self/fd/N`, which could lead to a directory
    /// of the host (CVE-2024-21626), is a magic link and refused by the kernel (`ELOOP`).
    pub(super) fn change_directory(&self, path: &CStr) -> Done {
        if self.is_there {
            return Ok(());
        }
        let directory = place::open_directory(self.root()?, path)?;
        Ok(rustix::process::fchdir(directory)?)
    }

    /// The same by somebody who may go where the process's user may not; and the user may where a server
    /// knows no root.
    pub(super) fn approach_directory(&mut self, path: &CStr) -> Done {
        match self.change_directory(path) {
            Ok(()) => self.is_there = true,
            Err(fault) if fault.errno == Errno::ACCESS => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Finds the program as the user who will run it, by the rules of Go's `exec.LookPath`, whose
    /// words Docker's clients know: a search skips what it cannot use, a path tells why.
    pub(super) fn find_program(&mut self) -> Done {
        let mut reason = Errno::NOENT;
        for (index, path) in self.hands.candidates.iter().enumerate() {
            match check_executable(path) {
                Ok(()) => {
                    self.program = index;
                    return Ok(());
                }
                Err(errno) => reason = errno,
            }
        }
        Err(if self.hands.in_path { Errno::NOENT } else { reason }.into())
    }

    /// Tells the parent that all is set up, with the master of the terminal, and waits for its go.
    pub(super) fn await_go(&mut self) -> Done {
        let terminal = self.terminal.take();
        let master = terminal.as_ref().map(|pty| pty.master.as_fd());
        self.ask(&message::READY, master.as_slice())
    }

    /// Says something to the parent, and waits for its go.
    pub(super) fn ask(&self, said: &[u8], fds: &[BorrowedFd<'_>]) -> Done {
        let channel = self.hands.channel;
        let sent = sys::fdpass::send(channel, said, fds);
        sent.map_err(|error| error.errno().unwrap_or(Errno::IO))?;
        let mut word = [0_u8; 1];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(channel, &mut word))?;
        // The end of the stream: the parent is gone, or has thought better of it.
        if read == 1 && word[0] == message::GO { Ok(()) } else { Err(Errno::PIPE.into()) }
    }

    /// Tells the parent that it may go, and waits for the visitor who says start. One who comes and
    /// leaves without a word, killed perhaps, is not heeded. Whoever asks it to end is: the first process
    /// of a pid namespace has no default actions, so it looks for itself.
    pub(super) fn await_start(&mut self, first: u32) -> Result<Then, Fault> {
        let door = self.hands.door.ok_or(Errno::BADF)?;
        // From here on they wait until they are looked at.
        drop(SignalFd::block(&ENDING)?);
        sys::fdpass::send(self.hands.channel, &message::READY, &[])
            .map_err(|error| error.errno().unwrap_or(Errno::IO))?;
        // It may wait for long, in a control group and beside processes that others watch over: what only the way
        // here needed is not kept open, nor what the caller had open.
        sys::process::close_from_but(first, door)?;
        let signals = SignalFd::block(&ENDING)?;
        let mut visitor: Option<OwnedFd> = None;
        loop {
            let heard = visitor.as_ref().map_or(door, AsFd::as_fd);
            let mut both =
                [PollFd::new(&heard, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut both, None))?;
            let is_ready = !both[0].revents().is_empty();
            let goes = match visitor.take() {
                Some(here) if is_ready => {
                    let mut word = [0_u8; 1];
                    let read = rustix::io::retry_on_intr(|| rustix::io::read(&here, &mut word));
                    (read == Ok(1) && word[0] == message::GO).then_some(here)
                }
                None if is_ready => {
                    let accept = || rustix::net::accept_with(door, SocketFlags::CLOEXEC);
                    visitor = Some(rustix::io::retry_on_intr(accept)?);
                    None
                }
                still => {
                    visitor = still;
                    None
                }
            };
            // Last of all, since what is asked for until then would be lost by the signals' return.
            if let Some(asked) = signals.next()? {
                return Ok(Then::End(128 + i32::from(asked.signal.number())));
            }
            if goes.is_some() {
                self.visitor = goes;
                sys::signal::unblock_all();
                return Ok(Then::GoOn);
            }
        }
    }

    pub(super) fn load_filter(&self) -> Done {
        let Filter { program, flags, asks } = self.hands.filter.ok_or(Errno::BADF)?;
        if asks == Asks::Nobody {
            return Ok(sys::seccomp::load(program, flags)?);
        }
        let to = self.visitor.as_ref().map_or(self.hands.channel, AsFd::as_fd);
        let take = |listener: BorrowedFd<'_>| {
            let sent = sys::fdpass::send(to, &message::LISTENER, &[listener]);
            sent.map(drop).map_err(|error| error.errno().unwrap_or(Errno::IO))
        };
        Ok(sys::seccomp::load_asking(program, flags, &take)?)
    }

    /// Returns only if it failed.
    pub(super) fn execute(&self) -> Errno {
        let hands = self.hands;
        match hands.candidates.get(self.program) {
            Some(path) => sys::process::execve(path, hands.argv, hands.env),
            None => Errno::NOENT,
        }
    }
}

fn check_executable(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// One bit of a mask after the other.
fn each(mask: u64, mut act: impl FnMut(CapabilitySet) -> Result<(), Errno>) -> Done {
    let mut rest = mask;
    while rest != 0 {
        let lowest = rest & rest.wrapping_neg();
        act(CapabilitySet::from_bits_retain(lowest))?;
        rest ^= lowest;
    }
    Ok(())
}

pub(super) fn drop_bounding(mask: u64) -> Done {
    each(mask, rustix::thread::remove_capability_from_bounding_set)
}

pub(super) fn raise_ambient(mask: u64) -> Done {
    each(mask, |one| rustix::thread::configure_capability_in_ambient_set(one, true))
}

pub(super) fn set_capabilities(sets: &Capabilities) -> Done {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Groups first: setting them needs the capabilities of root. The capabilities outlive the change
/// of user, so that the next step can choose among them.
pub(super) fn become_user(identity: &Identity) -> Done {
    rustix::thread::set_keep_capabilities(true)?;
    if let Some(groups) = &identity.groups {
        rustix::thread::set_thread_groups(groups)?;
    }
    let (uid, gid) = (identity.uid, identity.gid);
    rustix::thread::set_thread_res_gid(Some(gid), Some(gid), Some(gid))?;
    rustix::thread::set_thread_res_uid(Some(uid), Some(uid), Some(uid))?;
    Ok(rustix::thread::set_keep_capabilities(false)?)
}

pub(super) fn conduct(conduct: &Conduct) -> Done {
    Ok(match conduct {
        Conduct::Personality(domain) => sys::task::set_personality(*domain),
        Conduct::MemoryPolicy(policy) => sys::task::set_memory_policy(policy.mode, &policy.nodes),
        Conduct::Scheduling(how) => sys::task::set_scheduling(how),
        Conduct::IoPriority(value) => sys::task::set_io_priority(*value),
        Conduct::Affinity(processors) => stay_on(processors),
        Conduct::AnyProcessor => stay_on_any(),
    }?)
}

/// Runs on these processors alone from now on.
pub(crate) fn stay_on(processors: &[usize]) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    rustix::thread::sched_setaffinity(None, &set)
}

/// Runs wherever its control group may.
fn stay_on_any() -> Result<(), Errno> {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| set.set(processor));
    rustix::thread::sched_setaffinity(None, &set)
}

/// The namespace's root: whoever enters a user namespace has all rights in it, and an id that does not
/// exist there, which nothing could belong to.
pub(super) fn become_root(groups: Groups) -> Done {
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    if groups == Groups::Dropped {
        rustix::thread::set_thread_groups(&[])?;
    }
    rustix::thread::set_thread_res_gid(Some(gid), Some(gid), Some(gid))?;
    Ok(rustix::thread::set_thread_res_uid(Some(uid), Some(uid), Some(uid))?)
}

/// After the change of user, which takes the signal back. A parent that is gone already closes the
/// channel, which ends the wait for its go.
pub(super) fn die_with_parent() -> Done {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}
