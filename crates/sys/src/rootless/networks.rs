//! The network namespace that an ordinary user's networks are in: one for all on one runtime root.
//!
//! Owns finding it, and who keeps it. As the user namespace it has neither a process of its own nor a name:
//! the shim of each container on one of its networks has a descriptor of it, and says so by the locks that it
//! holds on one file, `<run>/networks`. So it ends with the last of them, whatever ends that.
//!
//! | byte | lock | held by | says |
//! |---|---|---|---|
//! | 0 | of the description, alone | whoever looks for it, and whoever has made it until a shim keeps it | one at a time, so that there are never two |
//! | 1 | of the description, shared | whoever has it | that there is one, also between the start of a container and its shim |
//! | 16 and on | of the process (POSIX) | each shim | which process, and by the byte's number which of its descriptors |
//!
//! The description goes to the shim along with the namespace: whoever starts a container and is killed in the
//! middle leaves no moment at which somebody would make another. Only shims hold locks of the last kind, which
//! the kernel drops with any descriptor of the file that their process closes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{DOOR_PATIENCE, RootlessError};
use crate::{Errno, lock};

/// The file below the runtime root.
const FILE: &str = "networks";

const DOOR: u32 = 0;
const ANYBODY: u32 = 1;
const WHO: u32 = 16;

/// How long one is waited for who has it and is not seen yet: a container is being started.
const PATIENCE: Duration = Duration::from_secs(30);

/// The namespace, and what keeps others from making another as long as this lives.
#[derive(Debug)]
pub struct Networks {
    netns: OwnedFd,
    file: OwnedFd,
}

/// What there is.
#[derive(Debug)]
pub enum Look {
    /// It is there.
    Found(Networks),
    /// It is not, and nobody else makes it meanwhile.
    Nobody(Door),
}

/// The right to make it.
#[derive(Debug)]
pub struct Door(OwnedFd);

impl Door {
    /// This is it from now on. Others wait until a shim keeps it, or until this is dropped.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn open(self, netns: OwnedFd) -> Result<Networks, Errno> {
        lock::share(&self.0, ANYBODY)?;
        Ok(Networks { netns, file: self.0 })
    }
}

impl Networks {
    /// What came along with the launch of a container.
    #[must_use]
    pub const fn of(netns: OwnedFd, file: OwnedFd) -> Self {
        Self { netns, file }
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// What its next keeper gets besides the namespace.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Keeps it for as long as this process does, and lets others find it. This process has no other descriptor
    /// of the file, nor has it another time.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn keep(&self) -> Result<(), Errno> {
        let number = u32::try_from(self.netns.as_raw_fd()).map_err(|_| Errno::BADF)?;
        lock::hold_as_process(&self.file, WHO + number)?;
        lock::unlock(&self.file, DOOR)
    }
}

