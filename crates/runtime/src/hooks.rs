//! Hooks of a specification: programs that its author wants to be run at points of a container's life.
//!
//! Those of the runtime namespace, and `createContainer`, which looks at the container's mounts before
//! they are all there is, are programs of the host (invariant I7): their path is resolved where this process
//! is, before any namespace is entered. `startContainer` is a program of the container, run as its own
//! process is. Each is told the container's state on its standard input, has so much time, and ends the
//! start if it fails.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio as Streams;
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, Process, Spec};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use serde_json::json;
use sys::Errno;
use sys::helper::{self, Bounds, Helper};
use sys::process::{Exit, Namespaces};
use sys::signal::Signal;

use crate::start::{BornInto, Running, Stdio};

/// How long a hook may take that does not say: whoever waits for the container waits for it too.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much a hook may say. It is not kept.
const MAX_OUTPUT: usize = 1 << 20;
/// How much of its complaint is told.
const TAIL: usize = 1024;

/// What a hook of the container namespace joins; the pid namespace it is born into.
const JOINED: Namespaces = Namespaces::MOUNT
    .union(Namespaces::UTS)
    .union(Namespaces::IPC)
    .union(Namespaces::NET)
    .union(Namespaces::CGROUP);

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As `createRuntime`, and before it. Deprecated.
    Prestart,
    /// Namespaces and mounts are there, the root is not entered yet; on the host.
    CreateRuntime,
    /// The same, in the container's namespaces.
    CreateContainer,
    /// Before the program, as it.
    StartContainer,
    /// The program runs; on the host.
    Poststart,
    /// All is gone; on the host.
    Poststop,
}

/// When it is that somebody waits for hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the first to `poststart`.
    Start,
    /// `poststop`.
    End,
}

impl Moment {
    /// As specifications call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// What the container is then: it is created after step 2 of its life (runtime.md, "State" and "Lifecycle"), and
    /// the first hooks are step 3.
    const fn status(self) -> &'static str {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::CreateContainer | Self::StartContainer => {
                "created"
            }
            Self::Poststart => "running",
            Self::Poststop => "stopped",
        }
    }
}

/// A hook that failed, in runc's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error running {} hook #{number}: {}: {why}", moment.name(), path.display())]
pub struct HookError {
    moment: Moment,
    /// Which of that moment's, from 0.
    number: usize,
    path: PathBuf,
    why: String,
}

/// One hook among those of its moment.
#[derive(Debug, Clone, Copy)]
struct One<'a> {
    moment: Moment,
    number: usize,
    hook: &'a Hook,
}

impl One<'_> {
    fn failed(self, why: impl ToString) -> HookError {
        let Self { moment, number, hook } = self;
        HookError { moment, number, path: hook.path().clone(), why: why.to_string() }
    }
}

/// The hooks of a moment, in order.
fn each(spec: &Spec, moment: Moment) -> impl Iterator<Item = One<'_>> {
    of(spec, moment).iter().enumerate().map(move |(number, hook)| One { moment, number, hook })
}

/// The hooks of one container.
#[derive(Debug, Clone, Copy)]
pub struct Hooks<'a> {
    /// What they are in.
    pub spec: &'a Spec,
    /// The container's id.
    pub id: &'a str,
    /// A directory with the specification as `config.json`, and in it the place that it calls its root:
    /// there the hooks of the container namespace find the root file system.
    pub bundle: &'a Path,
}

/// Whether a specification has hooks at all.
#[must_use]
pub fn any(spec: &Spec) -> bool {
    MOMENTS.iter().any(|moment| !of(spec, *moment).is_empty())
}

const MOMENTS: [Moment; 6] = [
    Moment::Prestart,
    Moment::CreateRuntime,
    Moment::CreateContainer,
    Moment::StartContainer,
    Moment::Poststart,
    Moment::Poststop,
];

/// The hooks of a moment, in order.
#[must_use]
pub fn of(spec: &Spec, moment: Moment) -> &[Hook] {
    let Some(hooks) = spec.hooks() else { return &[] };
    let list = match moment {
        Moment::Prestart => hooks.prestart(),
        Moment::CreateRuntime => hooks.create_runtime(),
        Moment::CreateContainer => hooks.create_container(),
        Moment::StartContainer => hooks.start_container(),
        Moment::Poststart => hooks.poststart(),
        Moment::Poststop => hooks.poststop(),
    };
    list.as_deref().unwrap_or_default()
}

