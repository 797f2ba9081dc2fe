//! `logs`: streams, tail, since, follow, rotation.

use std::io::{BufRead, BufReader};

use crate::host;

#[test]
fn logs_keep_streams_and_order() {
    let host = host();
    host.ok(&["run", "--name", "l1", "busybox", "sh", "-c", "echo one; echo two >&2; echo three"]);
    let ran = host.run(&["logs", "l1"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("one\nthree", "two"));
    host.ok(&["run", "--name", "l2", "busybox", "sh", "-c", "echo one; echo two; echo three"]);
    assert_eq!(host.run(&["logs", "--tail", "1", "l2"]).out, "three");
    assert_eq!(host.run(&["logs", "--tail", "0", "l1"]).out, "");
    let stamped = host.run(&["logs", "-t", "l1"]).out;
    let (time, text) = stamped.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(
        (time.len(), time.ends_with('Z'), text),
        ("2026-11-21T22:22:47.224372180Z".len(), true, "one")
    );
    assert_eq!(host.run(&["logs", "--since", time, "--until", time, "l1"]).out, "one");
}

#[test]
fn a_follower_sees_what_comes_and_ends_with_the_container() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "l1",
        "busybox",
        "sh",
        "-c",
        "echo first; until [ -e /go ]; do sleep 0.05; done; echo last",
    ]);
    let follower = host.spawn(&mut host.command(&["logs", "-f", "l1"]));
    host.ok(&["exec", "l1", "touch", "/go"]);
    let ran = testkit::Ran::new(&follower.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "first\nlast"));
}

#[test]
fn logs_are_rotated() {
    let host = host();
    host.ok(&[
        "run",
        "--name",
        "l1",
        "--log-opt",
        "max-size=100k",
        "--log-opt",
        "max-file=3",
        "busybox",
        "sh",
        "-c",
        "yes 'a line of the log that is fifty bytes long or so.' | head -n 10000; echo end",
    ]);
    let dir = host.root().join("containers").join(host.ok(&["inspect", "-f", "{{.Id}}", "l1"]));
    let logs: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"))
        .collect();
    assert_eq!(logs.len(), 3);
    let total: u64 = logs.iter().map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(total <= 3 * 100_000 + 3 * 4096, "{total}");
    assert_eq!(host.run(&["logs", "--tail", "1", "l1"]).out, "end");
    let all = host.run(&["logs", "l1"]).out;
    assert!(all.lines().count() > 1000 && all.ends_with("end"));
}

#[test]
fn without_a_driver_nothing_is_kept() {
    let host = host();
    host.ok(&["run", "--name", "l1", "--log-driver", "none", "busybox", "echo", "x"]);
    assert!(
        host.fails(1, &["logs", "l1"])
            .contains("configured logging driver does not support reading")
    );
}

#[test]
fn logs_of_several_are_one_in_the_order_of_time() {
    let host = host();
    for (name, label, text) in
        [("l1", "t=a", "one"), ("second", "t=b", "two"), ("l3", "t=a", "three")]
    {
        let script = format!("echo {text} 1; echo {text} 2 >&2");
        host.ok(&["run", "--name", name, "-l", label, "busybox", "sh", "-c", &script]);
    }
    let ran = host.run(&["logs", "second", "l1"]);
    assert_eq!(ran.out, "l1      | one 1\nsecond  | two 1");
    assert_eq!(ran.err, "l1      | one 2\nsecond  | two 2");
    let ran = host.run(&["logs", "--label", "t=a", "--grep", "^(one|three) 1$"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("l1  | one 1\nl3  | three 1", ""));
    let ran =
        host.run(&["logs", "--no-log-prefix", "-n", "1", "--filter", "name=l", "--grep", "2"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "one 2\nthree 2"));
    let ran = host.run(&["logs", "-t", "--grep", "1", "l1"]);
    let (time, text) = ran.out.split_once(' ').unwrap();
    assert_eq!((time.len(), text), (30, "one 1"));
    let ran = host.run(&["logs", "l1", "nope"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "Error response from daemon: No such container: nope")
    );
    host.fails(1, &["logs"]);
    host.ok(&["run", "--name", "quiet", "--log-driver", "none", "busybox", "true"]);
    let ran = host.run(&["logs", "l1", "quiet"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "l1     | one 1"));
    assert!(ran.err.contains("quiet: Error response from daemon: configured logging driver"));
}

#[test]
fn a_name_is_followed_through_restarts_and_new_containers() {
    let host = host();
    let say = |text: &str| {
        host.ok(&["run", "-d", "--name", "l1", "busybox", "sh", "-c", &format!("echo {text}")]);
        host.ok(&["wait", "l1"]);
    };
    say("first");
    let mut follower = host.spawn(&mut host.command(&["logs", "-F", "l1"]));
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "first");
    host.ok(&["start", "l1"]);
    assert_eq!(next(), "first", "of the second start, and once");
    host.ok(&["wait", "l1"]);
    host.ok(&["rm", "l1"]);
    say("second");
    assert_eq!(next(), "second");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn what_comes_while_a_name_is_followed_is_shown_from_its_beginning() {
    let host = host();
    let run = |name: &str, script: &str| {
        host.ok(&["run", "-d", "--name", name, "-l", "seen", "busybox", "sh", "-c", script]);
    };
    run("old", "echo before");
    host.ok(&["wait", "old"]);
    run("ticks", "while :; do echo tick; sleep 0.05; done");
    let words = ["logs", "-F", "-n", "0", "--no-log-prefix", "--label", "seen"];
    let mut follower = host.spawn(&mut host.command(&words));
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    // Whoever shows the first one listens to starts already.
    assert_eq!(lines.next().as_deref(), Some("tick"));
    let mut others = lines.filter(|line| line != "tick");
    run("new", "echo first");
    assert_eq!(others.next().as_deref(), Some("first"));
    // One of which nothing was shown yet.
    host.ok(&["start", "old"]);
    assert_eq!(others.next().as_deref(), Some("before"), "of the second start");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn the_log_of_a_removed_container_is_kept_for_a_while() {
    let host = host();
    for text in ["first", "second"] {
        let script = format!("echo {text}; echo error >&2");
        host.ok(&["run", "--name", "l1", "busybox", "sh", "-c", &script]);
        host.ok(&["rm", "l1"]);
    }
    let ran = host.run(&["logs", "--previous", "l1"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("second", "error"));
    host.ok(&["run", "--rm", "--name", "gone", "busybox", "echo", "x"]);
    let error = host.fails(1, &["logs", "--previous", "gone"]);
    assert!(error.contains("no log of a removed container"), "{error}");
    host.ok(&[
        "run",
        "--name",
        "l2",
        "-l",
        "a=b",
        "--log-driver",
        "local",
        "busybox",
        "echo",
        "local",
    ]);
    host.ok(&["rm", "l2"]);
    assert_eq!(host.ok(&["logs", "--previous", "--tail", "1", "l2"]), "local");
    assert!(host.fails(1, &["logs", "l2"]).contains("No such container: l2"));
    assert!(host.fails(1, &["logs", "--previous", "-f", "l2"]).contains("cannot be followed"));
    let told = host.ok(&["container", "prune", "-f"]);
    assert!(!told.contains("reclaimed space: 0B"), "{told}");
    host.fails(1, &["logs", "--previous", "l2"]);
}
