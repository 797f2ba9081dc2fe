//! The program that starts the container again: this very one in another role. It ends when it has
//! done so, and what it needs of memory meanwhile goes with it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;
use sys::Errno;
use sys::failpoint::{Point, pass};
use sys::process::{Child, CloneArgs, Exit, clone3};

use super::Guard;
use crate::machine::{Event, Reviver};
use crate::role::{self, Again};

/// How the program ends that could neither start the container nor write down why: it is tried again
/// later, as if it had been killed. `EX_TEMPFAIL` of sysexits(3).
pub const TRY_AGAIN: u8 = 75;

impl Guard {
    /// Starts it, or says that it could not be.
    pub(super) fn revive(&mut self, arguments: &[String]) {
        pass(Point::ShimRevive);
        match self.start_reviver(arguments) {
            Ok(child) => self.reviver = Some(child),
            // Out of processes or memory, perhaps not for long.
            Err(_) => self.events.push_back(Event::ReviverEnded(Reviver::Killed)),
        }
    }

    fn start_reviver(&self, arguments: &[String]) -> Result<Child, Errno> {
        let again = Again::new(arguments, self.origin.as_deref());
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())?;
        let oom_score = self.oom_score;
        // There is one thread here, so the child may do what it likes.
        clone3(&CloneArgs::default(), || {
            role::lose_protection(oom_score);
            // Whatever keeps it from that, a later one may come further.
            let _ = detach(&null).map(|()| again.execute());
            i32::from(TRY_AGAIN)
        })
    }

    /// Whether this was it that ended.
    pub(super) fn look_for_reviver(&mut self, pid: Pid, exit: Exit) {
        if self.reviver.take_if(|child| child.pid == pid).is_none() {
            return;
        }
        let how = match exit {
            Exit::Code(code) if code == TRY_AGAIN => Reviver::Killed,
            Exit::Code(_) => Reviver::Done,
            Exit::Signal(_) => Reviver::Killed,
        };
        self.events.push_back(Event::ReviverEnded(how));
    }

    /// Its end is no event any more: somebody else answers for what it was to do.
    pub(super) fn end_reviver(&mut self) {
        if let Some(child) = self.reviver.take() {
            let _ = sys::process::pidfd_send_signal(&child.pidfd, sys::signal::Signal::KILL);
        }
    }
}

/// In the child: a session of its own, and nothing of ours on its streams.
fn detach(null: &OwnedFd) -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)
}
