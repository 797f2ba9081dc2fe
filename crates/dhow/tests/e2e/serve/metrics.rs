//! Figures in Prometheus' form.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Host, until};

use super::{Service, docker};

const ASK: &str = "GET /metrics HTTP/1.1\nHost: d\nConnection: close\n\n";
/// How many may be there at once.
const READERS: usize = 16;

/// A service that tells figures, and where.
fn measured(host: &Host) -> (Service, String) {
    let words = ["serve", "--metrics-addr", "127.0.0.1:0"];
    let service = Service::started(host, &mut host.command(&words));
    let said = service.said();
    let address = said.split_once("http://").and_then(|(_, rest)| rest.split_once("/metrics"));
    let address = address.unwrap_or_else(|| panic!("{said}")).0.to_owned();
    (service, address)
}

fn say(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn figures_are_told_where_somebody_asked_for_it_and_nothing_else_is() {
    let host = crate::host();
    let (service, address) = measured(&host);
    let address = address.as_str();
    let run = ["run", "-d", "--name", "runs", "busybox", "sleep", "1000"];
    assert!(docker(&host, &service, &run).status().unwrap().success());
    host.ok(&["create", "--name", "idle", "busybox"]);
    // There the connection ends with the reply, whatever was asked for.
    for told in [say(address, &ASK.replace("Connection: close\n", "")), service.say(ASK)] {
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        for line in [
            "engine_daemon_container_states_containers{state=\"running\"} 1\n",
            "engine_daemon_container_states_containers{state=\"stopped\"} 1\n",
            "dhow_http_requests_total{code=\"201\",method=\"POST\"} 1\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
    // What this service has done it has timed; what commands do it hears of.
    let figures = || say(address, ASK);
    let told = figures();
    for line in [
        "engine_daemon_container_actions_seconds_count{action=\"create\"} 1\n",
        "engine_daemon_container_actions_seconds_bucket{action=\"start\",le=\"+Inf\"} 1\n",
        "engine_daemon_container_actions_seconds_count{action=\"delete\"} 0\n",
        "engine_daemon_events_subscribers_total 0\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let created = "dhow_events_total{action=\"create\",type=\"container\"} 2\n";
    until("the command's event", || figures().contains(created));
    assert!(!figures().contains("engine_daemon_events_total 0\n"));
    let mut events = docker(&host, &service, &["events"]).stdout(Stdio::null()).spawn().unwrap();
    until("a subscriber", || figures().contains("engine_daemon_events_subscribers_total 1\n"));
    // What limits the client's time passes this on to it.
    kill_process(Pid::from_child(&events), Signal::TERM).unwrap();
    events.wait().unwrap();
    until("none", || figures().contains("engine_daemon_events_subscribers_total 0\n"));
    // Whoever reaches the address is told nothing else.
    let ask = "GET /containers/json HTTP/1.1\nHost: d\nConnection: close\n\n";
    assert!(say(address, ask).starts_with("HTTP/1.1 404 "));
    host.ok(&["rm", "-f", "runs"]);
}

/// A shim checks, whoever looks on.
#[test]
fn health_checks_are_counted_since_the_service_began() {
    let host = crate::host();
    let run = |name: &str, check: &str| {
        let health = ["--health-cmd", check, "--health-interval", "100ms"];
        let words = [&["run", "-d", "--name", name][..], &health, &["busybox", "sleep", "1000"]];
        host.ok(&words.concat());
    };
    let checked = |name: &str| {
        let count = host.ok(&["inspect", "-f", "{{len .State.Health.Log}}", name]);
        count.parse::<u64>().unwrap()
    };
    run("before", "false");
    until("it was checked", || checked("before") > 3);
    host.ok(&["kill", "before"]);
    host.ok(&["wait", "before"]);
    let (_service, address) = measured(&host);
    let figure = |name: &str| {
        let told = say(&address, ASK);
        let found = told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let found: u64 = found.unwrap_or_else(|| panic!("{name}: {told}"));
        found
    };
    let (all, failed) =
        ("engine_daemon_health_checks_total", "engine_daemon_health_checks_failed_total");
    assert_eq!((figure(all), figure(failed)), (0, 0), "they were none of its time");
    run("good", "true");
    until("checks are counted", || figure(all) > 5);
    assert_eq!(figure(failed), 0);
    run("bad", "false");
    until("failures are counted", || figure(failed) > 1);
    assert!(figure(all) > figure(failed));
    host.ok(&["rm", "-f", "before", "good", "bad"]);
}

#[test]
fn who_asks_for_nothing_takes_nothing_from_others() {
    let host = crate::host();
    let (service, address) = measured(&host);
    let connect = |_| {
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut idle: Vec<_> = (0..=READERS).map(connect).collect();
    let mut ended = || idle.iter_mut().filter_map(|one| one.read(&mut [0]).ok()).count();
    let mut count = 0;
    until("one too many is sent away", || {
        count = ended();
        count > 0
    });
    assert_eq!(count, 1);
    assert!(service.say("GET /_ping HTTP/1.1\nHost: d\nConnection: close\n\n").ends_with("OK"));
    drop(idle);
    until("there is room again", || {
        let mut stream = TcpStream::connect(&address).unwrap();
        let _ = stream.write_all(ASK.replace('\n', "\r\n").as_bytes());
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply.starts_with("HTTP/1.1 200 ")
    });
}
