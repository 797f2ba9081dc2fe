//! `system start`: what runs again after a reboot, or after everything was killed.

use testkit::until;

use crate::host;

#[test]
fn what_should_run_is_started_in_its_order() {
    let host = host();
    let run = |name: &str, more: &[&str]| {
        let before = ["run", "-d", "--name", name, "--stop-timeout", "0"];
        host.ok(&[&before[..], more, &["busybox", "sleep", "1000"]].concat());
    };
    run("owner", &["--restart", "unless-stopped", "-p", "0:80"]);
    // Older than what it joins is not possible, so what it joins is started anew.
    run("joins", &["--restart", "always", "--network", "container:owner"]);
    run("stopped", &["--restart", "unless-stopped"]);
    run("stubborn", &["--restart", "always"]);
    run("fails", &["--restart", "on-failure"]);
    run("plain", &[]);
    run("goes", &["--rm"]);
    host.ok(&["create", "--name", "never", "--restart", "always", "busybox", "true"]);
    host.ok(&["stop", "stopped", "stubborn"]);
    // What runs already is left alone.
    assert_eq!(host.ok(&["system", "start"]), "stubborn");
    host.ok(&["stop", "stubborn"]);
    // A shim that is killed late may have started its container anew meanwhile.
    until("nobody is left", || {
        let left = host.processes();
        left.iter().for_each(|pid| host.kill_9(*pid));
        left.is_empty()
    });
    host.until_idle();
    std::fs::remove_dir_all(host.run_root()).unwrap();
    let started = host.ok(&["system", "start"]);
    let started: Vec<&str> = started.lines().collect();
    assert_eq!(started, ["owner", "stubborn", "fails", "joins"]);
    let names = host.ok(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["fails", "stubborn", "joins", "owner"]);
    host.fails(1, &["inspect", "goes"]);
    assert_eq!(host.ok(&["system", "start"]), "");
}

#[test]
fn one_that_cannot_be_started_keeps_no_other_down() {
    let host = host();
    let dir = host.scratch().join("source");
    std::fs::create_dir(&dir).unwrap();
    let mount = format!("type=bind,source={},target=/data", dir.display());
    let run = |name: &str, more: &[&str]| {
        let before = ["run", "-d", "--name", name, "--restart", "always", "--stop-timeout", "0"];
        host.ok(&[&before[..], more, &["busybox", "sleep", "1000"]].concat());
        host.ok(&["stop", name]);
    };
    run("broken", &["--mount", &mount]);
    run("whole", &[]);
    std::fs::remove_dir(&dir).unwrap();
    let ran = host.run(&["system", "start"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "whole"));
    assert!(ran.err.starts_with("broken: ") && ran.err.contains("source"), "{}", ran.err);
}
