//! The service comes and goes; containers, and commands that need no service, do not notice.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Signal;
use testkit::{Ran, until};

use super::{Pair, Service, docker};

/// A container that counts in its log and does not end by itself.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";

#[test]
fn what_commands_do_is_seen_by_clients_and_the_other_way_round() {
    let pair = Pair::new();
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    // What came before it listened is told as well.
    let mut events = pair.command(&["events", "--since", "1m", "--format", format]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    pair.host.ok(&["create", "--name", "ours", "busybox", "true"]);
    assert_eq!(pair.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]), "ours Created");
    assert!(told.any(|line| line == "create ours"));
    pair.ok(&["rename", "ours", "theirs"]);
    assert_eq!(pair.host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "theirs");
    assert!(told.any(|line| line == "rename theirs"));
    events.kill().unwrap();
    events.wait().unwrap();
}

#[test]
fn a_service_that_is_killed_takes_nothing_with_it() {
    let mut pair = Pair::new();
    pair.ok(&["run", "-d", "--name", "counts", "busybox", "sh", "-c", COUNTS]);
    let started = pair.ok(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", "counts"]);
    // A command's own attachment goes past the service.
    let mut attached = pair.host.command(&["attach", "--no-stdin", "counts"]);
    let mut attached = attached.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(attached.stdout.take().unwrap()).lines().map(Result::unwrap);
    let before: u32 = lines.next().unwrap().parse().unwrap();
    pair.service.signal(Signal::KILL);
    assert_eq!(pair.service.ended(), None);
    assert!(pair.service.socket.exists(), "a killed service cannot tidy up");
    let later = lines.by_ref().take(20).last().unwrap().parse::<u32>().unwrap();
    assert_eq!(later, before + 20, "no line is missing");
    pair.service = Service::start(&pair.host);
    let now = pair.ok(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", "counts"]);
    assert_eq!(now, started);
    pair.ok(&["kill", "counts"]);
    assert_eq!(attached.wait().unwrap().code(), Some(137));
}

#[test]
fn a_service_outlives_its_terminal_and_whoever_reads_its_log() {
    let pair = Pair::new();
    let ping = "GET /_ping HTTP/1.1\nHost: d\nConnection: close\n\n";
    pair.service.signal(Signal::HUP);
    until("it tells", || pair.service.said().contains("SIGHUP changes nothing"));
    assert!(pair.service.say(ping).ends_with("OK"));
    let other = pair.host.scratch().join("other.sock");
    let url = format!("unix://{}", other.display());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = pair.host.command(&["serve", "-D", "-H", &url]);
    let mut child = command.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    until("the service listens", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        UnixStream::connect(&other).is_ok()
    });
    let reader = Some(std::thread::spawn(|| {}));
    let silent = Service { child, socket: other, said: Arc::default(), reader };
    for _ in 0..2 {
        assert!(silent.say(ping).ends_with("OK"));
    }
}

#[test]
fn there_is_one_service_at_a_socket() {
    let pair = Pair::new();
    let second = pair.host.fails(1, &["serve"]);
    let want = format!("something listens at {} already", pair.service.socket.display());
    assert!(second.contains(&want), "{second}");
    // Elsewhere there may be as many as somebody likes.
    let other = pair.host.scratch().join("other.sock");
    let url = format!("unix://{}", other.display());
    let mut third = Service::started(&pair.host, &mut pair.host.command(&["serve", "-H", &url]));
    third.socket = other;
    pair.ok(&["create", "--name", "one", "busybox"]);
    let seen =
        docker(&pair.host, &third, &["ps", "-a", "--format", "{{.Names}}"]).output().unwrap();
    assert_eq!(Ran::new(&seen).out, "one");
}

#[test]
fn a_service_that_is_asked_to_end_finishes_what_is_under_way() {
    let mut pair = Pair::new();
    let script = "trap 'until [ -e /go ]; do sleep 0.02; done; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    pair.ok(&["run", "-d", "--name", "slow", "busybox", "sh", "-c", script]);
    until("it can be stopped", || pair.ok(&["logs", "slow"]) == "up");
    let mut stop = pair.command(&["stop", "-t", "60", "slow"]);
    let stop = stop.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut events = pair.command(&["events"]).stdout(Stdio::null()).spawn().unwrap();
    until("it is being stopped", || {
        let events = pair.host.ok(&["events", "--since", "1h", "--until", "0s"]);
        events.contains("container kill")
    });
    pair.service.signal(Signal::TERM);
    until("nobody listens", || !pair.service.socket.exists());
    assert!(pair.service.child.try_wait().unwrap().is_none(), "a request is under way");
    pair.host.ok(&["exec", "slow", "touch", "/go"]);
    let stopped = Ran::new(&stop.wait_with_output().unwrap());
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(0), "slow"), "{}", stopped.err);
    // Whoever listens to events has no end to be waited for.
    assert_eq!(pair.service.ended(), Some(0));
    events.wait().unwrap();
    pair.service = Service::start(&pair.host);
}
