//! Names that are no container's: which server is asked, from where, and what happens if it does not answer.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use testkit::{Host, Ran};

use crate::dns::{ask, ask_by_tcp, asker, at, inside, stay, told};
use crate::host;
use crate::networks::subnet;

/// A server of a test: who has asked for what comes out of it, and it ends with this value.
struct Server {
    heard: mpsc::Receiver<(SocketAddr, String)>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What it answers.
#[derive(Clone, Copy)]
enum Manner {
    /// 192.0.2.7 for everything.
    Knows,
    /// That it cannot.
    Fails,
    /// Nothing.
    Silent,
}

fn reply(question: &[u8], manner: Manner) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    message.metadata.message_type = MessageType::Response;
    match manner {
        Manner::Silent => return None,
        Manner::Fails => message.metadata.response_code = ResponseCode::ServFail,
        Manner::Knows => {
            let name = message.queries[0].name().clone();
            let data = RData::A(A::new(192, 0, 2, 7));
            message.add_answer(Record::from_rdata(name, 60, data));
        }
    }
    Some(message.to_vec().unwrap())
}

fn serve_one(socket: &UdpSocket, manner: Manner, tell: &mpsc::Sender<(SocketAddr, String)>) {
    let mut buffer = [0; 4096];
    let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
    let question = Message::from_vec(&buffer[..length]).unwrap();
    let _ = tell.send((from, question.queries[0].name().to_ascii()));
    if let Some(reply) = reply(&buffer[..length], manner) {
        socket.send_to(&reply, from).unwrap();
    }
}

impl Server {
    fn new(socket: UdpSocket, manner: Manner) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let (tell, heard) = mpsc::channel();
        let until = Arc::clone(&ends);
        let serve = move || {
            while !until.load(Ordering::Relaxed) {
                serve_one(&socket, manner, &tell);
            }
        };
        Self { heard, ends, threads: vec![std::thread::spawn(serve)] }
    }

    fn asked_from(&self) -> SocketAddr {
        self.heard.recv_timeout(Duration::from_secs(60)).unwrap().0
    }

    /// That it has been asked for no other name; for this one it may be asked again as long as nobody has heard its
    /// answer.
    #[track_caller]
    fn was_asked_only(&self, name: &str) {
        let others: Vec<_> = self.heard.try_iter().filter(|(_, asked)| asked != name).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn gateway(host: &Host, name: &str) -> String {
    let shown = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
    host.ok(&["inspect", "-f", shown, name])
}

/// The address of a network's bridge.
fn of_bridge(host: &Host, network: &str) -> String {
    host.ok(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network])
}

fn network(host: &Host, name: &str, more: &[&str]) {
    let create = ["network", "create", "--ipv6=false", "--subnet", &subnet()];
    host.ok(&[&create[..], more, &[name]].concat());
}

fn at_bridge(host: &Host, network: &str) -> UdpSocket {
    UdpSocket::bind(at(&of_bridge(host, network))).unwrap()
}

/// A server of the container's choice is asked as the container itself would ask it.
#[test]
fn a_chosen_server_is_asked_from_where_the_container_is() {
    let host = host();
    network(&host, "n", &[]);
    let bridge = of_bridge(&host, "n");
    let server = Server::new(at_bridge(&host, "n"), Manner::Knows);
    stay(&host, "n", "one", &["--dns", &bridge]);
    let one = asker(&host, "one");
    assert_eq!(told(&ask(&one, "example.org.", RecordType::A)), "192.0.2.7");
    let shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    assert_eq!(server.asked_from().ip().to_string(), host.ok(&["inspect", "-f", shown, "one"]));
    // So is one that began to ask us when it came to the network.
    stay(&host, "bridge", "late", &["--label", "dhow.dns=off", "--dns", &bridge]);
    host.ok(&["network", "connect", "n", "late"]);
    let late = asker(&host, "late");
    assert_eq!(told(&ask(&late, "example.org.", RecordType::A)), "192.0.2.7");
    let shown_late = "{{.NetworkSettings.Networks.n.IPAddress}}";
    assert_eq!(
        server.asked_from().ip().to_string(),
        host.ok(&["inspect", "-f", shown_late, "late"])
    );
    // Names of our own are nobody else's affair.
    assert_ne!(told(&ask(&one, "one.", RecordType::A)), "192.0.2.7");
    server.was_asked_only("example.org.");
    drop(server);
    // One that does not listen is known at once.
    assert_eq!(told(&ask(&one, "example.org.", RecordType::A)), "ServFail");
    assert_eq!(told(&ask_by_tcp(&host, "one", "example.org.", RecordType::A)), "ServFail");
}

#[test]
fn a_server_of_the_containers_own_is_asked() {
    let host = host();
    network(&host, "n", &["--internal"]);
    stay(&host, "n", "one", &["--dns", "127.0.0.1"]);
    let socket = inside(&host, "one", || UdpSocket::bind("127.0.0.1:53").unwrap());
    let server = Server::new(socket, Manner::Knows);
    let one = asker(&host, "one");
    assert_eq!(told(&ask(&one, "example.org.", RecordType::A)), "192.0.2.7");
    assert!(server.asked_from().ip().is_loopback());
}

