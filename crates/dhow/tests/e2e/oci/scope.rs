//! `--systemd-cgroup`: control groups that systemd makes.
//!
//! A host without systemd shows that its lack is told, and that nothing is left.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::Bundle;

/// A bundle whose control group is a scope of systemd's.
struct Scoped {
    bundle: Bundle,
    unit: String,
}

impl Scoped {
    fn new() -> Self {
        let bundle = Bundle::new();
        let tag = bundle.tag();
        bundle.runs(&["sleep", "1000"]);
        bundle.change(|spec| {
            spec["linux"]["cgroupsPath"] = json!(format!("system.slice:dhow:{tag}"));
            spec["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
            spec["linux"]["resources"]["pids"] = json!({ "limit": 50 });
            spec["linux"]["resources"]["unified"] =
                json!({ "memory.oom.group": "1", "cpu.max": "40000 80000" });
            spec["annotations"] =
                json!({ "org.systemd.property.TimeoutStopUSec": "uint64 7000000" });
        });
        Self { unit: format!("dhow-{tag}.scope"), bundle }
    }

    /// A verb of a container whose process outlives the command.
    fn ran(&self, words: &[&str]) -> (bool, String) {
        let name = self.bundle.path().join("out");
        let out = fs::File::create(&name).unwrap();
        let mut command = self.bundle.command(&[&["--systemd-cgroup"], words].concat());
        if !has_systemd() {
            // Nor is one of version 1 of cgroups asked, whose files are others.
            let nobody = self.bundle.path().join("no-bus");
            command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", nobody.display()));
        }
        command.stdout(out.try_clone().unwrap()).stderr(out);
        (command.status().unwrap().success(), fs::read_to_string(name).unwrap())
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) {
        let (done, out) = self.ran(words);
        assert!(done, "{words:?}: {out}");
    }

    /// What systemd says of a property.
    fn shown(&self, property: &str) -> String {
        systemctl(&["show", "--value", "-p", property, &self.unit])
    }

    fn group(&self) -> std::path::PathBuf {
        Path::new("/sys/fs/cgroup/system.slice").join(&self.unit)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.group().join(name)).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(self.shown("LoadState"), "not-found");
        assert!(!self.group().exists());
        self.bundle.nothing_is_left();
    }
}

#[expect(clippy::disallowed_methods, reason = "systemd is asked by a program that is not ours")]
pub(crate) fn systemctl(words: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    // Where a user's own is: who became one without a login has it from nobody.
    let runtime = format!("/run/user/{}", rustix::process::geteuid().as_raw());
    command.env("XDG_RUNTIME_DIR", runtime).args(words).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "systemctl {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether this host has a systemd to ask, on version 2 of cgroups.
pub(crate) fn has_systemd() -> bool {
    let there = |path: &str| Path::new(path).exists();
    there("/run/systemd/system")
        && there("/run/dbus/system_bus_socket")
        && there("/sys/fs/cgroup/cgroup.controllers")
}

#[test]
fn a_scope_lives_as_long_as_its_container() {
    let scoped = Scoped::new();
    if !has_systemd() {
        let (done, said) = scoped.ran(&["create", "one"]);
        assert!(!done && said.contains("connect to the bus at"), "{said}");
        return scoped.bundle.nothing_is_left();
    }
    scoped.ok(&["create", "one"]);
    scoped.ok(&["start", "one"]);
    let pid = scoped.bundle.state("one")["pid"].to_string();
    assert_eq!(scoped.file("cgroup.procs"), pid, "nobody else is in there");
    for (property, expected) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "50"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUQuotaPeriodUSec", "80ms"),
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
    ] {
        assert_eq!(scoped.shown(property), expected, "{property}");
    }
    assert_eq!(scoped.file("memory.max"), "67108864");
    assert_eq!(scoped.file("memory.oom.group"), "1");
    let events = scoped.bundle.ok(&["events", "--stats", "one"]);
    let data = &serde_json::from_str::<serde_json::Value>(&events).unwrap()["data"];
    for (part, file) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
        // A kernel that was told to leave pressure off has the files and reads none.
        let tells = fs::read_to_string(scoped.group().join(format!("{file}.pressure"))).is_ok();
        assert_eq!(data[part]["psi"]["some"]["total"].is_u64(), tells, "{data}");
    }

    scoped.ok(&["update", "--memory", "33554432", "one"]);
    assert_eq!(scoped.shown("MemoryMax"), "33554432");
    systemctl(&["daemon-reload"]);
    for (file, kept) in [("memory.max", "33554432"), ("pids.max", "50"), ("cpu.max", "40000 80000")]
    {
        assert_eq!(scoped.file(file), kept, "{file}");
    }

    // What a change does not name stays: with systemd too, which has one number for a quota and its period.
    scoped.ok(&["update", "--cpu-quota", "33333", "one"]);
    scoped.ok(&["update", "--cpu-period", "200000", "one"]);
    assert_eq!(scoped.shown("CPUQuotaPerSecUSec"), "170ms");
    assert_eq!(scoped.file("cpu.max"), "33333 200000", "as it was asked for, not rounded");

    scoped.ok(&["pause", "one"]);
    assert_eq!(scoped.bundle.state("one")["status"], "paused");
    scoped.ok(&["resume", "one"]);
    assert_eq!(scoped.bundle.ok(&["exec", "one", "cat", "/proc/self/cgroup"]), "0::/");
    scoped.ok(&["delete", "-f", "one"]);
    scoped.nothing_is_left();
}

