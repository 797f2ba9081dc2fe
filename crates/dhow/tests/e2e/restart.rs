//! Restart policies: what is started again, what is not, and how one looks that waits for it.

use testkit::{Host, until};

use crate::host;

fn look(host: &Host, format: &str, name: &str) -> String {
    host.ok(&["inspect", "-f", format, name])
}

fn until_seen(host: &Host, format: &str, name: &str, wanted: &str) {
    until("its state", || look(host, format, name) == wanted);
}

const STATE: &str = "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}";

fn run(host: &Host, name: &str, more: &[&str], script: &str) {
    let words = [&["run", "-d", "--name", name][..], more, &["busybox", "sh", "-c", script]];
    host.ok(&words.concat());
}

#[test]
fn one_that_fails_is_started_again_so_often() {
    let host = host();
    run(&host, "fails", &["--restart", "on-failure:2"], "echo run; exit 3");
    until_seen(&host, STATE, "fails", "exited 2 3");
    run(&host, "works", &["--restart", "on-failure"], "exit 0");
    until_seen(&host, STATE, "works", "exited 0 0");
    assert_eq!(host.ok(&["logs", "fails"]), "run\nrun\nrun");
    let now = crate::events::now();
    let all = ["events", "--until", &now, "--filter", "container=fails"];
    let events = host.ok(&[&all[..], &["--format", "{{.Action}}"]].concat());
    let told: Vec<&str> = events.lines().filter(|line| ["start", "die"].contains(line)).collect();
    assert_eq!(told, ["start", "die"].repeat(3));
    assert_eq!(
        look(&host, "{{json .HostConfig.RestartPolicy}}", "fails"),
        r#"{"Name":"on-failure","MaximumRetryCount":2}"#
    );
    // Somebody who starts it begins anew.
    host.ok(&["start", "fails"]);
    until_seen(&host, STATE, "fails", "exited 2 3");
    assert_eq!(host.ok(&["logs", "fails"]).lines().count(), 6);
}

/// The program that starts it again is stopped before it does anything.
#[test]
fn one_that_waits_looks_as_in_docker_and_can_be_stopped() {
    let host = host();
    let words =
        ["run", "-d", "--name", "waits", "--restart", "always", "busybox", "sh", "-c", "exit 5"];
    let run = host.command(&words).env("DHOW_SHIM_FAILPOINT", "revive.began=stop").output();
    let id = testkit::Ran::new(&run.unwrap()).out;
    let state = "{{.State.Status}} {{.State.Running}} {{.State.Restarting}} {{.State.Pid}} {{.State.ExitCode}} {{.RestartCount}}";
    until_seen(&host, state, "waits", "restarting true true 0 5 1");
    let listed = host.ok(&["ps", "--format", "{{.Status}}|{{.State}}", "-f", "status=restarting"]);
    assert!(
        listed.starts_with("Restarting (5) ") && listed.ends_with(" ago|restarting"),
        "{listed}"
    );
    let waits = format!("Container {id} is restarting, wait until the container is running");
    for command in [&["pause", "waits"][..], &["exec", "waits", "true"]] {
        assert_eq!(host.fails(1, command), format!("Error response from daemon: {waits}"));
    }
    assert_eq!(
        host.fails(1, &["attach", "--no-stdin", "waits"]),
        "You cannot attach to a restarting container, wait until it is running"
    );
    let refused = host.fails(1, &["rm", "waits"]);
    assert!(refused.contains("container is restarting: stop the container before"), "{refused}");
    assert_eq!(host.ok(&["start", "waits"]), "waits");
    assert_eq!(host.ok(&["container", "prune", "-f"]), "Total reclaimed space: 0B");
    assert_eq!(host.ok(&["logs", "-f", "waits"]), "");
    let waiting = host.spawn(&mut host.command(&["wait", "waits"]));
    let stopping = host.spawn(&mut host.command(&["stop", "waits"]));
    // It is killed, and what it would have done is not wanted any more.
    until_killed(&host, &id);
    assert_eq!(testkit::Ran::new(&stopping.wait_with_output().unwrap()).out, "waits");
    assert_eq!(testkit::Ran::new(&waiting.wait_with_output().unwrap()).out, "5");
    assert_eq!(look(&host, "{{.State.Status}} {{.State.ExitCode}}", "waits"), "exited 5");
    host.ok(&["rm", "waits"]);
}

