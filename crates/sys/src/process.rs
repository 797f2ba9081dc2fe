//! Processes: `clone3`, pidfds, waiting, `execve`.
//!
//! Owns what `rustix` has no safe call for. Credentials, capabilities, prctl, setns by descriptor
//! and rlimits are in `rustix::thread` and `rustix::process`, whose calls act on the one thread.
#![expect(unsafe_code, reason = "clone3, execve and pidfd_send_signal have no safe wrapper")]

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions};

use crate::signal::Signal;
use crate::{Errno, check};

/// A set of namespace kinds, as `clone3`, `unshare` and `setns` take them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Namespaces(u32);

impl Namespaces {
    /// No namespace.
    pub const NONE: Self = Self(0);
    /// `CLONE_NEWTIME`; `clone3` and `setns` only.
    pub const TIME: Self = Self(0x80);
    /// `CLONE_NEWNS`.
    pub const MOUNT: Self = Self(0x0002_0000);
    /// `CLONE_NEWCGROUP`.
    pub const CGROUP: Self = Self(0x0200_0000);
    /// `CLONE_NEWUTS`.
    pub const UTS: Self = Self(0x0400_0000);
    /// `CLONE_NEWIPC`.
    pub const IPC: Self = Self(0x0800_0000);
    /// `CLONE_NEWUSER`.
    pub const USER: Self = Self(0x1000_0000);
    /// `CLONE_NEWPID`.
    pub const PID: Self = Self(0x2000_0000);
    /// `CLONE_NEWNET`.
    pub const NET: Self = Self(0x4000_0000);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::MOUNT, "mnt"),
        (Self::PID, "pid"),
        (Self::NET, "net"),
        (Self::IPC, "ipc"),
        (Self::UTS, "uts"),
        (Self::CGROUP, "cgroup"),
        (Self::USER, "user"),
        (Self::TIME, "time"),
    ];

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no kind is in this set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kernel's `CLONE_NEW*` bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl std::ops::BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter().filter(|(kind, _)| self.contains(*kind));
        if let Some((_, first)) = names.next() {
            f.write_str(first)?;
        }
        names.try_for_each(|(_, name)| write!(f, ",{name}"))
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespaces({self})")
    }
}

/// What a new process gets that its parent does not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneArgs<'a> {
    /// The namespaces to create.
    pub namespaces: Namespaces,
    /// The cgroup v2 directory to be born in (5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A process of ours that has not been waited for.
#[derive(Debug)]
pub struct Child {
    /// Its process id, as seen from here.
    pub pid: Pid,
    /// Its pidfd; readable once it has ended.
    pub pidfd: OwnedFd,
}

/// The kernel's `struct clone_args`, up to the fields of 5.7.
#[repr(C)]
#[derive(Default)]
struct RawCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a copy of this process that runs `child` and exits with what it returns.
///
/// The copy has its own memory. If this process has other threads, one of them may have held the
/// heap's lock at that moment and no one is left to release it: then `child` must not allocate.
pub fn clone3(args: &CloneArgs<'_>, child: impl FnOnce() -> i32) -> Result<Child, Errno> {
    let mut raw = RawCloneArgs {
        flags: u64::from(args.namespaces.bits()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..RawCloneArgs::default()
    };
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    clone_with(raw, child)
}

const CLONE_PARENT: u64 = 0x8000;

/// As [`clone3`] into new namespaces, but the new process is a child of this process's parent, who is
/// told of its end as of this one's.
pub fn clone_sibling(namespaces: Namespaces, child: impl FnOnce() -> i32) -> Result<Child, Errno> {
    // The signal at its end is that of its sibling.
    let flags = u64::from(namespaces.bits()) | CLONE_PARENT;
    clone_with(RawCloneArgs { flags, ..RawCloneArgs::default() }, child)
}

/// The system call itself; `raw` has no CLONE_VM and no stack, and points to nothing.
fn clone_with(mut raw: RawCloneArgs, child: impl FnOnce() -> i32) -> Result<Child, Errno> {
    let mut pidfd: RawFd = -1;
    raw.flags |= CLONE_PIDFD;
    raw.pidfd = (&raw mut pidfd).expose_provenance() as u64;
    // SAFETY: `raw` is the kernel's `clone_args` of the given size, and its only pointer, `pidfd`,
    // is valid for a write during the call. Without CLONE_VM and with no stack given, the child
    // continues on a copy of this very stack, as after fork(2).
    let returned =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const raw, size_of::<RawCloneArgs>()) };
    let pid = check(returned)?;
    if pid == 0 {
        let unwinding = ExitOnDrop(PANICKED);
        let code = child();
        drop(ExitOnDrop(code));
        drop(unwinding);
    }
    // SAFETY: CLONE_PIDFD makes the kernel store a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    Ok(Child { pid, pidfd })
}

