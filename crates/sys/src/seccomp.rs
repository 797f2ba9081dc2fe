//! Loading of a compiled seccomp filter into the calling thread.
//!
//! Owns the instruction layout and the system call; what a filter says is compiled in
//! `runtime::seccomp`.
#![expect(unsafe_code, reason = "seccomp(2) takes a pointer to the program")]

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

/// Adds a filter to the calling thread; it can never be removed.
///
/// Needs `no_new_privs` or `CAP_SYS_ADMIN` (else `EACCES`). A program that is empty, longer than
/// [`MAX_INSTRUCTIONS`] or does not verify is `EINVAL`.
pub fn load(program: &[Instruction], flags: Flags) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `program.filter` points to `len` initialised instructions that are borrowed for this
    // whole call; the kernel copies them before it returns and never writes through the pointer.
    // `Program` and `Instruction` are `repr(C)` with the kernel's layout.
    let returned = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, &raw const program)
    };
    check(returned).map(drop)
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
