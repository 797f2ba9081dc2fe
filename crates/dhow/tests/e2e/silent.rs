//! Shims that do not answer: whoever wants their container gone gets it.

use std::io::Read;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Host, until};

use crate::events::now;
use crate::host;

/// Stops the one shim of this host.
fn silence(host: &Host) -> i32 {
    let shims = host.shims();
    assert_eq!(shims.len(), 1);
    kill_process(Pid::from_raw(shims[0]).unwrap(), Signal::STOP).unwrap();
    shims[0]
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
    until("the witness", || witness.exists());
    assert_eq!(host.ok(&["rm", "-f", "c1"]), "c1");
    assert_eq!(start.wait().unwrap().code(), Some(1));
    assert!(host.fails(1, &["inspect", &id]).contains("No such object"));
    host.until_idle();
}

/// It has said that the container is dead, and then says nothing more.
#[test]
fn a_container_is_removed_whose_shim_is_stopped_after_its_end() {
    for (name, more) in [("stays", &[][..]), ("goes", &["--rm"])] {
        let host = host();
        let witness = host.scratch().join("stopped");
        let stop = format!("shim.torn-down=stop={}", witness.display());
        let run = [&["run", "-d", "--name", name][..], more, &["busybox", "sleep", "1000"]];
        let run = host.command(&run.concat()).env("DHOW_SHIM_FAILPOINT", stop).output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(host.ok(&["rm", "-f", name]), name);
        assert!(witness.exists());
        assert_eq!(host.ok(&["ps", "-aq"]), "");
        host.until_idle();
    }
}

#[test]
fn nobody_waits_for_ever_for_a_shim_that_is_stopped() {
    let host = host();
    host.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]);
    let shim = silence(&host);
    let exec = ["exec", "c1", "touch", "/begun"];
    let waiting = [&exec[..], &["attach", "c1"]].map(|words| {
        let mut command = host.command(words);
        host.spawn(command.stderr(std::process::Stdio::piped()))
    });
    for child in waiting {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let what = format!(
            "its shim (process {shim}) is stopped; `kill -CONT {shim}` lets it go on, \
             `dhow kill` and `dhow rm -f` end it, and its container with it"
        );
        assert!(said.contains(&what), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    kill_process(Pid::from_raw(shim).unwrap(), Signal::CONT).unwrap();
    // What nobody waited for any more has not begun.
    assert_eq!(host.ok(&["exec", "c1", "sh", "-c", "test -e /begun || echo none"]), "none");
}

#[test]
fn a_start_that_is_given_up_is_none() {
    let host = host();
    host.ok(&["create", "--name", "c1", "busybox", "sleep", "1000"]);
    let stop = format!("shim.ready=stop={}", host.scratch().join("stopped").display());
    let mut start = host.command(&["start", "c1"]);
    let start = start.env("DHOW_SHIM_FAILPOINT", stop).output().unwrap();
    let said = String::from_utf8(start.stderr).unwrap();
    assert_eq!(start.status.code(), Some(1), "{said}");
    let what = "was stopped and has been ended; start the container again";
    assert!(said.contains(what), "{said}");
    host.until_idle();
    host.ok(&["start", "c1"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "c1"]), "running");
}

/// A shim that runs hooks hears nobody.
#[test]
fn a_shim_at_work_is_waited_for() {
    let host = host();
    let program = host.scratch().join("hook");
    let done = host.scratch().join("done");
    testkit::program(&program, format!("#!/bin/sh\nsleep 3\necho >{}\n", done.display()));
    let hook = format!(
        r#"{{"hookName":"poststop","path":"{}","env":["PATH=/bin:/usr/bin"]}}"#,
        program.display()
    );
    let device = format!(r#"{{"name":"slow","containerEdits":{{"hooks":[{hook}]}}}}"#);
    let spec = format!(r#"{{"cdiVersion":"0.6.0","kind":"dhow.test/work","devices":[{device}]}}"#);
    crate::cdi::specify(&host, "work.json", &spec);
    let device = ["--device", "dhow.test/work=slow", "busybox", "sleep", "1000"];
    host.ok(&[&["run", "-d", "--name", "c1"][..], &device].concat());
    host.ok(&["kill", "c1"]);
    host.ok(&["rm", "-f", "c1"]);
    assert!(done.exists(), "its shim was ended before it was done");
    host.until_idle();
}
