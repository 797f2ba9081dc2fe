//! The network of an ordinary user: pasta, or slirp4netns.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use testkit::{Host, until, until_is};

use crate::DHOW;

/// On some hosts a link of two kinds to `passt`.
pub(crate) const PASTA: &str = "/usr/bin/pasta";
pub(crate) const SERVE: &str = "echo page > /var/www/f; exec httpd -f -p 80 -h /var/www";

/// Asks a port of the host; whoever forwards it listens before the server does.
pub(crate) fn ask(address: &str) -> String {
    until_is("an answer", || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /f HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    })
}

pub(crate) fn port(host: &Host, container: &str, port: &str) -> String {
    let told = host.ok(&["port", container, port]);
    told.rsplit(':').next().unwrap().to_owned()
}

/// The programs that carry the network of a user's containers.
pub(crate) fn carriers(host: &Host) -> Vec<u32> {
    let uid = host.uid().unwrap();
    let is_carrier = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let owner = std::os::unix::fs::MetadataExt::uid;
        let is_users =
            std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| owner(&meta) == uid);
        let line = String::from_utf8_lossy(&line).into_owned();
        is_users
            && ["/usr/bin/pasta", "/usr/bin/slirp4netns"].iter().any(|name| line.starts_with(name))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_carrier).collect()
}

pub(crate) fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

fn serve(host: &Host) -> String {
    let run = ["run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", "busybox", "sh", "-c", SERVE];
    host.ok(&run);
    port(host, "web", "80")
}

#[test]
fn a_published_port_is_reachable_as_long_as_the_container_lives() {
    let host = Host::of_user(DHOW);
    let number = serve(&host);
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
    assert_eq!(carriers(&host).len(), 1);
    // Only there.
    assert!(TcpStream::connect(format!("127.0.0.2:{number}")).is_err());
    let taken =
        host.run(&["run", "--rm", "-p", &format!("127.0.0.1:{number}:80"), "busybox", "true"]);
    assert!(
        taken
            .err
            .contains(&format!("Bind for 127.0.0.1:{number} failed: port is already allocated")),
        "{taken:?}"
    );
    let joined =
        ["run", "--rm", "--network", "container:web", "busybox", "wget", "-qO-", "127.0.0.1/f"];
    assert_eq!(host.ok(&joined), "page");
    let address = "{{.NetworkSettings.Networks.bridge.IPAddress}}";
    assert_eq!(host.ok(&["inspect", "-f", address, "web"]), "10.0.2.100");
    // Which link address it has is the carrier's matter.
    let mac = "{{.NetworkSettings.Networks.bridge.MacAddress}}";
    assert_eq!(host.ok(&["inspect", "-f", mac, "web"]), "");
    host.ok(&["stop", "-t", "0", "web"]);
    until("the end of its network", || carriers(&host).is_empty());
    // Its sockets go a moment after its name.
    until("the port to close", || TcpStream::connect(format!("127.0.0.1:{number}")).is_err());
    host.ok(&["start", "web"]);
    let number = port(&host, "web", "80");
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
}

/// The kernel ends it with the guardian, whatever ends that.
#[test]
fn nothing_carries_packets_for_a_dead_guardian() {
    let host = Host::of_user(DHOW);
    serve(&host);
    let carrier = carriers(&host);
    // Between the two is the keeper.
    let shim = parent(parent(carrier[0])).cast_signed();
    assert_eq!(host.shims(), [shim]);
    host.kill_9(shim);
    until("the end of its network", || carriers(&host).is_empty());
    host.ok(&["start", "web"]);
    // Another than before: the kernel has chosen it.
    let number = port(&host, "web", "80");
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
}

