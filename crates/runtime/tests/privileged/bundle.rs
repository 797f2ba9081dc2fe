//! A root file system of busybox, a specification as Docker would write it, and ways to run it.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use oci_spec::runtime::{Process, Spec};
use runtime::{
    CgroupEntry, Enter, FilterRef, HostFacts, Keyring, Launch, LaunchError, Orphan, Ready, Running,
    Stdio,
};
use serde_json::{Value, json};
use sys::mount::{Attributes, Depth, Propagation};
use sys::process::Exit;
use sys::signal::Signal;

/// Programs that are links to busybox.
const APPLETS: [&str; 24] = [
    "sh", "true", "false", "cat", "ls", "mount", "id", "grep", "readlink", "stat", "sleep",
    "touch", "echo", "pwd", "env", "mkdir", "hostname", "tty", "stty", "wc", "chmod", "sysctl",
    "test", "od",
];

/// Held for writing while a program is being written, for reading while a process is cloned. A child
/// that has inherited a descriptor for writing makes executing that program fail (`ETXTBSY`).
static CLONING: RwLock<()> = RwLock::new(());

/// While it is held no program is being written.
pub(crate) fn while_nothing_is_written() -> std::sync::RwLockReadGuard<'static, ()> {
    CLONING.read().unwrap()
}

/// `runtime::launch`, for tests that run beside each other.
pub(crate) fn start(launch: Launch<'_>) -> Result<Ready, LaunchError> {
    let _guard = CLONING.read().unwrap();
    runtime::launch(launch)
}

/// `runtime::enter`, likewise.
pub(crate) fn enter(enter: Enter<'_>) -> Result<Running, LaunchError> {
    let _guard = CLONING.read().unwrap();
    runtime::enter(enter)
}

/// Copies a program.
pub(crate) fn copy_program(to: &Path) {
    let _guard = CLONING.write().unwrap();
    std::fs::copy("/bin/busybox", to).expect("the package busybox-static is installed");
}

/// A directory that can be run.
pub(crate) struct Bundle {
    directory: tempfile::TempDir,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

impl Output {
    /// What it printed, if it ended well and did not complain.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!((self.exit, self.stderr.as_str()), (Exit::Code(0), ""), "{}", self.stdout);
        self.stdout
    }
}

impl Bundle {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("dhow-runtime-").tempdir().unwrap();
        let bundle = Self { directory };
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            std::fs::create_dir_all(bundle.path(name)).unwrap();
        }
        std::fs::set_permissions(bundle.rootfs(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(bundle.path("tmp"), Permissions::from_mode(0o1777)).unwrap();
        copy_program(&bundle.path("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", bundle.path("bin").join(applet)).unwrap();
        }
        bundle
    }

    /// A directory of the host beside the root file system, which nothing may touch.
    pub(crate) fn outside(&self) -> PathBuf {
        let outside = self.directory.path().join("outside");
        std::fs::create_dir_all(&outside).unwrap();
        outside
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.rootfs().join(inside)
    }

    pub(crate) fn write(&self, inside: &str, text: &str) {
        std::fs::create_dir_all(self.path(inside).parent().unwrap()).unwrap();
        let _guard = CLONING.write().unwrap();
        std::fs::write(self.path(inside), text).unwrap();
    }

    fn tree(&self) -> OwnedFd {
        let tree = sys::mount::clone_tree(&*self.rootfs(), Depth::Single).unwrap();
        let private = Attributes::propagation(Propagation::Private);
        sys::mount::set_attr(&tree, Depth::Single, &private).unwrap();
        tree
    }

    pub(crate) fn launch<'a>(
        &self,
        spec: &'a Spec,
        facts: &'a HostFacts,
        stdio: Stdio,
    ) -> Launch<'a> {
        Launch {
            entrance: runtime::Entrance::Pivot,
            customs: runtime::Customs::default(),
            spec,
            facts,
            id: "test",
            rootfs: self.tree(),
            trees: Vec::new(),
            namespaces: Vec::new(),
            stdio,
            cgroup: CgroupEntry::default(),
            filter: None,
            hooks: None,
            orphan: Orphan::Dies,
            keyring: Keyring::New,
            preserved: 0,
            door: None,
        }
    }

    /// Runs to the end with pipes.
    pub(crate) fn run(&self, spec: &Value) -> Result<Output, LaunchError> {
        self.run_filtered(spec, None)
    }

    /// Runs a line of shell.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        self.run(&spec(&["sh", "-c", line])).unwrap().good()
    }

    /// Runs to the end under a filter.
    pub(crate) fn run_filtered(
        &self,
        spec: &Value,
        filter: Option<FilterRef<'_>>,
    ) -> Result<Output, LaunchError> {
        let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
        let facts = HostFacts::detect().unwrap();
        let (stdio, pipes) = Pipes::new();
        let launch = Launch { filter, ..self.launch(&spec, &facts, stdio) };
        Ok(pipes.finish(start(launch)?.go()?))
    }

    /// A container that sleeps until it is dropped.
    pub(crate) fn sleeper(&self, spec: &Value) -> Sleeper {
        let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
        let facts = HostFacts::detect().unwrap();
        let stdio = Stdio::Pipes { stdin: null(), stdout: null(), stderr: null() };
        let running = start(self.launch(&spec, &facts, stdio)).unwrap().go().unwrap();
        Sleeper { running, facts, around: Default::default() }
    }
}

