//! Names of containers: who is found by which name, from where, and until when.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use testkit::{Host, until};

use crate::host;
use crate::networks::subnet;

/// Where containers ask.
pub(crate) const SERVER: &str = "127.0.0.11:53";
/// Longer than anything here takes; who waits so long has got no answer.
const LONG: Duration = Duration::from_secs(20);

/// A container that stays, on a network.
pub(crate) fn stay(host: &Host, network: &str, name: &str, more: &[&str]) -> String {
    let run = ["run", "-d", "--name", name, "--network", network];
    host.ok(&[&run[..], more, &["busybox", "sleep", "1000"]].concat())
}

/// Something done where a container is.
pub(crate) fn inside<T: Send>(host: &Host, name: &str, work: impl FnOnce() -> T + Send) -> T {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let netns = File::open(format!("/proc/{pid}/ns/net")).unwrap();
    sys::netns::run_in(&netns, work).unwrap()
}

/// One who asks by UDP from where a container is.
pub(crate) fn asker(host: &Host, name: &str) -> UdpSocket {
    let socket = inside(host, name, || UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.connect(SERVER).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

pub(crate) fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

pub(crate) fn ask(socket: &UdpSocket, name: &str, kind: RecordType) -> Message {
    socket.send(&question(name, kind)).unwrap();
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    let message = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(message.metadata.id, 0x4711);
    message
}

/// The same by TCP.
pub(crate) fn ask_by_tcp(host: &Host, from: &str, name: &str, kind: RecordType) -> Message {
    let mut stream = inside(host, from, || TcpStream::connect(SERVER).unwrap());
    stream.set_read_timeout(Some(LONG)).unwrap();
    let question = question(name, kind);
    let length = u16::try_from(question.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The data of an answer in order, or its code if that is not that all is well.
pub(crate) fn told(message: &Message) -> String {
    if message.metadata.response_code != ResponseCode::NoError {
        return format!("{:?}", message.metadata.response_code);
    }
    let mut data: Vec<String> =
        message.answers.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data.join(" ")
}

pub(crate) fn address(host: &Host, name: &str) -> String {
    let shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    host.ok(&["inspect", "-f", shown, name])
}

/// A network of a test's own, without IPv6 so that hosts that have none tell the same.
pub(crate) fn network(host: &Host, name: &str) {
    host.ok(&["network", "create", "--ipv6=false", "--subnet", &subnet(), name]);
}

/// Nobody is called so any more: the question goes on to a server that cannot answer.
fn is_gone(socket: &UdpSocket, name: &str) -> bool {
    told(&ask(socket, name, RecordType::A)) == "ServFail"
}

/// Asks no server at all: the only one that is chosen is where the container asks us, and is left out. The option is
/// the test's own, in place of what the host's file has.
pub(crate) const NOBODY: [&str; 4] = ["--dns", "127.0.0.11", "--dns-option", "ndots:0"];

#[test]
fn containers_of_a_network_find_each_other() {
    let host = host();
    network(&host, "Front");
    stay(&host, "Front", "one", &NOBODY);
    let id = stay(&host, "Front", "two", &["-h", "second"]);
    let two = address(&host, "two");
    let one = asker(&host, "one");
    for name in ["two.", "TWO.", "two.front.", &format!("{}.", &id[..12]), "second."] {
        assert_eq!(told(&ask(&one, name, RecordType::A)), two, "{name}");
        assert_eq!(told(&ask_by_tcp(&host, "one", name, RecordType::A)), two, "{name}");
    }
    let aaaa = ask(&one, "two.", RecordType::AAAA);
    assert_eq!((told(&aaaa), aaaa.answers.len()), (String::new(), 0), "a name without IPv6");
    let back = Name::from(two.parse::<std::net::Ipv4Addr>().unwrap()).to_ascii();
    assert_eq!(told(&ask(&one, &back, RecordType::PTR)), "two.Front.");
    assert!(is_gone(&one, "nobody."));
    host.ok(&["exec", "one", "ping", "-c", "1", "two"]);
    let resolver = host.ok(&["exec", "one", "cat", "/etc/resolv.conf"]);
    assert!(resolver.starts_with("nameserver 127.0.0.11\n"), "{resolver}");
    assert!(resolver.ends_with("options ndots:0"), "{resolver}");
    // Who shares a network asks the same one.
    let shares = ["run", "--rm", "--network", "container:one", "busybox", "ping", "-c1", "two"];
    host.ok(&shares);
}

#[test]
fn a_name_is_there_as_long_as_its_container() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    stay(&host, "n", "two", &[]);
    let one = asker(&host, "one");
    let is_there = |name: &str| told(&ask(&one, name, RecordType::A)) == address(&host, "two");
    assert!(is_there("two."));
    host.ok(&["rename", "two", "new"]);
    let there = told(&ask(&one, "new.", RecordType::A));
    assert_eq!(there, address(&host, "new"));
    assert!(is_gone(&one, "two."));
    host.ok(&["rename", "new", "two"]);
    host.ok(&["stop", "-t", "0", "two"]);
    assert!(is_gone(&one, "two."));
    host.ok(&["start", "two"]);
    assert!(is_there("two."));
    host.ok(&["restart", "-t", "0", "two"]);
    assert!(is_there("two."));
    let shim = host.ok(&["inspect", "-f", "{{.State.Pid}}", "two"]);
    let status = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    host.kill_9(parent.parse().unwrap());
    until("its name goes with its guardian", || is_gone(&one, "two."));
    host.ok(&["start", "two"]);
    assert!(is_there("two."));
    host.ok(&["rm", "-f", "two"]);
    assert!(is_gone(&one, "two."));
    host.ok(&["rm", "-f", "one"]);
    let left = std::fs::read_dir(host.run_root().join("n")).unwrap().count();
    assert_eq!(left, 0, "files of names stay behind");
}

#[test]
fn networks_do_not_know_each_others_names() {
    let host = host();
    for name in ["front", "back"] {
        network(&host, name);
    }
    stay(&host, "front", "one", &NOBODY);
    stay(&host, "back", "two", &NOBODY);
    stay(&host, "bridge", "three", &NOBODY);
    stay(&host, "bridge", "four", &NOBODY);
    let (one, three) = (asker(&host, "one"), asker(&host, "three"));
    for other in ["two.", "two.back.", "three.", "three.bridge."] {
        assert!(is_gone(&one, other), "{other}");
    }
    let back = Name::from(address(&host, "two").parse::<std::net::Ipv4Addr>().unwrap());
    assert_eq!(told(&ask(&one, &back.to_ascii(), RecordType::PTR)), "ServFail");
    assert_eq!(told(&ask(&three, "four.bridge.", RecordType::A)), address(&host, "four"));
    assert!(is_gone(&three, "one."));
}

#[test]
fn the_default_bridge_has_names_unless_somebody_says_no() {
    let host = host();
    stay(
        &host,
        "bridge",
        "one",
        &["--dns", "192.0.2.1", "--dns-search", "corp.example", "--dns-option", "ndots:0"],
    );
    stay(&host, "bridge", "two", &["--dns", "192.0.2.1", "--label", "dhow.dns=off"]);
    let resolver = |name| host.ok(&["exec", name, "cat", "/etc/resolv.conf"]);
    let named = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0";
    assert!(resolver("one").starts_with("nameserver 127.0.0.11\nsearch corp.example\n"));
    assert_eq!(resolver("one"), named);
    assert!(resolver("two").starts_with("nameserver 192.0.2.1"));
    assert_eq!(host.ok(&["inspect", "-f", "{{.HostConfig.Dns}}", "one"]), "[192.0.2.1]");
    let one = asker(&host, "one");
    let gateway = host.ok(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "one"]);
    for name in ["host.docker.internal.", "host.dhow.internal."] {
        assert_eq!(told(&ask(&one, name, RecordType::A)), gateway);
    }
    let hosts = |name| host.ok(&["exec", name, "cat", "/etc/hosts"]);
    let line = format!("{gateway}\thost.docker.internal host.dhow.internal");
    assert!(hosts("two").contains(&line), "{}", hosts("two"));
    assert!(!hosts("one").contains("host.docker.internal"));
    let tcp = inside(&host, "two", || TcpStream::connect(SERVER));
    assert!(tcp.is_err(), "nobody answers");
    let on_host = ["run", "--rm", "--network", "host", "busybox", "cat", "/etc/hosts"];
    assert!(host.ok(&on_host).contains("127.0.0.1\thost.docker.internal host.dhow.internal"));
}

/// It is not answered where it starts, and is from when it comes to a network that has names.
#[test]
fn a_container_without_a_resolver_gets_one_with_its_first_network_that_has_names() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "web", &NOBODY);
    let alone = ["--dns", "192.0.2.1", "--dns-option", "ndots:0", "--dns-search", "."];
    let off = [&["--label", "dhow.dns=off"][..], &alone].concat();
    for name in ["one", "two"] {
        stay(&host, "bridge", name, &off);
    }
    stay(&host, "container:one", "peer", &[]);
    let create = ["create", "--name", "none"];
    host.ok(&[&create[..], &alone, &["busybox", "sleep", "1000"]].concat());
    host.ok(&["network", "disconnect", "bridge", "none"]);
    host.ok(&["start", "none"]);
    let write = "echo nameserver 192.0.2.9 > /etc/resolv.conf";
    host.ok(&["exec", "two", "sh", "-c", write]);
    let resolver = |name| host.ok(&["exec", name, "cat", "/etc/resolv.conf"]);
    let found = |name: &str| {
        let asker = asker(&host, name);
        let by_tcp = ask_by_tcp(&host, name, "web.n.", RecordType::A);
        assert_eq!(told(&ask(&asker, "web.", RecordType::A)), address(&host, "web"), "{name}");
        assert_eq!(told(&by_tcp), address(&host, "web"), "{name}");
    };
    for name in ["one", "two", "none"] {
        assert!(inside(&host, name, || TcpStream::connect(SERVER)).is_err(), "{name}");
        host.ok(&["network", "connect", "n", name]);
        found(name);
    }
    let named = "nameserver 127.0.0.11\noptions ndots:0";
    assert_eq!([resolver("one"), resolver("none"), resolver("peer")], [named; 3]);
    for name in ["one", "peer"] {
        host.ok(&["exec", name, "ping", "-c", "1", "web"]);
    }
    // What somebody has written stays, as in Docker.
    assert_eq!(resolver("two"), "nameserver 192.0.2.9");
    // It is asked on as well when the container leaves, and comes back.
    host.ok(&["network", "disconnect", "n", "one"]);
    let gateway = host.ok(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "one"]);
    let upstairs = ask(&asker(&host, "one"), "host.docker.internal.", RecordType::A);
    assert_eq!(told(&upstairs), gateway);
    host.ok(&["network", "connect", "n", "one"]);
    found("one");
    // From its next start on it is as its networks are then.
    host.ok(&["network", "disconnect", "n", "one"]);
    host.ok(&["restart", "-t", "0", "one"]);
    assert_eq!(resolver("one"), "nameserver 192.0.2.1\noptions ndots:0");
    host.ok(&["restart", "-t", "0", "two"]);
    assert_eq!(resolver("two"), named);
    found("two");
}

