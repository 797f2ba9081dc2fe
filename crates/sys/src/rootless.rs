//! The user namespace that all that an ordinary user runs on one state root is in.
//!
//! Owns finding, making and entering it. It has no process of its own: it lives as long as a process is in
//! it, a command or the shim of a container, and whoever comes finds one of them by the locks that each
//! holds on one file, `<run>/userns`:
//!
//! | byte | lock | held by | says |
//! |---|---|---|---|
//! | 0 | of the process (POSIX) | each member | who: the kernel names its process id, which no file could do without lying one day |
//! | 1 | of the description | each member, and from its birth whoever it starts as one | that there is a member, also one that has not come to byte 0 yet |
//! | 2 | of the description | whoever is coming in | one at a time, so that there are never two namespaces |
//!
//! Locks end with their process, so nothing is ever stale, and nobody has to clean up. The kernel drops a
//! process's POSIX locks on a file when it closes any descriptor of it: a member opens it once and never
//! closes it.

pub mod ids;
pub mod networks;
mod trust;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::helper::{self, Bounds, Helper, RunError};
use crate::process::{Namespaces, setns, unshare};
use crate::userns::UsernsError;
use crate::{Errno, lock, userns};
use ids::{Range, User};
pub use trust::foreign;

/// The file below the runtime root that the members of the namespace have locked.
const FILE: &str = "userns";

const WHO: u32 = 0;
const ANYBODY: u32 = 1;
const DOOR: u32 = 2;

/// How long one is waited for that is there and cannot be seen yet, or not any more: it is starting, or
/// ending. Either is a matter of microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long whoever is at the door is waited for: the mapping of ids, and all who were there before.
const DOOR_PATIENCE: Duration = Duration::from_secs(60);
/// How long newuidmap(1) may take.
const HELPER_TIME: Duration = Duration::from_secs(10);
/// Where the helpers are looked for, in place of a `PATH` that anybody may have written.
const HELPER_DIRS: [&str; 7] = [
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/run/wrappers/bin",
    "/usr/local/sbin",
];

/// Why an ordinary user's namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// The file whose locks say who is in it.
    #[error("{what} {}: {errno}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// Another command does not get on.
    #[error("another command of this user's has held the lock of {} for a minute: is one stopped? (lslocks(8) \
             tells of locks)", path.display())]
    Held {
        /// What it has locked.
        path: PathBuf,
    },
    /// A helper is not installed.
    #[error(
        "{program} is not installed: containers of users other than root need it; install the package uidmap \
         (Debian, Ubuntu), shadow-utils (Fedora, RHEL) or shadow (Arch, Alpine: shadow-subids)"
    )]
    NoHelper {
        /// Which.
        program: &'static str,
    },
    /// The runtime root is somebody else's, or others may write to it: who is named there could be anybody.
    #[error("{} has to be a directory of the user's own that nobody else may write to: use another --run-root, or \
             XDG_RUNTIME_DIR", path.display())]
    NotOwn {
        /// Which.
        path: PathBuf,
    },
    /// The data root, or something above one of the roots, is another user's, or others may write to it: what is
    /// found there could be put in its place at any moment.
    #[error(
        "{} belongs to another user or others may write to it, and {} is below: use another {option}",
        above.display(),
        root.display()
    )]
    Foreign {
        /// What is not to be trusted.
        above: PathBuf,
        /// The root.
        root: PathBuf,
        /// What names another one.
        option: &'static str,
    },
    /// The user has too few ids.
    #[error(
        "{user} has {count} subordinate ids in {file}, and containers need at least {wanted}; {}",
        user.remedy(),
        wanted = ids::WANTED
    )]
    NoIds {
        /// The user.
        user: User,
        /// Which of the two files.
        file: &'static str,
        /// How many it grants.
        count: u32,
    },
    /// A helper refuses.
    #[error("{program}: {said}")]
    Refused {
        /// Which.
        program: &'static str,
        /// What it says.
        said: String,
    },
    /// The kernel refuses.
    #[error("{what}: {errno}{hint}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why not.
        errno: Errno,
        /// What may be the reason.
        hint: &'static str,
    },
    /// Whoever is in it is seen from another pid namespace.
    #[error("the user's other commands run in another pid namespace: use another --run-root")]
    Elsewhere,
}

/// This process's own descriptor of the file, never closed.
static MEMBER: OnceLock<OwnedFd> = OnceLock::new();

/// What a process that this one starts as a member has to keep: see [`stay`].
pub fn membership() -> Option<BorrowedFd<'static>> {
    MEMBER.get().map(AsFd::as_fd)
}

