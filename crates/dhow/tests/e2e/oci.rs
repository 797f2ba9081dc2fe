//! `dhow oci`: the runtime by itself, as engines call it.

pub(crate) mod scope;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{Ran, until_is};

/// A bundle with busybox, and a state root of its own.
pub(crate) struct Bundle {
    dir: tempfile::TempDir,
}

impl Bundle {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dhow-test-oci-").tempdir().unwrap();
        let bin = dir.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        testkit::install("/bin/busybox", &bin.join("busybox"));
        for applet in
            ["sh", "sleep", "true", "cat", "echo", "ls", "tty", "stty", "id", "uname", "grep"]
        {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        let bundle = Self { dir };
        let path = bundle.path().to_owned();
        bundle.ok(&["spec", "-b", path.to_str().unwrap()]);
        bundle.change(|spec| {
            spec["process"]["terminal"] = json!(false);
            spec["linux"]["cgroupsPath"] = json!(format!("/dhow-test-oci/{}", bundle.tag()));
        });
        bundle
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A name that no other test has.
    pub(crate) fn tag(&self) -> String {
        self.path().file_name().unwrap().to_str().unwrap().replace('.', "")
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let mut spec = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        fs::write(&path, spec.to_string()).unwrap();
    }

    pub(crate) fn runs(&self, words: &[&str]) {
        self.change(|spec| spec["process"]["args"] = json!(words));
    }

    #[expect(clippy::disallowed_methods, reason = "tests run the binary as an engine does")]
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::DHOW);
        command.args(["oci", "--root"]).arg(self.path().join("state")).args(words);
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran::new(&self.command(words).output().unwrap())
    }

    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.err);
        ran.out
    }

    #[track_caller]
    pub(crate) fn fails(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(1), "{words:?}: {}", ran.out);
        ran.err
    }

    /// Creates a container whose output goes to a file: its process outlives the command.
    pub(crate) fn create(&self, id: &str, flags: &[&str]) -> PathBuf {
        let out = self.path().join(format!("{id}.out"));
        let file = fs::File::create(&out).unwrap();
        let mut command = self.command(&[&["create"], flags, &[id]].concat());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(&out).unwrap());
        out
    }

    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }

    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let all = roots.chain([PathBuf::from("/sys/fs/cgroup")]);
        all.map(|root| root.join("dhow-test-oci").join(self.tag())).filter(|p| p.exists()).collect()
    }

    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let state = fs::read_dir(self.path().join("state"));
        // Compiled filters stay for the next container.
        let left = state.into_iter().flatten().flatten().map(|e| e.path());
        let left: Vec<_> = left.filter(|path| !path.ends_with("@filters")).collect();
        assert_eq!((left, self.groups()), (Vec::new(), Vec::new()));
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.run(&["list", "-q"]).out.lines() {
            drop(self.run(&["delete", "-f", id]));
        }
        // The parent of the groups is shared: it goes with the last of them.
        for root in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(root.path().join("dhow-test-oci"));
        }
        let _ = fs::remove_dir("/sys/fs/cgroup/dhow-test-oci");
    }
}

/// Waits until a pidfd of the process says that it has ended.
pub(crate) fn wait_for_end(pid: i64) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut ready = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ready, Some(&patience)), Ok(1), "it goes on");
}