#[test]
fn a_gateway_that_is_not_the_host_is_not_called_so() {
    let host = host();
    let inhibit = "com.docker.network.bridge.inhibit_ipv4=true";
    let create = ["network", "create", "--ipv6=false", "--subnet", &subnet(), "-o", inhibit, "n"];
    host.ok(&create);
    stay(&host, "n", "one", &NOBODY);
    let one = asker(&host, "one");
    assert!(is_gone(&one, "host.docker.internal."));
    assert!(is_gone(&one, "host.dhow.internal."));
}

#[test]
fn all_of_one_name_are_told_in_any_order() {
    const MANY: usize = 30;
    let host = host();
    network(&host, "n");
    stay(&host, "n", "asks", &NOBODY);
    let alias = "one-name-of-many-containers";
    for number in 0..MANY {
        stay(&host, "n", &format!("c{number}"), &["-h", alias]);
    }
    let alias = format!("{alias}.");
    let asks = asker(&host, "asks");
    let short = ask(&asks, &alias, RecordType::A);
    assert!(short.metadata.truncation, "that many are too long for a packet");
    assert!(!short.answers.is_empty() && short.answers.len() < MANY);
    let whole = ask_by_tcp(&host, "asks", &alias, RecordType::A);
    let all: BTreeSet<String> = whole.answers.iter().map(|one| one.data.to_string()).collect();
    assert_eq!(all.len(), MANY);
    let firsts = (0..300).map(|_| ask(&asks, &alias, RecordType::A).answers[0].data.to_string());
    let firsts: BTreeSet<String> = firsts.collect();
    assert!(firsts.len() > MANY / 2, "{} come first", firsts.len());
    assert!(firsts.is_subset(&all));
}

