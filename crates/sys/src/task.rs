//! How the kernel runs the calling thread: its turn on processors and at disks, where its memory lies, which
//! Linux it sees.
//!
//! Owns calls that `rustix` lacks. What a program gets is decided by whoever plans it.
#![expect(unsafe_code, reason = "these calls have no safe wrapper")]

use crate::{Errno, check};

/// The kernel's `struct sched_attr`, as it was first.
#[repr(C)]
struct RawScheduling {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// How a thread shares processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, of the policies that share.
    pub nice: i32,
    /// 1 to 99, of the real-time policies.
    pub priority: u32,
    /// Nanoseconds in a period, of the deadline policy, as the next two.
    pub runtime: u64,
    /// Nanoseconds after the beginning of a period.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Sets how the thread shares processors.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, `EBUSY` if the processors have no time left for a deadline.
pub fn set_scheduling(scheduling: &Scheduling) -> Result<(), Errno> {
    let Scheduling { policy, flags, nice, priority, runtime, deadline, period } = *scheduling;
    let size = u32::try_from(size_of::<RawScheduling>()).map_err(|_| Errno::INVAL)?;
    let attributes =
        RawScheduling { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: `attributes` is the kernel's structure and says its own size; it outlives the call, which
    // reads it. 0 is the calling thread.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(returned).map(drop)
}

/// Sets the thread's turn at disks: a class in the bits from 13 on, a level below them.
///
/// # Errors
/// `EPERM` for the real-time class without the right to it.
pub fn set_io_priority(value: u32) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: numbers only; 0 is the calling thread.
    let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    check(returned).map(drop)
}

/// Sets on which nodes the thread's memory lies: a mode with its flags, and a mask of nodes.
///
/// # Errors
/// `EINVAL` for nodes that there are not, or a mode that takes none; `ENOSYS` without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel leaves the last bit out of what it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: `mask` is null with no bits, or points to the words of `bits - 1` bits, which outlive the
    // call and are only read.
    let returned = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(returned).map(drop)
}

/// Sets which Linux the thread's programs see.
///
/// # Errors
/// The kernel has no other.
pub fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: a number only.
    let returned = unsafe { libc::personality(domain.into()) };
    check(returned.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_kernels_layout() {
        assert_eq!(size_of::<RawScheduling>(), 48);
        assert_eq!(std::mem::offset_of!(RawScheduling, runtime), 24);
    }

    #[test]
    fn what_a_thread_sets_is_its_own() {
        std::thread::spawn(|| {
            let batch = Scheduling { policy: 3, nice: 7, ..Scheduling::default() };
            set_scheduling(&batch).unwrap();
            set_io_priority(3 << 13).unwrap();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            assert_eq!((fields[16], fields[38]), ("7", "3"));
        })
        .join()
        .unwrap();
        let bad = Scheduling { policy: 99, ..Scheduling::default() };
        assert_eq!(set_scheduling(&bad), Err(Errno::INVAL));
    }
}
