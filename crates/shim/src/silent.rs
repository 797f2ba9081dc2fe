//! Looks at a shim that does not answer, and ends one that is stopped or hangs.
//!
//! Nobody's word says which process that is: it is the one that holds the container's life. The
//! kernel tells of a descriptor which locks were taken by it (`/proc/PID/fdinfo`), and a pidfd that
//! was opened before and has not ended afterwards that it was all of one process.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::Errno;
use sys::signal::Signal;

use crate::paths::ShimPaths;
use crate::role::ROLE;
use crate::work;

/// How long a killed shim may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How much of a file about a process is read: its arguments are two paths and some numbers.
const MOST: u64 = 16 << 10;

/// What is known of a shim that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Which process it is, if it can be found.
    pub pid: Option<Pid>,
    /// Why it says nothing.
    pub why: Why,
}

/// Why a shim says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody has stopped it (SIGSTOP, a debugger).
    Stopped,
    /// It does what takes long, and has said so.
    AtWork,
    /// Nobody knows.
    Unknown,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.pid.map(Pid::as_raw_nonzero);
        f.write_str("its shim")?;
        if let Some(number) = number {
            write!(f, " (process {number})")?;
        }
        match (self.why, number) {
            (Why::Stopped, Some(number)) => {
                write!(f, " is stopped; `kill -CONT {number}` lets it go on, ")?;
            }
            (Why::Stopped | Why::AtWork | Why::Unknown, _) => f.write_str(" does not answer; ")?,
        }
        f.write_str("`dhow kill` and `dhow rm -f` end it, and its container with it")
    }
}

/// How the shim of a container is that says nothing.
pub(crate) fn look(paths: &ShimPaths) -> Silence {
    let Ok(Some((pid, _))) = holder(paths) else {
        return Silence { pid: None, why: Why::Unknown };
    };
    let why = if is_stopped(pid) {
        Why::Stopped
    } else if work::is_at_work(paths, pid) {
        Why::AtWork
    } else {
        Why::Unknown
    };
    Silence { pid: Some(pid), why }
}

fn is_stopped(pid: Pid) -> bool {
    let status = read(&format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['T', 't']))
}

/// A shim that does not answer cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum SilentError {
    /// The processes of the host cannot be listed.
    #[error("look for the container's shim")]
    Find(#[source] std::io::Error),
    /// It cannot be sent a signal, or be waited for.
    #[error("kill the container's shim, process {}", pid.as_raw_nonzero())]
    Kill {
        /// Which process.
        pid: Pid,
        /// Why.
        source: Errno,
    },
    /// It hangs in the kernel.
    #[error(
        "the container's shim, process {}, was killed but does not end: it is stuck in the kernel",
        pid.as_raw_nonzero()
    )]
    Stuck {
        /// Which process.
        pid: Pid,
    },
}

/// Kills the shim of a container, if there is one, and waits for its end. Its container dies with
/// it, but for processes that have got rid of that; they are in the container's cgroup.
///
/// # Errors
/// It cannot be found, or does not end.
pub fn end_silent(paths: &ShimPaths) -> Result<(), SilentError> {
    let Some((pid, pidfd)) = holder(paths).map_err(SilentError::Find)? else { return Ok(()) };
    let failed = |source| SilentError::Kill { pid, source };
    match sys::process::pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(failed(errno)),
    }
    if has_ended(&pidfd, &PATIENCE).map_err(failed)? {
        Ok(())
    } else {
        Err(SilentError::Stuck { pid })
    }
}

/// The process that holds the container's life as its shim.
fn holder(paths: &ShimPaths) -> std::io::Result<Option<(Pid, OwnedFd)>> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
            continue;
        };
        let Some(lock) = lock_number(pid, paths) else { continue };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let is_it = holds(pid, lock, paths);
        if is_it && !has_ended(&pidfd, &Timespec { tv_sec: 0, tv_nsec: 0 })? {
            return Ok(Some((pid, pidfd)));
        }
    }
    Ok(None)
}

