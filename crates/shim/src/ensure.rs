//! Finding the shim of a container, or starting it.
//!
//! The caller may have threads, so between clone and exec the child makes system calls only. It
//! is cloned twice: the one in the middle ends at once, so that the shim is nobody's child and a
//! long-lived caller never has to reap it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use cgroup::Hierarchies;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use sys::Errno;
use sys::failpoint::{Point, reach};
use sys::process::{CloneArgs, ExecStrings, clone3, close_on_exec_from, execve_fd, wait};

use crate::client::Shim;
use crate::life_lock::{Door, LifeLock, LockError};
use crate::paths::{self, ShimPaths};
use crate::role::{HOME, MEMBER};

/// There is no shim, and none could be started.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The container's lock is out of order.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Somebody removes the container at this moment.
    #[error("the container is being removed")]
    BeingRemoved,
    /// Its socket cannot be made.
    #[error("listen at {}", path.display())]
    Listen {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What its last shim has written cannot be moved out of the way.
    #[error("rename {}", path.display())]
    SetAside {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its socket cannot be connected to.
    #[error("connect to {}", path.display())]
    Connect {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// This program cannot be executed again.
    #[error(transparent)]
    Image(#[from] sys::exe::SealError),
    /// Where its control groups will be cannot be noted.
    #[error("note where control groups are")]
    Note(#[source] std::io::Error),
    /// The shim cannot be started.
    #[error("start a shim")]
    Start(#[source] Errno),
}

/// Connects to the container's shim, and starts it if there is none. `hierarchies` are asked for then:
/// without any it is born where its starter is.
///
/// # Errors
/// `BeingRemoved` if the lock is held by one who removes the container.
pub fn ensure(
    paths: &ShimPaths,
    hierarchies: impl FnOnce() -> Option<Hierarchies>,
) -> Result<Shim, EnsureError> {
    let door = Door::open(paths)?;
    if let Some(lock) = LifeLock::try_take(paths)? {
        set_aside(paths)?;
        reach(Point::StartLife).map_err(EnsureError::Start)?;
        let socket = paths.socket();
        let listener = paths::listen(&socket)
            .map_err(|source| EnsureError::Listen { path: socket, source })?;
        reach(Point::StartListening).map_err(EnsureError::Start)?;
        start(paths, &lock, &listener, hierarchies())?;
    }
    let connected = Shim::connect(paths);
    drop(door);
    let connected =
        connected.map_err(|source| EnsureError::Connect { path: paths.socket(), source })?;
    connected.ok_or(EnsureError::BeingRemoved)
}

/// A state that is there while nobody guards the container is of a shim that was killed. With a
/// new shim it would read as the truth.
fn set_aside(paths: &ShimPaths) -> Result<(), EnsureError> {
    let path = paths.state();
    match std::fs::rename(&path, paths.last_words()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(EnsureError::SetAside { path, source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn start(
    paths: &ShimPaths,
    lock: &LifeLock,
    listener: &UnixListener,
    hierarchies: Option<Hierarchies>,
) -> Result<(), EnsureError> {
    let image = sys::exe::sealed()?;
    let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(EnsureError::Start)?;
    let mut argv = arguments(paths, lock.file(), listener);
    // What an ordinary user's commands find the namespace by in which it will live: it is in there from its
    // birth, and has to be seen from its birth.
    let member = sys::rootless::membership();
    // And the directory that an upgrade puts the next program into, which root's namespace has told whose it is.
    let home = member.and_then(|_| sys::exe::home());
    let told = [(MEMBER, member), (HOME, home)];
    let told = told.into_iter().filter_map(|(word, fd)| Some((word, fd?)));
    argv.extend(told.flat_map(|(word, fd)| [text(word.as_bytes()), number(fd.as_raw_fd())]));
    let argv = ExecStrings::new(argv);
    if let Some(found) = &hierarchies {
        crate::home::note_part(&paths.run, found).map_err(EnsureError::Note)?;
    }
    let birthplace = hierarchies.and_then(|found| crate::home::birthplace(&found, &paths.cgroup));
    let envp = ExecStrings::new(sys::failpoint::shim_environment());
    let plan = Exec { image, null, argv, envp };
    let mut keep = vec![lock.file().as_fd(), listener.as_fd()];
    keep.extend(member.into_iter().chain(home));
    let middle = clone3(&CloneArgs::default(), || {
        let child = || plan.run(&keep).map_or_else(Errno::raw_os_error, |never| match never {});
        let cgroup = birthplace.as_ref().map(AsFd::as_fd);
        // A kernel or cgroup that refuses this has a shim nevertheless.
        let born = clone3(&CloneArgs { cgroup, ..CloneArgs::default() }, child)
            .or_else(|_| clone3(&CloneArgs::default(), child));
        born.map_or_else(Errno::raw_os_error, |_| 0)
    });
    let middle = middle.map_err(EnsureError::Start)?;
    match wait(&middle.pidfd).map_err(EnsureError::Start)?.shell_code() {
        0 => Ok(()),
        errno => Err(EnsureError::Start(Errno::from_raw_os_error(errno.into()))),
    }
}

/// What the shim is started with: `role` reads it.
fn arguments(paths: &ShimPaths, lock: &OwnedFd, listener: &UnixListener) -> Vec<CString> {
    let mut words = vec![
        c"dhow".to_owned(),
        crate::role::ROLE.to_owned(),
        c"--id".to_owned(),
        text(paths.id.to_string().as_bytes()),
        c"--root".to_owned(),
        text(paths.root.as_os_str().as_bytes()),
        c"--run".to_owned(),
        text(paths.run.as_os_str().as_bytes()),
        c"--cgroup".to_owned(),
        text(paths.cgroup.as_bytes()),
        c"--lock".to_owned(),
        number(lock.as_raw_fd()),
        c"--listener".to_owned(),
        number(listener.as_raw_fd()),
    ];
    if let Some(origin) = sys::exe::origin() {
        words.extend([c"--program".to_owned(), text(origin.as_os_str().as_bytes())]);
    }
    words
}

/// The system never hands out a path with a NUL in it; one that a caller made up is cut there, and the shim
/// that starts with it finds no such directory.
fn text(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

fn number(fd: i32) -> CString {
    text(fd.to_string().as_bytes())
}

/// Everything that the child needs, made before it exists.
struct Exec {
    image: OwnedFd,
    null: OwnedFd,
    argv: ExecStrings,
    envp: ExecStrings,
}

enum Never {}

impl Exec {
    /// In the child: detaches from everything that the caller is, and executes. System calls
    /// only: another thread of the caller may hold any lock, the heap's among them, for ever.
    fn run(&self, keep: &[impl AsFd]) -> Result<Never, Errno> {
        rustix::process::setsid()?;
        rustix::process::chdir(c"/")?;
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stdout(&self.null)?;
        rustix::stdio::dup2_stderr(&self.null)?;
        close_on_exec_from(3)?;
        for fd in keep {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        Err(execve_fd(&self.image, &self.argv, &self.envp))
    }
}
