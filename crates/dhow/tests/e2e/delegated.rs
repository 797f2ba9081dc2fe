//! An ordinary user who has control groups, as systemd delegates them on a host of version 2: limits take
//! effect, and whoever is elsewhere manages what was started with them, and the other way round.
//!
//! On a host that delegates none the same commands say so.

use testkit::{Host, Ran, until};

use crate::DHOW;

const SLEEP: [&str; 3] = ["busybox", "sleep", "1000"];

fn user() -> Host {
    Host::of_user(DHOW)
}

/// A container that sleeps, started where the user has groups.
fn start(host: &Host, name: &str, options: &[&str]) {
    let run = ["run", "-d", "--name", name, "--network", "none"];
    host.ok(&[&run[..], options, &SLEEP].concat());
}

/// A command where the user has none.
fn elsewhere(host: &Host, words: &[&str]) -> Ran {
    Ran::new(&host.elsewhere(words).output().unwrap())
}

/// What the container sees of its own control group.
fn seen(host: &Host, container: &str, file: &str) -> String {
    host.ok(&["exec", container, "cat", &format!("/sys/fs/cgroup/{file}")])
}

fn pids(host: &Host, container: &str) -> String {
    host.ok(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", container])
}

#[test]
fn limits_take_effect_and_can_be_changed() {
    let host = user();
    let limits = ["-m", "64m", "--pids-limit", "20", "--cpu-quota", "30000"];
    let created = [&["create", "--network", "none"][..], &limits, &SLEEP].concat();
    let told = host.run(&created).err.matches("iscarded").count();
    assert_eq!(told, if host.is_delegated() { 0 } else { 3 });
    assert_eq!(elsewhere(&host, &created).err.matches("iscarded").count(), 3);
    if !host.is_delegated() {
        return;
    }
    let bomb = "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done 2>&1 | head -n 1; true";
    let run = ["run", "--rm", "--network", "none", "--pids-limit", "20", "busybox", "sh", "-c"];
    let ran = host.run(&[&run[..], &[bomb]].concat());
    assert!(format!("{}{}", ran.out, ran.err).contains("can't fork"), "{ran:?}");
    start(&host, "box", &limits);
    let own = host.ok(&["exec", "box", "cat", "/proc/self/cgroup"]);
    assert!(own.starts_with("0::/exec-"), "{own}");
    let usage = pids(&host, "box");
    assert!(usage.starts_with("1 ") && usage.ends_with(" / 64MiB"), "{usage}");
    let limit = |file| seen(&host, "box", file);
    assert_eq!((limit("memory.max"), limit("pids.max")), ("67108864".into(), "20".into()));
    assert_eq!(limit("cpu.max"), "30000 100000");
    let more = ["update", "-m", "32m", "--memory-swap", "32m", "--pids-limit", "33"];
    host.ok(&[&more[..], &["--cpu-quota", "20000", "box"]].concat());
    assert_eq!((limit("memory.max"), limit("pids.max")), ("33554432".into(), "33".into()));
    assert_eq!(limit("cpu.max"), "20000 100000");
}

#[test]
fn what_runs_out_of_memory_is_told() {
    let host = user();
    let hog = "x=$(yes 0123456789abcdef | head -c 100000000); echo survived";
    let run = ["run", "--name", "hog", "--network", "none", "-m", "16m", "--memory-swap", "16m"];
    let ran = host.run(&[&run[..], &["busybox", "sh", "-c", hog]].concat());
    let state = host.ok(&["inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", "hog"]);
    if host.is_delegated() {
        assert_eq!((ran.code, state.as_str()), (Some(137), "137 true"), "{ran:?}");
        let ps = host.ok(&["ps", "-a", "--format", "{{.Status}}"]);
        assert!(ps.starts_with("Exited (137) OOM, limit 16MiB"), "{ps}");
    } else {
        assert_eq!((ran.out.as_str(), state.as_str()), ("survived", "0 false"), "{ran:?}");
        assert!(ran.err.contains("Limitation discarded"), "{ran:?}");
    }
}

/// All of them: also one in another session, which has no name in the container's record.
#[test]
fn it_stands_still_and_ends_with_all_that_it_has_started() {
    let host = user();
    let script = "setsid sleep 1000 & exec sleep 1000";
    let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", script];
    host.ok(&run);
    until("what runs", || {
        host.ok(&["top", "box", "-o", "pid,args"]).matches("sleep 1000").count() == 2
    });
    let paused = host.run(&["pause", "box"]);
    if host.is_delegated() {
        assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "box"]), "paused");
        host.ok(&["unpause", "box"]);
    } else {
        assert!(paused.err.contains("none was delegated where it was started"), "{paused:?}");
    }
    host.ok(&["kill", "box"]);
    assert_eq!(host.ok(&["wait", "box"]), "137");
    host.ok(&["rm", "box"]);
}

