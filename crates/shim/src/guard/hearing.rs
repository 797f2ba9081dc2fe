//! Whether the container's first process would hear a signal, as the kernel tells of it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use model::Signal;
use rustix::process::Pid;

use super::Guard;
use crate::machine::{Hearing, Pace};
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
    /// For how long it has run; nothing, where the kernel does not tell.
    ran: Duration,
}

impl Look {
    fn at(thread: &Path) -> std::io::Result<Self> {
        let read = |name| fs::read_to_string(thread.join(name));
        let before = read("syscall")?;
        let ran = read("schedstat").unwrap_or_default();
        let ran = ran.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Ok(Self {
            status: read("status")?,
            calls: [before, read("syscall")?],
            ran: Duration::from_nanos(ran.unwrap_or_default()),
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.status.lines().find_map(|line| line.strip_prefix(name))
    }
}

impl Guard {
    /// What the first process would do with a signal. Only what is known to be deaf is: one whose state
    /// cannot be read may have ended.
    pub(super) fn init_hearing(&self, signal: Signal) -> Hearing {
        let init = self.procs.values().find(|proc| proc.target == Target::Container);
        let looks = init.map(|proc| looks(Pid::as_raw(Some(proc.pid))));
        match looks {
            Some(Ok(looks)) if looks.iter().all(|look| is_deaf(look, signal)) => {
                Hearing::Deaf(pace(&looks))
            }
            Some(_) | None => Hearing::Hears,
        }
    }
}

fn pace(looks: &[Look]) -> Pace {
    let state = |look: &Look| look.field("State:").is_some_and(|s| s.trim_start().starts_with('D'));
    Pace { ran: looks.iter().map(|look| look.ran).sum(), reads: looks.iter().any(state) }
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
fn is_deaf(look: &Look, signal: Signal) -> bool {
    let field = |name: &str| look.field(name);
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
    is_first && !waits && !has("SigBlk:") && !has("SigCgt:")
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
        let calls = ["230 0x0 0x0 0x7ffe".to_owned(), "running\n".to_owned()];
        Look { status, calls, ran: Duration::from_millis(5) }
    }

    #[test]
    fn the_first_process_hears_what_it_handles_or_keeps() {
        let term = 1 << (Signal::TERM.number() - 1);
        let hears =
            |numbers, blocked, caught| !is_deaf(&look(numbers, blocked, caught), Signal::TERM);
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
        assert!(!is_deaf(&unknown, Signal::TERM));
    }

    #[test]
    fn who_waits_for_signals_hears_them() {
        for at in [0, 1] {
            for call in WAITS {
                let mut look = look("812\t1", 0, 0);
                look.calls[at] = format!("{call} 0x7ffe 0x0 0x0 0x8 0x0 0x0 0x7ffd 0x4b\n");
                assert!(!is_deaf(&look, Signal::TERM));
            }
            let mut look = look("812\t1", 0, 0);
            look.calls[at] = String::new();
            assert!(!is_deaf(&look, Signal::TERM));
        }
    }

    #[test]
    fn a_process_works_as_its_threads_do() {
        let mut looks = [look("812\t1", 0, 0), look("812\t1", 0, 0)];
        let ran = Duration::from_millis(10);
        assert_eq!(pace(&looks), Pace { ran, reads: false });
        looks[1].status.push_str("State:\tD (disk sleep)\n");
        assert_eq!(pace(&looks), Pace { ran, reads: true });
    }

    #[test]
    fn what_this_kernel_tells_is_read() {
        let looks = looks(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
        assert!(!looks.is_empty() && looks.iter().all(|look| look.field("SigCgt:").is_some()));
        assert!(pace(&looks).ran > Duration::ZERO);
    }

    #[test]
    fn a_real_time_signal_has_its_bit() {
        let signal: Signal = "RTMIN+3".parse().unwrap();
        let bit = 1 << (signal.number() - 1);
        assert!(!is_deaf(&look("8\t1", 0, bit), signal));
        assert!(is_deaf(&look("8\t1", 0, bit << 1), signal));
    }
}