/// Looks for the namespace of a runtime root, which the caller works on.
///
/// # Errors
/// Somebody else looks for it and does not get on, or has it and cannot be seen.
pub fn look(run: &Path) -> Result<Look, RootlessError> {
    let path = run.join(FILE);
    let failed = |what| {
        let path = path.clone();
        move |errno| RootlessError::File { what, path, errno }
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o600));
    let file = file.map_err(failed("open"))?;
    if !lock::lock_within(&file, DOOR, DOOR_PATIENCE).map_err(failed("lock"))? {
        return Err(RootlessError::Held { path });
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lock::holder_from(&file, WHO).map_err(failed("lock"))? {
            Some((lock::Holder::Process(pid), byte)) => {
                if let Some(netns) = namespace_of(&file, pid, byte).map_err(failed("look into"))? {
                    lock::share(&file, ANYBODY).map_err(failed("lock"))?;
                    lock::unlock(&file, DOOR).map_err(failed("unlock"))?;
                    return Ok(Look::Found(Networks { netns, file }));
                }
            }
            Some((lock::Holder::Hidden, _)) => return Err(RootlessError::Elsewhere),
            None if !lock::is_locked(&file, ANYBODY).map_err(failed("lock"))? => {
                return Ok(Look::Nobody(Door(file)));
            }
            None => {}
        }
        if Instant::now() > deadline {
            return Err(failed("lock")(Errno::BUSY));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Takes away what nobody holds any more, for a runtime root that goes.
///
/// # Errors
/// It cannot be removed.
pub fn forget(run: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(run.join(FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// `None` if that process keeps it no longer.
fn namespace_of(file: &OwnedFd, pid: Pid, byte: u32) -> Result<Option<OwnedFd>, Errno> {
    let path = format!("/proc/{}/fd/{}", pid.as_raw_nonzero(), byte.saturating_sub(WHO));
    let gone = |errno| matches!(errno, Errno::SRCH | Errno::NOENT);
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(errno) if gone(errno) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let netns =
        match rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(netns) => netns,
            Err(errno) if gone(errno) => return Ok(None),
            Err(errno) => return Err(errno),
        };
    // It holds the lock still and lives, so this was its descriptor and not that of another of its number.
    if lock::holder_from(file, byte)? != Some((lock::Holder::Process(pid), byte)) {
        return Ok(None);
    }
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok((poll(&mut ended, Some(&now))? == 0).then_some(netns))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::File;
    use std::io::Read as _;

    fn found(run: &Path) -> Option<Networks> {
        match look(run).unwrap() {
            Look::Found(networks) => Some(networks),
            Look::Nobody(_) => None,
        }
    }

    /// Whoever has made it goes, one who keeps it stays: it is found as long as that one lives.
    #[test]
    fn it_is_found_as_long_as_somebody_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(found(dir.path()).is_none());
        let Look::Nobody(door) = look(dir.path()).unwrap() else { panic!("nobody has made it") };
        // Which file it is shows whether it is the same.
        std::fs::write(dir.path().join("it"), "the one").unwrap();
        let made = door.open(File::open(dir.path().join("it")).unwrap().into()).unwrap();
        // A byte each: their ends may be in processes of other tests as well.
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let ((told, tell), (wait, go)) = (pipe(), pipe());
        let keeper = crate::process::fork(|| {
            let kept = made.keep().map_or_else(Errno::raw_os_error, |()| 0);
            let _ = rustix::io::write(&tell, b"!");
            let _ = rustix::io::read(&wait, &mut [0_u8; 1]);
            kept
        });
        let keeper = keeper.unwrap();
        assert_eq!(rustix::io::read(&told, &mut [0_u8; 1]), Ok(1));
        drop(made);
        let networks = found(dir.path()).expect("somebody keeps it");
        let mut text = String::new();
        File::from(networks.netns.try_clone().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "the one");
        drop(networks);
        rustix::io::write(&go, b"!").unwrap();
        assert_eq!(crate::process::wait(&keeper.pidfd).unwrap().shell_code(), 0);
        assert!(found(dir.path()).is_none(), "nobody has it any more");
    }

    /// Between the two nobody else makes one. The last lock is waited for, since a process that another test has
    /// just cloned has the descriptor for a moment.
    #[test]
    fn whoever_makes_it_is_alone_until_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let Look::Nobody(door) = look(dir.path()).unwrap() else { panic!("nobody has made it") };
        let made = door.open(File::open("/dev/null").unwrap().into()).unwrap();
        let other = File::options().read(true).write(true).open(dir.path().join(FILE)).unwrap();
        assert_eq!(lock::is_locked(&other, DOOR), Ok(true));
        assert_eq!(lock::is_locked(&other, ANYBODY), Ok(true));
        made.keep().unwrap();
        assert_eq!(lock::is_locked(&other, DOOR), Ok(false));
        assert_eq!(lock::is_locked(&other, ANYBODY), Ok(true));
        drop(made);
        assert_eq!(lock::lock_within(&other, ANYBODY, PATIENCE), Ok(true));
    }
}