/// A login session has no groups; what was started with some is managed from there all the same.
#[test]
fn what_has_groups_is_managed_from_where_there_are_none() {
    let host = user();
    start(&host, "box", &["-m", "64m"]);
    assert_eq!(host.has_groups(), host.is_delegated());
    let top = elsewhere(&host, &["top", "box"]);
    assert!(top.out.contains("sleep 1000"), "{top:?}");
    let stats = ["stats", "--no-stream", "--format", "{{.PIDs}}", "box"];
    let counted = if host.is_delegated() { "1" } else { "0" };
    assert_eq!(elsewhere(&host, &stats).out, counted);
    let updated = elsewhere(&host, &["update", "-m", "32m", "--memory-swap", "32m", "box"]);
    assert_eq!(updated.code, Some(0), "{updated:?}");
    assert_eq!(updated.out.contains("discarded"), !host.is_delegated(), "{updated:?}");
    if host.is_delegated() {
        assert_eq!(seen(&host, "box", "memory.max"), "33554432");
        assert_eq!(elsewhere(&host, &["pause", "box"]).code, Some(0));
        assert_eq!(elsewhere(&host, &["unpause", "box"]).code, Some(0));
    }
    assert_eq!(elsewhere(&host, &["exec", "box", "id", "-u"]).out, "0");
    assert_eq!(elsewhere(&host, &["commit", "box", "mine"]).code, Some(0));
    // Its guardian is killed: who finds it takes back what it has left, wherever that is.
    host.shims().into_iter().for_each(|pid| host.kill_9(pid));
    let removed = elsewhere(&host, &["rm", "-f", "box"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let reset = elsewhere(&host, &["system", "reset", "--force"]);
    assert_eq!(reset.code, Some(0), "{reset:?}");
    assert!(!host.has_groups(), "a control group is left");
    host.keep_roots();
}

#[test]
fn what_has_none_is_managed_from_where_there_are_some() {
    let host = user();
    let run = [&["run", "-d", "--name", "box", "--network", "none"][..], &SLEEP].concat();
    let started = elsewhere(&host, &run);
    assert_eq!(started.code, Some(0), "{started:?}");
    let top = host.ok(&["top", "box"]);
    assert!(top.contains("sleep 1000"), "{top}");
    assert!(pids(&host, "box").starts_with("0 "));
    let updated = host.run(&["update", "--pids-limit", "30", "box"]);
    assert_eq!((updated.code, updated.out.contains("discarded")), (Some(0), true), "{updated:?}");
    assert_eq!(host.ok(&["exec", "box", "id", "-u"]), "0");
    let refused = host.fails(1, &["pause", "box"]);
    assert!(refused.contains("none was delegated where it was started"), "{refused}");
    host.ok(&["commit", "box", "mine"]);
    host.ok(&["rm", "-f", "box"]);
    start(&host, "box", &[]);
    assert_eq!(pids(&host, "box").starts_with("1 "), host.is_delegated());
}

#[test]
fn systemd_boots_where_it_has_groups() {
    let host = user();
    let archive = testkit::systemd_archive().expect("make an image of Debian with systemd");
    host.ok(&["load", "-q", "-i", &archive.to_string_lossy()]);
    let run = ["run", "-d", "--name", "box", "--network", "none", "systemd", "/sbin/init"];
    let refused = elsewhere(&host, &run);
    assert!(refused.err.contains("systemd needs a control group for itself"), "{refused:?}");
    elsewhere(&host, &["rm", "-f", "box"]);
    if !host.is_delegated() {
        return;
    }
    host.ok(&run);
    crate::systemd::until_it_runs(&host, "box");
    assert_eq!(host.ok(&["exec", "box", "cat", "/proc/1/cgroup"]), "0::/init.scope");
    host.ok(&["stop", "-t", "60", "box"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "0");
}
