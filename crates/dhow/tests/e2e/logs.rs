//! `logs`: streams, tail, since, follow, rotation.

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
