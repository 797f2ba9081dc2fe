//! The process that a shim is: what it was started with, what it is to the kernel, how it ends.

use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use rustix::fs::Mode;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{DumpableBehavior, Pid};
use sys::Errno;
use sys::exe::Origin;
use sys::failpoint::{Point, own_environment, pass, reach};
use sys::process::{ExecStrings, execve_fd};

use crate::guard::{Guard, Inherited};
use crate::life_lock::LifeLock;
use crate::machine::Finish;
use crate::paths::ShimPaths;

/// What this program's first argument is when it is to be a shim.
pub const ROLE: &CStr = c"shim";

/// Before the number of the descriptor that makes an ordinary user's process be seen in the user's namespace.
pub const MEMBER: &str = "--member";

/// Before the number of the descriptor of the directory that the program of an ordinary user's shim was in.
pub(crate) const HOME: &str = "--home";

/// What `ps` and `top` show.
const NAME: &CStr = c"dhow-shim";
/// The OOM killer takes everything else first: with the shim goes its container.
const OOM_SCORE: &[u8] = b"-999";
const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// A shim could not take up its work. There is nobody to read this: whoever started it finds
/// that its connection ends.
#[derive(Debug, thiserror::Error)]
enum RoleError {
    /// Only `ensure` starts a shim, with arguments of its own making.
    #[error("shim: argument {0} is missing or no value of its kind")]
    Argument(&'static str),
    /// A descriptor that should be there is not.
    #[error("shim: take descriptor {0}")]
    Descriptor(i32, #[source] Errno),
    /// The kernel refuses something every process may do.
    #[error("shim: {0}")]
    Setup(&'static str, #[source] Errno),
}

/// Is the shim of one container until it is not needed any more. `arguments` are those behind
/// [`ROLE`]; `ensure` made them.
///
/// The exit code is 0 if it did its work and 1 if it could not begin.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), RoleError> {
    sys::heap::stay_small();
    let mut inherited = inherit(arguments)?;
    inherited.oom_score = settle_in()?;
    reach(Point::ShimBegan).map_err(|errno| RoleError::Setup("begin", errno))?;
    let origin = inherited.origin.clone();
    let guard =
        Guard::new(inherited).map_err(|errno| RoleError::Setup("watch descriptors", errno))?;
    match guard.run().map_err(|errno| RoleError::Setup("wait for events", errno))? {
        Finish::Exit | Finish::ExitNow => Ok(()),
        Finish::Reap(arguments) => Err(reap(&arguments, origin.as_deref())),
    }
}

/// Takes over what `ensure` has prepared.
fn inherit(arguments: impl IntoIterator<Item = OsString>) -> Result<Inherited, RoleError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let value = |name: &'static str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).ok_or(RoleError::Argument(name))
    };
    let descriptor = |name| {
        let number = value(name)?.to_str().and_then(|text| text.parse().ok());
        let number = number.ok_or(RoleError::Argument(name))?;
        sys::inherited::take(number).map_err(|errno| RoleError::Descriptor(number, errno))
    };
    let id = value("--id")?.to_str().and_then(|text| text.parse().ok());
    let paths = ShimPaths {
        id: id.ok_or(RoleError::Argument("--id"))?,
        root: value("--root")?.into(),
        run: value("--run")?.into(),
        cgroup: value("--cgroup")?.to_str().ok_or(RoleError::Argument("--cgroup"))?.to_owned(),
    };
    let lock = LifeLock::inherited(descriptor("--lock")?, paths.clone());
    let listener = UnixListener::from(descriptor("--listener")?);
    if value(MEMBER).is_ok() {
        sys::rootless::stay(descriptor(MEMBER)?)
            .map_err(|errno| RoleError::Setup("be seen in the user namespace", errno))?;
    }
    let home = value(HOME).is_ok().then(|| descriptor(HOME)).transpose()?;
    let path = value("--program").ok().map(PathBuf::from);
    let origin = path.map(|path| Rc::new(Origin { path, home }));
    Ok(Inherited { paths, lock, listener, oom_score: None, origin })
}

