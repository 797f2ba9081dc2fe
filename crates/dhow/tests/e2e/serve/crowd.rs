//! Many clients at once, those that read slowly or not at all, and those that vanish: the service's memory and
//! descriptors stay bounded, and everybody else is served.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::{until, until_is};

use super::{Pair, Service};

/// How many ask at once.
const CLIENTS: usize = 1000;
/// How many send archives of which nothing comes: more than the pool of threads has.
const ARCHIVES: usize = 600;
/// How many do not read what they have asked for, of each kind.
const SLOW: usize = 100;
/// The most memory that a crowd may take, in KiB, of a service that was built for tests. What each of the slow ones
/// has been promised, a log of [`LOG`], is many times that.
const MOST: u64 = 250 << 10;
/// How much the container says, in MiB.
const LOG: u64 = 16;

/// Asks, and reads nothing.
fn ask(service: &Service, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(&service.socket).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: d\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The beginning of an answer.
fn begun(stream: &mut UnixStream) -> String {
    let mut head = [0; 64];
    let count = stream.read(&mut head).unwrap();
    String::from_utf8_lossy(&head[..count]).into_owned()
}

/// How many descriptors and threads the service has.
fn held(service: &Service) -> (usize, usize) {
    let count = |what: &str| {
        let path = format!("/proc/{}/{what}", service.child.id());
        std::fs::read_dir(path).unwrap().count()
    };
    (count("fd"), count("task"))
}

/// What it has open.
fn open(service: &Service) -> Vec<std::path::PathBuf> {
    let dir = std::fs::read_dir(format!("/proc/{}/fd", service.child.id())).unwrap();
    dir.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect()
}

/// The most memory that it has had, in KiB.
fn peak(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Lets this process have as many descriptors as there are clients, and as many for the tests beside it.
fn allow_clients() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.current.map(|soft| soft.max(4 * CLIENTS as u64));
    let current = wanted.map(|wanted| limit.maximum.map_or(wanted, |hard| hard.min(wanted)));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

/// A service whose descriptors are counted when it has answered somebody: some are opened for the first one.
fn counted() -> (Pair, usize) {
    let pair = Pair::new();
    let first = "GET /containers/json HTTP/1.1\nHost: d\nConnection: close\n\n";
    assert!(pair.service.say(first).starts_with("HTTP/1.1 200 "));
    let mut before = held(&pair.service).0;
    // The first one's connection goes a moment later.
    until("nobody is connected", || {
        let last = std::mem::replace(&mut before, held(&pair.service).0);
        last == before
    });
    (pair, before)
}

/// Everybody has gone, and has left nothing.
fn all_is_given_back(pair: &Pair, before: usize) {
    until_is("descriptors are given back", || {
        let now = held(&pair.service).0;
        if now <= before {
            Ok(())
        } else {
            Err(format!("{now} instead of {before}: {:?}", open(&pair.service)))
        }
    });
    let most = peak(&pair.service);
    assert!(most < MOST, "{most} KiB");
    assert!(pair.ok(&["version"]).contains("Server: dhow"));
}

#[test]
fn a_thousand_clients_are_answered_at_once() {
    allow_clients();
    let (pair, before) = counted();
    pair.host.ok(&["create", "--name", "seen", "busybox", "true"]);
    let list = "GET /containers/json?all=1";
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| ask(&pair.service, list)).collect();
    for client in &mut clients {
        assert!(begun(client).starts_with("HTTP/1.1 200 "));
    }
    // They stay, and ask again as it pleases them.
    let last = clients.last_mut().unwrap();
    let mut rest = String::new();
    while !rest.contains("\"/seen\"") {
        rest.push_str(&begun(last));
    }
    assert_eq!(pair.ok(&["ps", "-aq"]).lines().count(), 1);
    drop(clients);
    all_is_given_back(&pair, before);
}

#[test]
fn who_reads_nothing_costs_little_and_keeps_nobody_waiting() {
    let (pair, before) = counted();
    let says = format!("read x; yes 0123456789abcde | head -c {LOG}m; echo end");
    let run = ["run", "-di", "--name", "says", "--log-opt", "max-size=64m", "busybox", "sh", "-c"];
    pair.host.ok(&[&run[..], &[&says]].concat());
    let attach = "POST /containers/says/attach?stream=1&stdout=1";
    let mut attached: Vec<_> = (0..SLOW).map(|_| ask(&pair.service, attach)).collect();
    for stream in &mut attached {
        let head = begun(stream);
        assert!(head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 101 "), "{head}");
    }
    // The container ends although nobody of them reads.
    let mut go = pair.host.command(&["attach", "says"]);
    let mut go =
        go.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    go.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(pair.ok(&["wait", "says"]), "0");
    go.wait().unwrap();
    let logs = "GET /containers/says/logs?stdout=1";
    let mut reading: Vec<_> = (0..SLOW).map(|_| ask(&pair.service, logs)).collect();
    for stream in &mut reading {
        assert!(begun(stream).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(pair.ok(&["logs", "-n", "1", "says"]), "end");
    drop((attached, reading));
    all_is_given_back(&pair, before);
}

#[test]
fn who_vanishes_leaves_nothing_behind() {
    let (pair, before) = counted();
    pair.host.ok(&["run", "-d", "--name", "quiet", "busybox", "sleep", "1000"]);
    let threads = held(&pair.service).1;
    let all = [
        "GET /events",
        "GET /containers/quiet/logs?follow=1&stdout=1",
        "POST /containers/quiet/wait",
        "GET /containers/quiet/stats",
    ];
    let mut waiting: Vec<_> =
        all.iter().flat_map(|one| (0..SLOW / 4).map(|_| ask(&pair.service, one))).collect();
    for stream in &mut waiting {
        assert!(begun(stream).starts_with("HTTP/1.1 200 "));
    }
    assert!(held(&pair.service).1 >= threads + SLOW / 4, "each has a thread");
    drop(waiting);
    // Those of the pool come and go with the work.
    until("their threads end", || held(&pair.service).1 < threads + SLOW / 4);
    all_is_given_back(&pair, before);
}

/// More than there are threads for what is short.
#[test]
fn archives_that_do_not_come_keep_nobody_waiting() {
    allow_clients();
    let (pair, before) = counted();
    let load = "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begin = |_| {
        let mut stream = UnixStream::connect(&pair.service.socket).unwrap();
        stream.write_all(load.as_bytes()).unwrap();
        stream
    };
    let archives: Vec<_> = (0..ARCHIVES).map(begin).collect();
    until("each is waited for", || held(&pair.service).1 >= ARCHIVES);
    assert_eq!(pair.ok(&["ps", "-aq"]), "");
    drop(archives);
    all_is_given_back(&pair, before);
}

#[test]
fn a_body_without_end_is_refused_and_not_kept() {
    let (pair, before) = counted();
    let mut stream = UnixStream::connect(&pair.service.socket).unwrap();
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let piece = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    // A gigabyte, unless the connection is closed before: for a second what comes is read and thrown away.
    let _ = (0..1024).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
    assert!(begun(&mut stream).starts_with("HTTP/1.1 413 "));
    drop(stream);
    all_is_given_back(&pair, before);
}
