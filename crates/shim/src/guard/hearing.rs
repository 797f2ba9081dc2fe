//! Whether the container's first process would hear a signal, as the kernel tells of it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use model::Signal;
use rustix::process::Pid;

use super::Guard;
use crate::machine::Hearing;
use crate::protocol::Target;

/// The numbers of `rt_sigtimedwait`, also for programs of 32 bits.
#[cfg(target_arch = "x86_64")]
const WAITS: [&str; 3] = ["128", "177", "421"];
/// The numbers of `rt_sigtimedwait`, also for programs of 32 bits.
#[cfg(not(target_arch = "x86_64"))]
const WAITS: [&str; 3] = ["137", "177", "421"];
/// How many threads are looked at. One of more is given its time.
const THREADS: usize = 64;

/// What the kernel tells of one thread.
struct Look {
    status: String,
    /// In which system call it is: before and after its state was read, since the mask that it has
    /// meanwhile is another.
    calls: [String; 2],
}

impl Look {
    fn at(thread: &Path) -> std::io::Result<Self> {
        let read = |name| fs::read_to_string(thread.join(name));
        let before = read("syscall")?;
        Ok(Self { status: read("status")?, calls: [before, read("syscall")?] })
    }
}

impl Guard {
    /// What the first process would do with a signal. Only what is known to be deaf is: one whose state
    /// cannot be read may have ended.
    pub(super) fn init_hearing(&self, signal: Signal) -> Hearing {
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let looks = init.map(|proc| looks(Pid::as_raw(Some(proc.pid))));
        match looks {
            Some(Ok(looks)) if looks.iter().all(|look| hearing(look, signal) == Hearing::Deaf) => {
                Hearing::Deaf
            }
            Some(_) | None => Hearing::Hears,
        }
    }
}

/// Looks at each thread of a process.
fn looks(pid: i32) -> std::io::Result<Vec<Look>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    let threads: Vec<_> = threads.take(THREADS + 1).collect::<Result<_, _>>()?;
    if threads.len() > THREADS {
        return Err(ErrorKind::TooManyLinks.into());
    }
    threads.iter().map(|thread| Look::at(&thread.path())).collect()
}

/// By `/proc/PID/status`. A signal is dropped if the process is the first of a pid namespace, has no
/// handler for it and does not block it (`sig_task_ignored` in the kernel). One that waits for signals
/// (`sigwait`, as small inits do) blocks them as well, but is shown without them until it has one.
fn hearing(look: &Look, signal: Signal) -> Hearing {
    let field = |name: &str| look.status.lines().find_map(|line| line.strip_prefix(name));
    // Its numbers from the outermost namespace to its own.
    let numbers = field("NSpid:").unwrap_or_default().split_whitespace();
    // A thread has a number of its own; that of its process is the group's.
    let group = field("NStgid:").unwrap_or_default().split_whitespace();
    let is_first = numbers.skip(1).last().is_some() && group.last() == Some("1");
    let bit = 1_u64.checked_shl(u32::try_from(signal.number() - 1).unwrap_or(u32::MAX));
    let has = |name| {
        let set = field(name).and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        // What cannot be read is no reason to kill.
        set.zip(bit).is_none_or(|(set, bit)| set & bit != 0)
    };
    let waits = look.calls.iter().any(|call| {
        let number = call.split_whitespace().next();
        number.is_none_or(|number| WAITS.contains(&number))
    });
    if is_first && !waits && !has("SigBlk:") && !has("SigCgt:") {
        Hearing::Deaf
    } else {
        Hearing::Hears
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of one thread that sleeps.
    fn look(numbers: &str, blocked: u64, caught: u64) -> Look {
        let ignored = 1 << 14;
        let status = format!(
            "Name:\tx\nNStgid:\t{numbers}\nNSpid:\t{numbers}\nSigBlk:\t{blocked:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        );
        Look { status, calls: ["230 0x0 0x0 0x7ffe".to_owned(), "running\n".to_owned()] }
    }

    #[test]
    fn the_first_process_hears_what_it_handles_or_keeps() {
        let term = 1 << (Signal::TERM.number() - 1);
        let hears = |numbers, blocked, caught| {
            hearing(&look(numbers, blocked, caught), Signal::TERM) == Hearing::Hears
        };
        assert!(!hears("812\t1", 0, 0));
        assert!(!hears("812\t9\t1", 1, 2));
        assert!(hears("812\t1", term, 0));
        assert!(hears("812\t1", 0, term));
        // On the host's pid namespace the kernel does what it does for every process.
        assert!(hears("812", 0, 0));
        assert!(hears("1", 0, 0));
        assert!(hears("812\t7", 0, 0));
        let status = "NStgid:\t812\t1\nNSpid:\t812\t1\n".to_owned();
        let unknown = Look { status, ..look("812\t1", 0, 0) };
        assert_eq!(hearing(&unknown, Signal::TERM), Hearing::Hears);
    }

    #[test]
    fn who_waits_for_signals_hears_them() {
        for at in [0, 1] {
            for call in WAITS {
                let mut look = look("812\t1", 0, 0);
                look.calls[at] = format!("{call} 0x7ffe 0x0 0x0 0x8 0x0 0x0 0x7ffd 0x4b\n");
                assert_eq!(hearing(&look, Signal::TERM), Hearing::Hears);
            }
            let mut look = look("812\t1", 0, 0);
            look.calls[at] = String::new();
            assert_eq!(hearing(&look, Signal::TERM), Hearing::Hears);
        }
    }

    #[test]
    fn a_real_time_signal_has_its_bit() {
        let signal: Signal = "RTMIN+3".parse().unwrap();
        let bit = 1 << (signal.number() - 1);
        assert_eq!(hearing(&look("8\t1", 0, bit), signal), Hearing::Hears);
        assert_eq!(hearing(&look("8\t1", 0, bit << 1), signal), Hearing::Deaf);
    }
}
