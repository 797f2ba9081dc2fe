//! Published ranges: ten thousand ports as one thing, from outside and to whoever asks about them.

use std::net::TcpListener;

use serde_json::Value;
use testkit::{Host, until};

use crate::firewall::{Outside, nft, serve, with_neighbour};

const RANGE: &str = "20000-29999:20000-29999";

/// What answers inside, at each of these ports.
fn listen(host: &Host, name: &str, ports: &[u16]) {
    for port in ports {
        host.ok(&["exec", name, "httpd", "-p", &port.to_string(), "-h", "/var/www"]);
    }
}

fn reaches(outside: &Outside, ports: &[u16]) {
    for port in ports {
        outside.sees(*port);
    }
}

fn ports(host: &Host) -> String {
    host.ok(&["ps", "-a", "--format", "{{.Ports}}"])
}

fn inspected(host: &Host, name: &str) -> Value {
    let ports = host.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", name]);
    serde_json::from_str(&ports).unwrap()
}

#[test]
fn ten_thousand_ports_are_one_range_and_each_of_them_is_told() {
    with_neighbour(|host, outside| {
        serve(host, "web", &["-p", RANGE]);
        listen(host, "web", &[19999, 20000, 25000, 29999, 30000]);
        reaches(outside, &[20000, 25000, 29999]);
        for port in [19999, 30000] {
            outside.misses(port);
        }
        let both = "0.0.0.0:20000-29999->20000-29999/tcp, [::]:20000-29999->20000-29999/tcp";
        assert_eq!(ports(host), both);
        let told = inspected(host, "web");
        assert_eq!(told.as_object().unwrap().len(), 10_000);
        assert_eq!(told["25000/tcp"][0]["HostPort"], "25000");
        assert_eq!(host.ok(&["port", "web", "29999"]), "0.0.0.0:29999\n[::]:29999");
        let audit = host.ok(&["port", "audit"]);
        assert!(audit.contains("0.0.0.0:20000-29999/tcp"), "{audit}");
        assert_eq!(audit.lines().count(), 3, "{audit}");
        let shims = host.shims();
        let open = std::fs::read_dir(format!("/proc/{}/fd", shims[0])).unwrap().count();
        assert!(open < 60, "{open} descriptors");
        host.ok(&["restart", "-t", "0", "web"]);
        listen(host, "web", &[25000]);
        reaches(outside, &[25000]);
        host.ok(&["rm", "-f", "web"]);
        outside.misses(25000);
        assert!(host.ok(&["port", "audit"]).contains("none"));
    });
}

#[test]
fn a_range_leads_to_other_ports_one_by_one() {
    with_neighbour(|host, outside| {
        serve(host, "web", &["-p", "20000-20099:80-179"]);
        listen(host, "web", &[120, 179, 180]);
        reaches(outside, &[20000, 20040, 20099]);
        for port in [19999, 20100] {
            outside.misses(port);
        }
        // Whoever flushes everything: the next start builds the tables with it.
        nft("flush ruleset");
        outside.misses(20099);
        host.ok(&["run", "--rm", "busybox", "true"]);
        reaches(outside, &[20099]);
        assert!(host.ok(&["network", "firewall"]).contains("Tables:      ip "));
        assert!(!host.ok(&["network", "firewall"]).contains("not whole"));
    });
}

#[test]
fn who_has_a_port_of_a_range_is_named() {
    with_neighbour(|host, outside| {
        serve(host, "web", &["-p", RANGE]);
        let refused =
            |publish: &str| host.fails(125, &["run", "--rm", "-p", publish, "busybox", "true"]);
        let by_web =
            |at: &str| format!("Bind for {at} failed: port is already allocated by container web");
        for (publish, at) in [
            ("29990-30990:1-1001", "0.0.0.0:29990"),
            ("25000:80", "0.0.0.0:25000"),
            ("127.0.0.1:15000-20000:5000-10000", "127.0.0.1:20000"),
        ] {
            let said = refused(publish);
            assert!(said.contains(&by_web(at)), "{said}");
        }
        host.ok(&["run", "--rm", "-p", "20000-29999:20000-29999/udp", "busybox", "true"]);
        host.ok(&["run", "--rm", "-p", "25000-30000:80", "busybox", "true"]);
        // A program of the host's, which does not even let go of the port when it is asked.
        let program = TcpListener::bind("127.0.0.1:30050").unwrap();
        let said = refused("30000-30099:1-100");
        let why = "failed to bind host port 0.0.0.0:30050/tcp: address already in use";
        assert!(said.contains(why), "{said}");
        drop(program);
        host.ok(&["run", "--rm", "-p", "30000-30099:1-100", "busybox", "true"]);
        // Whose guardian was killed has nothing any more, though nobody has written that down.
        host.ok(&["update", "--restart", "no", "web"]);
        for shim in host.shims() {
            let pid = rustix::process::Pid::from_raw(shim).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        until("the end of the guardian", || host.shims().is_empty());
        serve(host, "next", &["-p", RANGE]);
        listen(host, "next", &[25000]);
        reaches(outside, &[25000]);
    });
}

#[test]
fn ranges_come_and_go_while_a_container_runs() {
    with_neighbour(|host, outside| {
        serve(host, "web", &["-p", RANGE]);
        listen(host, "web", &[24999, 25000, 25001, 31000]);
        reaches(outside, &[25000]);
        host.ok(&["update", "--publish-rm", "25000", "web"]);
        outside.misses(25000);
        reaches(outside, &[24999, 25001]);
        let shown = ports(host);
        assert!(shown.starts_with("0.0.0.0:20000-24999->20000-24999/tcp"), "{shown}");
        assert!(shown.contains("0.0.0.0:25001-29999->25001-29999/tcp"), "{shown}");
        assert_eq!(inspected(host, "web").as_object().unwrap().len(), 10_000, "exposed still");
        // It is anybody's now, and the rest is not.
        host.ok(&["run", "--rm", "-p", "25000:80", "busybox", "true"]);
        host.fails(125, &["run", "--rm", "-p", "25001:80", "busybox", "true"]);
        host.ok(&["update", "-p", "25000:25000", "-p", "30900-31099:30900-31099", "web"]);
        reaches(outside, &[24999, 25000, 25001, 31000]);
        host.fails(125, &["run", "--rm", "-p", "31099:80", "busybox", "true"]);
        for own in ["29999-30099:1-101", "25001:80"] {
            let taken = host.fails(1, &["update", "-p", own, "web"]);
            assert!(taken.contains("port is already allocated"), "{taken}");
        }
        reaches(outside, &[25000]);
        host.ok(&["restart", "-t", "0", "web"]);
        listen(host, "web", &[25000, 31000]);
        reaches(outside, &[25000, 31000]);
    });
}

#[test]
fn a_range_moves_with_the_way_out() {
    with_neighbour(|host, outside| {
        host.ok(&["network", "create", "one"]);
        host.ok(&["network", "create", "two"]);
        serve(host, "web", &["--network", "one", "-p", "20000-20999:80-1079"]);
        reaches(outside, &[20000]);
        host.ok(&["network", "connect", "--gw-priority", "1", "two", "web"]);
        reaches(outside, &[20000]);
        host.ok(&["network", "disconnect", "two", "web"]);
        reaches(outside, &[20000]);
        host.ok(&["network", "disconnect", "one", "web"]);
        outside.misses(20000);
        host.ok(&["network", "connect", "one", "web"]);
        reaches(outside, &[20000]);
        host.ok(&["rm", "-f", "web"]);
        host.ok(&["network", "rm", "one", "two"]);
    });
}
