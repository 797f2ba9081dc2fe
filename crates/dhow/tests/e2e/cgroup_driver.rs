//! `cgroup-driver` of `dhow.toml`, and slices as parents: control groups that systemd makes for the engine.
//!
//! A host without systemd on version 2 of cgroups shows that its lack is told, and that nothing else changes.

use std::fs;
use std::path::{Path, PathBuf};

use model::RootTag;
use testkit::Host;

use crate::DHOW;
use crate::oci::scope::{has_systemd, systemctl};

const SYSTEMD: &str = "cgroup-driver = \"systemd\"\n";

fn settle(host: &Host, text: &str) {
    let etc = host.scratch().join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("dhow.toml"), text).unwrap();
}

fn tag(host: &Host) -> RootTag {
    RootTag::of_path(host.root().as_os_str().as_encoded_bytes())
}

/// A container's scope in a slice at the top.
struct Scope {
    unit: String,
    group: PathBuf,
}

impl Scope {
    fn of(host: &Host, container: &str, slice: &str) -> Self {
        let id = host.ok(&["inspect", "-f", "{{.Id}}", container]);
        Self::named(format!("{}-{id}.scope", tag(host).dashed("dhow")), slice)
    }

    fn named(unit: String, slice: &str) -> Self {
        let group = Path::new("/sys/fs/cgroup").join(slice).join(&unit);
        Self { unit, group }
    }

    /// What systemd says of a property.
    fn shown(&self, property: &str) -> String {
        systemctl(&["show", "--value", "-p", property, &self.unit])
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.group.join(name)).unwrap().trim().to_owned()
    }

    /// It goes, though nobody waits for that: a client hears of an end before all of it is taken down, and
    /// whoever does that does not wait for systemd.
    #[track_caller]
    fn goes(&self) {
        testkit::until(&format!("the end of {}", self.unit), || {
            self.shown("LoadState") == "not-found" && !self.group.exists()
        });
    }
}

/// What a host says that cannot do it.
#[track_caller]
fn is_refused(host: &Host) {
    settle(host, SYSTEMD);
    let refused = host.fails(125, &["run", "--rm", "busybox", "true"]);
    assert!(
        refused.contains("cgroup-driver = \"systemd\" is settled in dhow.toml, but this host"),
        "{refused}"
    );
    settle(host, "");
    host.ok(&["run", "--rm", "--cgroup-parent", "dhowtest.slice", "busybox", "true"]);
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
        // Of version 1; the files of version 2, and its group of this name, have none in them.
        let _ = fs::remove_dir(hierarchy.unwrap().path().join("dhowtest.slice"));
    }
    let _ = fs::remove_dir("/sys/fs/cgroup/dhowtest.slice");
}

#[test]
fn a_container_is_a_scope_that_systemd_knows() {
    let host = Host::with_busybox(DHOW);
    if !has_systemd() {
        return is_refused(&host);
    }
    assert_eq!(host.ok(&["info", "-f", "{{.CgroupDriver}}"]), "cgroupfs");
    settle(&host, SYSTEMD);
    assert_eq!(host.ok(&["info", "-f", "{{.CgroupDriver}}"]), "systemd");
    host.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "busybox",
        "sleep",
        "1000",
    ]);
    let scope = Scope::of(&host, "one", "system.slice");
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "one"]);
    assert_eq!(scope.file("cgroup.procs"), pid, "nobody else is in there");
    for (property, expected) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "50"),
    ] {
        assert_eq!(scope.shown(property), expected, "{property}");
    }
    host.ok(&["update", "--memory", "32m", "--memory-swap", "32m", "--cpus", "0.5", "one"]);
    systemctl(&["daemon-reload"]);
    for (file, kept) in
        [("memory.max", "33554432"), ("pids.max", "50"), ("cpu.max", "50000 100000")]
    {
        assert_eq!(scope.file(file), kept, "{file}");
    }
    let inside = host.ok(&["exec", "one", "cat", "/proc/self/cgroup"]);
    assert!(inside.starts_with("0::/exec-"), "{inside}");

    // Who is settled on something else goes on with what is there.
    settle(&host, "cgroup-driver = \"cgroupfs\"");
    assert_eq!(host.ok(&["top", "one", "-o", "pid"]), format!("PID\n{pid}"));
    host.ok(&["update", "--pids-limit", "40", "one"]);
    assert_eq!((scope.file("pids.max"), scope.shown("TasksMax")), ("40".into(), "40".into()));
    host.ok(&["pause", "one"]);
    host.ok(&["unpause", "one"]);
    host.ok(&["restart", "-t", "0", "one"]);
    scope.goes();
    assert_eq!(host.ok(&["top", "one", "-o", "comm"]), "COMMAND\nsleep");
    settle(&host, SYSTEMD);
    host.ok(&["restart", "-t", "0", "one"]);
    assert_eq!(scope.shown("ActiveState"), "active");
    // At once again: systemd may not have seen yet that the last one has gone.
    host.ok(&["restart", "-t", "0", "one"]);
    assert_eq!(scope.shown("ActiveState"), "active");
    host.ok(&["rm", "-f", "one"]);
    scope.goes();
}

