//! Processes that are killed at any moment, and many at once.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::host;

/// Kills a process that this test started.
#[expect(clippy::disallowed_methods, reason = "the standard library kills only children")]
fn kill_9(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// Shims of this host's containers.
fn shims(host: &testkit::Host) -> Vec<String> {
    let root = host.root().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if words.iter().any(|word| word == "shim") && words.contains(&root) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_killed_command_line_takes_nothing_with_it() {
    let host = host();
    let mut run = host.spawn(&mut host.command(&[
        "run",
        "--rm",
        "--name",
        "k1",
        "busybox",
        "sh",
        "-c",
        "echo up; sleep 1000",
    ]));
    let mut first = [0; 3];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut first).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "k1"]), "running");
    // Its shim removes it when it ends.
    host.ok(&["kill", "k1"]);
    while !host.ok(&["ps", "-aq"]).is_empty() {}
}

#[test]
fn a_killed_shim_is_noticed_and_cleaned_up() {
    let host = host();
    host.ok(&["run", "-d", "--rm", "--name", "gone", "-p", "0:80", "busybox", "sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "1000"]);
    let shims = shims(&host);
    assert_eq!(shims.len(), 2);
    shims.iter().for_each(|pid| kill_9(pid));
    while host.ok(&["inspect", "-f", "{{.State.Running}}", "stays"]) == "true" {}
    // The next container finds everything in order.
    assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on");
    assert_eq!(host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "stays");
    assert_eq!(host.run(&["start", "stays"]).code, Some(0));
}

#[test]
fn death_at_each_step_of_a_run_leaves_nothing() {
    for step in ["start.saved", "start.launched", "remove.files"] {
        let host = host();
        let status = host
            .command(&["run", "--rm", "-v", "/data", "-p", "0:80", "busybox", "true"])
            .env("DHOW_FAILPOINT", format!("{step}=kill"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{step}");
        assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "on"]), "on", "{step}");
        host.ok(&["system", "check", "--repair"]);
        let left = host.ok(&["ps", "-aq"]);
        assert!(left.is_empty() || step == "start.saved", "{step}: {left}");
    }
}

#[test]
fn twenty_at_once_do_not_disturb_each_other() {
    let host = host();
    std::thread::scope(|scope| {
        for worker in 0..20 {
            let host = &host;
            scope.spawn(move || churn(host, &format!("w{worker:02}")));
        }
    });
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    while !shims(&host).is_empty() {}
}

/// Runs, uses, stops and removes containers.
fn churn(host: &testkit::Host, name: &str) {
    for _ in 0..3 {
        host.ok(&["run", "-d", "--name", name, "-p", "0:80", "busybox", "sleep", "1000"]);
        assert_eq!(host.ok(&["exec", name, "echo", "in"]), "in");
        host.ok(&["stop", "-t", "0", name]);
        host.ok(&["rm", name]);
        assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "x"]), "x");
    }
}
