//! `cgroup-driver = "systemd"` of an ordinary user: each container is a scope of the user's own systemd, also when the
//! command comes from a login session, where no control groups are delegated.
//!
//! Whoever has no systemd of its own hears so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::RootTag;
use testkit::{Host, Ran};

use crate::DHOW;
use crate::oci::scope::has_systemd;

const START: [&str; 5] = ["run", "-d", "--name", "box", "--network"];

fn settle(host: &Host, text: &str) {
    let etc = host.scratch().join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("dhow.toml"), text).unwrap();
}

/// A user who has settled on systemd; `None` if this user has none, and was told so.
fn user() -> Option<Host> {
    let host = Host::of_user(DHOW);
    settle(&host, "cgroup-driver = \"systemd\"\n");
    let has_own = has_systemd() && !rustix::process::geteuid().is_root();
    if has_own {
        return Some(host);
    }
    let refused = host.fails(125, &["run", "--rm", "--network", "none", "busybox", "true"]);
    let why = if has_systemd() {
        "connect to the bus at /run/user/"
    } else {
        "but this host was not booted with systemd"
    };
    assert!(refused.contains(why), "{refused}");
    None
}

fn prefix(host: &Host) -> String {
    RootTag::of_path(host.root().as_os_str().as_encoded_bytes()).dashed("dhow")
}

/// A command in a login session.
fn elsewhere(host: &Host, words: &[&str]) -> Ran {
    Ran::new(&host.elsewhere(words).output().unwrap())
}

#[track_caller]
fn ok_elsewhere(host: &Host, words: &[&str]) -> Ran {
    let ran = elsewhere(host, words);
    assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
    ran
}

#[expect(clippy::disallowed_methods, reason = "systemd is asked by a program that is not ours")]
fn systemctl(words: &[&str]) -> String {
    let runtime = format!("/run/user/{}", rustix::process::geteuid().as_raw());
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words).env("XDG_RUNTIME_DIR", runtime);
    let output = command.output().unwrap();
    assert!(output.status.success(), "systemctl --user {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A container's scope, in a slice of the user's systemd.
struct Scope {
    unit: String,
    group: PathBuf,
}

impl Scope {
    fn of(host: &Host, container: &str, slice: &str) -> Self {
        let id = ok_elsewhere(host, &["inspect", "-f", "{{.Id}}", container]).out;
        let unit = format!("{}-{id}.scope", prefix(host));
        let uid = rustix::process::geteuid().as_raw();
        let service = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service");
        Self { group: Path::new(&service).join(slice).join(&unit), unit }
    }

    fn shown(&self, property: &str) -> String {
        systemctl(&["show", "--value", "-p", property, &self.unit])
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.group.join(name)).unwrap().trim().to_owned()
    }

    /// Nobody who removes one waits for systemd.
    #[track_caller]
    fn goes(&self) {
        testkit::until(&format!("the end of {}", self.unit), || {
            self.shown("LoadState") == "not-found" && !self.group.exists()
        });
    }
}

#[test]
fn a_login_session_has_limits_by_it() {
    let Some(host) = user() else { return };
    let info = ok_elsewhere(&host, &["info", "-f", "{{.CgroupDriver}} {{.MemoryLimit}}"]);
    assert_eq!(info.out, "systemd true");
    let limits = ["none", "-m", "64m", "--pids-limit", "20", "--cpu-quota", "30000"];
    let run = [&START[..], &limits, &["busybox", "sleep", "1000"]].concat();
    let started = ok_elsewhere(&host, &run);
    assert!(!started.err.contains("iscarded"), "{started:?}");
    let scope = Scope::of(&host, "box", "user.slice");
    for (property, expected) in [
        ("ActiveState", "active"),
        ("Slice", "user.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "20"),
        ("CPUQuotaPerSecUSec", "300ms"),
    ] {
        assert_eq!(scope.shown(property), expected, "{property}");
    }
    ok_elsewhere(&host, &["update", "-m", "32m", "--memory-swap", "32m", "box"]);
    systemctl(&["daemon-reload"]);
    for (file, kept) in
        [("memory.max", "33554432"), ("pids.max", "20"), ("cpu.max", "30000 100000")]
    {
        assert_eq!(scope.file(file), kept, "{file}");
    }
    let own = ok_elsewhere(&host, &["exec", "box", "cat", "/proc/self/cgroup"]).out;
    assert!(own.starts_with("0::/exec-"), "{own}");
    let frozen = || scope.file("cgroup.events").contains("frozen 1");
    ok_elsewhere(&host, &["pause", "box"]);
    assert!(frozen());
    ok_elsewhere(&host, &["unpause", "box"]);
    assert!(!frozen());
    let stats = ["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "box"];
    let usage = ok_elsewhere(&host, &stats).out;
    assert!(usage.starts_with("1 ") && usage.ends_with(" / 32MiB"), "{usage}");
    ok_elsewhere(&host, &["restart", "-t", "0", "box"]);
    assert_eq!(scope.shown("ActiveState"), "active");
    ok_elsewhere(&host, &["rm", "-f", "box"]);
    scope.goes();
}

/// And what is begun in one way goes on when the other is settled.
#[test]
fn a_service_of_the_users_has_the_same() {
    let Some(host) = user() else { return };
    host.ok(&[&START[..], &["none", "-m", "64m", "busybox", "sleep", "1000"]].concat());
    let scope = Scope::of(&host, "box", "user.slice");
    assert_eq!(scope.shown("MemoryMax"), "67108864");
    settle(&host, "");
    host.ok(&["update", "--pids-limit", "40", "box"]);
    assert_eq!((scope.file("pids.max"), scope.shown("TasksMax")), ("40".into(), "40".into()));
    ok_elsewhere(&host, &["restart", "-t", "0", "box"]);
    scope.goes();
    assert_eq!(host.ok(&["exec", "box", "echo", "there"]), "there");
}

#[test]
fn what_nobody_guards_goes_with_its_scope() {
    let Some(host) = user() else { return };
    let run = [&START[..], &["none", "busybox", "sleep", "1000"]].concat();
    ok_elsewhere(&host, &run);
    let scope = Scope::of(&host, "box", "user.slice");
    host.shims().into_iter().for_each(|pid| host.kill_9(pid));
    ok_elsewhere(&host, &["start", "box"]);
    assert_eq!(scope.shown("ActiveState"), "active");
    host.shims().into_iter().for_each(|pid| host.kill_9(pid));
    ok_elsewhere(&host, &["rm", "-f", "box"]);
    scope.goes();
}

#[test]
fn a_slice_of_the_users_takes_it() {
    let Some(host) = user() else { return };
    let slice = format!("{}.slice", prefix(&host).replace('-', "_"));
    // Where the user has control groups, whatever is settled.
    settle(&host, "");
    let more = ["none", "--cgroup-parent", &*slice, "busybox", "sleep", "1000"];
    host.ok(&[&START[..], &more].concat());
    let scope = Scope::of(&host, "box", &slice);
    assert_eq!(
        (scope.shown("Slice"), scope.shown("ActiveState")),
        (slice.clone(), "active".into())
    );
    host.ok(&["rm", "-f", "box"]);
    scope.goes();
    settle(&host, "cgroup-driver = \"systemd\"\n");
    let above = elsewhere(&host, &["create", "--cgroup-parent", "/above", "busybox"]);
    assert!(above.err.contains("should be a valid slice named as"), "{above:?}");
    systemctl(&["stop", &slice]);
}