#[test]
fn a_container_can_be_a_server_of_its_own() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    let (packets, streams) = inside(&host, "one", || {
        (UdpSocket::bind("0.0.0.0:53").unwrap(), TcpListener::bind("0.0.0.0:53").unwrap())
    });
    let one = asker(&host, "one");
    assert_eq!(told(&ask(&one, "one.", RecordType::A)), address(&host, "one"));
    assert_eq!(told(&ask_by_tcp(&host, "one", "one.", RecordType::A)), address(&host, "one"));
    let client = inside(&host, "one", || UdpSocket::bind("127.0.0.1:0").unwrap());
    client.send_to(b"hello", "127.0.0.1:53").unwrap();
    let (length, _) = packets.recv_from(&mut [0; 16]).unwrap();
    assert_eq!(length, 5);
    let _client = inside(&host, "one", || TcpStream::connect("127.0.0.1:53").unwrap());
    streams.accept().unwrap();
}

#[test]
fn what_a_container_sends_does_not_keep_it_from_being_answered() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    let one = asker(&host, "one");
    let good = question("one.", RecordType::A);
    // Every length of a question, and every byte of it changed.
    for length in 0..good.len() {
        one.send(&good[..length]).unwrap();
        let mut bad = good.clone();
        bad[length] ^= 0xff;
        one.send(&bad).unwrap();
    }
    one.send(&vec![0x11; 60_000]).unwrap();
    // More connections than are taken, which say nothing or half of something.
    let held: Vec<TcpStream> =
        inside(&host, "one", || (0..60).map(|_| TcpStream::connect(SERVER).unwrap()).collect());
    for mut stream in &held {
        stream.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    }
    let fresh = asker(&host, "one");
    assert_eq!(told(&ask(&fresh, "one.", RecordType::A)), address(&host, "one"));
    drop(held);
    let again = ask_by_tcp(&host, "one", "one.", RecordType::A);
    assert_eq!(told(&again), address(&host, "one"));
    host.ok(&["exec", "one", "true"]);
}