#[test]
fn one_that_cannot_answer_leaves_it_to_the_next() {
    let host = host();
    for name in ["a", "b", "c"] {
        network(&host, name, &[]);
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| of_bridge(&host, name));
    let silent = Server::new(at_bridge(&host, "a"), Manner::Silent);
    let failing = Server::new(at_bridge(&host, "b"), Manner::Fails);
    let knows = Server::new(at_bridge(&host, "c"), Manner::Knows);
    stay(&host, "a", "one", &["--dns", &a, "--dns", &b, "--dns", &c]);
    stay(&host, "a", "two", &["--dns", &b]);
    let one = asker(&host, "one");
    // While nobody answers one question, others are answered.
    one.send(&crate::dns::question("example.org.", RecordType::A)).unwrap();
    silent.asked_from();
    let other = asker(&host, "one");
    let own = told(&ask(&other, "one.", RecordType::A));
    assert!(own.parse::<std::net::Ipv4Addr>().is_ok(), "{own}");
    host.ok(&["exec", "one", "true"]);
    let mut buffer = [0; 512];
    let length = one.recv(&mut buffer).unwrap();
    assert_eq!(told(&Message::from_vec(&buffer[..length]).unwrap()), "192.0.2.7");
    failing.asked_from();
    knows.asked_from();
    // Who has let one question wait is not waited for by the next.
    assert_eq!(told(&ask(&other, "example.net.", RecordType::A)), "192.0.2.7");
    silent.was_asked_only("example.org.");
    let two = asker(&host, "two");
    assert_eq!(told(&ask(&two, "example.org.", RecordType::A)), "ServFail");
}

/// dhow where `/etc/resolv.conf` is another one.
fn with_servers(host: &Host, text: &str, arguments: &[&str]) -> Ran {
    let file = host.scratch().join("resolv.conf");
    std::fs::write(&file, text).unwrap();
    let plain = host.command(arguments);
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    #[expect(clippy::disallowed_methods, reason = "a test runs what it likes")]
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(file);
    command.arg(plain.get_program()).args(plain.get_args()).process_group(0);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ran::new(&command.output().unwrap())
}

#[test]
fn the_hosts_servers_are_asked_from_where_the_host_is() {
    let host = host();
    network(&host, "n", &[]);
    network(&host, "inner", &["--internal"]);
    // Each process of tests has one of its own.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = format!("127.{}.{middle}.{low}", 64 + high % 64);
    let server = Server::new(UdpSocket::bind((address.as_str(), 53)).unwrap(), Manner::Knows);
    let file = format!("nameserver {address}\n");
    for (network, name) in [("n", "one"), ("bridge", "two"), ("inner", "three")] {
        let run = ["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1000"];
        let ran = with_servers(&host, &file, &run);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    for name in ["one", "two"] {
        let asks = asker(&host, name);
        assert_eq!(told(&ask(&asks, "example.org.", RecordType::A)), "192.0.2.7", "{name}");
        assert!(server.asked_from().ip().is_loopback());
        assert!(!gateway(&host, name).is_empty());
    }
    let three = asker(&host, "three");
    assert_eq!(told(&ask(&three, "example.net.", RecordType::A)), "ServFail");
    // Nothing leads out of an internal network.
    server.was_asked_only("example.org.");
    assert!(!told(&ask(&three, "three.", RecordType::A)).is_empty());
    // What the host asks may change while a container runs.
    std::fs::write(host.scratch().join("resolv.conf"), "").unwrap();
    let one = asker(&host, "one");
    assert_eq!(told(&ask(&one, "example.org.", RecordType::A)), "ServFail");
}

/// Whoever is on no network any more asks nobody, and hears nothing of those that it has left.
#[test]
fn a_container_asks_where_it_is_alone() {
    let host = host();
    network(&host, "n", &[]);
    network(&host, "m", &[]);
    stay(&host, "m", "peer", &["--network-alias", "far"]);
    stay(&host, "n", "near", &[]);
    let server = Server::new(UdpSocket::bind("127.77.0.54:53").unwrap(), Manner::Knows);
    let run = ["run", "-d", "--name", "one", "--network", "n", "busybox", "sleep", "1000"];
    let ran = with_servers(&host, "nameserver 127.77.0.54\n", &run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let asks = asker(&host, "one");
    let told_of = |name: &str| told(&ask(&asks, name, RecordType::A));
    assert_eq!(told_of("example.org."), "192.0.2.7");
    assert!(server.asked_from().ip().is_loopback());
    host.ok(&["network", "disconnect", "n", "one"]);
    for name in ["example.net.", "near."] {
        assert_eq!(told_of(name), "ServFail", "{name}");
    }
    host.ok(&["network", "connect", "m", "one"]);
    let address = host.ok(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        "peer",
    ]);
    assert_eq!((told_of("far."), told_of("peer.")), (address.clone(), address));
    host.ok(&["network", "disconnect", "m", "one"]);
    for name in ["example.net.", "far.", "peer."] {
        assert_eq!(told_of(name), "ServFail", "{name}");
    }
    // Nothing leads out of it.
    server.was_asked_only("example.org.");
}

#[test]
fn a_server_that_answers_connections_is_asked_by_one() {
    use std::io::{Read, Write};
    let host = host();
    network(&host, "n", &[]);
    let bridge = of_bridge(&host, "n");
    let listener = std::net::TcpListener::bind(at(&bridge)).unwrap();
    stay(&host, "n", "one", &["--dns", &bridge]);
    let serve = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let reply = reply(&question, Manner::Knows).unwrap();
        let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
        // In pieces, as networks have it.
        for piece in [&length[..1], &length[1..], &reply[..7], &reply[7..]] {
            stream.write_all(piece).unwrap();
        }
    });
    let answer = ask_by_tcp(&host, "one", "example.org.", RecordType::A);
    assert_eq!(told(&answer), "192.0.2.7");
    serve.join().unwrap();
}
