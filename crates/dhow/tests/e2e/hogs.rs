//! Containers that take all they can get: the host and their neighbours go on, and the container can be
//! stopped, looked at and removed meanwhile.

use crate::host;

/// A neighbour answers, and the hog can be removed whatever it does.
fn others_go_on(host: &testkit::Host, hog: &str) {
    assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "alive"]), "alive");
    let state = host.ok(&["inspect", "-f", "{{.State.Running}}", hog]);
    assert_eq!(state, "true");
    host.ok(&["rm", "-f", hog]);
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_fork_bomb_stays_in_its_container() {
    let host = host();
    // The first process stays; the one that forks goes when it cannot.
    let bomb = "sh -c 'while :; do sleep 1000 & done' & exec sleep 1000";
    host.ok(&["run", "-d", "--name", "hog", "--pids-limit", "200", "busybox", "sh", "-c", bomb]);
    let is_full = |_| host.run(&["logs", "hog"]).err.contains("can't fork");
    assert!((0..1000).any(is_full), "200 tasks were never reached");
    let processes = host.ok(&["top", "hog"]).lines().count() - 1;
    assert!((190..=200).contains(&processes), "{processes}");
    others_go_on(&host, "hog");
}

#[test]
fn a_memory_hog_is_killed_alone() {
    let host = host();
    host.ok(&["run", "-d", "--name", "neighbour", "busybox", "sleep", "1000"]);
    let grow = [
        "run",
        "--name",
        "hog",
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "sh",
        "-c",
        "x=1234567890; while :; do x=$x$x; done",
    ];
    assert_eq!(host.run(&grow).code, Some(137));
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.OOMKilled}}", "hog"]), "true");
    // Files in memory are memory.
    let fill = [
        "run",
        "--rm",
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "--tmpfs",
        "/t:size=1g",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/t/file",
        "bs=1M",
        "count=512",
    ];
    assert_eq!(host.run(&fill).code, Some(137));
    assert_eq!(host.ok(&["exec", "neighbour", "echo", "alive"]), "alive");
}

#[test]
fn ten_thousand_open_files_are_its_own_business() {
    let host = host();
    // Each of a hundred processes follows a hundred and twenty files.
    let open = "mkdir /f; for n in $(seq 120); do : > /f/$n; done; for s in $(seq 100); do tail -f /f/* & done; \
                while [ $(ls /proc/[0-9]*/fd | grep -c '^[0-9]') -lt 12000 ]; do :; done; echo open; wait";
    host.ok(&["run", "-d", "--name", "hog", "busybox", "sh", "-c", open]);
    let is_open = |_| host.ok(&["logs", "hog"]).contains("open");
    assert!((0..5000).any(is_open), "{}", host.run(&["logs", "hog"]).err);
    others_go_on(&host, "hog");
    // One process alone reaches its own limit, and says so.
    let one = "mkdir /f; for n in $(seq 200); do : > /f/$n; done; tail -n 1 /f/*";
    let flags = ["run", "--rm", "--ulimit", "nofile=100", "busybox", "sh", "-c", one];
    let ran = host.run(&flags);
    assert!(
        ran.code == Some(1) && ran.err.contains("Too many open files"),
        "{:?} {}",
        ran.code,
        ran.err
    );
}

#[test]
fn arguments_and_variables_without_end_are_refused_in_one_line() {
    let host = host();
    host.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let file = host.scratch().join("variables");
    let many: String = (0..100).map(|n| format!("V{n}={}\n", "x".repeat(60_000))).collect();
    std::fs::write(&file, many).unwrap();
    let words = ["exec", "--env-file", file.to_str().unwrap(), "box", "true"];
    // The kernel takes a quarter of the stack's limit; whoever passes that on is told so.
    let ran = host.run(&words);
    assert!(ran.code != Some(0) && ran.err.lines().count() <= 3, "{:?} {}", ran.code, ran.err);
    assert_eq!(host.ok(&["exec", "box", "echo", "alive"]), "alive");
}

/// RT-15: from a container on the host's network no socket of dhow's can be reached.
#[test]
fn a_container_on_the_hosts_network_reaches_nothing_of_dhows() {
    let host = host();
    host.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let list = ["run", "--rm", "--network", "host", "busybox", "cat", "/proc/net/unix"];
    let sockets = host.ok(&list);
    let run = host.run_root().to_string_lossy().into_owned();
    assert!(sockets.lines().count() > 1, "{sockets}");
    let abstracts: Vec<&str> =
        sockets.lines().filter(|line| line.contains(" @") && line.contains("dhow")).collect();
    assert!(abstracts.is_empty(), "{abstracts:?}");
    // Those with a path are in a directory that the container does not have.
    let look = ["run", "--rm", "--network", "host", "busybox", "ls", &run];
    host.fails(1, &look);
}