#[test]
fn a_container_from_create_to_delete() {
    let bundle = Bundle::new();
    bundle.runs(&["sh", "-c", "echo begun; exec sleep 1000"]);
    let out = bundle.create("one", &["--pid-file", "pid"]);
    let created = bundle.state("one");
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    assert_eq!(
        (&created["status"], &created["pid"]),
        (&json!("created"), &json!(pid.parse::<i64>().unwrap()))
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "", "it must not run yet");
    assert!(!bundle.groups().is_empty());
    bundle.ok(&["start", "one"]);
    assert_eq!(bundle.state("one")["status"], "running");
    assert!(bundle.fails(&["start", "one"]).contains("already running container"));
    assert!(bundle.fails(&["create", "one"]).contains("container with given ID already exists"));
    assert_eq!(bundle.ok(&["list", "-q"]), "one");
    assert_eq!(bundle.ok(&["ps", "-f", "json", "one"]), format!("[{pid}]"));
    let ran = bundle.run(&["exec", "one", "sh", "-c", "cat /proc/1/comm; exit 5"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(5), "sleep"), "{}", ran.err);
    let told = bundle.fails(&["delete", "one"]);
    assert!(told.contains("cannot delete container one that is not stopped: running"), "{told}");
    bundle.ok(&["kill", "one", "KILL"]);
    wait_for_end(pid.parse().unwrap());
    let stopped = bundle.state("one");
    assert_eq!((&stopped["status"], &stopped["pid"]), (&json!("stopped"), &json!(0)));
    assert!(bundle.fails(&["kill", "one"]).contains("container not running"));
    assert_eq!(fs::read_to_string(&out).unwrap(), "begun\n");
    bundle.ok(&["delete", "one"]);
    assert!(bundle.fails(&["state", "one"]).contains("container does not exist"));
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn run_ends_as_its_process_does() {
    let bundle = Bundle::new();
    bundle.runs(&["sh", "-c", "echo out $HOME; echo err >&2; exit 7"]);
    let ran = bundle.run(&["run", "one"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(7), "out /", "err"));
    bundle.nothing_is_left();
    bundle.ok_code(&["run", "--keep", "one"], 7);
    assert_eq!(bundle.state("one")["status"], "stopped");
    bundle.ok(&["delete", "one"]);
    bundle.nothing_is_left();
}

impl Bundle {
    #[track_caller]
    fn ok_code(&self, words: &[&str], code: i32) {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(code), "{}", ran.err);
    }
}

