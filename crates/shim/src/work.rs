//! What a shim writes down before it does something that takes long and hears nobody meanwhile: until
//! when that may take.
//!
//! Whoever asks it something and gets no answer finds that it is at work, and waits. It is believed only
//! of the process that wrote it, and until its time is up, so one that hangs is found nevertheless.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::paths::ShimPaths;
use crate::record;

/// Nobody waits longer for a shim that says nothing, whatever a hook is allowed.
const MOST: Duration = Duration::from_mins(10);
/// What there is to do around the work itself.
const ROOM: Duration = Duration::from_secs(5);

/// The content of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Who is at work.
    pid: i32,
    /// In seconds since the host's boot.
    until: u64,
}

/// While it is there the shim is at work.
#[derive(Debug)]
pub(crate) struct Work(PathBuf);

impl Work {
    /// From here on, and for so long at most. Where it cannot be written down nobody heeds it.
    pub(crate) fn begin(paths: &ShimPaths, longest: Duration) -> Self {
        let path = paths.work();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mark = Mark { pid, until: until(since_boot(), longest) };
        let _ = record::write(&path, &mark);
        Self(path)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether this process, which is the container's shim, is at work.
pub(crate) fn is_at_work(paths: &ShimPaths, pid: Pid) -> bool {
    let mark = record::read::<Mark>(&paths.work()).ok().flatten();
    mark.is_some_and(|mark| holds(mark, pid.as_raw_nonzero().get(), since_boot()))
}

fn until(now: u64, longest: Duration) -> u64 {
    now.saturating_add(longest.saturating_add(ROOM).min(MOST).as_secs())
}

const fn holds(mark: Mark, pid: i32, now: u64) -> bool {
    mark.pid == pid && now < mark.until
}

/// By the clock that never goes back, for all processes of the host.
fn since_boot() -> u64 {
    sys::clock::since_boot().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    use model::ContainerId;

    #[test]
    fn nobody_is_at_work_for_ever() {
        let hour = Mark { pid: 7, until: until(1000, Duration::from_hours(1)) };
        assert!(holds(hour, 7, 1000 + 599) && !holds(hour, 7, 1000 + 600));
        let hook = Mark { pid: 7, until: until(1000, Duration::from_secs(60)) };
        assert!(holds(hook, 7, 1064) && !holds(hook, 7, 1065));
        assert_eq!(until(u64::MAX, Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_mark_is_of_who_wrote_it_while_it_works() {
        let dir = tempfile::tempdir().unwrap();
        let id = ContainerId::from_random([7; 32]);
        let (root, run) = (dir.path().join("root"), dir.path().join("run"));
        let paths = ShimPaths { id, root, run, cgroup: "dhow-test".to_owned() };
        std::fs::create_dir_all(paths.dir()).unwrap();
        let own = rustix::process::getpid();
        let work = Work::begin(&paths, Duration::from_secs(1));
        assert!(is_at_work(&paths, own));
        assert!(!is_at_work(&paths, Pid::INIT), "another process has the number of a dead one");
        drop(work);
        assert!(!is_at_work(&paths, own) && !paths.work().exists());
    }
}
