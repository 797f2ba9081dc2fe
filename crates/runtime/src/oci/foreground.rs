//! Staying with a process that was not left alone: its terminal, its signals, its end.
//!
//! One loop over the process, the signals of this one, and the two directions of a terminal. Nothing is
//! read that cannot be passed on yet, so neither side can fill this process's memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::termios::{OptionalActions, OutputModes, Termios};
use sys::Errno;
use sys::process::{Exit, pidfd_send_signal};
use sys::pty::Size;
use sys::signal::{Signal, SignalFd};

use super::fault::Fault;

/// The most that is on its way in one direction.
const CHUNK: usize = 16 << 10;

/// What is not passed on: nobody can catch it, it is about this process, or it is a fault of its own.
const OWN: [i32; 12] = [4, 5, 6, 7, 8, 9, 11, 13, 17, 19, 23, 31];

/// The window of a terminal has another size.
const WINCH: u8 = 28;

/// Listens to signals from before the process is made, so that none is lost.
pub(super) fn listen() -> Result<SignalFd, Fault> {
    let all: Vec<Signal> =
        (1..=64).filter(|number| !OWN.contains(number)).filter_map(Signal::from_number).collect();
    SignalFd::block(&all).map_err(|errno| Fault::Call("listen to signals", errno))
}

/// Has the container's terminal end its lines as the program does: where they are shown is a terminal that adds the
/// carriage return, or a file that wants none. As runc has it. A terminal that cannot be set is good enough.
pub(super) fn pass_lines_as_they_are(master: BorrowedFd<'_>) {
    if let Ok(mut modes) = rustix::termios::tcgetattr(master) {
        modes.output_modes.remove(OutputModes::ONLCR);
        let _ = rustix::termios::tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// Stays until it ends, and reaps it.
pub(super) fn stay(
    process: &OwnedFd,
    master: Option<OwnedFd>,
    signals: &SignalFd,
) -> Result<Exit, Fault> {
    let failed = |errno| Fault::Call("stay with the process", errno);
    let terminal = master.map(Terminal::open).transpose().map_err(failed)?;
    Loop { process, terminal, signals }.run().map_err(failed)
}

/// Our terminal and the container's.
struct Terminal {
    master: OwnedFd,
    /// How ours was, if we have one.
    before: Option<Termios>,
    to_process: Vec<u8>,
    to_us: Vec<u8>,
    /// Nothing more comes from our side.
    is_silent: bool,
    /// No process has the container's side open.
    is_left: bool,
}

impl Terminal {
    fn open(master: OwnedFd) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let stdin = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            raw.output_modes.insert(OutputModes::OPOST);
            rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw)?;
        }
        let (to_process, to_us) = (Vec::new(), Vec::new());
        let terminal = Self { master, before, to_process, to_us, is_silent: false, is_left: false };
        terminal.resize();
        Ok(terminal)
    }

    /// A size that cannot be had is none to pass on.
    fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            let size = Size { rows: size.ws_row, columns: size.ws_col };
            let _ = sys::pty::resize(&self.master, size);
        }
    }

    /// What each of the three wants to be woken for: our input, our output, the master.
    fn interests(&self) -> [PollFlags; 3] {
        let when = |wanted: bool, flag| if wanted { flag } else { PollFlags::empty() };
        let reads = !self.is_silent && self.to_process.is_empty();
        [
            when(reads, PollFlags::IN),
            when(!self.to_us.is_empty(), PollFlags::OUT),
            when(self.to_us.is_empty() && !self.is_left, PollFlags::IN)
                | when(!self.to_process.is_empty() && !self.is_left, PollFlags::OUT),
        ]
    }

    /// Moves what can be moved.
    fn carry(&mut self, ready: [PollFlags; 3]) -> Result<(), Errno> {
        let hung = PollFlags::HUP | PollFlags::ERR;
        if ready[0].intersects(PollFlags::IN | hung) && !self.is_silent {
            self.is_silent = fill(&mut self.to_process, rustix::stdio::stdin())?;
        }
        if ready[2].intersects(PollFlags::IN | hung) && self.to_us.is_empty() {
            self.is_left = fill(&mut self.to_us, self.master.as_fd())?;
        }
        drain(&mut self.to_process, self.master.as_fd());
        if ready[1].intersects(PollFlags::OUT | hung) {
            drain(&mut self.to_us, rustix::stdio::stdout());
        }
        Ok(())
    }

    /// What the process has said last.
    fn rest(&mut self) -> Result<(), Errno> {
        loop {
            while !self.to_us.is_empty() {
                let mut ready = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::OUT)];
                retry_on_intr(|| poll(&mut ready, None))?;
                drain(&mut self.to_us, rustix::stdio::stdout());
            }
            fill(&mut self.to_us, self.master.as_fd())?;
            if self.to_us.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ =
                rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Reads one piece. Returns whether there will be no more.