#[test]
fn a_failure_says_why_in_the_log_and_leaves_nothing() {
    let bundle = Bundle::new();
    bundle.runs(&["nosuch"]);
    let told = bundle.fails(&["--log", "log", "--log-format", "json", "create", "one"]);
    assert_eq!(told, "", "with a log the message is the engine's");
    let log = fs::read_to_string(bundle.path().join("log")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{log}");
    bundle.nothing_is_left();
    // What only the kernel can find out is told by start.
    testkit::program(&bundle.path().join("rootfs/bin/odd"), "neither program nor script");
    bundle.runs(&["odd"]);
    bundle.create("one", &[]);
    let told = bundle.fails(&["start", "one"]);
    assert!(told.contains("exec format error"), "{told}");
    bundle.ok(&["delete", "one"]);
    for (id, why) in
        [("../x", "invalid container ID format"), ("..", "invalid"), ("a/b", "invalid")]
    {
        assert!(bundle.fails(&["create", id]).contains(why), "{id}");
    }
    bundle.change(|spec| spec["linux"]["intelRdt"] = json!({ "closID": "x" }));
    assert!(bundle.fails(&["run", "one"]).contains("linux.intelRdt"));
    bundle.nothing_is_left();
}

#[test]
fn a_terminal_goes_to_the_socket_of_whoever_asked() {
    let bundle = Bundle::new();
    bundle.runs(&["sh", "-c", "tty; stty size"]);
    bundle.change(|spec| {
        spec["process"]["terminal"] = json!(true);
        spec["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    });
    let told = bundle.fails(&["create", "one"]);
    assert!(told.contains("--console-socket"), "{told}");
    let listener = UnixListener::bind(bundle.path().join("console")).unwrap();
    bundle.create("one", &["--console-socket", "console"]);
    let (peer, _) = listener.accept().unwrap();
    let (mut name, mut fds) = ([0; 64], Vec::new());
    let len = sys::fdpass::recv(peer.as_fd(), &mut name, &mut fds).unwrap();
    assert_eq!((&name[..len], fds.len()), (&b"/dev/ptmx"[..], 1));
    bundle.ok(&["start", "one"]);
    let mut text = Vec::new();
    let mut piece = [0; 256];
    // The other end is closed: the terminal says EIO.
    while let Ok(len @ 1..) = rustix::io::read(&fds[0], &mut piece) {
        text.extend_from_slice(&piece[..len]);
    }
    assert_eq!(String::from_utf8(text).unwrap(), "/dev/pts/0\r\n33 77\r\n");
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a shell opens the descriptors")]
fn only_what_is_preserved_is_inherited() {
    let bundle = Bundle::new();
    // The fourth is the listing's own.
    bundle.runs(&["sh", "-c", "cat <&3; ls /proc/self/fd | while read n; do echo -n $n.; done"]);
    let script = "echo kept >kept; exec 3<kept 4<kept; exec \"$DHOW\" oci --root state run --preserve-fds 1 one";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("DHOW", crate::DHOW).current_dir(bundle.path());
    let ran = Ran::new(&shell.stdin(Stdio::null()).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "kept\n0.1.2.3.4."), "{}", ran.err);
    bundle.nothing_is_left();
}

#[test]
fn limits_hold_and_change() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.change(|spec| spec["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 }));
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    let limit = || {
        let shown: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "one"])).unwrap();
        shown["data"]["memory"]["usage"]["limit"].as_u64().unwrap()
    };
    assert_eq!(limit(), 64 << 20);
    bundle.ok(&["update", "--memory", "33554432", "one"]);
    assert_eq!(limit(), 32 << 20);
    // As dockerd writes it.
    let more = r#"{"memory":{"limit":50331648,"reservation":0,"swap":0,"kernel":0},"cpu":{"shares":0,"quota":0},"blockIO":{"weight":0}}"#;
    fs::write(bundle.path().join("more.json"), more).unwrap();
    bundle.ok(&["update", "-r", "more.json", "one"]);
    assert_eq!(limit(), 48 << 20);
    bundle.ok(&["pause", "one"]);
    assert_eq!(bundle.state("one")["status"], "paused");
    let ran = bundle.run(&["exec", "one", "true"]);
    assert_eq!(ran.code, Some(255), "a program could end with 1");
    assert!(ran.err.contains("cannot exec in a paused container"), "{}", ran.err);
    bundle.ok(&["resume", "one"]);
    assert_eq!(bundle.state("one")["status"], "running");
    bundle.ok(&["pause", "one"]);
    bundle.ok(&["delete", "--force", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn a_paused_container_is_not_started_and_dies_when_it_is_killed() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["pause", "one"]);
    assert!(bundle.fails(&["start", "one"]).contains("cannot start a paused container"));
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    bundle.ok(&["kill", "one", "KILL"]);
    wait_for_end(pid);
    bundle.ok(&["delete", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn a_door_that_leads_nowhere_is_of_one_that_runs() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    // As a start that was killed leaves it.
    drop(UnixListener::bind(bundle.path().join("state/one/start.sock")).unwrap());
    assert_eq!(bundle.state("one")["status"], "running");
    assert_eq!(bundle.run(&["exec", "one", "true"]).code, Some(0));
    assert!(bundle.fails(&["delete", "one"]).contains("not stopped"));
    bundle.ok(&["kill", "--all", "one", "KILL"]);
    bundle.ok(&["delete", "--force", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn a_control_group_of_the_same_path_is_not_an_earlier_containers() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    bundle.ok(&["kill", "one", "KILL"]);
    wait_for_end(pid);
    // Both ask for the same path.
    bundle.create("two", &[]);
    bundle.ok(&["start", "two"]);
    bundle.ok(&["delete", "one"]);
    assert_eq!(bundle.state("two")["status"], "running");
    assert!(
        bundle.fails(&["create", "three"]).contains("cgroup is not empty"),
        "its group is in use"
    );
    bundle.ok(&["delete", "-f", "two"]);
    bundle.nothing_is_left();
}

#[test]
fn hooks_are_run_at_their_moments() {
    let bundle = Bundle::new();
    let script = bundle.path().join("hook");
    let text = "#!/bin/sh\nread state; echo \"$1 $state\" >>\"$2\"\n";
    testkit::program(&script, text);
    let told = bundle.path().join("told");
    let hook = |moment: &str| json!([{ "path": script, "args": ["hook", moment, told] }]);
    bundle.runs(&["true"]);
    bundle.change(|spec| {
        spec["hooks"] = json!({
            "createRuntime": hook("createRuntime"), "poststart": hook("poststart"),
            "poststop": hook("poststop"),
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat >/started"] }],
        });
        spec["root"]["readonly"] = json!(false);
    });
    bundle.ok(&["run", "one"]);
    let lines = fs::read_to_string(&told).unwrap();
    let seen: Vec<(&str, Value)> = lines
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(moment, state)| (moment, serde_json::from_str(state).unwrap()))
        .collect();
    let seen: Vec<_> =
        seen.iter().map(|(at, state)| (*at, state["status"].as_str().unwrap())).collect();
    let want = [("createRuntime", "created"), ("poststart", "running"), ("poststop", "stopped")];
    assert_eq!(seen, want);
    let started = fs::read_to_string(bundle.path().join("rootfs/started")).unwrap();
    let started: Value = serde_json::from_str(&started).unwrap();
    assert_eq!((&started["status"], &started["id"]), (&json!("created"), &json!("one")));
    bundle.change(|spec| {
        spec["hooks"] = json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "exit 3"] }] });
    });
    assert!(
        bundle.fails(&["run", "one"]).contains("error running startContainer hook #0: /bin/sh")
    );
    bundle.nothing_is_left();
}

#[test]
fn a_process_without_a_socket_has_our_terminal() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    let ran = bundle.run(&["exec", "-t", "one", "sh", "-c", "tty; exit 4"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(4), "/dev/pts/0"), "{}", ran.err);
    // As the container's own files say.
    fs::create_dir(bundle.path().join("rootfs/etc")).unwrap();
    fs::write(bundle.path().join("rootfs/etc/passwd"), "u:x:7:8::/home/u:/bin/sh\n").unwrap();
    let process = json!({
        "args": ["sh", "-c", "echo $A $HOME; id -u"], "cwd": "/", "env": ["A=b", "PATH=/bin"],
        "user": { "uid": 7, "gid": 8 },
    });
    fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    let ran = bundle.run(&["exec", "--process", "process.json", "one"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "b /home/u\n7"), "{}", ran.err);
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

#[test]
fn a_name_that_engines_know_is_enough() {
    let bundle = Bundle::new();
    let runc = bundle.path().join("runc");
    std::os::unix::fs::symlink(crate::DHOW, &runc).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests run the binary as an engine does")]
    let version =
        Ran::new(&Command::new(&runc).args(["--root", "/x", "--version"]).output().unwrap());
    assert!(version.out.contains("\nspec: 1."), "{}", version.out);
    let features: Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
}

/// What a `create` that was killed leaves: a directory, and a control group that nobody is in.
#[test]
fn what_a_killed_create_has_left_is_found() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    let state = bundle.path().join("state");
    fs::create_dir_all(state.join("one")).unwrap();
    assert!(bundle.fails(&["state", "one"]).contains("container does not exist"));
    bundle.ok(&["delete", "-f", "one"]);
    // With its control group made, and its number not written down yet.
    fs::create_dir_all(state.join("two")).unwrap();
    let claim = json!({ "parent": "dhow-test-oci", "name": bundle.tag(), "number": null });
    fs::write(state.join("two/cgroup.json"), claim.to_string()).unwrap();
    // One of each hierarchy of version 1, or of version 2's only one.
    let top = PathBuf::from("/sys/fs/cgroup");
    let roots = match top.join("cgroup.procs").exists() {
        true => vec![top],
        false => fs::read_dir(top).unwrap().flatten().map(|entry| entry.path()).collect(),
    };
    for root in roots.iter().filter(|path| path.join("cgroup.procs").exists()) {
        let group = root.join("dhow-test-oci").join(bundle.tag());
        // Another test that ends takes the parent away as soon as nobody is in it.
        until_is("a control group", || fs::create_dir_all(&group));
        assert!(group.exists(), "{}", group.display());
    }
    bundle.create("three", &[]);
    // It is in use by now, and stays.
    bundle.ok(&["delete", "-f", "two"]);
    assert_eq!(bundle.state("three")["status"], "created");
    bundle.ok(&["delete", "three"]);
    fs::create_dir_all(state.join("four~1/x")).unwrap();
    assert_eq!(bundle.ok(&["list", "-q"]), "");
    bundle.create("five", &[]);
    assert!(!state.join("four~1").exists(), "what a removal has left is swept");
    bundle.ok(&["delete", "five"]);
    bundle.nothing_is_left();
}

