//! Containers to test with: a root file system of busybox, specifications, clients.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use model::container::{AttachedStreams, Stdin, StopTimeout};
use model::log::{Compression, LogDelivery};
use model::{ContainerId, Signal};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};
use shim::protocol::{
    CgroupName, Delivery, FdRole, Launch, LogConfig, Restarts, StopDefaults, Target, Until,
};
use shim::{CallError, Shim, ShimPaths};
use sys::mount::{Attributes, Depth, Propagation};

pub(crate) const ALL: AttachedStreams = AttachedStreams { stdin: true, stdout: true, stderr: true };
pub(crate) const OUTPUT: AttachedStreams =
    AttachedStreams { stdin: false, stdout: true, stderr: true };

const APPLETS: [&str; 20] = [
    "sh", "true", "false", "cat", "ls", "sleep", "echo", "kill", "stty", "tty", "dd", "seq", "yes",
    "head", "printf", "readlink", "id", "wc", "test", "mkfifo",
];

/// The directory of everything that this run makes.
fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let dir = PathBuf::from(format!("/tmp/dhow-shim-{}", std::process::id()));
        make_rootfs(&dir.join("rootfs"));
        dir
    })
}

fn make_rootfs(root: &Path) {
    for name in ["bin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("the package busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("bin/not-executable"), "x").unwrap();
}

/// The cgroup that all containers of this run are in.
pub(crate) fn cgroup_parent() -> String {
    format!("dhow-shim-test-{}", std::process::id())
}

/// A container that is not started yet.
pub(crate) struct Container {
    pub(crate) paths: ShimPaths,
    pub(crate) spec: Value,
    pub(crate) stdin: Stdin,
    pub(crate) stop: StopDefaults,
    pub(crate) reap: Option<Vec<String>>,
    pub(crate) max_size: Option<u64>,
}

impl Container {
    /// One that runs this program.
    pub(crate) fn new(args: &[&str]) -> Self {
        let mut bytes = [0; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
        let id = ContainerId::from_random(bytes);
        let (root, run) = (scratch().join("root"), scratch().join("run"));
        let paths = ShimPaths { id, root, run, cgroup: cgroup_parent() };
        fs::create_dir_all(paths.exit_record().parent().unwrap()).unwrap();
        Self {
            paths,
            spec: spec(args),
            stdin: Stdin::Null,
            stop: StopDefaults { signal: Signal::TERM, timeout: StopTimeout::Seconds(1) },
            reap: None,
            max_size: None,
        }
    }

    /// One that runs a line of shell.
    pub(crate) fn sh(line: &str) -> Self {
        Self::new(&["sh", "-c", line])
    }

    pub(crate) fn with_stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    pub(crate) fn with_terminal(mut self, rows: u16, columns: u16) -> Self {
        self.spec["process"]["terminal"] = json!(true);
        self.spec["process"]["consoleSize"] = json!({ "height": rows, "width": columns });
        self
    }

    /// Its shim, started if need be.
    pub(crate) fn shim(&self) -> Shim {
        shim::ensure(&self.paths, || cgroup::Hierarchies::detect().ok()).unwrap()
    }

    /// A client of its streams.
    pub(crate) fn attach(&self, streams: AttachedStreams, delivery: Delivery) -> UnixStream {
        self.shim().attach(Target::Container, streams, delivery).unwrap()
    }

    pub(crate) fn start(&self) -> Result<u32, CallError> {
        let fds = [rootfs()];
        let fds = fds.each_ref().map(OwnedFd::as_fd);
        self.shim().launch(self.launch(), &fds).map(|started| started.pid)
    }

    pub(crate) fn launch(&self) -> Launch {
        Launch {
            spec: Box::new(serde_json::from_value(self.spec.clone()).unwrap()),
            fds: vec![FdRole::Rootfs],
            stdin: self.stdin,
            log: LogConfig::JsonFile {
                path: self.log(),
                max_size: self.max_size,
                max_file: 3,
                attrs: std::collections::BTreeMap::new(),
                compression: Compression::None,
                delivery: LogDelivery::Blocking,
            },
            cgroup: CgroupName {
                parent: cgroup_parent(),
                name: self.paths.id.to_string(),
                slice: None,
            },
            stop: self.stop,
            exit_record: self.paths.exit_record(),
            published: None,
            reap: self.reap.clone(),
            restarts: Restarts::default(),
            health: None,
            revival: 0,
            restoration: None,
            decided: None,
            forwards: None,
            resolver: None,
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.paths.exit_record().with_file_name("json.log")
    }

    /// The texts of the log's records.
    pub(crate) fn logged(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.map(|record| record["log"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs it to its end: what its first client got, and its code.
    pub(crate) fn run(&self) -> (Output, u8) {
        let client = self.attach(OUTPUT, Delivery::Everything);
        self.start().unwrap();
        (read_frames(client), self.code())
    }

    /// Its exit code, once it has one. Its shim may have left already.
    pub(crate) fn code(&self) -> u8 {
        let exit = match Shim::connect(&self.paths)
            .unwrap()
            .map(|mut shim| shim.wait(Until::NotRunning))
        {
            Some(Ok(exit)) => exit,
            None | Some(Err(CallError::Gone)) => shim::read_exit(&self.paths).unwrap().unwrap(),
            Some(Err(error)) => panic!("{error}"),
        };
        exit.code.0
    }

    /// Kills it, if it runs, and waits until its shim has left.
    pub(crate) fn end(&self) {
        if let Some(mut shim) = Shim::connect(&self.paths).unwrap() {
            let _ = shim.kill(Signal::KILL, shim::protocol::Reach::Everyone);
        }
        self.wait_until_free();
    }

    /// Waits until nobody owns its life and its shim is gone.
    pub(crate) fn wait_until_free(&self) {
        let shims: Vec<OwnedFd> = self.shim_pids().into_iter().filter_map(try_hold).collect();
        if let Ok(file) = fs::File::options().read(true).write(true).open(self.paths.lock()) {
            sys::lock::lock(&file, 0).unwrap();
        }
        shims.iter().for_each(wait_for_end);
    }

    /// The processes in its cgroup.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let hierarchies = cgroup::Hierarchies::detect().unwrap();
        let name = self.paths.id.to_string();
        let cgroup = cgroup::Cgroup::open(&hierarchies, &cgroup_parent(), &name).unwrap();
        let pids = cgroup.pids().unwrap();
        pids.into_iter().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()).collect()
    }

    /// The process of its shim.
    pub(crate) fn shim_pid(&self) -> u32 {
        let pids = self.shim_pids();
        assert_eq!(pids.len(), 1, "one shim a container");
        pids[0]
    }

    fn shim_pids(&self) -> Vec<u32> {
        let id = self.paths.id.to_string();
        let is_shim = |command: &[String]| command.get(1).is_some_and(|role| role == "shim");
        let shims = processes().filter(|(_, command)| is_shim(command) && command.contains(&id));
        shims.map(|(pid, _)| pid).collect()
    }
}

/// Every process with its command line.
fn processes() -> impl Iterator<Item = (u32, Vec<String>)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Some((pid, words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()))
    })
}