/// Whether this process works for an ordinary user of the host, as the root of that user's namespace.
#[must_use]
pub fn is_member() -> bool {
    MEMBER.get().is_some()
}

/// Whether this process is in a user namespace whose ids are not the host's.
#[must_use]
pub fn is_nested() -> bool {
    // Who is in one stays in one; who is not may enter one yet.
    static NESTED: OnceLock<()> = OnceLock::new();
    if NESTED.get().is_none() {
        if !has_others_ids() {
            return false;
        }
        let _ = NESTED.set(());
    }
    true
}

/// The same, asked of the kernel.
fn has_others_ids() -> bool {
    let map = crate::kernel_fs::read("/proc/self/uid_map").unwrap_or_default();
    !String::from_utf8_lossy(&map).split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Enters the user namespace of this runtime root, and a mount namespace of one's own in it. Makes the
/// user namespace if nobody is in it. Only a process with one thread can. `called`: what the user's surroundings
/// say that the user is called, for one whom `/etc/passwd` does not have.
///
/// # Errors
/// See [`RootlessError`].
pub fn enter(run: &Path, called: Option<&str>) -> Result<(), RootlessError> {
    let file = open(run)?;
    let failed = |errno| RootlessError::File { what: "lock", path: run.join(FILE), errno };
    if !lock::lock_within(&file, DOOR, DOOR_PATIENCE).map_err(failed)? {
        return Err(RootlessError::Held { path: run.join(FILE) });
    }
    match find(&file, failed)? {
        Found::Namespace(namespace) => join(&namespace)?,
        Found::Nobody => join(&make(called)?)?,
        Found::Hidden => return Err(RootlessError::Elsewhere),
    }
    belong(file).map_err(failed)
}

/// Takes over the descriptor of [`membership`] that this process was born with, or that the program before it
/// in the same process had: then it has been a member all the time.
///
/// # Errors
/// It cannot be locked.
pub fn stay(file: OwnedFd) -> Result<(), Errno> {
    lock::hold_as_process(&file, WHO)?;
    // It is the first and only one.
    drop(MEMBER.set(file));
    Ok(())
}

fn open(run: &Path) -> Result<OwnedFd, RootlessError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |errno| RootlessError::File { what, path, errno }
    };
    let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .recursive(true)
        .create(run);
    made.map_err(|error| failed("create", run)(errno_of(&error)))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, run, flags, Mode::empty()).map_err(failed("open", run))?;
    if !is_own(&dir).map_err(failed("look at", run))? {
        return Err(RootlessError::NotOwn { path: run.to_owned() });
    }
    check_above(run, "--run-root")?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&dir, FILE, flags, Mode::from_raw_mode(0o600))
        .map_err(failed("open", &run.join(FILE)))
}

/// Whether nobody but root and this user can put something else in the place of the data root, which need not
/// be there yet.
///
/// # Errors
/// Somebody can.
pub fn check_data(root: &Path) -> Result<(), RootlessError> {
    check_above(root, "--root")
}

fn check_above(root: &Path, option: &'static str) -> Result<(), RootlessError> {
    match foreign(root) {
        None => Ok(()),
        Some(above) => Err(RootlessError::Foreign { above, root: root.to_owned(), option }),
    }
}

/// Whether it is a directory in which this user alone makes files.
fn is_own(dir: &OwnedFd) -> Result<bool, Errno> {
    let found = rustix::fs::fstat(dir)?;
    let others = Mode::WGRP | Mode::WOTH;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory
        && found.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(found.st_mode).intersects(others))
}

fn belong(file: OwnedFd) -> Result<(), Errno> {
    lock::share(&file, ANYBODY)?;
    lock::hold_as_process(&file, WHO)?;
    lock::unlock(&file, DOOR)?;
    drop(MEMBER.set(file));
    Ok(())
}

enum Found {
    Namespace(OwnedFd),
    Nobody,
    /// There is somebody whose process has no number here.
    Hidden,
}