#[test]
fn an_exec_that_nobody_can_be_told_of_does_not_go_on() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    let ran = bundle.run(&["exec", "-d", "--pid-file", "/nosuch/pid", "one", "sleep", "1000"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.err.contains("/nosuch/pid"), "{}", ran.err);
    let pids: Vec<i32> = serde_json::from_str(&bundle.ok(&["ps", "-f", "json", "one"])).unwrap();
    assert_eq!(pids.len(), 1, "only the first process is there");
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// config.md, Mounts and Process: a bind's source may be relative to the bundle, a file system of devices may be
/// read-only, and the working directory is entered with the rights that a container is set up with.
#[test]
fn a_bundle_may_say_it_relative_to_itself() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/word"), "seen\n").unwrap();
    let private = bundle.path().join("rootfs/private");
    fs::create_dir(&private).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&private, mode).unwrap();
    bundle.runs(&["sh", "-c", "pwd; cat /data/word; echo >/dev/new || echo fixed; ls /dev/pts"]);
    bundle.change(|spec| {
        spec["process"]["cwd"] = json!("/private");
        spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let dev = mounts.iter_mut().find(|mount| mount["destination"] == "/dev").unwrap();
        dev["options"].as_array_mut().unwrap().push(json!("ro"));
        let bind = json!({ "destination": "/data", "source": "data", "options": ["rbind"] });
        mounts.push(bind);
    });
    let ran = bundle.run(&["run", "one"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "/private\nseen\nfixed\nptmx"),
        "{}",
        ran.err
    );
    bundle.nothing_is_left();
}

