//! `stats`: the figures of the kernel, once and as they change.

use std::io::{BufRead as _, BufReader};

use crate::host;

#[test]
fn one_that_does_not_run_has_a_row_without_figures() {
    let host = host();
    host.ok(&["run", "-d", "--name", "s1", "-m", "64m", "busybox", "sleep", "1000"]);
    host.ok(&["create", "--name", "s2", "busybox", "true"]);
    let format = ["--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}"];
    let of = |more: &[&str]| host.ok(&[&["stats", "--no-stream"][..], &format, more].concat());
    let all = of(&["-a"]);
    let (second, first) = all.split_once('\n').unwrap();
    assert_eq!(second, "s2 0 0B / 0B");
    assert!(first.starts_with("s1 1 ") && first.ends_with("iB / 64MiB"), "{first}");
    assert!(of(&[]).starts_with("s1 1 "), "only what runs");
    assert_eq!(of(&["s2"]), second);
}

#[test]
fn a_stream_shows_who_comes_and_ends_with_who_was_named() {
    let host = host();
    let nosuch = "Error response from daemon: No such container: nosuch";
    assert_eq!(host.fails(1, &["stats", "nosuch"]), nosuch);
    assert_eq!(host.fails(1, &["stats", "--no-stream", "nosuch"]), nosuch);
    host.ok(&["run", "-d", "--name", "s1", "busybox", "sleep", "1000"]);
    let mut named =
        host.spawn(&mut host.command(&["stats", "--format", "{{.Name}} {{.PIDs}}", "s1"]));
    let mut frames = BufReader::new(named.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut all = host.spawn(&mut host.command(&["stats", "--format", "{{.Name}}"]));
    let mut lines = BufReader::new(all.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The first frame has figures already.
    assert_eq!(lines.next().unwrap(), "\x1b[Hs1\x1b[K");
    host.ok(&["run", "-d", "--name", "s2", "busybox", "sleep", "1000"]);
    assert!(lines.any(|line| line.contains("s2")));
    assert_eq!(frames.next().unwrap(), "\x1b[Hs1 1\x1b[K");
    host.ok(&["rm", "-f", "s1"]);
    assert!(lines.any(|line| line == "\x1b[J\x1b[Hs2\x1b[K"), "without s1");
    all.kill().unwrap();
    all.wait().unwrap();
    let rest: Vec<String> = frames.collect();
    let named = testkit::Ran::new(&named.wait_with_output().unwrap());
    assert_eq!(named.code, Some(0), "{}", named.err);
    assert!(rest.iter().any(|line| line.ends_with("\x1b[Hs1 --\x1b[K")), "{rest:?}");
}