/// A detached mount of the root file system.
pub(crate) fn rootfs() -> OwnedFd {
    let tree = sys::mount::clone_tree(&*scratch().join("rootfs"), Depth::Single).unwrap();
    let private = Attributes::propagation(Propagation::Private);
    sys::mount::set_attr(&tree, Depth::Single, &private).unwrap();
    tree
}

/// Something to wait with for a process that is no child.
pub(crate) fn hold(pid: u32) -> OwnedFd {
    try_hold(pid).unwrap()
}

/// The same, if it is still there.
fn try_hold(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until a process that is held has ended.
pub(crate) fn wait_for_end(pidfd: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).unwrap();
}

/// What a client got.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Reads Docker's frames to the end.
pub(crate) fn read_frames(mut client: UnixStream) -> Output {
    let mut output = Output::default();
    let mut header = [0; 8];
    while client.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let mut data = vec![0; length as usize];
        client.read_exact(&mut data).unwrap();
        let text = String::from_utf8(data).unwrap();
        match header[0] {
            1 => output.stdout.push_str(&text),
            2 => output.stderr.push_str(&text),
            other => panic!("frame of stream {other}"),
        }
    }
    output
}

/// Reads until this text has come.
pub(crate) fn read_until(client: &mut UnixStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(text.as_bytes()) {
        let count = client.read(&mut byte).unwrap();
        assert_eq!(count, 1, "{:?} ends before {text:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// A process as Docker's default has it.
pub(crate) fn process(args: &[&str]) -> Value {
    let capabilities = runtime::capabilities::CapSet::DOCKER_DEFAULT.names();
    json!({
        "user": { "uid": 0, "gid": 0, "additionalGids": [0] },
        "args": args,
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
    })
}

fn spec(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": process(args),
        "mounts": [
            mount("/proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/tmp", "tmpfs", "nosuid,nodev"),
        ],
        "linux": {
            "resources": { "devices": [{ "allow": true, "access": "rwm" }] },
            "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "cgroup" },
            ],
        },
    })
}

fn mount(destination: &str, kind: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split(',').collect();
    json!({ "destination": destination, "type": kind, "source": kind, "options": options })
}

/// What this run has left on the host, after removing its scratch directory.
pub(crate) fn leaks() -> Vec<String> {
    let mut leaks = Vec::new();
    let run = scratch().join("run/c");
    let left = fs::read_dir(&run).into_iter().flatten().flatten();
    leaks.extend(left.map(|entry| format!("{}", entry.path().display())));
    let of_this_run = scratch().to_string_lossy().into_owned();
    let processes = processes().filter(|(_, command)| command.contains(&"shim".to_owned()));
    leaks.extend(
        processes
            .filter(|(_, command)| command.iter().any(|word| word.starts_with(&of_this_run)))
            .map(|(pid, command)| format!("process {pid}: {command:?}")),
    );
    let hierarchies = cgroup::Hierarchies::detect().unwrap();
    let cgroups = cgroup::Cgroup::list(&hierarchies, &cgroup_parent()).unwrap();
    let cgroups = cgroups.into_iter().filter(|name| name != "shims");
    leaks.extend(cgroups.map(|name| format!("cgroup {name}")));
    shim::remove_home(&hierarchies, &cgroup_parent()).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    leaks.extend(mounts.lines().filter(|line| line.contains(&of_this_run)).map(str::to_owned));
    fs::remove_dir_all(scratch()).unwrap();
    leaks
}