/// What keeps it from its start may pass: a policy does not end by it.
#[test]
fn one_whose_start_could_not_be_tried_is_tried_again() {
    let host = host();
    let witness = host.scratch().join("tried");
    let words =
        ["run", "-d", "--name", "c1", "--restart", "always", "busybox", "sh", "-c", "exit 5"];
    let wish = format!("revive.began=error={}", witness.display());
    let run = host.command(&words).env("DHOW_SHIM_FAILPOINT", wish).output().unwrap();
    assert!(run.status.success());
    for _ in 0..2 {
        until("the witness", || witness.exists());
        std::fs::remove_file(&witness).unwrap();
    }
    host.ok(&["stop", "c1"]);
    assert_eq!(look(&host, STATE, "c1"), "exited 0 5");
}

/// Kills the programs that start a container again until it is stopped.
fn until_killed(host: &Host, id: &str) {
    while look(host, "{{.State.Status}}", id) == "restarting" {
        for pid in host.processes() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains("\0revive\0") {
                host.kill_9(pid);
            }
        }
    }
}

#[test]
fn what_somebody_ends_stays_down_and_what_dies_does_not() {
    let host = host();
    let sleeps = "trap 'exit 7' TERM; trap 'exit 8' HUP; echo up; while :; do sleep 0.1; done";
    let ups = |name: &str, count: usize| {
        until("what it says", || host.ok(&["logs", name]).lines().count() >= count);
    };
    run(&host, "any", &["--restart", "always"], sleeps);
    ups("any", 1);
    host.ok(&["kill", "-s", "HUP", "any"]);
    until_seen(&host, STATE, "any", "exited 0 8");
    // A stop signal with a name leaves the others their own meaning.
    run(&host, "own", &["--restart", "always", "--stop-signal", "TERM"], sleeps);
    ups("own", 1);
    host.ok(&["kill", "-s", "HUP", "own"]);
    ups("own", 2);
    // It is counted when its start is known to have come about.
    until_seen(&host, STATE, "own", "running 1 0");
    host.ok(&["restart", "own"]);
    assert_eq!(look(&host, STATE, "own"), "running 0 0");
    ups("own", 3);
    host.ok(&["stop", "own"]);
    assert_eq!(look(&host, STATE, "own"), "exited 0 7");
    host.ok(&["start", "own"]);
    host.ok(&["rm", "-f", "own"]);
    host.fails(1, &["inspect", "own"]);
}

#[test]
fn one_that_cannot_be_started_again_stays_as_it_ended() {
    let host = host();
    run(&host, "gone", &["--restart", "always", "-p", "0:80"], "rm /bin/sh; exit 4");
    until_seen(&host, STATE, "gone", "exited 1 4");
    let error = look(&host, "{{.State.Error}}", "gone");
    assert!(error.contains("\"sh\": executable file not found in $PATH"), "{error}");
    // The first start is no restart.
    host.fails(127, &["run", "-d", "--name", "never", "--restart", "always", "busybox", "nosuch"]);
    assert_eq!(look(&host, STATE, "never"), "created 0 127");
}

/// Who dies in the middle of a start is tried again, and what it left is in nobody's way.
#[test]
fn a_start_that_is_killed_is_tried_again() {
    let host = host();
    let flag = host.scratch().join("dead");
    let wish = format!("start.published=kill={}", flag.display());
    let script = "sleep 0.1; exit 6";
    let words = [
        "run",
        "-d",
        "--name",
        "tried",
        "-p",
        "0:80",
        "--restart",
        "always",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let run = host.command(&words).env("DHOW_SHIM_FAILPOINT", wish).output().unwrap();
    assert!(run.status.success());
    until("the flag", || flag.exists());
    // Each try dies; it is removed at that very moment.
    host.ok(&["rm", "-f", "tried"]);
    host.ok(&["run", "--rm", "--name", "tried", "-p", "0:80", "busybox", "true"]);
}

#[test]
fn a_container_goes_or_is_started_again() {
    let host = host();
    let refused = host.fails(125, &["run", "--rm", "--restart", "always", "busybox", "true"]);
    assert!(
        refused.contains("conflicting options: cannot specify both --restart and --rm"),
        "{refused}"
    );
}