/// What is wrong with the hooks of a specification: the first of them, its moment, and why.
pub(crate) fn wrong(spec: &Spec) -> Option<(Moment, PathBuf, &'static str)> {
    MOMENTS.into_iter().find_map(|moment| {
        of(spec, moment).iter().find_map(|hook| {
            let why = if !hook.path().is_absolute() {
                "its path is not absolute"
            } else if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                "its timeout is not greater than zero"
            } else {
                return None;
            };
            Some((moment, hook.path().clone(), why))
        })
    })
}

impl Hooks<'_> {
    /// Where hooks of the container namespace find the root file system: what the specification says.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path());
        self.bundle.join(path)
    }

    /// All that come before the root is entered.
    pub(crate) fn create(&self, pid: Pid, process: BorrowedFd<'_>) -> Result<(), HookError> {
        let host = pid.as_raw_nonzero().get();
        for moment in [Moment::Prestart, Moment::CreateRuntime] {
            self.on_host(moment, Some(host))?;
        }
        let linux = self.spec.linux().as_ref();
        let has_users = linux
            .is_some_and(|linux| linux.uid_mappings().as_ref().is_some_and(|all| !all.is_empty()));
        let user = if has_users { Namespaces::USER } else { Namespaces::NONE };
        for one in each(self.spec, Moment::CreateContainer) {
            let lost = |errno| one.failed(format!("enter the container's namespaces: {errno}"));
            let inside = number_inside(pid).map_err(|why| one.failed(why))?;
            let mut command = command(one.hook);
            let target = process.try_clone_to_owned().map_err(|error| one.failed(error))?;
            // It finds the container's root where it is, as with runc and crun.
            let root = CString::new(self.root().into_os_string().into_vec());
            let root = root.map_err(|error| one.failed(error))?;
            helper::inside(&mut command, target, JOINED | user, root);
            let born = BornInto::enter(process).map_err(|error| one.failed(error))?;
            let ran = self.run(one, &mut command, Some(inside));
            born.leave().map_err(|_| lost(Errno::PERM))?;
            ran?;
        }
        Ok(())
    }

    /// Those that are run before the program, and as it would be. `enter` starts a process in the
    /// container, from the file that is named. A hook without an environment has the program's, as with runc.
    ///
    /// # Errors
    /// The first that fails.
    pub fn start_container<E: std::fmt::Display>(
        &self,
        pid: Pid,
        mut enter: impl FnMut(&Process, &Path, Stdio) -> Result<Running, E>,
    ) -> Result<(), HookError> {
        for one in each(self.spec, Moment::StartContainer) {
            let hook = one.hook;
            let Some(mut process) = self.spec.process().clone() else { return Ok(()) };
            process.set_terminal(Some(false));
            process.set_args(Some(arguments(hook)));
            if let Some(env) = hook.env() {
                process.set_env(Some(env.clone()));
            }
            let inside = number_inside(pid).map_err(|why| one.failed(why))?;
            let (stdio, said) = streams(&self.state(one.moment, Some(inside)))
                .map_err(|error| one.failed(error))?;
            let running = enter(&process, hook.path(), stdio).map_err(|error| one.failed(error))?;
            judge_inside(running, said, patience(hook)).map_err(|why| one.failed(why))?;
        }
        Ok(())
    }

    /// Those that are run when the program runs.
    ///
    /// # Errors
    /// The first that fails: the container is then to be ended.
    pub fn poststart(&self, pid: Pid) -> Result<(), HookError> {
        self.on_host(Moment::Poststart, Some(pid.as_raw_nonzero().get()))
    }

    /// Those that are run when all is gone; all of them, whatever becomes of one.
    #[must_use]
    pub fn poststop(&self) -> Vec<HookError> {
        let hooks = each(self.spec, Moment::Poststop);
        hooks.filter_map(|one| self.run(one, &mut command(one.hook), None).err()).collect()
    }

    fn on_host(&self, moment: Moment, pid: Option<i32>) -> Result<(), HookError> {
        each(self.spec, moment).try_for_each(|one| self.run(one, &mut command(one.hook), pid))
    }

    fn run(
        &self,
        one: One<'_>,
        command: &mut std::process::Command,
        pid: Option<i32>,
    ) -> Result<(), HookError> {
        let bounds = Bounds { time: patience(one.hook), output: MAX_OUTPUT };
        command.current_dir(self.bundle).stderr(Streams::piped());
        let ran = helper::run(command, &self.state(one.moment, pid), bounds);
        let ran = ran.map_err(|error| one.failed(error))?;
        if ran.status.success() {
            return Ok(());
        }
        Err(one.failed(complaint(&ran.status.to_string(), &ran.stderr)))
    }

    /// What a hook reads (runtime.md of the specification, "State").
    fn state(&self, moment: Moment, pid: Option<i32>) -> Vec<u8> {
        let mut state = json!({
            "ociVersion": self.spec.version(),
            "id": self.id,
            "status": moment.status(),
            "bundle": self.bundle,
            "annotations": self.spec.annotations().clone().unwrap_or_default(),
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        state.to_string().into_bytes()
    }
}

/// How a hook ended, and the last of what it complained about.
fn complaint(end: &str, said: &[u8]) -> String {
    let tail = &said[said.len().saturating_sub(TAIL)..];
    let words = String::from_utf8_lossy(tail);
    match words.trim() {
        "" => end.to_owned(),
        words => format!("{end}: {}", words.replace('\n', "; ")),
    }
}

/// A program of the host, with nothing of this process's but what it is given.
fn command(hook: &Hook) -> std::process::Command {
    let mut command = helper::command(Helper::OciHook(hook.path()));
    let mut arguments = arguments(hook).into_iter();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_clear();
    let variables = hook.env().iter().flatten().filter_map(|entry| entry.split_once('='));
    command.envs(variables);
    command
}

fn arguments(hook: &Hook) -> Vec<String> {
    let named = hook.args().clone().unwrap_or_default();
    if named.is_empty() { vec![hook.path().to_string_lossy().into_owned()] } else { named }
}

fn patience(hook: &Hook) -> Duration {
    let seconds = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(PATIENCE, Duration::from_secs)
}

/// How long a start may wait for the hooks of a specification, and how long an end; `None` without any.
#[must_use]
pub fn longest(spec: &Spec, phase: Phase) -> Option<Duration> {
    let moments: &[Moment] = match phase {
        Phase::Start => &[
            Moment::Prestart,
            Moment::CreateRuntime,
            Moment::CreateContainer,
            Moment::StartContainer,
            Moment::Poststart,
        ],
        Phase::End => &[Moment::Poststop],
    };
    let hooks = moments.iter().flat_map(|moment| of(spec, *moment));
    hooks.map(patience).reduce(Duration::saturating_add)
}

/// A process's number in its own pid namespace.
fn number_inside(pid: Pid) -> Result<i32, String> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let number = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    number.ok_or_else(|| format!("{path} names no number"))
}

