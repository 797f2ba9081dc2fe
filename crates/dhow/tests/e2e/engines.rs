//! Real engines on `dhow oci`: Docker, Podman and containerd of Debian's packages, on roots, sockets and control
//! groups of their own. What is tested is the runtime: that each engine gets from it what it gets from runc.

mod beside;
mod containerd;
mod docker;
mod nested;
mod podman;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Ran, Terminal};

/// Longest that one command of an engine may take, in seconds, on a machine that is busy with other tests.
const LIMIT: &str = "60";
/// Longest that an engine may take to answer, or to come to a state.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what an engine tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A process that says when it can be stopped, and ends with 9 when it is.
const STOPPABLE: &str = r#"trap "echo bye; exit 9" TERM; echo up; while :; do sleep 0.1; done"#;

/// The limit of memory that a container sees of itself, whatever the layout of control groups.
const MEMORY: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";

/// A directory with the runtime under the name that engines look for, and nothing else yet.
struct Yard {
    dir: TempDir,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dhow-test-engine-").tempdir().unwrap();
        let yard = Self { dir };
        std::os::unix::fs::symlink(crate::DHOW, yard.path("runc")).unwrap();
        testkit::busybox_archive(yard.dir.path()).unwrap();
        yard
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A name that no other test has: of control groups, links and namespaces.
    fn tag(&self) -> String {
        self.dir.path().file_name().unwrap().to_str().unwrap().to_lowercase().replace('.', "")
    }

    /// A program that is ended if it hangs, in a clean environment.
    #[expect(clippy::disallowed_methods, reason = "tests run engines as a user does")]
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "-k", "5", LIMIT]).args(words);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .stdin(Stdio::null());
        command
    }

    /// Starts a program that stays; its output goes to a file.
    #[expect(clippy::disallowed_methods, reason = "tests run engines as a user does")]
    fn daemon(&self, words: &[&str]) -> Daemon {
        let log = fs::File::create(self.path(&format!("{}.log", words[0]))).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("TMPDIR", self.dir.path()).stdin(Stdio::null());
        Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    /// Waits until a command succeeds.
    fn until_ok(&self, words: &[&str]) {
        self.until(words, |ran| ran.code == Some(0));
    }

    /// Waits until a command does what is expected.
    fn until(&self, words: &[&str], is_there: impl Fn(&Ran) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = Ran::new(&self.command(words).output().unwrap());
            if is_there(&ran) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{words:?}: {} {}\n{}",
                ran.out,
                ran.err,
                self.logs()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What daemons have said, for a test that fails.
    fn logs(&self) -> String {
        let entries = fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let logs =
            entries.map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "log"));
        logs.map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// The control groups of this yard, one line each.
    fn groups(&self) -> Vec<PathBuf> {
        let top = Path::new("/sys/fs/cgroup");
        let roots = fs::read_dir(top).unwrap().flatten().map(|entry| entry.path());
        let all = roots.chain([top.to_owned()]).map(|root| root.join(self.tag()));
        all.filter(|path| path.exists()).collect()
    }

    /// Processes whose command line names this yard.
    fn processes(&self) -> Vec<(i32, String)> {
        let yard = self.text("");
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let line = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        };
        pids.map(line).filter(|(_, line)| line.contains(&yard)).collect()
    }

    /// Nothing of any container is there: no process, no mount, no control group but the empty parent, no
    /// state of the runtime below `state`. Whoever guards a container may take a moment to end after it.
    #[track_caller]
    fn nothing_is_left(&self, state: &Path) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left(state);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{left:#?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn left(&self, state: &Path) -> Vec<String> {
        let guards = self.processes().into_iter().map(|(_, line)| line);
        // Daemons are the engine's own, and go with it.
        let guards =
            guards.filter(|line| !line.starts_with("containerd ") && !line.starts_with("dockerd "));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let merged = |line: &&str| line.contains(&self.text("")) && line.contains("/merged ");
        let mounts: Vec<String> = mounts.lines().filter(merged).map(str::to_owned).collect();
        let inside = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            // Filters that were compiled are kept for the next container.
            let dirs =
                entries.filter(|entry| entry.path().is_dir() && entry.file_name() != "@filters");
            dirs.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
        };
        let groups = self.groups().iter().flat_map(|group| inside(group)).collect::<Vec<_>>();
        // Podman's own, which it leaves with any runtime.
        let groups = groups.into_iter().filter(|group| !group.ends_with("/conmon"));
        guards.chain(mounts).chain(groups).chain(inside(state)).collect()
    }
}

impl Drop for Yard {
    /// What a test that failed has left goes with it.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for group in self.groups() {
            empty(&group);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let yard = self.text("");
        let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| point.starts_with(&yard)) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Removes a control group, its children first, with whoever is in them.
fn empty(group: &Path) {
    // Podman makes its group in plain directories as well, if somebody has left any beside the hierarchies.
    if !group.join("cgroup.procs").exists() {
        return fs::remove_dir_all(group).unwrap_or_default();
    }
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    for child in entries.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        empty(&child);
    }
    let deadline = Instant::now() + PATIENCE;
    while fs::remove_dir(group).is_err() && group.exists() && Instant::now() < deadline {
        for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
            let _ =
                pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A program that stays until it is asked to end.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// An engine's command line.
trait Engine {
    fn yard(&self) -> &Yard;
    /// What comes before the words of every command.
    fn prefix(&self) -> Vec<String>;

    fn words(&self, words: &[&str]) -> Vec<String> {
        self.prefix().into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    fn command(&self, words: &[&str]) -> Command {
        let words = self.words(words);
        self.yard().command(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::new(&self.command(words).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(
            ran.code,
            Some(0),
            "{words:?}: {}\n{}\n{}",
            ran.out,
            ran.err,
            self.yard().logs()
        );
        ran.out
    }

    /// Runs a command that ends with this code; its output and what it complains of.
    #[track_caller]
    fn ends(&self, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(code), "{words:?}: {}\n{}", ran.out, ran.err);
        ran
    }

    /// Waits for the first line that a command writes.
    fn first_line(&self, words: &[&str]) -> String {
        let mut child = self.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line.trim_end().to_owned()
    }

    fn until(&self, words: &[&str], is_there: impl Fn(&Ran) -> bool) {
        let words = self.words(words);
        self.yard().until(&words.iter().map(String::as_str).collect::<Vec<_>>(), is_there);
    }

    /// Starts a command in a terminal of its own.
    fn terminal(&self, words: &[&str]) -> Terminal {
        let mut terminal = Terminal::open();
        let inner = self.words(words);
        let all = ["setsid", "--ctty"].into_iter().chain(inner.iter().map(String::as_str));
        let mut command = self.yard().command(&all.collect::<Vec<_>>());
        command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
        terminal.start(&mut command);
        terminal
    }

    /// A terminal's size, input and end reach the program and come back from it.
    fn has_terminals(&self, words: &[&str]) {
        let script = "stty size; tty; read word; echo got $word; exit 4";
        let mut terminal = self.terminal(&[words, &["sh", "-c", script]].concat());
        terminal.expect("/dev/pts/0");
        terminal.type_("this\n");
        terminal.expect("got this");
        assert_eq!(terminal.end(), 4);
    }
}

/// Feeds a command; what it writes.
fn feed(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::new(&child.wait_with_output().unwrap())
}