/// As [`clone3`] without anything new, by fork(2): where a filter answers `ENOSYS` to `clone3`, whose
/// arguments it cannot see, as Docker's does.
pub fn fork(child: impl FnOnce() -> i32) -> Result<Child, Errno> {
    // SAFETY: the child runs on copies of this memory and stack and never returns from this
    // function. What it may do if there are other threads is the caller's business, as with `clone3`.
    let pid = check(unsafe { libc::fork() }.into())?;
    if pid == 0 {
        let unwinding = ExitOnDrop(PANICKED);
        let code = child();
        drop(ExitOnDrop(code));
        drop(unwinding);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    // It is our child and has not been reaped, so the number is still its own.
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    Ok(Child { pid, pidfd })
}

/// Starts a copy of this process that reads one file as its standard input and writes another as
/// its standard output, and has no other descriptor. It runs `work`, which can hold nothing of this
/// process's, exits with what it returns, and does not outlive this process.
///
/// # Errors
/// The kernel starts no process.
pub fn filter(
    input: OwnedFd,
    output: OwnedFd,
    work: fn(BorrowedFd<'_>, BorrowedFd<'_>) -> i32,
) -> Result<Child, Errno> {
    let kill = rustix::process::Signal::KILL;
    fork(move || {
        let ready = rustix::process::set_parent_process_death_signal(Some(kill))
            .and_then(|()| rustix::stdio::dup2_stdin(&input))
            .and_then(|()| rustix::stdio::dup2_stdout(&output));
        // They are closed with all others; nothing is dropped in this process.
        let _ = (input.into_raw_fd(), output.into_raw_fd());
        match ready.and_then(|()| close_from(2)) {
            Ok(()) => work(rustix::stdio::stdin(), rustix::stdio::stdout()),
            Err(errno) => errno.raw_os_error(),
        }
    })
}

/// Starts a process that has no descriptor, does nothing and does not outlive this process: for who has to
/// name a process before there is the one that is meant.
///
/// # Errors
/// The kernel starts no process.
pub fn placeholder() -> Result<Child, Errno> {
    let kill = rustix::process::Signal::KILL;
    fork(move || {
        let ready = rustix::process::set_parent_process_death_signal(Some(kill));
        match ready.and_then(|()| close_from(0)) {
            Ok(()) => loop {
                rustix::event::pause();
            },
            Err(errno) => errno.raw_os_error(),
        }
    })
}

/// Closes every descriptor from this one on, whoever owns them: for a copy of a process that ends
/// without dropping anything.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed. The descriptors' owners are in memory that is never looked at
    // again: [`filter`] runs a function that captures nothing, and then exits; [`placeholder`] waits; the
    // keeper of [`crate::helper::kept`] waits and exits.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0_u32) }).map(drop)
}

/// Exit code of a child whose closure panicked where panics unwind (in tests).
const PANICKED: i32 = 70;

/// Ends the process when dropped, so that a copy never returns into its parent's code.
struct ExitOnDrop(i32);

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        exit_now(self.0);
    }
}

/// Ends the process at once: no exit handlers, no flushing of what the parent had buffered.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value, touches no memory of ours and does not return.
    unsafe { libc::_exit(code) }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(u8),
    /// This signal killed it.
    Signal(Signal),
}

impl Exit {
    /// The code that a shell shows: the exit code, or 128 plus the signal.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal.number()),
        }
    }

    fn from_waitid(status: &WaitIdStatus) -> Result<Self, Errno> {
        if let Some(code) = status.exit_status() {
            // The kernel keeps only the low eight bits of an exit code.
            return Ok(Self::Code(code.to_le_bytes()[0]));
        }
        let number = status.terminating_signal().ok_or(Errno::INVAL)?;
        Signal::from_number(number).map(Self::Signal).ok_or(Errno::INVAL)
    }
}

/// Waits for a child to end, and reaps it. `ECHILD` if someone else has reaped it.
pub fn wait(pidfd: impl AsFd) -> Result<Exit, Errno> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Exit::from_waitid(&status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reaps a child if it has ended.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Exit>, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)?;
    status.map(|status| Exit::from_waitid(&status)).transpose()
}

/// Reaps any one child that has ended; `None` when none has, or when there is no child.
pub fn reap() -> Result<Option<(Pid, Exit)>, Errno> {
    let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some(found)) => found,
        Ok(None) | Err(Errno::CHILD) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if let Some(code) = status.exit_status() {
        return Ok(Some((pid, Exit::Code(code.to_le_bytes()[0]))));
    }
    let number = status.terminating_signal().ok_or(Errno::INVAL)?;
    let signal = Signal::from_number(number).ok_or(Errno::INVAL)?;
    Ok(Some((pid, Exit::Signal(signal))))
}

/// Sends any signal, real-time ones too, to the process of a pidfd.
///
/// `ESRCH` once it has been reaped: unlike a pid, a pidfd never names another process.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: Signal) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `info` asks the kernel to fill it in itself; the other arguments are numbers.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            i32::from(signal.number()),
            info,
            0_u32,
        )
    };
    check(returned).map(drop)
}

