//! Podman: `podman --runtime`.

use std::path::PathBuf;

use super::{Engine, MEMORY, STOPPABLE, Yard};

/// Podman on roots of the test's own.
struct Podman {
    yard: Yard,
}

/// Limits that every host can give: Podman asks for more than a host without `CAP_SYS_RESOURCE` has. Locks in
/// shared memory would be all Podmans'.
const CONFIG: &str = r#"
[containers]
default_ulimits = ["nofile=512:512", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"#;

impl Podman {
    fn new() -> Self {
        let yard = Yard::new();
        std::fs::write(yard.path("containers.conf"), CONFIG).unwrap();
        // A runtime's options are not passed on to all of its verbs (Podman 4.3, delete).
        let wrapper = yard.path("wrapper/runc");
        std::fs::create_dir(yard.path("wrapper")).unwrap();
        let script =
            format!("#!/bin/sh\nexec {} oci --root {} \"$@\"\n", crate::DHOW, yard.text("state"));
        testkit::program(&wrapper, script);
        let podman = Self { yard };
        podman.ok(&["load", "-q", "-i", &podman.yard.text("busybox.tar")]);
        podman
    }

    fn state(&self) -> PathBuf {
        self.yard.path("state")
    }
}

impl Engine for Podman {
    fn yard(&self) -> &Yard {
        &self.yard
    }

    fn prefix(&self) -> Vec<String> {
        let text = |name: &str| self.yard.text(name);
        let words = [
            "podman".to_owned(),
            "--root".to_owned(),
            text("podman-root"),
            "--runroot".to_owned(),
            text("podman-run"),
            "--tmpdir".to_owned(),
            text("podman-tmp"),
            "--storage-driver".to_owned(),
            "overlay".to_owned(),
            "--runtime".to_owned(),
            text("wrapper/runc"),
        ];
        words.to_vec()
    }
}

/// `podman run` with a control group of the test's own.
fn run<'a>(group: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--cgroup-parent", group], words].concat()
}

#[test]
fn podman_runs_containers() {
    let podman = Podman::new();
    let group = format!("/{}", podman.yard.tag());
    let alone = ["--rm", "--network", "none", "busybox"];
    let script = "echo out; echo err >&2; exit 3";
    let ran = podman.ends(3, &run(&group, &[&alone[..], &["sh", "-c", script]].concat()));
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out", "err"));
    let told = podman.ends(127, &run(&group, &[&alone[..], &["nosuch"]].concat())).err;
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    podman.ends(126, &run(&group, &[&alone[..], &["/etc"]].concat()));
    let terminal = ["--rm", "-it", "--network", "none", "busybox"];
    podman.has_terminals(&run(&group, &terminal));
    let strict = "--rm --network none --read-only --tmpfs /x --user 5 --cap-drop all --security-opt no-new-privileges busybox";
    let strict: Vec<&str> = strict.split_whitespace().collect();
    assert_eq!(podman.ok(&run(&group, &[&strict[..], &["id", "-u"]].concat())), "5");
    let all =
        ["--rm", "--network", "host", "--privileged", "busybox", "sh", "-c", "readlink /dev/ptmx"];
    assert_eq!(podman.ok(&run(&group, &all)), "pts/ptmx");
    let detached = [
        "-d",
        "--name",
        "life",
        "--network",
        "none",
        "-m",
        "64m",
        "busybox",
        "sh",
        "-c",
        STOPPABLE,
    ];
    podman.ok(&run(&group, &detached));
    life(&podman, &group);
    podman.yard.nothing_is_left(&podman.state());
}

fn life(podman: &Podman, group: &str) {
    podman.until(&["logs", "life"], |ran| ran.out == "up");
    let ran = podman.ends(5, &["exec", "life", "sh", "-c", "cat /proc/1/comm; exit 5"]);
    assert_eq!(ran.out, "sh");
    podman.ends(127, &["exec", "life", "nosuch"]);
    podman.has_terminals(&["exec", "-it", "life"]);
    assert!(podman.ok(&["top", "life"]).contains("sh -c"));
    let stats = podman.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "life"]);
    assert!(stats.ends_with("/ 67.11MB"), "{stats}");
    podman.ok(&["pause", "life"]);
    assert_eq!(podman.ok(&["inspect", "-f", "{{.State.Status}}", "life"]), "paused");
    podman.ok(&["unpause", "life"]);
    podman.ok(&["update", "-m", "32m", "life"]);
    assert_eq!(podman.ok(&["exec", "life", "sh", "-c", &format!("{MEMORY}; true")]), "33554432");
    let joined = "--rm --network container:life --pid container:life --ipc container:life --uts container:life busybox";
    let joined: Vec<&str> = joined.split_whitespace().collect();
    let joined = [&joined[..], &["sh", "-c", "cat /proc/1/comm; hostname"]].concat();
    let name = run(group, &joined);
    assert_eq!(podman.ok(&name), format!("sh\n{}", podman.ok(&["exec", "life", "hostname"])));
    podman.ok(&["restart", "life"]);
    podman.until(&["logs", "life"], |ran| ran.out == "up\nbye\nup");
    podman.ok(&["stop", "life"]);
    assert_eq!(podman.ok(&["inspect", "-f", "{{.State.ExitCode}}", "life"]), "9");
    podman.ok(&["start", "life"]);
    podman.ok(&["kill", "life"]);
    assert_eq!(podman.ok(&["wait", "life"]), "137");
    podman.ok(&["rm", "life"]);
    let check = [
        "-d",
        "--name",
        "checked",
        "--network",
        "none",
        "--health-cmd",
        "true",
        "--health-interval",
        "disable",
    ];
    podman.ok(&run(group, &[&check[..], &["busybox", "sleep", "1000"]].concat()));
    podman.ok(&["healthcheck", "run", "checked"]);
    podman.ok(&["rm", "-f", "-t", "0", "checked"]);
}
