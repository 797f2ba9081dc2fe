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

/// Which program starts a container again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// What lies by now where this program was executed from, if that can be trusted.
    Newest,
    /// This very one: the other was at it last, and did nothing.
    Own,
}

/// The program while it runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// This very one, or another.
    image: Image,
}

impl Guard {
    /// Starts it, or says that it could not be.
    pub(super) fn revive(&mut self, arguments: &[String]) {
        pass(Point::ShimRevive);
        match self.start_reviver(arguments) {
            Ok(running) => self.reviver = Some(running),
            // Out of processes or memory, perhaps not for long.
            Err(_) => self.events.push_back(Event::ReviverEnded(Reviver::Killed)),
        }
    }

    fn start_reviver(&self, arguments: &[String]) -> Result<Running, Errno> {
        let origin = self.origin.as_deref().filter(|_| self.reviver_image == Image::Newest);
        let again = Again::new(arguments, origin);
        let image = if again.is_another() { Image::Newest } else { Image::Own };
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())?;
        let oom_score = self.oom_score;
        // There is one thread here, so the child may do what it likes.
        let child = clone3(&CloneArgs::default(), || {
            role::lose_protection(oom_score);
            // Whatever keeps it from that, a later one may come further.
            let _ = detach(&null).map(|()| again.execute());
            i32::from(TRY_AGAIN)
        })?;
        Ok(Running { child, image })
    }

    /// Whether this was it that ended.
    pub(super) fn look_for_reviver(&mut self, pid: Pid, exit: Exit) {
        let Some(ended) = self.reviver.take_if(|running| running.child.pid == pid) else { return };
        let how = outcome(ended.image, exit);
        // Each has its turn: whether the other one is whole, or this one too old, is not known here.
        self.reviver_image = match (how, ended.image) {
            (Reviver::Killed, Image::Newest) => Image::Own,
            (Reviver::Killed, Image::Own) | (Reviver::Done, _) => Image::Newest,
        };
        self.events.push_back(Event::ReviverEnded(how));
    }

    /// Its end is no event any more: somebody else answers for what it was to do.
    pub(super) fn end_reviver(&mut self) {
        if let Some(running) = self.reviver.take() {
            let kill = sys::signal::Signal::KILL;
            let _ = sys::process::pidfd_send_signal(&running.child.pidfd, kill);
        }
    }
}

/// What the end of such a program means. One that fails in any way but to ask for another try has said why,
/// if it is this very one; another may be no dhow at all.
fn outcome(image: Image, exit: Exit) -> Reviver {
    match (image, exit) {
        (_, Exit::Code(TRY_AGAIN) | Exit::Signal(_)) => Reviver::Killed,
        (_, Exit::Code(0)) | (Image::Own, Exit::Code(_)) => Reviver::Done,
        (Image::Newest, Exit::Code(_)) => Reviver::Killed,
    }
}

/// In the child: a session of its own, and nothing of ours on its streams.
fn detach(null: &OwnedFd) -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::signal::Signal;

    #[test]
    fn only_ones_own_word_ends_a_policy() {
        for (image, exit, how) in [
            (Image::Own, Exit::Code(0), Reviver::Done),
            (Image::Own, Exit::Code(101), Reviver::Done),
            (Image::Own, Exit::Code(TRY_AGAIN), Reviver::Killed),
            (Image::Own, Exit::Signal(Signal::KILL), Reviver::Killed),
            (Image::Newest, Exit::Code(0), Reviver::Done),
            (Image::Newest, Exit::Code(TRY_AGAIN), Reviver::Killed),
            (Image::Newest, Exit::Code(127), Reviver::Killed),
            (Image::Newest, Exit::Signal(Signal::TERM), Reviver::Killed),
        ] {
            assert_eq!(outcome(image, exit), how, "{image:?} {exit:?}");
        }
    }
}
