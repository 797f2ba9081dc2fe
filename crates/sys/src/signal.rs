//! Signals: numbers, dispositions and signalfd.
//!
//! Sending is in [`crate::process`]; the names that users write are `model`'s.
#![expect(unsafe_code, reason = "sigaction, sigprocmask and signalfd have no safe wrapper")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, check};

/// A signal number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

const MAX: u8 = 64;

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// Cannot be caught.
    pub const KILL: Self = Self(9);
    /// A write to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// The polite request to end.
    pub const TERM: Self = Self(15);
    /// A child has changed state.
    pub const CHLD: Self = Self(17);
    /// Continue if stopped.
    pub const CONT: Self = Self(18);
    /// Stand still; cannot be caught.
    pub const STOP: Self = Self(19);
    /// The terminal has a new size.
    pub const WINCH: Self = Self(28);

    /// The signal of this number, if it is one (1 to 64).
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=MAX).contains(n)).map(Self)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Gives every signal its default action and unblocks all: what a program expects to start with.
///
/// `execve` keeps ignored signals ignored (Rust's start code ignores SIGPIPE) and keeps the mask.
/// This also resets the two that the C library keeps for itself, so the process must not use it for
/// threads any more: it is for a child about to execute a program.
pub fn reset_all() {
    // Every field zero: the default action, no flags, an empty mask.
    let default = [0_u64; 4];
    let mask_size = size_of::<u64>();
    for signal in 1..=i32::from(MAX) {
        // SAFETY: the kernel's `struct sigaction` is four words on the architectures that we build
        // for and is only read; SIG_DFL is valid for every signal. KILL and STOP give EINVAL and
        // are at their default already.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                mask_size,
            )
        };
    }
    unblock_all();
}

/// Lets every signal through to this thread.
pub fn unblock_all() {
    let empty = set_of(&[]);
    // SAFETY: `empty` is an initialised set that is only read; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut()) };
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the whole set that the pointer names.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set was initialised above, and the number is in the valid range.
        unsafe { libc::sigaddset(set.as_mut_ptr(), i32::from(signal.number())) };
    }
    // SAFETY: initialised by `sigemptyset`.
    unsafe { set.assume_init() }
}

/// A descriptor that delivers signals as reads. They stay blocked for this thread.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// One delivered signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Which.
    pub signal: Signal,
    /// The process that sent it, 0 for the kernel or another pid namespace.
    pub pid: u32,
}

impl SignalFd {
    /// Blocks these signals for the calling thread and opens a non-blocking descriptor for them.
    pub fn block(signals: &[Signal]) -> Result<Self, Errno> {
        let set = set_of(signals);
        // SAFETY: `set` is initialised and only read; the old mask is not asked for.
        let blocked =
            unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        check(blocked.into())?;
        // SAFETY: `set` is initialised and only read.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        check(fd.into())?;
        // SAFETY: the call has just returned this new descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, if one is pending.
    pub fn next(&self) -> Result<Option<Delivered>, Errno> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is writable for `size` bytes.
        let read = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match check(libc::c_long::try_from(read).unwrap_or(-1)) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        // SAFETY: it was zeroed, and every bit pattern is valid for its integer fields.
        let info = unsafe { info.assume_init() };
        let number = i32::try_from(info.ssi_signo).unwrap_or(0);
        Ok(Signal::from_number(number).map(|signal| Delivered { signal, pid: info.ssi_pid }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{CloneArgs, Exit, clone3, wait};

    #[test]
    fn only_1_to_64_are_signals() {
        let numbers = [0, 1, 64, 65, -1].map(|number| Signal::from_number(number).is_some());
        assert_eq!(numbers, [false, true, true, false, false]);
    }

    #[test]
    fn a_reset_undoes_ignoring_and_blocking() {
        let child = clone3(&CloneArgs::default(), || {
            let Ok(fd) = SignalFd::block(&[Signal::TERM]) else { return 1 };
            drop(fd);
            reset_all();
            let pid = rustix::process::getpid();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::PIPE);
            2
        })
        .unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::PIPE)));
    }

    #[test]
    fn a_signal_is_read_from_its_descriptor() {
        let child = clone3(&CloneArgs::default(), || {
            let Ok(fd) = SignalFd::block(&[Signal::TERM]) else { return 1 };
            if fd.next() != Ok(None) {
                return 2;
            }
            let pid = rustix::process::getpid();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let sender = pid.as_raw_nonzero().get().unsigned_abs();
            let expected = Delivered { signal: Signal::TERM, pid: sender };
            if fd.next() == Ok(Some(expected)) { 0 } else { 3 }
        })
        .unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(0)));
    }
}