/// runtime.md, Operations, beyond which runc does this for its callers: one that was created can be entered and
/// asked after, sizes have units, and a limit goes again.
#[test]
fn a_container_is_asked_after_and_changed_as_by_runc() {
    let bundle = Bundle::new();
    bundle.runs(&["sleep", "1000"]);
    bundle.create("one", &[]);
    assert_eq!(bundle.ok(&["exec", "one", "echo", "in"]), "in");
    bundle.ok(&["kill", "one", "0"]);
    assert!(bundle.ok(&["list", "-f", "json"]).starts_with(r#"[{"ociVersion":"#));
    let limit = || {
        let shown: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "one"])).unwrap();
        shown["data"]["memory"]["usage"]["limit"].as_u64().unwrap()
    };
    bundle.ok(&["update", "--memory", "32M", "--memory-swap", "64M", "one"]);
    assert_eq!(limit(), 32 << 20);
    bundle.ok(&["update", "--memory", "-1", "one"]);
    assert!(limit() > 1 << 50, "{}", limit());
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    bundle.ok(&["kill", "one", "KILL"]);
    wait_for_end(pid);
    assert!(bundle.fails(&["kill", "one", "0"]).contains("container not running"));
    assert_eq!(bundle.ok(&["ps", "-f", "json", "one"]), "[]");
    bundle.ok(&["--root", "nowhere", "--root", "state", "delete", "one"]);
    bundle.nothing_is_left();
}

/// What `events` tells of memory that ran out, and that it ends with the container.
#[test]
fn a_shortage_of_memory_is_an_event() {
    let bundle = Bundle::new();
    bundle.runs(&["sh", "-c", "sh -c 'x=x; while :; do x=$x$x; done'; exec sleep 1000"]);
    let small = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    bundle.change(|spec| spec["linux"]["resources"]["memory"] = small);
    bundle.create("one", &[]);
    let mut events = bundle.command(&["events", "--interval", "50ms", "one"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with(r#"{"type":"stats","id":"one","data":{"#));
    bundle.ok(&["start", "one"]);
    let oom = lines.find(|line| line.contains("oom")).unwrap();
    assert_eq!(oom, r#"{"type":"oom","id":"one"}"#);
    bundle.ok(&["delete", "-f", "one"]);
    assert!(events.wait().unwrap().success());
    bundle.nothing_is_left();
}
