//! Loading of a compiled seccomp filter into the calling thread.
//!
//! Owns the instruction layout and the system call; what a filter says is compiled in
//! `runtime::seccomp`.
#![expect(
    unsafe_code,
    reason = "seccomp(2) takes a pointer to the program; a thread of another filter is a raw clone"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::{Errno, check};

/// The kernel's longest accepted program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation, addressing mode and size.
    pub code: u16,
    /// Instructions to skip if a jump's condition holds.
    pub jt: u8,
    /// Instructions to skip if a jump's condition does not hold.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Flags of `SECCOMP_SET_MODE_FILTER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// Every action but `allow` is logged.
    pub const LOG: Self = Self(2);
    /// No speculative store bypass mitigation for this task: what runc and crun ask for when a
    /// profile names no flags.
    pub const SPEC_ALLOW: Self = Self(4);
    /// All threads of the process get the filter.
    pub const TSYNC: Self = Self(1);
    /// A notified call waits in a killable state (5.19).
    pub const WAIT_KILLABLE_RECV: Self = Self(32);

    /// Both sets of flags.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Adds a filter to the calling thread; it can never be removed. Nobody is asked about a call, so nobody
/// waits for an answer either: the kernel refuses the flag about that.
///
/// Needs `no_new_privs` or `CAP_SYS_ADMIN` (else `EACCES`). A program that is empty, longer than
/// [`MAX_INSTRUCTIONS`] or does not verify is `EINVAL`.
pub fn load(program: &[Instruction], flags: Flags) -> Result<(), Errno> {
    add(program, flags.0 & !Flags::WAIT_KILLABLE_RECV.0).map(drop)
}

fn add(program: &[Instruction], flags: u32) -> Result<libc::c_long, Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `program.filter` points to `len` initialised instructions that are borrowed for this
    // whole call; the kernel copies them before it returns and never writes through the pointer.
    // `Program` and `Instruction` are `repr(C)` with the kernel's layout.
    let returned = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    check(returned)
}

/// What a filter's deputy and the thread that loads it tell each other by memory alone: the filter may
/// ask about every call there is.
struct Shared<'a> {
    /// The listener's descriptor, or one of the two below.
    listener: AtomicI32,
    /// What `take` returned: 0 or an error number.
    taken: AtomicI32,
    take: &'a (dyn Fn(BorrowedFd<'_>) -> Result<(), Errno> + Sync),
}

/// The filter is not loaded yet.
const PENDING: i32 = -1;
/// It will not be.
const NONE: i32 = -2;

/// As [`load`], of a filter that asks somebody about calls (5.0). `take` is given the descriptor that it
/// asks through, on a thread that has no filter and ends with this call; it must not allocate. Needs a
/// process of one thread, whose other threads `TSYNC` would be for.
///
/// # Errors
/// As [`load`], `EBUSY` if the thread has such a filter already, and what `take` returned: the filter is
/// loaded then.
pub fn load_asking(
    program: &[Instruction],
    flags: Flags,
    take: &(dyn Fn(BorrowedFd<'_>) -> Result<(), Errno> + Sync),
) -> Result<(), Errno> {
    const NEW_LISTENER: u32 = 8;
    const STACK: usize = 128 << 10;
    let mut stack = [MaybeUninit::<u128>::uninit(); STACK / 16];
    let listener = AtomicI32::new(PENDING);
    let shared = Shared { listener, taken: AtomicI32::new(0), take };
    let alive = AtomicU32::new(1);
    let kind = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID;
    let top = stack.as_mut_ptr_range().end;
    let (none, shared_at) = (std::ptr::null_mut::<libc::c_void>(), (&raw const shared).cast_mut());
    // SAFETY: `top` is the aligned end of a stack that nobody else uses. The thread runs `deputy`, whose
    // argument it is; that, the stack and `alive` live until the kernel says by `alive` that the thread
    // has gone, which is waited for below. It shares this thread's storage, and so `errno`, which this
    // thread does not look at while the other may make calls.
    let cloned = unsafe {
        libc::clone(deputy, top.cast(), kind, shared_at.cast(), none, none, alive.as_ptr())
    };
    check(cloned.into())?;
    let flags = (flags.0 & !Flags::TSYNC.0) | NEW_LISTENER;
    let added = add(program, flags);
    let listener = added.map_or(NONE, |fd| i32::try_from(fd).unwrap_or(NONE));
    shared.listener.store(listener, Ordering::Release);
    // No system call from here on: it might be one that is asked about, by a descriptor that nobody has.
    while alive.load(Ordering::Acquire) != 0 {
        std::hint::spin_loop();
    }
    added?;
    match shared.taken.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Waits for the listener and passes it on.
extern "C" fn deputy(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is what [`load_asking`] passes, which waits until this thread has ended.
    let shared = unsafe { &*shared.cast::<Shared<'_>>() };
    let listener = loop {
        match shared.listener.load(Ordering::Acquire) {
            PENDING => rustix::thread::sched_yield(),
            listener => break listener,
        }
    };
    if listener == NONE {
        return 0;
    }
    // SAFETY: the kernel has made it for [`load_asking`], which leaves it to this thread.
    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
    if let Err(errno) = (shared.take)(listener.as_fd()) {
        shared.taken.store(errno.raw_os_error(), Ordering::Release);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_the_kernels_layout() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(size_of::<Program>(), 16);
        assert_eq!(std::mem::offset_of!(Program, filter), 8);
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert_eq!(load(&[], Flags::default()), Err(Errno::INVAL));
    }
}