/// Moves the calling thread into new namespaces. `PID` and `TIME` take effect for its children.
pub fn unshare(namespaces: Namespaces) -> Result<(), Errno> {
    let flags = rustix::thread::UnshareFlags::from_bits_retain(namespaces.bits());
    // SAFETY: the one demand of `unshare_unsafe` concerns CLONE_FILES, which `Namespaces` cannot
    // hold: it is built from the CLONE_NEW* constants alone.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Moves the calling thread into the namespaces of the process behind `pidfd` (5.8).
pub fn setns(pidfd: impl AsFd, namespaces: Namespaces) -> Result<(), Errno> {
    let kinds = rustix::thread::ThreadNameSpaceType::from_bits_retain(namespaces.bits());
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), kinds)
}

/// Marks every descriptor from `first` on to be closed by `execve` (5.11).
///
/// Unlike closing them, this cannot invalidate a descriptor that someone still owns.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: the call takes numbers only, and with this flag it closes nothing.
    let returned =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check(returned).map(drop)
}

/// Closes every descriptor from `first` on but one.
///
/// For a process that was cloned and is about to execute a program: whatever in its memory still owns one of them is
/// never dropped, or when the process ends.
pub fn close_from_but(first: u32, kept: BorrowedFd<'_>) -> Result<(), Errno> {
    let number = kept.as_raw_fd().cast_unsigned();
    for (from, to) in [(first, number.saturating_sub(1)), (first.max(number + 1), u32::MAX)] {
        if from <= to {
            // SAFETY: the call takes numbers only. The caller's descriptors are its own, see above.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) })?;
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on but these, which come in the order of their numbers.
///
/// For a process that was cloned, as [`close_from_but`].
pub fn close_from_but_sorted(first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut from = first;
    for fd in kept {
        let number = fd.as_raw_fd().cast_unsigned();
        if number < from {
            continue;
        }
        if number > from {
            // SAFETY: the call takes numbers only. The caller's descriptors are its own, see above.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, number - 1, 0) })?;
        }
        from = number + 1;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_close_range, from, u32::MAX, 0) }).map(drop)
}

/// Strings for `execve`, with the array of pointers that the kernel wants, made ahead of time so
/// that a child needs no memory for it.
pub struct ExecStrings {
    strings: Vec<CString>,
    /// One pointer per string, then a null.
    pointers: Vec<*const c_char>,
}

impl ExecStrings {
    /// Takes the strings.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(std::iter::once(std::ptr::null()))
            .collect();
        Self { strings, pointers }
    }

    /// The strings.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

impl fmt::Debug for ExecStrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.strings.fmt(f)
    }
}

/// Replaces this program. Returns only if that failed.
pub fn execve(path: &CStr, argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    // SAFETY: `path` is NUL-terminated; both arrays end with a null and their other pointers are
    // to `CString`s that the two `ExecStrings` own, whose heap buffers outlive this call.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

/// Replaces this program by the file behind `program`. Returns only if that failed.
///
/// The descriptor may be close-on-exec unless the file is a script.
pub fn execve_fd(program: impl AsFd, argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    // SAFETY: as in `execve`; the path is a static empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

fn last_errno() -> Errno {
    check(-1).err().unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_runs_its_closure_and_its_code_is_seen() {
        let child = clone3(&CloneArgs::default(), || 42).unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(42)));
        assert_eq!(wait(&child.pidfd), Err(Errno::CHILD));
    }

    #[test]
    fn a_panicking_clone_does_not_return_into_the_parents_code() {
        let child = clone3(&CloneArgs::default(), || {
            std::panic::resume_unwind(Box::new("quiet"));
        })
        .unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(70)));
    }

    #[test]
    fn a_signalled_clone_tells_its_signal() {
        let child = clone3(&CloneArgs::default(), || {
            loop {
                std::hint::spin_loop();
            }
        })
        .unwrap();
        assert_eq!(try_wait(&child.pidfd), Ok(None));
        pidfd_send_signal(&child.pidfd, Signal::KILL).unwrap();
        let exit = wait(&child.pidfd).unwrap();
        assert_eq!(exit, Exit::Signal(Signal::KILL));
        assert_eq!(exit.shell_code(), 137);
        assert_eq!(pidfd_send_signal(&child.pidfd, Signal::KILL), Err(Errno::SRCH));
    }

    #[test]
    fn exec_replaces_the_program_with_these_arguments_and_nothing_else() {
        let argv = ExecStrings::new(vec![
            c"sh".into(),
            c"-c".into(),
            c"test \"$A\" = b && test -z \"$HOME\" && exit 7".into(),
        ]);
        let envp = ExecStrings::new(vec![c"A=b".into()]);
        let child = clone3(&CloneArgs::default(), || {
            execve(c"/bin/sh", &argv, &envp);
            1
        })
        .unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(7)));
    }

    #[test]
    fn exec_of_a_missing_file_returns_its_errno() {
        let none = ExecStrings::new(vec![]);
        let child =
            clone3(&CloneArgs::default(), || execve(c"/no/such/file", &none, &none).raw_os_error())
                .unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(2)));
    }

    #[test]
    fn namespaces_print_by_name() {
        assert_eq!((Namespaces::PID | Namespaces::MOUNT).to_string(), "mnt,pid");
        assert_eq!(Namespaces::NONE.to_string(), "");
    }
}
