//! Events: what each step of a container's life tells, and to whom.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::TryRecvError;
use std::time::{SystemTime, UNIX_EPOCH};

use testkit::{Host, until_is};

use crate::host;

pub(crate) fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// `kind action` of each event so far, in order.
fn told(host: &Host, filter: &str) -> Vec<String> {
    let until = now();
    let format = "{{.Type}} {{.Action}}";
    let all = ["events", "--until", &until, "--format", format, "--filter", filter];
    host.ok(&all).lines().map(str::to_owned).collect()
}

#[test]
fn a_life_is_told_from_its_making_to_its_end() {
    let host = host();
    host.ok(&["run", "--rm", "--name", "life", "-v", "vol1:/v", "busybox", "true"]);
    assert_eq!(
        told(&host, "container=life"),
        [
            "container create",
            "container attach",
            "container start",
            "container die",
            "container destroy"
        ]
    );
    assert_eq!(told(&host, "type=network"), ["network connect", "network disconnect"]);
    let until = now();
    let all = ["events", "--until", &until, "--format", "{{.Type}} {{.Action}}"];
    let all = host.ok(&all);
    assert!(all.contains("network disconnect\nvolume unmount\ncontainer die"), "{all}");
    assert_eq!(told(&host, "volume=vol1"), ["volume create", "volume mount", "volume unmount"]);
    let code = told(&host, "event=die");
    assert_eq!(code, ["container die"]);
}

#[test]
fn what_is_done_to_a_container_is_told_with_what_it_was() {
    let host = host();
    host.ok(&["run", "-d", "--name", "done", "-l", "tier=a", "busybox", "sleep", "1000"]);
    host.ok(&["exec", "done", "true"]);
    host.ok(&["pause", "done"]);
    host.ok(&["unpause", "done"]);
    host.ok(&["stop", "-t", "0", "done"]);
    host.ok(&["rm", "done"]);
    assert_eq!(
        told(&host, "label=tier=a"),
        [
            "container create",
            "container start",
            "container exec_create: true ",
            "container exec_start: true ",
            "container exec_die",
            "container pause",
            "container unpause",
            "container kill",
            "container kill",
            "container die",
            "container stop",
            "container destroy"
        ]
    );
    let until = now();
    let die = "{{.Actor.Attributes.exitCode}} {{.From}} {{.Actor.Attributes.name}}";
    let told = host.ok(&["events", "--until", &until, "--filter", "event=die", "--format", die]);
    assert_eq!(told, "137 busybox done");
}

#[test]
fn a_container_is_told_of_under_its_new_name() {
    let host = host();
    host.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    host.ok(&["rename", "first", "second"]);
    host.ok(&["stop", "-t", "0", "second"]);
    host.ok(&["container", "prune", "-f"]);
    let format = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.oldName}} {{.Actor.Attributes.reclaimed}}";
    let until = now();
    let all = ["events", "--until", &until, "--filter", "type=container", "--format", format];
    let told = host.ok(&all).replace("<no value>", "-");
    let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("kill")).collect();
    assert_eq!(
        told,
        [
            "create first - -",
            "start first - -",
            "rename second /first -",
            "die second - -",
            "stop second - -",
            "destroy second - -",
            "prune - - 0"
        ]
    );
}

#[test]
fn whoever_looks_on_hears_at_once_what_another_process_does() {
    let host = host();
    let mut command = host.command(&["events", "--format", "{{.Action}}", "--filter", "event=die"]);
    let mut looker = host.spawn(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(looker.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || tell.send(lines.next()));
    // Nobody knows when it has begun to look, so things happen until it sees one or ends.
    let first = until_is("an event", || {
        let heard = told.try_recv();
        if matches!(heard, Err(TryRecvError::Empty)) {
            host.ok(&["run", "--rm", "busybox", "true"]);
        }
        heard
    });
    assert_eq!(first.unwrap().unwrap(), "die");
    reading.join().unwrap().unwrap();
    looker.kill().unwrap();
    looker.wait().unwrap();
}

#[test]
fn a_time_or_filter_that_makes_no_sense_is_named() {
    let host = host();
    let error = host.fails(1, &["events", "--since", "20", "--until", "10"]);
    assert!(error.contains("cannot be after `until`"), "{error}");
    let error = host.fails(1, &["events", "--filter", "foo=1", "--until", "1"]);
    assert!(error.contains("invalid filter 'foo'"), "{error}");
}
