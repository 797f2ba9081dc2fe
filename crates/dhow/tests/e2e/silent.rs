//! Shims that do not answer: whoever wants their container gone gets it.

use std::io::Read;

use rustix::process::{Pid, Signal, kill_process};
use testkit::Host;

use crate::events::now;
use crate::host;

/// Stops the one shim of this host.
fn silence(host: &Host) {
    let shims = host.shims();
    assert_eq!(shims.len(), 1);
    kill_process(Pid::from_raw(shims[0]).unwrap(), Signal::STOP).unwrap();
}

/// The codes with which the container ended, by its events.
fn deaths(host: &Host, name: &str) -> String {
    let filter = format!("container={name}");
    let until = now();
    let events = ["events", "--until", &until, "-f", &filter, "-f", "event=die"];
    host.ok(&[&events[..], &["--format", "{{.Actor.Attributes.exitCode}}"]].concat())
}

#[test]
fn a_container_is_removed_whose_shim_is_stopped() {
    let host = host();
    let options = ["run", "--name", "c1", "-p", "0:80", "-v", "/data", "busybox"];
    let command = ["sh", "-c", "echo up; sleep 1000"];
    let mut run = host.spawn(&mut host.command(&[&options[..], &command].concat()));
    run.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    silence(&host);
    assert_eq!(host.ok(&["rm", "-f", "-v", "c1"]), "c1");
    assert_eq!(run.wait().unwrap().code(), Some(137));
    assert_eq!(deaths(&host, "c1"), "137");
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    host.until_idle();
}

#[test]
fn a_container_is_killed_whose_shim_is_stopped() {
    let host = host();
    let policy = ["--restart", "always", "--name", "c1", "busybox", "sleep", "1000"];
    host.ok(&[&["run", "-d"][..], &policy].concat());
    host.ok(&["pause", "c1"]);
    silence(&host);
    assert_eq!(host.ok(&["kill", "c1"]), "c1");
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}";
    assert_eq!(host.ok(&["inspect", "-f", state, "c1"]), "exited 137 false");
    assert_eq!(deaths(&host, "c1"), "137");
    host.ok(&["start", "c1"]);
    assert_eq!(host.ok(&["exec", "c1", "echo", "on"]), "on");
}

/// Whoever starts it holds the container's lock meanwhile.
#[test]
fn a_container_is_removed_whose_shim_is_stopped_in_the_middle_of_its_start() {
    let host = host();
    let id = host.ok(&["create", "--name", "c1", "busybox", "sleep", "1000"]);
    let witness = host.scratch().join("stopped");
    let stop = format!("shim.ready=stop={}", witness.display());
    let mut start = host.command(&["start", "c1"]);
    let mut start = host.spawn(start.env("DHOW_SHIM_FAILPOINT", stop));
    while !witness.exists() {}
    assert_eq!(host.ok(&["rm", "-f", "c1"]), "c1");
    assert_eq!(start.wait().unwrap().code(), Some(1));
    assert!(host.fails(1, &["inspect", &id]).contains("No such object"));
    host.until_idle();
}