#[test]
fn what_fails_or_ends_by_itself_leaves_no_unit() {
    let scoped = Scoped::new();
    if !has_systemd() {
        let (done, said) = scoped.ran(&["run", "one"]);
        assert!(!done && said.contains("connect to the bus at"), "{said}");
        return scoped.bundle.nothing_is_left();
    }
    scoped.bundle.runs(&["true"]);
    scoped.ok(&["run", "one"]);
    scoped.nothing_is_left();
    scoped.bundle.runs(&["/no/such/program"]);
    assert!(!scoped.ran(&["run", "two"]).0);
    scoped.nothing_is_left();
    scoped.bundle.runs(&["sh", "-c", "exit 3"]);
    assert!(!scoped.ran(&["run", "three"]).0);
    scoped.nothing_is_left();
}

/// Root reaches systemd without a bus as well.
#[test]
fn systemd_is_spoken_to_where_there_is_no_bus() {
    let scoped = Scoped::new();
    let private = "/run/systemd/private";
    let ran = |words: &[&str]| {
        let mut command = scoped.bundle.command(&[&["--systemd-cgroup"], words].concat());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={private}"));
        command.stdout(Stdio::null()).status().unwrap().success()
    };
    assert_eq!(ran(&["run", "-d", "one"]), has_systemd());
    if has_systemd() {
        assert_eq!(scoped.shown("ActiveState"), "active");
        assert!(ran(&["update", "--memory", "33554432", "one"]));
        assert_eq!(scoped.shown("MemoryMax"), "33554432");
        assert!(ran(&["delete", "-f", "one"]));
        return scoped.nothing_is_left();
    }
    scoped.bundle.nothing_is_left();
}

/// As an engine of an ordinary user's calls it: root of the user's namespace, in a scope of the user's.
fn of_a_user(scoped: &Scoped, words: &[&str]) -> testkit::Ran {
    let command = scoped.bundle.command(&[&["--systemd-cgroup"], words].concat());
    let delegated = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--"];
    let is_root = rustix::process::geteuid().is_root();
    let enter = ["unshare", "-Urm", "--propagation", "private"];
    // With the user's subordinate ids, as engines have it.
    let more = ["--map-auto"];
    let words = if is_root { enter.to_vec() } else { [&delegated[..], &enter, &more].concat() };
    let mut all: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    all.push(command.get_program().into());
    all.extend(command.get_args().map(Into::into));
    let name = scoped.bundle.path().join("out");
    let out = fs::File::create(&name).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test makes the namespace that it is about")]
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]).current_dir(scoped.bundle.path()).stdin(Stdio::null());
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("XDG_RUNTIME_DIR");
    if !is_root {
        let own = format!("/run/user/{}", rustix::process::geteuid().as_raw());
        command.env("XDG_RUNTIME_DIR", own);
    }
    command.stdout(out.try_clone().unwrap()).stderr(out);
    let code = command.status().unwrap().code();
    testkit::Ran { code, out: fs::read_to_string(name).unwrap(), err: String::new() }
}

#[test]
fn a_users_own_systemd_is_asked() {
    let scoped = Scoped::new();
    scoped.bundle.change(|spec| {
        spec["linux"]["cgroupsPath"] = json!(format!(":dhow:{}", scoped.bundle.tag()));
    });
    if rustix::process::geteuid().is_root() {
        let refused = of_a_user(&scoped, &["create", "one"]);
        assert!(refused.out.contains("XDG_RUNTIME_DIR is not set"), "{refused:?}");
        return scoped.bundle.nothing_is_left();
    }
    let ok = |words: &[&str]| {
        let ran = of_a_user(&scoped, words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out.trim().to_owned()
    };
    let shown = |property| systemctl(&["--user", "show", "--value", "-p", property, &scoped.unit]);
    ok(&["run", "-d", "one"]);
    for (property, expected) in [
        ("ActiveState", "active"),
        ("Slice", "user.slice"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "50"),
        ("CPUQuotaPerSecUSec", "500ms"),
    ] {
        assert_eq!(shown(property), expected, "{property}");
    }
    let uid = rustix::process::geteuid().as_raw();
    let service = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service");
    let group = Path::new(&service).join("user.slice").join(&scoped.unit);
    let file = |name| fs::read_to_string(group.join(name)).unwrap().trim().to_owned();
    assert_eq!((file("memory.max"), file("memory.oom.group")), ("67108864".into(), "1".into()));
    ok(&["update", "--memory", "33554432", "one"]);
    systemctl(&["--user", "daemon-reload"]);
    assert_eq!((file("memory.max"), file("pids.max")), ("33554432".into(), "50".into()));
    ok(&["pause", "one"]);
    assert!(file("cgroup.events").contains("frozen 1"));
    ok(&["resume", "one"]);
    ok(&["delete", "-f", "one"]);
    assert_eq!(shown("LoadState"), "not-found");
    assert!(!group.exists());
    scoped.bundle.nothing_is_left();
}

#[test]
fn names_that_systemd_does_not_have_are_refused() {
    let scoped = Scoped::new();
    for (path, word) in [
        ("/docker/abc", "expected cgroupsPath to be of format"),
        ("docker:dhow:x", "is no slice of systemd"),
        ("system.slice:dhow:a/b", "is no name of a unit"),
    ] {
        scoped.bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!(path));
        let (done, said) = scoped.ran(&["create", "one"]);
        assert!(!done && said.contains(word), "{path}: {said}");
    }
    scoped.bundle.nothing_is_left();
}