/// The streams of a hook in the container: it reads the state and complains into a pipe.
fn streams(state: &[u8]) -> std::io::Result<(Stdio, std::io::PipeReader)> {
    let name = CString::default();
    let memory = rustix::fs::memfd_create(&name, rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut stdin = std::fs::File::from(memory);
    stdin.write_all(state)?;
    std::io::Seek::rewind(&mut stdin)?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    let (said, stderr) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&said, true)?;
    let stdio = Stdio::Pipes { stdin: stdin.into(), stdout: null.into(), stderr: stderr.into() };
    Ok((stdio, said))
}

/// Waits for a hook in the container, which is our child.
fn judge_inside(
    running: Running,
    mut said: std::io::PipeReader,
    patience: Duration,
) -> Result<(), String> {
    let deadline = helper::deadline(patience);
    let mut words = Vec::new();
    let in_time = listen(&running.pidfd, &mut said, &mut words, deadline);
    if in_time != Ok(true) {
        let _ = sys::process::pidfd_send_signal(&running.pidfd, Signal::KILL);
    }
    let exit = sys::process::wait(&running.pidfd).map_err(|errno| errno.to_string())?;
    match (in_time, exit) {
        (Ok(false), _) => Err(format!("it did not end within {} s", patience.as_secs())),
        (Err(errno), _) => Err(format!("wait for it: {errno}")),
        (Ok(true), Exit::Code(0)) => Ok(()),
        (Ok(true), Exit::Code(code)) => Err(complaint(&format!("exit status: {code}"), &words)),
        (Ok(true), Exit::Signal(signal)) => Err(complaint(&ended_by(signal), &words)),
    }
}

