//! The C library's heap, for processes that live long and do little.
//!
//! Owns two wishes: that big buffers go straight back to the kernel, and that what a burst left
//! behind does. Both change memory use alone, never behaviour.
#![expect(unsafe_code, reason = "mallopt and malloc_trim are calls of the C library")]

/// Allocations of this size and above are mappings of their own, gone when freed.
const MAPPED_FROM: libc::c_int = 32 << 10;
/// So much may stay unused at the end of the heap.
const KEEP: libc::c_int = 16 << 10;

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
