//! The default bridge, published ports, none, host, another container's.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::host;

/// Asks a port of the host and returns the answer; the server may need a moment to listen.
fn ask(address: &str) -> String {
    loop {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        stream.write_all(b"GET /f HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
            return answer;
        }
    }
}

const SERVE: &str = "echo page > /var/www/f; exec httpd -f -p 80 -h /var/www";

#[test]
fn a_published_port_is_reachable() {
    let host = host();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:0:80",
        "-p",
        "80",
        "busybox",
        "sh",
        "-c",
        SERVE,
    ]);
    let port = host.ok(&[
        "inspect",
        "-f",
        "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
        "web",
    ]);
    assert!(ask(&format!("127.0.0.1:{port}")).ends_with("page\n"));
    // From another container through the gateway, and from the server to itself.
    let gateway =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", "web"]);
    let open = host.ok(&["port", "web", "80"]);
    let open = open
        .lines()
        .find(|line| line.starts_with("0.0.0.0:"))
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    let url = format!("http://{gateway}:{open}/f");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "wget", "-qO-", &url]), "page");
    assert_eq!(host.ok(&["exec", "web", "wget", "-qO-", &url]), "page");
    host.ok(&["rm", "-f", "web"]);
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err());
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let host = host();
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let publish = format!("{port}:80");
    let refused = host.fails(125, &["run", "--name", "p1", "-p", &publish, "busybox", "true"]);
    assert!(refused.contains("address already in use"), "{refused}");
    drop(listener);
    host.ok(&["run", "-d", "--name", "first", "-p", &publish, "busybox", "sleep", "1000"]);
    let refused = host.fails(125, &["run", "--rm", "-p", &publish, "busybox", "true"]);
    assert!(refused.contains("port is already allocated"), "{refused}");
}

#[test]
fn containers_reach_each_other_by_address() {
    let host = host();
    host.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", SERVE]);
    let address =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"]);
    let script = format!("until wget -qO- http://{address}/f; do sleep 0.05; done 2>/dev/null");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "sh", "-c", &script]), "page");
    let hosts = host.ok(&["exec", "web", "grep", &address, "/etc/hosts"]);
    assert!(hosts.starts_with(&address));
}

#[test]
fn none_host_and_anothers_network() {
    let host = host();
    let links = |args: &[&str]| {
        let mut all = vec!["run", "--rm"];
        all.extend(args);
        all.extend(["busybox", "ls", "/sys/class/net"]);
        host.ok(&all)
    };
    assert_eq!(links(&["--network", "none"]), "lo");
    assert!(
        links(&["--network", "host"]).contains("eth0")
            || links(&["--network", "host"]).contains("lo")
    );
    host.ok(&["run", "-d", "--name", "owner", "busybox", "sleep", "1000"]);
    let address =
        host.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "owner"]);
    let shared = host.ok(&[
        "run",
        "--rm",
        "--network",
        "container:owner",
        "busybox",
        "ip",
        "addr",
        "show",
        "eth0",
    ]);
    assert!(shared.contains(&address), "{shared}");
}
