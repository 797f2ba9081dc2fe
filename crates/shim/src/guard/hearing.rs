//! Whether the container's first process would hear a signal, as the kernel tells of it.

use model::Signal;
use rustix::process::Pid;

use super::Guard;
use crate::machine::Hearing;
use crate::protocol::Target;

impl Guard {
    /// What the first process would do with a signal. One whose state cannot be read has ended.
    pub(super) fn init_hearing(&self, signal: Signal) -> Hearing {
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let status = init.and_then(|proc| {
            let path = format!("/proc/{}/status", Pid::as_raw(Some(proc.pid)));
            std::fs::read_to_string(path).ok()
        });
        status.map_or(Hearing::Hears, |status| hearing(&status, signal))
    }
}

/// By `/proc/PID/status`. A signal is dropped if the process is the first of a pid namespace, has no
/// handler for it and does not block it (`sig_task_ignored` in the kernel).
fn hearing(status: &str, signal: Signal) -> Hearing {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    // Its numbers from the outermost namespace to its own.
    let numbers = field("NSpid:").unwrap_or_default().split_whitespace();
    let is_first = numbers.skip(1).last() == Some("1");
    let bit = 1_u64.checked_shl(u32::try_from(signal.number() - 1).unwrap_or(u32::MAX));
    let has = |name| {
        let set = field(name).and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        // What cannot be read is no reason to kill.
        set.zip(bit).is_none_or(|(set, bit)| set & bit != 0)
    };
    if is_first && !has("SigBlk:") && !has("SigCgt:") { Hearing::Deaf } else { Hearing::Hears }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(numbers: &str, blocked: u64, caught: u64) -> String {
        format!(
            "Name:\tx\nNSpid:\t{numbers}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{caught:016x}\n",
            1 << 14
        )
    }

    #[test]
    fn the_first_process_hears_what_it_handles_or_keeps() {
        let term = 1 << (Signal::TERM.number() - 1);
        let hears = |numbers, blocked, caught| {
            hearing(&status(numbers, blocked, caught), Signal::TERM) == Hearing::Hears
        };
        assert!(!hears("812\t1", 0, 0));
        assert!(!hears("812\t9\t1", 1, 2));
        assert!(hears("812\t1", term, 0));
        assert!(hears("812\t1", 0, term));
        // On the host's pid namespace the kernel does what it does for every process.
        assert!(hears("812", 0, 0));
        assert!(hears("812\t7", 0, 0));
        assert_eq!(hearing("NSpid:\t812\t1\n", Signal::TERM), Hearing::Hears);
    }

    #[test]
    fn a_real_time_signal_has_its_bit() {
        let signal: Signal = "RTMIN+3".parse().unwrap();
        let bit = 1 << (signal.number() - 1);
        assert_eq!(hearing(&status("8\t1", 0, bit), signal), Hearing::Hears);
        assert_eq!(hearing(&status("8\t1", 0, bit << 1), signal), Hearing::Deaf);
    }
}