/// What `ensure` could not do before the program was executed. Returns what this process was to
/// the OOM killer, if it is something else now.
fn settle_in() -> Result<Option<i32>, RoleError> {
    sys::signal::reset_all();
    // Each published port has a socket of each family here.
    sys::open_files::allow_most();
    // Every orphan of the container comes to us, so that none is left behind unseen.
    rustix::process::set_child_subreaper(Some(Pid::INIT))
        .map_err(|errno| RoleError::Setup("become a subreaper", errno))?;
    let _ = rustix::thread::set_name(NAME);
    // Files get the modes that the code gives them, whatever the user's shell says.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Before the process becomes undumpable, which gives its files in /proc to root.
    let oom_score = protect_from_oom_killer();
    // No process of ours may be looked into by another (I6).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| RoleError::Setup("become undumpable", errno))?;
    Ok(oom_score)
}

/// Needs a privilege that not every root has; without it nothing changes.
fn protect_from_oom_killer() -> Option<i32> {
    let before = fs::read_to_string(OOM_FILE).ok()?.trim().parse().ok()?;
    fs::write(OOM_FILE, OOM_SCORE).ok().map(|()| before)
}

/// Becomes the program that removes the container. Every descriptor but that of [`MEMBER`] closes with that,
/// and the lock is free for it.
fn reap(arguments: &[String], origin: Option<&Origin>) -> RoleError {
    let again = Again::new(arguments, origin);
    pass(Point::ShimReap);
    RoleError::Setup("execute the removal", again.execute())
}

/// This very program in another role, with everything that executing it needs. Where another has taken its
/// place since, as after an upgrade, it is that one: the database may be of its version by now, which an
/// older program refuses.
#[derive(Debug)]
pub(crate) struct Again {
    successor: Option<OwnedFd>,
    /// By what an ordinary user's commands find the namespace that the other role works in as well: it keeps
    /// the descriptor, and with that the locks. Between the two programs nobody else may find it empty.
    member: Option<BorrowedFd<'static>>,
    argv: ExecStrings,
    envp: ExecStrings,
}

impl Again {
    /// `origin`: where this program was executed from.
    pub(crate) fn new(arguments: &[String], origin: Option<&Origin>) -> Self {
        let member = sys::rootless::membership();
        let told = member.map(|fd| [MEMBER.to_owned(), fd.as_raw_fd().to_string()]);
        let arguments = arguments.iter().chain(told.iter().flatten());
        let words = std::iter::once("dhow").chain(arguments.map(String::as_str));
        // An argument with a NUL in it cannot have come from an operating system.
        let argv = words.map(|word| CString::new(word).unwrap_or_default()).collect();
        Self {
            successor: origin.and_then(sys::exe::successor),
            member,
            argv: ExecStrings::new(argv),
            envp: ExecStrings::new(own_environment()),
        }
    }

    /// Whether another program is executed before this one.
    pub(crate) fn is_another(&self) -> bool {
        self.successor.is_some()
    }

    /// Why it could not be executed.
    pub(crate) fn execute(&self) -> Errno {
        sys::signal::reset_all();
        if let Some(Err(errno)) = self.member.map(|fd| fcntl_setfd(fd, FdFlags::empty())) {
            return errno;
        }
        if let Some(successor) = &self.successor {
            // One that is not whole yet, say. This one can do the same, unless the database is newer.
            let _ = execve_fd(successor, &self.argv, &self.envp);
        }
        sys::process::execve(c"/proc/self/exe", &self.argv, &self.envp)
    }
}

/// Gives up the protection from the OOM killer, for a process that is no guardian.
pub(crate) fn lose_protection(oom_score: Option<i32>) {
    if let Some(score) = oom_score {
        // Without it the kernel takes others first, which is no reason to fail.
        let _ = fs::write(OOM_FILE, score.to_string());
    }
}
