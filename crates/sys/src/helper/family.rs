//! Kills a program with all that it has started, and that these have.
//!
//! A process group would be the kernel's own way, but a helper has to stay in ours (it may ask at the
//! terminal), and a cgroup is not for an unprivileged user to make. So whoever is found is stopped, and
//! only then asked for its children: what is stopped starts nobody. Who has been given to another
//! parent by then (a daemon) is no child any more, and stays.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// More processes than a helper has; a bomb is not chased for ever.
const MOST: usize = 1024;
/// How often a process that is to stop is looked at: one in an uninterruptible call stops later, and
/// starts nobody until then.
const LOOKS: usize = 10_000;

/// One process, for certain: its number may be given away once it has been reaped.
struct Member {
    pid: Pid,
    fd: OwnedFd,
}

impl Member {
    fn open(pid: Pid) -> Option<Self> {
        Some(Self { pid, fd: pidfd_open(pid, PidfdFlags::empty()).ok()? })
    }

    /// One that has ended takes no signal: that is as good.
    fn send(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.fd, signal);
    }

    fn stop(&self) {
        self.send(Signal::STOP);
        for _ in 0..LOOKS {
            if self.is_still() {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn is_still(&self) -> bool {
        let stat = std::fs::read_to_string(self.proc().join("stat")).unwrap_or_default();
        // The name before the state may hold anything, brackets too.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
    }

    /// Its children. A number that is on the list after its descriptor was opened is of that child.
    fn children(&self) -> Vec<Self> {
        let opened: Vec<Self> = self.listed().into_iter().filter_map(Self::open).collect();
        let listed = self.listed();
        opened.into_iter().filter(|child| listed.contains(&child.pid)).collect()
    }

    /// Each thread has those that it started. None where the kernel does not tell
    /// (`CONFIG_PROC_CHILDREN`).
    fn listed(&self) -> Vec<Pid> {
        let threads = std::fs::read_dir(self.proc().join("task")).into_iter().flatten().flatten();
        let lists = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
        let pids = |list: String| -> Vec<Pid> {
            list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
        };
        lists.map_while(Result::ok).flat_map(pids).collect()
    }

    fn proc(&self) -> PathBuf {
        PathBuf::from("/proc").join(self.pid.as_raw_nonzero().to_string())
    }
}

/// Kills our child and all of its family; they die a moment later.
pub(super) fn kill(child: Pid) {
    let mut family: Vec<Member> = Member::open(child).into_iter().collect();
    let mut asked = 0;
    while let Some(member) = family.get(asked)
        && family.len() < MOST
    {
        member.stop();
        let children = member.children();
        family.extend(children);
        asked += 1;
    }
    family.iter().for_each(|member| member.send(Signal::KILL));
}