/// Its container lives on: another takes its place.
#[test]
fn a_network_that_ends_before_its_container_is_made_again() {
    let host = Host::of_user(DHOW);
    let number = serve(&host);
    let carrier = carriers(&host)[0];
    host.kill_9(i32::try_from(carrier).unwrap());
    let said = "[dhow: pasta has ended, the network was made again]";
    until("what the log says of it", || {
        let ran = host.run(&["logs", "web"]);
        format!("{}{}", ran.out, ran.err).contains(said)
    });
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
    assert!(!carriers(&host).contains(&carrier));
}

#[test]
fn datagrams_are_forwarded_too() {
    for host in [Host::of_user(DHOW), Host::of_user(DHOW).lacking(PASTA)] {
        forwards_datagrams(&host);
    }
}

#[test]
fn what_is_not_carried_is_refused() {
    let host = Host::of_user(DHOW);
    for (port, why) in [
        ("18132:80/sctp", "the network of an ordinary user publishes no port of sctp"),
        ("[::1]:18132:80", "cannot publish ::1: the network of an ordinary user has IPv4 alone"),
    ] {
        let said = host.fails(125, &["run", "--rm", "-p", port, "busybox", "true"]);
        assert!(said.contains(why), "{said}");
    }
}

fn forwards_datagrams(host: &Host) {
    let run = ["run", "-d", "--name", "box", "-p", "127.0.0.1:0:7/udp", "busybox", "sleep", "1000"];
    host.ok(&run);
    let number = port(host, "box", "7/udp");
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Nobody listens: the container's kernel counts it.
    let refused = "grep ^Udp: /proc/net/snmp";
    until("a datagram", || {
        let _ = sender.send_to(b"x", format!("127.0.0.1:{number}"));
        let told = host.ok(&["exec", "box", "sh", "-c", refused]);
        let numbers = told.lines().nth(1).unwrap();
        numbers.split(' ').nth(2) != Some("0")
    });
}

/// The host's other addresses, but not its loopback, and its name.
#[test]
fn the_host_is_reached_where_others_reach_it() {
    let host = Host::of_user(DHOW);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    let reach = format!("nc -w 1 10.0.2.2 {number} < /dev/null && echo reached");
    let ran = host.run(&["run", "--rm", "busybox", "sh", "-c", &reach]);
    assert!(!ran.out.contains("reached"), "{ran:?}");
    let address = net::user::host_address().expect("this host has an address of its own");
    let add = "--add-host=host.docker.internal:host-gateway";
    let hosts =
        host.ok(&["run", "--rm", add, "busybox", "grep", "host.docker.internal", "/etc/hosts"]);
    assert_eq!(hosts, format!("{address}\thost.docker.internal"));
    let open = std::net::TcpListener::bind((address, 0)).unwrap();
    let number = open.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut client, _) = open.accept().unwrap();
        // A question that is not read would be answered by a reset.
        let _ = client.read(&mut [0; 1024]).unwrap();
        client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n").unwrap();
    });
    let url = format!("http://host.docker.internal:{number}/");
    assert_eq!(host.ok(&["run", "--rm", add, "busybox", "wget", "-qO-", &url]), "hello");
    answering.join().unwrap();
}

#[test]
fn without_pasta_there_is_slirp4netns() {
    let host = Host::of_user(DHOW).lacking(PASTA);
    let number = serve(&host);
    assert!(ask(&format!("127.0.0.1:{number}")).ends_with("page\n"));
    let warned = host.ok(&["info", "-f", "{{.Warnings}}"]);
    assert!(warned.contains("pasta is not installed"), "{warned}");
    host.ok(&["rm", "-f", "web"]);
    until("the end of its network", || carriers(&host).is_empty());
}

#[test]
fn without_either_the_package_is_named() {
    let host = Host::of_user(DHOW).lacking(PASTA).lacking("/usr/bin/slirp4netns");
    let said = host.fails(125, &["run", "--rm", "busybox", "true"]);
    assert!(said.contains("install the package passt"), "{said}");
    host.ok(&["run", "--rm", "--network", "none", "busybox", "true"]);
}
