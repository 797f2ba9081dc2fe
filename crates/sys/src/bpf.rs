//! Programs that decide which devices a v2 cgroup may use: loading and attaching.
//!
//! Owns the instruction layout and the system call; what a program says is assembled in `cgroup`.
#![expect(unsafe_code, reason = "bpf(2) takes a pointer to its arguments")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::{Errno, check};

/// One extended BPF instruction, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// The destination register in the low half, the source register in the high half.
    pub registers: u8,
    /// Instructions to skip, or a distance in memory.
    pub offset: i16,
    /// The operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs that a manager such as systemd has attached keep their say.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The first fields of the kernel's `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadArgs {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The first fields of the kernel's `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachArgs {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program for device access (4.15). `EPERM` without `CAP_SYS_ADMIN`, or `CAP_BPF` and
/// `CAP_NET_ADMIN`; `EACCES` or `EINVAL` if the kernel's verifier refuses it.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let args = LoadArgs {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `args` is the beginning of the kernel's union for this command and is passed with its
    // size; the kernel takes the rest as zero. `instructions` points to `count` instructions of the
    // kernel's layout and `license` to a string with its NUL; both live during the call, which copies
    // them and writes to neither.
    let returned = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const args, size_of::<LoadArgs>())
    };
    let fd = RawFd::try_from(check(returned)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a program decide about the devices of a cgroup and all below it, beside those that do already.
/// The cgroup keeps the program.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let args = AttachArgs {
        target: cgroup.as_fd().as_raw_fd().unsigned_abs(),
        program: program.as_fd().as_raw_fd().unsigned_abs(),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `args` is the beginning of the kernel's union for this command and is passed with its
    // size; it holds numbers only, of which the two descriptors are borrowed for the call.
    let returned = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const args, size_of::<AttachArgs>())
    };
    check(returned).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(std::mem::offset_of!(Instruction, immediate), 4);
        assert_eq!(size_of::<LoadArgs>(), 48);
        assert_eq!(std::mem::offset_of!(LoadArgs, license), 16);
        assert_eq!(size_of::<AttachArgs>(), 16);
    }

    #[test]
    fn a_program_without_an_end_is_refused() {
        let no_exit = Instruction { code: 0xb7, registers: 0, offset: 0, immediate: 1 };
        assert!(load_device_program(&[no_exit]).is_err());
    }
}
