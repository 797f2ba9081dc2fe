//! Start, stop, kill, pause, OOM, and what is written down.

use model::container::StopTimeout;
use model::{ExitCode, Life, Signal};
use serde_json::json;
use shim::protocol::{Delivery, Escalated, Reach, Refusal, Then, Until};
use shim::{CallError, Liveness};

use crate::fixture::{Container, OUTPUT, read_frames, read_until};

pub(crate) fn every_end_has_its_code() {
    for (line, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 255", 255),
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("sh -c 'kill -15 $$'; exit $?", 143),
    ] {
        let container = Container::sh(line);
        assert_eq!(container.run().1, code, "{line}");
        container.end();
    }
}

pub(crate) fn a_stop_is_asked_for_and_then_enforced() {
    let polite =
        Container::sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done");
    let mut client = polite.attach(OUTPUT, Delivery::Everything);
    polite.start().unwrap();
    read_until(&mut client, "ready\n");
    let (exit, escalated) =
        polite.shim().stop(None, Some(StopTimeout::Forever), Then::Stay).unwrap();
    assert_eq!((exit.code, escalated), (ExitCode(7), Escalated::No));
    assert!(read_frames(client).stdout.ends_with("bye\n"));
    polite.end();

    // The init of a pid namespace does not hear a signal that it has no handler for.
    let deaf = Container::new(&["sleep", "1000"]);
    deaf.start().unwrap();
    let (exit, escalated) = deaf.shim().stop(None, None, Then::Stay).unwrap();
    assert_eq!((exit.code, escalated), (ExitCode(137), Escalated::Killed));
    deaf.end();
    let again = deaf.shim().stop(None, None, Then::Stay).unwrap_err();
    assert!(matches!(again, CallError::Refused(Refusal::NotRunning)));
    deaf.shim().quit().unwrap();
    assert_eq!(shim::probe(&deaf.paths).unwrap(), Liveness::Free, "quit returns after the lock");
}

pub(crate) fn a_kill_returns_when_it_has_worked() {
    let container = Container::new(&["sleep", "1000"]);
    container.start().unwrap();
    container.shim().kill(Signal::HUP, Reach::Process).unwrap();
    assert!(container.shim().state().unwrap().life.is_running(), "its init ignores SIGHUP");
    container.shim().kill(Signal::KILL, Reach::Process).unwrap();
    let exit = shim::read_exit(&container.paths).unwrap().unwrap();
    assert_eq!(exit.code, ExitCode(137));
    assert_eq!(shim::read_state(&container.paths).unwrap(), None);
    container.end();
}

pub(crate) fn a_start_that_fails_says_why_and_leaves_nothing() {
    let mut bad_mount = Container::new(&["true"]);
    let mounts = bad_mount.spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "destination": "/x", "type": "nosuchfs", "source": "x" }));
    for (container, code, message) in [
        (Container::new(&["nosuch"]), 127, r#"exec: "nosuch": executable file not found in $PATH"#),
        (Container::new(&["/bin/not-executable"]), 126, "permission denied"),
        (bad_mount, 128, "nosuchfs"),
    ] {
        let client = container.attach(OUTPUT, Delivery::Everything);
        let Err(CallError::LaunchFailed(failure)) = container.start() else {
            panic!("it started");
        };
        assert_eq!(failure.code, ExitCode(code));
        assert!(failure.message.contains(message), "{}", failure.message);
        assert_eq!(read_frames(client).stdout, "", "its client hears the end");
        assert_eq!(shim::read_state(&container.paths).unwrap(), None);
        container.end();
    }
}

pub(crate) fn a_paused_container_is_frozen_and_can_be_stopped() {
    let container = Container::sh("trap 'exit 9' TERM; while :; do echo tick; sleep 0.01; done");
    let mut client = container.attach(OUTPUT, Delivery::Recent);
    container.start().unwrap();
    read_until(&mut client, "tick\n");
    container.shim().pause().unwrap();
    let life = shim::read_state(&container.paths).unwrap();
    assert!(matches!(life, Some(Life::Paused { .. })), "{life:?}");
    let again = container.shim().pause().unwrap_err();
    assert!(matches!(again, CallError::Refused(Refusal::AlreadyPaused)));
    container.shim().resume().unwrap();
    read_until(&mut client, "tick\n");
    container.shim().pause().unwrap();
    let (exit, _) = container.shim().stop(None, Some(StopTimeout::Forever), Then::Stay).unwrap();
    assert_eq!(exit.code, ExitCode(9));
    drop(client);
    container.end();

    let frozen = Container::new(&["sleep", "1000"]);
    frozen.start().unwrap();
    frozen.shim().pause().unwrap();
    frozen.shim().kill(Signal::KILL, Reach::Process).unwrap();
    frozen.end();
}

pub(crate) fn an_oom_kill_is_seen() {
    let mut greedy = Container::sh("x=a; while :; do x=$x$x; done");
    greedy.spec["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    greedy.start().unwrap();
    let exit = greedy.shim().wait(Until::NextExit).unwrap();
    assert_eq!((exit.code, exit.oom), (ExitCode(137), true));
    greedy.end();
    let modest = Container::new(&["true"]);
    modest.run();
    assert!(!shim::read_exit(&modest.paths).unwrap().unwrap().oom);
    modest.end();
}

pub(crate) fn a_container_can_be_started_again() {
    let container = Container::sh("echo again");
    let mut keeper = container.shim();
    assert_eq!(container.run().0.stdout, "again\n");
    let shim = container.shim_pid();
    assert_eq!(container.run().0.stdout, "again\n");
    assert_eq!(container.shim_pid(), shim, "the shim stayed for its client");
    assert_eq!(keeper.wait(Until::NotRunning).unwrap().code, ExitCode(0));
    drop(keeper);
    container.end();
    assert_eq!(container.run().0.stdout, "again\n");
    container.end();
    assert_eq!(container.logged(), "again\nagain\nagain\n");
}

pub(crate) fn what_is_written_down_tells_its_life() {
    let container = Container::new(&["sleep", "1000"]);
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Free);
    assert_eq!(shim::read_exit(&container.paths).unwrap(), None);
    let pid = container.start().unwrap();
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Held);
    assert_eq!(shim::read_state(&container.paths).unwrap().unwrap().pid(), Some(pid));
    assert_eq!(container.shim().state().unwrap().life.pid(), Some(pid));
    container.end();
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Free);
    assert_eq!(shim::read_state(&container.paths).unwrap(), None);
    let exit = shim::read_exit(&container.paths).unwrap().unwrap();
    assert!(exit.since <= exit.at);
    assert!(!container.paths.dir().exists());
}

pub(crate) fn an_unused_shim_leaves() {
    let container = Container::new(&["true"]);
    drop(container.shim());
    assert_eq!(shim::probe(&container.paths).unwrap(), Liveness::Held);
    container.wait_until_free();
    assert!(!container.paths.dir().exists());
}
