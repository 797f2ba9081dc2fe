//! `dhow oci` where version 2 of cgroups has all controllers: what of the specification only that has.
//!
//! A host of version 1 shows that it says so.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::until;

use crate::oci::{Bundle, wait_for_end};

/// Whether the host has version 2 alone.
fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A running container's group.
struct Group(PathBuf);

impl Group {
    fn of(bundle: &Bundle) -> Self {
        Self(Path::new("/sys/fs/cgroup/dhow-test-oci").join(bundle.tag()))
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap().trim().to_owned()
    }

    fn counted(&self, file: &str, what: &str) -> u64 {
        let text = self.file(file);
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(name, _)| *name == what).unwrap().1.parse().unwrap()
    }
}

fn start(bundle: &Bundle, words: &[&str]) -> Group {
    bundle.runs(words);
    bundle.create("one", &[]);
    bundle.ok(&["start", "one"]);
    Group::of(bundle)
}

fn pid(bundle: &Bundle) -> i64 {
    bundle.state("one")["pid"].as_i64().unwrap()
}

/// Files that the specification has no other words for, also over those that it has words for.
#[test]
fn files_of_version_2_are_written_by_their_names() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        let resources = &mut spec["linux"]["resources"];
        resources["memory"] = json!({ "limit": 64 << 20 });
        resources["unified"] = json!({
            "memory.high": "50331648", "memory.low": "1048576", "memory.oom.group": "1",
            "pids.max": "33", "cpu.max": "30000 60000", "cpu.weight": "77",
        });
    });
    if !is_unified() {
        let refused = bundle.fails(&["run", "one"]);
        assert!(refused.contains("a raw cgroup file does not exist on cgroup v1"), "{refused}");
        return bundle.nothing_is_left();
    }
    let group = start(&bundle, &["sleep", "1000"]);
    for (file, expected) in [
        ("memory.max", "67108864"),
        ("memory.high", "50331648"),
        ("memory.low", "1048576"),
        ("memory.oom.group", "1"),
        ("pids.max", "33"),
        ("cpu.max", "30000 60000"),
        ("cpu.weight", "77"),
    ] {
        assert_eq!(group.file(file), expected, "{file}");
    }
    // By `update` as well, and the rest stays.
    let change = json!({ "unified": { "pids.max": "44", "memory.high": "max" } });
    fs::write(bundle.path().join("change.json"), change.to_string()).unwrap();
    bundle.ok(&["update", "-r", "change.json", "one"]);
    assert_eq!((group.file("pids.max"), group.file("memory.high")), ("44".into(), "max".into()));
    assert_eq!(
        (group.file("cpu.weight"), group.file("memory.low")),
        ("77".into(), "1048576".into())
    );
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// With `memory.oom.group` all of a container ends with the one that took too much, without it that one alone.
#[test]
fn who_runs_out_of_memory_ends_alone_or_with_all() {
    if !is_unified() {
        return;
    }
    for (whole, survives) in [("0", true), ("1", false)] {
        let bundle = Bundle::new();
        bundle.change(|spec| {
            let resources = &mut spec["linux"]["resources"];
            resources["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
            resources["unified"] = json!({ "memory.oom.group": whole });
        });
        let script = "x=$(busybox yes 0123456789abcdef | busybox head -c 100000000); echo ended";
        let group = start(&bundle, &["sleep", "1000"]);
        let first = pid(&bundle);
        let hog = bundle.run(&["exec", "one", "sh", "-c", script]);
        assert!(!hog.out.contains("ended"), "{hog:?}");
        assert!(group.counted("memory.events", "oom_kill") >= 1);
        let groups = group.counted("memory.events", "oom_group_kill");
        assert_eq!(groups >= 1, !survives, "{groups}");
        if survives {
            assert_eq!(bundle.state("one")["status"], "running");
        } else {
            wait_for_end(first);
            assert_eq!(bundle.state("one")["status"], "stopped");
        }
        bundle.ok(&["delete", "-f", "one"]);
        bundle.nothing_is_left();
    }
}

/// The kernel's program says what may be opened, and how. Nodes anybody may make who has the capability, as with runc.
#[test]
fn devices_are_kept_by_a_program_of_the_kernels() {
    let bundle = Bundle::new();
    bundle.change(|spec| {
        spec["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 200, "access": "r" },
        ]);
        for set in ["bounding", "effective", "permitted"] {
            let set = spec["process"]["capabilities"][set].as_array_mut().unwrap();
            set.push(json!("CAP_MKNOD"));
        }
        spec["root"]["readonly"] = json!(false);
    });
    start(&bundle, &["sleep", "1000"]);
    for (script, allowed) in [
        ("echo >/dev/null", true),
        ("busybox mknod /tun c 10 200", true),
        (": </tun", true),
        (": >>/tun", false),
        ("busybox mknod /mem c 1 1", true),
        (": </mem", false),
    ] {
        // An exec is in the group as well.
        let ran = bundle.run(&["exec", "one", "sh", "-c", script]);
        assert_eq!(ran.code == Some(0), allowed, "{script}: {ran:?}");
        assert!(allowed || ran.err.contains("peration not permitted"), "{script}: {ran:?}");
    }
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}

/// Standing still and ending are one write each, for all that is in there or below it.
#[test]
fn all_of_a_container_stands_still_and_ends_at_once() {
    let bundle = Bundle::new();
    // On version 1 they are told from the rest by their namespace of processes alone.
    let script = "busybox setsid sleep 1001 & busybox setsid sleep 1002 & exec sleep 1000";
    let group = start(&bundle, &["sh", "-c", script]);
    until("all three", || bundle.ok(&["ps", "-f", "json", "one"]).split(',').count() == 3);
    bundle.ok(&["pause", "one"]);
    if is_unified() {
        assert_eq!(group.file("cgroup.freeze"), "1");
        assert_eq!(group.counted("cgroup.events", "frozen"), 1);
    }
    assert_eq!(bundle.state("one")["status"], "paused");
    bundle.ok(&["resume", "one"]);
    if is_unified() {
        assert_eq!(group.counted("cgroup.events", "frozen"), 0);
    }
    bundle.ok(&["pause", "one"]);
    // Who stands still ends as well.
    let first = pid(&bundle);
    bundle.ok(&["delete", "-f", "one"]);
    wait_for_end(first);
    bundle.nothing_is_left();
}

/// Pressure is told where the kernel tells it.
#[test]
fn statistics_tell_of_pressure() {
    let bundle = Bundle::new();
    start(&bundle, &["sleep", "1000"]);
    let events = bundle.ok(&["events", "--stats", "one"]);
    let data: Value = serde_json::from_str::<Value>(&events).unwrap()["data"].take();
    for (part, file) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")] {
        // A kernel that was told to leave pressure off has the files and reads none.
        let name = format!("{file}.pressure");
        let told = bundle.groups().iter().find_map(|g| fs::read_to_string(g.join(&name)).ok());
        let total = |of: &str| data[part]["psi"][of]["total"].as_u64();
        assert_eq!(total("some").is_some(), told.is_some(), "{file}: {data}");
        if let Some(told) = told {
            let line = told.lines().find(|line| line.starts_with("some ")).unwrap();
            let now: u64 = line.split("total=").nth(1).unwrap().parse().unwrap();
            assert!(total("some").unwrap() <= now, "{told}{data}");
        }
    }
    bundle.ok(&["delete", "-f", "one"]);
    bundle.nothing_is_left();
}