/// The parent's ends of the standard streams.
pub(crate) struct Pipes {
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
}

impl Pipes {
    pub(crate) fn new() -> (Stdio, Self) {
        let (stdout, out) = std::io::pipe().unwrap();
        let (stderr, err) = std::io::pipe().unwrap();
        let stdio = Stdio::Pipes { stdin: null(), stdout: out.into(), stderr: err.into() };
        (stdio, Self { stdout, stderr })
    }

    pub(crate) fn finish(mut self, running: Running) -> Output {
        let mut stdout = Vec::new();
        let mut stderr = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        self.stderr.read_to_end(&mut stderr).unwrap();
        let exit = sys::process::wait(&running.pidfd).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { stdout: text(stdout), stderr: text(stderr), exit }
    }
}

/// A running container.
pub(crate) struct Sleeper {
    pub(crate) running: Running,
    facts: HostFacts,
    around: runtime::plan::Surroundings,
}

impl Sleeper {
    pub(crate) fn enter<'a>(&'a self, process: &'a Process, stdio: Stdio) -> Enter<'a> {
        use std::os::fd::AsFd;
        Enter {
            around: &self.around,
            process,
            program: None,
            facts: &self.facts,
            id: "test",
            container: self.running.pidfd.as_fd(),
            stdio,
            cgroup: CgroupEntry::default(),
            filter: None,
            on_terminal: None,
            orphan: Orphan::Dies,
            keyring: Keyring::New,
            preserved: 0,
        }
    }

    /// Runs one more process to the end.
    pub(crate) fn exec(&self, process: &Value) -> Result<Output, LaunchError> {
        let process: Process = serde_json::from_value(process.clone()).unwrap();
        let (stdio, pipes) = Pipes::new();
        Ok(pipes.finish(enter(self.enter(&process, stdio))?))
    }
}

impl Sleeper {
    pub(crate) fn kill(&self) {
        let _ = sys::process::pidfd_send_signal(&self.running.pidfd, Signal::KILL);
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.kill();
        let _ = sys::process::wait(&self.running.pidfd);
    }
}

pub(crate) fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

/// Docker's default capabilities.
pub(crate) fn docker_capabilities() -> Value {
    let names = runtime::capabilities::CapSet::DOCKER_DEFAULT.names();
    json!({ "bounding": names, "effective": names, "permitted": names })
}

/// A process as Docker's default has it.
pub(crate) fn process(args: &[&str]) -> Value {
    json!({
        "user": { "uid": 0, "gid": 0, "additionalGids": [0] },
        "args": args,
        "env": ["PATH=/usr/bin:/bin"],
        "cwd": "/",
        "capabilities": docker_capabilities(),
        "oomScoreAdj": 0,
    })
}

/// A container as Docker's default has it.
pub(crate) fn spec(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": process(args),
        "hostname": "box",
        "mounts": [
            mount("/proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
            mount("/sys/fs/cgroup", "cgroup", "nosuid,noexec,nodev,ro"),
            mount("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ],
        "linux": {
            "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "cgroup" },
            ],
            "rootfsPropagation": "rprivate",
            "maskedPaths": ["/proc/interrupts", "/proc/keys", "/sys/firmware", "/proc/no-such-file"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

pub(crate) fn mount(destination: &str, kind: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split(',').collect();
    json!({ "destination": destination, "type": kind, "source": kind, "options": options })
}

pub(crate) fn bind(source: &Path, destination: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split(',').collect();
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// Adds a mount to a specification.
pub(crate) fn with_mount(mut spec: Value, mount: Value) -> Value {
    spec["mounts"].as_array_mut().unwrap().push(mount);
    spec
}

/// Reads all that a terminal gives, until its other side is closed.
pub(crate) fn read_terminal(master: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // EIO is how the end of a terminal shows.
    let _ = File::from(master).read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn write_terminal(master: &OwnedFd, text: &str) {
    File::from(master.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
}

/// A filter that answers a system call with an error number and allows everything else.
pub(crate) fn filter(number: u32, errno: u16) -> Vec<sys::seccomp::Instruction> {
    let step = |code, jt, jf, k| sys::seccomp::Instruction { code, jt, jf, k };
    vec![
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, number),
        step(0x06, 0, 0, 0x0005_0000 | u32::from(errno)),
        step(0x06, 0, 0, 0x7fff_0000),
    ]
}

pub(crate) fn filter_ref(instructions: &[sys::seccomp::Instruction]) -> FilterRef<'_> {
    FilterRef { instructions, flags: sys::seccomp::Flags::default(), listener: None }
}
