//! The C library's heap, tuned to how long a process lives.
//!
//! Owns three wishes: that a process which lives long gives big buffers straight back to the
//! kernel, that what a burst left behind goes back too, and that a process which lives for
//! milliseconds asks the kernel seldom. All change memory use and time alone, never behaviour.
#![expect(unsafe_code, reason = "mallopt and malloc_trim are calls of the C library")]

/// Allocations of this size and above are mappings of their own, gone when freed.
const MAPPED_FROM: libc::c_int = 32 << 10;
/// So much may stay unused at the end of the heap.
const KEEP: libc::c_int = 16 << 10;

/// What one command usually needs, taken at once.
const STEP: libc::c_int = 512 << 10;

/// Makes the heap ask the kernel seldom: one arena for all threads, in big steps, and nothing is
/// given back before the end. By default each thread reserves 128 MiB of addresses for an arena
/// of its own, makes it usable page by page, and a freed buffer shrinks the heap again.
pub fn ask_seldom() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TOP_PAD, STEP),
        (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
    ] {
        // SAFETY: all are documented parameters, and any value is valid for them.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Makes the heap give memory back early. Without this glibc raises its own limits with each big
/// buffer that is freed, up to 32 MiB.
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, MAPPED_FROM), (libc::M_TRIM_THRESHOLD, KEEP)]
    {
        // SAFETY: both are documented parameters, and any value is valid for them.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back to the kernel what is free now.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, touches free memory alone, and does its own locking.
    unsafe {
        libc::malloc_trim(0);
    }
}