/// In the words of POSIX, where it has some.
fn ended_by(signal: Signal) -> String {
    let words = match signal.number() {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        number => return format!("signal: {number}"),
    };
    format!("signal: {words}")
}

/// Takes what a process says until it has ended; false if it does not in time.
fn listen(
    process: &OwnedFd,
    said: &mut std::io::PipeReader,
    words: &mut Vec<u8>,
    deadline: Instant,
) -> Result<bool, Errno> {
    let mut buffer = [0; TAIL];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [
            PollFd::new(process, PollFlags::IN),
            PollFd::from_borrowed_fd(said.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut polled, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let has_ended = !polled[0].revents().is_empty();
        while let Ok(count @ 1..) = said.read(&mut buffer) {
            words.extend_from_slice(&buffer[..count]);
            words.drain(..words.len().saturating_sub(TAIL));
        }
        if has_ended {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(hooks: &serde_json::Value) -> Spec {
        let text = json!({ "ociVersion": "1.2.0", "root": { "path": "rootfs" }, "hooks": hooks });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn hooks_that_cannot_be_run_are_named() {
        let why = |hook: serde_json::Value| {
            wrong(&spec(&json!({ "createContainer": [hook] })))
                .map(|(moment, path, why)| format!("{} {} {why}", moment.name(), path.display()))
        };
        assert_eq!(why(json!({ "path": "/bin/x", "timeout": 1 })), None);
        let relative = "createContainer x its path is not absolute";
        assert_eq!(why(json!({ "path": "x" })).as_deref(), Some(relative));
        let timeout = "createContainer /x its timeout is not greater than zero";
        for seconds in [0, -1] {
            let hook = json!({ "path": "/x", "timeout": seconds });
            assert_eq!(why(hook).as_deref(), Some(timeout));
        }
        assert!(!any(&spec(&json!({}))) && any(&spec(&json!({ "poststop": [{ "path": "/x" }] }))));
    }

    #[test]
    fn a_hook_may_have_as_long_as_can_be_said() {
        let hooks = json!([{ "path": "/bin/true", "timeout": i64::MAX }]);
        let mut spec = spec(&json!({ "startContainer": hooks, "poststop": hooks }));
        spec.set_process(Some(Process::default()));
        let hooks = Hooks { spec: &spec, id: "one", bundle: Path::new("/") };
        assert_eq!(hooks.poststop(), []);
        // What is entered is no container here, but a process all the same.
        let mut entered = 0;
        let enter = |_: &Process, _: &Path, _: Stdio| -> Result<Running, Errno> {
            entered += 1;
            let child = sys::process::clone3(&sys::process::CloneArgs::default(), || 0)?;
            Ok(Running { pid: child.pid, pidfd: child.pidfd, terminal: None })
        };
        assert_eq!(hooks.start_container(rustix::process::getpid(), enter), Ok(()));
        assert_eq!(entered, 1);
    }

    #[test]
    fn whoever_waits_for_hooks_waits_for_all_of_them() {
        let spec = spec(&json!({
            "createRuntime": [{ "path": "/a", "timeout": 5 }, { "path": "/b" }],
            "poststart": [{ "path": "/c", "timeout": 7 }],
            "poststop": [{ "path": "/d", "timeout": i64::MAX }, { "path": "/e" }],
        }));
        assert_eq!(longest(&spec, Phase::Start), Some(Duration::from_secs(5 + 60 + 7)));
        let end = longest(&spec, Phase::End);
        assert!(end > Some(Duration::from_secs(u64::MAX >> 1)), "{end:?}");
        assert_eq!(longest(&Spec::default(), Phase::End), None);
    }

    #[test]
    fn what_a_hook_says_is_told_by_its_end() {
        assert_eq!(complaint("exit status: 1", b""), "exit status: 1");
        assert_eq!(complaint("exit status: 1", b"one\ntwo\n"), "exit status: 1: one; two");
        let long = [vec![b'a'; 5000], b"the end\n".to_vec()].concat();
        let told = complaint("x", &long);
        assert!(told.ends_with("aathe end") && told.len() < TAIL + 10, "{}", told.len());
    }
}