/// The namespace of whoever is in it. Nobody can come or be started meanwhile: the door is ours.
fn find(file: &OwnedFd, failed: impl Fn(Errno) -> RootlessError) -> Result<Found, RootlessError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lock::holder(file, WHO).map_err(&failed)? {
            Some(lock::Holder::Process(pid)) => {
                if let Some(namespace) = namespace_of(file, pid)? {
                    return Ok(Found::Namespace(namespace));
                }
            }
            Some(lock::Holder::Hidden) => return Ok(Found::Hidden),
            None if !lock::is_locked(file, ANYBODY).map_err(&failed)? => {
                return Ok(Found::Nobody);
            }
            None => {}
        }
        if Instant::now() > deadline {
            return Err(failed(Errno::BUSY));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// `None` if that process has ended meanwhile.
fn namespace_of(file: &OwnedFd, pid: Pid) -> Result<Option<OwnedFd>, RootlessError> {
    let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
    let failed = |errno| RootlessError::File { what: "open", path: PathBuf::from(&path), errno };
    let gone = |errno| matches!(errno, Errno::SRCH | Errno::NOENT);
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(errno) if gone(errno) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    // It holds the lock still, so this is not another one of the same number.
    if lock::holder(file, WHO).map_err(failed)? != Some(lock::Holder::Process(pid)) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
        Ok(namespace) => namespace,
        Err(errno) if gone(errno) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok((poll(&mut ended, Some(&now)).map_err(failed)? == 0).then_some(namespace))
}

/// Its owner, outside of it, has all rights in it.
fn join(namespace: &OwnedFd) -> Result<(), RootlessError> {
    let kernel = |what| move |errno| RootlessError::Kernel { what, errno, hint: "" };
    crate::exe::remember();
    setns(namespace, Namespaces::USER).map_err(kernel("enter the user namespace"))?;
    unshare(Namespaces::MOUNT).map_err(|errno| RootlessError::Kernel {
        what: "make a mount namespace",
        errno,
        hint: restriction(),
    })
}

/// A new user namespace with all of the user's ids.
fn make(called: Option<&str>) -> Result<OwnedFd, RootlessError> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let user = User::find(uid.as_raw(), gid.as_raw(), &passwd, called);
    let users = Mapper::find("newuidmap", "/etc/subuid", user.uid, &user)?;
    let groups = Mapper::find("newgidmap", "/etc/subgid", user.gid, &user)?;
    userns::create_mapped(|pid| {
        users.run(pid)?;
        groups.run(pid)
    })
}

impl From<UsernsError> for RootlessError {
    fn from(error: UsernsError) -> Self {
        let (what, errno) = match error {
            UsernsError::Create(errno) => ("create a user namespace", errno),
            UsernsError::Open(_, errno) | UsernsError::Enter(errno) => {
                ("open a new user namespace", errno)
            }
            UsernsError::Read(_, error) => ("read the map of a user namespace", errno_of(&error)),
            UsernsError::Map { source, .. } => ("map the ids of a user namespace", source),
        };
        Self::Kernel { what, errno, hint: restriction() }
    }
}

/// One of the two programs that map ids.
struct Mapper {
    program: &'static str,
    path: PathBuf,
    own: u32,
    ranges: Vec<Range>,
}

impl Mapper {
    fn find(
        program: &'static str,
        file: &'static str,
        own: u32,
        user: &User,
    ) -> Result<Self, RootlessError> {
        let path = find_helper(program).ok_or(RootlessError::NoHelper { program })?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let ranges = ids::granted(&text, user, own);
        let count = ids::total(&ranges);
        if count < ids::WANTED {
            return Err(RootlessError::NoIds { user: user.clone(), file, count });
        }
        Ok(Self { program, path, own, ranges })
    }

    fn run(&self, pid: &str) -> Result<(), RootlessError> {
        let kind = match self.program {
            "newuidmap" => Helper::NewUidMap(&self.path),
            _ => Helper::NewGidMap(&self.path),
        };
        let mut command = helper::command(kind);
        command
            .arg(pid)
            .args(ids::arguments(self.own, &self.ranges))
            .env_clear()
            .current_dir("/")
            .stderr(Stdio::piped());
        helper::alone(&mut command);
        let refused = |said| RootlessError::Refused { program: self.program, said };
        let ran = helper::run(&mut command, b"", Bounds { time: HELPER_TIME, output: 4096 });
        let ran = ran.map_err(|error: RunError| refused(error.to_string()))?;
        if ran.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        Err(refused(if said.is_empty() { ran.status.to_string() } else { said }))
    }
}

/// A program of the host's, where the host's administrator puts programs.
#[must_use]
pub fn find_helper(program: &str) -> Option<PathBuf> {
    HELPER_DIRS.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}

/// What distributions have that keeps users from having namespaces.
fn restriction() -> &'static str {
    let is = |path: &str, value: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
    };
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "; this host keeps users from it: sysctl kernel.unprivileged_userns_clone=1";
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "; AppArmor keeps programs without a profile from it: a profile for dhow with `userns,`, or \
                sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "; this host keeps users from it: sysctl user.max_user_namespaces=65536";
    }
    ""
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