fn fill(buffer: &mut Vec<u8>, from: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut piece = [0; CHUNK];
    match retry_on_intr(|| rustix::io::read(from, &mut piece)) {
        Ok(0) | Err(Errno::IO) => Ok(true),
        Ok(len) => {
            buffer.extend_from_slice(&piece[..len]);
            Ok(false)
        }
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Writes what is surely taken without a wait: a pipe that says it is ready has room for so much. What
/// nobody can be given is gone.
fn drain(buffer: &mut Vec<u8>, to: BorrowedFd<'_>) {
    const ROOM: usize = 4096;
    if buffer.is_empty() {
        return;
    }
    let piece = &buffer[..buffer.len().min(ROOM)];
    match retry_on_intr(|| rustix::io::write(to, piece)) {
        Ok(len) => drop(buffer.drain(..len)),
        Err(Errno::AGAIN) => {}
        Err(_) => buffer.clear(),
    }
}

struct Loop<'a> {
    process: &'a OwnedFd,
    terminal: Option<Terminal>,
    signals: &'a SignalFd,
}

impl Loop<'_> {
    fn run(mut self) -> Result<Exit, Errno> {
        loop {
            let ready = self.wait()?;
            if ready[1].intersects(PollFlags::IN) {
                self.pass_signals()?;
            }
            if let Some(terminal) = &mut self.terminal {
                terminal.carry([ready[2], ready[3], ready[4]])?;
            }
            if ready[0].intersects(PollFlags::IN) {
                self.terminal.as_mut().map_or(Ok(()), Terminal::rest)?;
                return sys::process::wait(self.process);
            }
        }
    }

    /// What has happened to the process, the signals, our input, our output, the master.
    fn wait(&self) -> Result<[PollFlags; 5], Errno> {
        let mut wanted = vec![
            (0, self.process.as_fd(), PollFlags::IN),
            (1, self.signals.as_fd(), PollFlags::IN),
        ];
        if let Some(terminal) = &self.terminal {
            let [input, output, master] = terminal.interests();
            wanted.push((2, rustix::stdio::stdin(), input));
            wanted.push((3, rustix::stdio::stdout(), output));
            wanted.push((4, terminal.master.as_fd(), master));
        }
        // The end of a stream wakes also those who want nothing of it.
        wanted.retain(|(_, _, flags)| !flags.is_empty());
        let mut all: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        retry_on_intr(|| poll(&mut all, None))?;
        let mut ready = [PollFlags::empty(); 5];
        for ((slot, _, _), polled) in wanted.iter().zip(&all) {
            ready[*slot] = polled.revents();
        }
        Ok(ready)
    }

    fn pass_signals(&self) -> Result<(), Errno> {
        while let Some(delivered) = self.signals.next()? {
            if let (WINCH, Some(terminal)) = (delivered.signal.number(), &self.terminal) {
                terminal.resize();
                continue;
            }
            match pidfd_send_signal(self.process, delivered.signal) {
                Err(Errno::SRCH) => {}
                sent => sent?,
            }
        }
        Ok(())
    }
}