#[test]
fn a_slice_is_systemds_whatever_is_settled() {
    let host = Host::with_busybox(DHOW);
    if !has_systemd() {
        return is_refused(&host);
    }
    let slice = format!("{}.slice", tag(&host).dashed("dhow").replace('-', "_"));
    let limits = ["--cgroup-parent", &*slice, "--pids-limit", "1"];
    host.ok(&[&["run", "-d", "--name", "one"], &limits[..], &["busybox", "sleep", "1000"]].concat());
    let scope = Scope::of(&host, "one", &slice);
    assert_eq!((scope.shown("Slice"), scope.file("pids.max")), (slice.clone(), "1".to_owned()));
    systemctl(&["daemon-reload"]);
    assert_eq!(scope.file("pids.max"), "1", "the room that it was made in has been taken back");
    // It ends by itself, and is made again by its policy's own way.
    host.ok(&["kill", "one"]);
    scope.goes();
    host.ok(&["start", "one"]);
    host.ok(&["rm", "-f", "one"]);
    scope.goes();
    settle(&host, SYSTEMD);
    let refused = host.fails(1, &["create", "--cgroup-parent", "/above", "busybox"]);
    let words = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
    assert!(refused.contains(words), "{refused}");
    let missing = host.fails(127, &["run", "--rm", "busybox", "/no/such/program"]);
    assert!(missing.contains("no such file or directory"), "{missing}");
    systemctl(&["stop", &slice]);
}

#[test]
fn what_nobody_guards_goes_with_its_scope() {
    let host = Host::with_busybox(DHOW);
    if !has_systemd() {
        return is_refused(&host);
    }
    settle(&host, SYSTEMD);
    host.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    let scope = Scope::of(&host, "one", "system.slice");
    // Its shim is the parent of its first process.
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "one"]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    let shim = rustix::process::Pid::from_raw(shim.parse().unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    host.ok(&["start", "one"]);
    assert_eq!(scope.shown("ActiveState"), "active");
    host.ok(&["rm", "-f", "one"]);
    scope.goes();

    // One of a container that nobody knows, in a slice that nobody remembers.
    let prefix = tag(&host).dashed("dhow");
    let slice = format!("{}.slice", prefix.replace('-', "_"));
    let strange = Scope::named(format!("{prefix}-{}.scope", "5".repeat(64)), &slice);
    let slice_option = format!("--slice={slice}");
    let unit = format!("--unit={}", strange.unit);
    let mut held = held(&["--scope", "--quiet", &slice_option, &unit, "sleep", "1000"]);
    testkit::until("its process", || {
        assert!(held.try_wait().unwrap().is_none(), "systemd-run ends");
        strange.group.join("cgroup.procs").exists() && !strange.file("cgroup.procs").is_empty()
    });
    host.ok(&["system", "check", "--repair"]);
    strange.goes();
    held.wait().unwrap();
    systemctl(&["stop", &slice]);
}

#[expect(clippy::disallowed_methods, reason = "systemd is asked by a program that is not ours")]
fn held(words: &[&str]) -> std::process::Child {
    std::process::Command::new("systemd-run").args(words).spawn().unwrap()
}

#[test]
fn systemd_boots_in_a_scope() {
    if !has_systemd() {
        return is_refused(&Host::with_busybox(DHOW));
    }
    let host = crate::systemd::host();
    settle(&host, SYSTEMD);
    let id = host.ok(&["run", "-d", "--name", "box", "--memory", "256m", "systemd", "/sbin/init"]);
    crate::systemd::until_it_runs(&host, "box");
    assert_eq!(host.ok(&["exec", "box", "cat", "/etc/machine-id"]), id[..32]);
    let scope = Scope::of(&host, "box", "system.slice");
    assert!(scope.group.join("system.slice").exists(), "its units are below");
    systemctl(&["daemon-reload"]);
    assert_eq!(scope.file("memory.max"), "268435456");
    host.ok(&["stop", "-t", "60", "box"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "0");
    scope.goes();
}

#[test]
fn settings_that_are_not_understood_stop_what_depends_on_them() {
    let host = Host::with_busybox(DHOW);
    settle(&host, "cgroup-driver = \"sytemd\"");
    let refused = host.fails(125, &["run", "--rm", "busybox", "true"]);
    assert!(
        refused.contains("etc/dhow.toml") && refused.contains("unknown variant `sytemd`"),
        "{refused}"
    );
    host.ok(&["ps"]);
}