/// By its arguments, which descriptor a process has the lock at, if they are those of this
/// container's shim. They are a hint alone: any process can have such.
fn lock_number(pid: Pid, paths: &ShimPaths) -> Option<u32> {
    let line = read(&format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    lock_in(&line, &paths.id.to_string())
}

/// The descriptor that a command line names as the lock, if it is that of this container's shim.
fn lock_in(line: &[u8], id: &str) -> Option<u32> {
    let words: Vec<&str> =
        line.split(|byte| *byte == 0).map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let is_shim = words.get(1).is_some_and(|word| word.as_bytes() == ROLE.to_bytes());
    let is_meant = is_shim && value("--id") == Some(id);
    value("--lock").filter(|_| is_meant)?.parse().ok()
}

/// Whether a process holds the container's life by this descriptor of its.
fn holds(pid: Pid, number: u32, paths: &ShimPaths) -> bool {
    let pid = pid.as_raw_nonzero();
    let file = |path: &Path| {
        // What a container serves itself (FUSE) is not asked: it might not answer.
        let stat = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
        Some((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
    };
    let theirs = file(Path::new(&format!("/proc/{pid}/fd/{number}")));
    if theirs.is_none() || theirs != file(&paths.lock()) {
        return false;
    }
    let locks = read(&format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    has_life(&String::from_utf8_lossy(&locks))
}

/// The beginning of a file that the kernel writes: a shim's own is short.
fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether one of the locks that the kernel tells of is that of the first byte.
fn has_life(fdinfo: &str) -> bool {
    let locks = fdinfo.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.map(|lock| lock.split_whitespace().collect::<Vec<_>>()).any(|lock| {
        lock.contains(&"OFDLCK") && lock.contains(&"WRITE") && lock.ends_with(&["0", "0"])
    })
}

fn has_ended(pidfd: &OwnedFd, patience: &Timespec) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(patience))).map(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any process can have such arguments; what they name is looked for as root.
    #[test]
    fn a_lock_is_a_number() {
        let line = |lock: &str| format!("dhow\0shim\0--id\0abc\0--lock\0{lock}\0");
        assert_eq!(lock_in(line("7").as_bytes(), "abc"), Some(7));
        assert_eq!(lock_in(line("7").as_bytes(), "abd"), None);
        for foreign in ["../root/fifo", "7/../8", "-1", "99999999999", ""] {
            assert_eq!(lock_in(line(foreign).as_bytes(), "abc"), None, "{foreign}");
        }
    }

    #[test]
    fn it_says_what_to_do() {
        let said = |pid, why| Silence { pid: Pid::from_raw(pid), why }.to_string();
        expect_test::expect![[r#"
            its shim (process 7) is stopped; `kill -CONT 7` lets it go on, `dhow kill` and `dhow rm -f` end it, and its container with it
            its shim (process 7) does not answer; `dhow kill` and `dhow rm -f` end it, and its container with it
            its shim does not answer; `dhow kill` and `dhow rm -f` end it, and its container with it
        "#]]
        .assert_eq(&format!(
            "{}\n{}\n{}\n",
            said(7, Why::Stopped),
            said(7, Why::Unknown),
            said(0, Why::Stopped)
        ));
    }

    #[test]
    fn a_life_is_the_first_byte_alone() {
        let life = "pos:\t0\nflags:\t0100002\nlock:\t1: OFDLCK ADVISORY  WRITE -1 08:01:1319 0 0\n";
        assert!(has_life(life));
        assert!(!has_life("lock:\t1: OFDLCK ADVISORY  WRITE -1 08:01:1319 1 1\n"));
        assert!(!has_life("lock:\t1: FLOCK ADVISORY  WRITE 7 08:01:1319 0 EOF\n"));
        assert!(!has_life("pos:\t0\n"));
    }
}