/// The address and port of a server that a test runs.
pub(crate) fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 53)
}

/// Its guardian dies before it runs, and who starts it before anything is taken back: what is written down of it is
/// void at once, and goes with its removal.
#[test]
fn what_a_killed_start_leaves_is_nobodys_name() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    let id = host.ok(&["create", "--name", "two", "--network", "n", "busybox", "sleep", "1000"]);
    let one = asker(&host, "one");
    let killed = || {
        let mut start = host.command(&["start", "two"]);
        start.env("DHOW_SHIM_FAILPOINT", "shim.ready=kill");
        let output = start.env("DHOW_FAILPOINT", "start.launched=kill").output().unwrap();
        assert!(!output.status.success());
    };
    let left = || {
        let networks = std::fs::read_dir(host.run_root().join("n")).unwrap();
        networks.filter(|entry| entry.as_ref().unwrap().path().join(&id).exists()).count()
    };
    killed();
    assert_eq!(left(), 1, "it was not written down yet: this is another step");
    assert!(is_gone(&one, "two."));
    host.ok(&["start", "two"]);
    assert_eq!(told(&ask(&one, "two.", RecordType::A)), address(&host, "two"));
    host.ok(&["stop", "-t", "0", "two"]);
    assert_eq!(left(), 0);
    killed();
    assert!(is_gone(&one, "two."));
    host.ok(&["rm", "two"]);
    assert_eq!(left(), 0, "names stay behind");
}
