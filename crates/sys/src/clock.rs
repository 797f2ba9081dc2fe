//! The clock that goes on while the host sleeps and never goes back.
//!
//! By the C library and not by `rustix::time`, which reads the process's auxiliary vector at its first use and
//! panics where that is not as it expects: under User Mode Linux.
#![expect(unsafe_code, reason = "clock_gettime has no other safe wrapper")]

use std::time::Duration;

/// How long the host has been up, its sleep included (`CLOCK_BOOTTIME`), the same for all of its processes.
#[must_use]
pub fn since_boot() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that lives for the call, and nothing else is written to. The clock is there
    // since Linux 2.6.39, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_kernels() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split_once('.').unwrap().0.parse::<u64>().unwrap()
        };
        let before = uptime();
        let now = since_boot().as_secs();
        assert!((before..=uptime()).contains(&now), "{now}");
    }
}
