//! Clients on other machines: TLS, and TCP without it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testkit::{Host, Ran, TlsListener, until};

use super::{Service, docker};

/// A service that lets in who has a certificate, and the files of both sides.
struct Guarded {
    service: Service,
    dir: PathBuf,
    host: Host,
}

impl Guarded {
    fn new() -> Self {
        let host = crate::host();
        let dir = host.scratch().join("tls");
        std::fs::create_dir(&dir).unwrap();
        TlsListener::certificates(&dir).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (authority, cert, key) =
            (path("authority.pem"), path("server.pem"), path("server.key"));
        let words = ["serve", "-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscacert", &authority];
        let files = ["--tlscert", &cert, "--tlskey", &key];
        let service = Service::started(&host, &mut host.command(&[&words[..], &files].concat()));
        Self { service, dir, host }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("tcp://{}", self.service.address())
    }

    /// dhow's own command line, and Docker's.
    fn both(&self, words: &[&str]) -> [Command; 2] {
        [self.host.command(words), docker(&self.host, &self.service, words)]
    }
}

fn ran(command: &mut Command) -> Ran {
    Ran::new(&command.output().unwrap())
}

#[test]
fn who_has_a_certificate_is_let_in_and_others_are_not() {
    let there = Guarded::new();
    let [authority, cert, key] =
        ["authority.pem", "client.pem", "client.key"].map(|n| there.path(n));
    let (url, run) = (there.url(), ["run", "--rm", "-i", "busybox", "cat"]);
    let verify = ["--tlsverify", "--tlscacert", &authority, "-H", &url];
    let known = [&verify[..], &["--tlscert", &cert, "--tlskey", &key]].concat();
    for mut command in there.both(&[&known[..], &run].concat()) {
        let piped = command.env_remove("DOCKER_HOST").stdin(Stdio::piped());
        let mut child = there.host.spawn(piped);
        child.stdin.take().unwrap().write_all(b"there and back").unwrap();
        let ran = Ran::new(&child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "there and back"), "{}", ran.err);
    }
    for mut command in there.both(&[&verify[..], &["ps"]].concat()) {
        let stranger = ran(command.env_remove("DOCKER_HOST"));
        assert_eq!(stranger.code, Some(1), "{}", stranger.out);
    }
    until("it is told", || there.service.said().matches("a client was turned away").count() >= 2);
    // Whom the client's own machine does not trust is not asked.
    let refused = there.host.fails(1, &["--tlsverify", "--tlscacert", &cert, "-H", &url, "ps"]);
    assert!(refused.contains("certificate"), "{refused}");
    let anyone = ["--tls", "--tlscert", &cert, "--tlskey", &key, "-H", &url, "ps", "-q"];
    assert_eq!(there.host.ok(&anyone), "");
}

#[test]
fn the_environment_says_how_tls_is_spoken() {
    let there = Guarded::new();
    for (from, to) in [("authority", "ca"), ("client", "cert")] {
        std::fs::copy(there.path(&format!("{from}.pem")), there.path(&format!("{to}.pem")))
            .unwrap();
    }
    std::fs::copy(there.path("client.key"), there.path("key.pem")).unwrap();
    for mut command in there.both(&["run", "--rm", "busybox", "echo", "hi"]) {
        let command = command.env("DOCKER_HOST", there.url()).env("DOCKER_TLS_VERIFY", "1");
        let hi = ran(command.env("DOCKER_CERT_PATH", &there.dir));
        assert_eq!((hi.code, hi.out.as_str()), (Some(0), "hi"), "{}", hi.err);
    }
}

#[test]
fn who_forgets_tls_is_told_so() {
    let there = Guarded::new();
    let mut stream = TcpStream::connect(there.service.address()).unwrap();
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let want = "\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    assert!(reply.starts_with("HTTP/1.0 400 ") && reply.ends_with(want), "{reply}");
    let url = there.url();
    let refused = there.host.fails(1, &["-H", &url, "ps"]);
    assert!(refused.contains("Client sent an HTTP request to an HTTPS server."), "{refused}");
}

#[test]
fn nobody_is_let_in_by_tcp_unless_it_is_said_in_plain_words() {
    let host = crate::host();
    for more in [&[][..], &["--tls"]] {
        let refused = host.fails(1, &[&["serve", "-H", "tcp://127.0.0.1:0"][..], more].concat());
        assert!(refused.contains("--tlsverify") && refused.contains("--unauthenticated-tcp"));
    }
    let socket = format!("unix://{}", host.run_root().join("dhow.sock").display());
    let words = ["serve", "-H", "tcp://127.0.0.1:0", "-H", &socket, "--unauthenticated-tcp"];
    let service = Service::started(&host, &mut host.command(&words));
    assert!(
        service.said().contains("level=warn msg=\"--unauthenticated-tcp"),
        "{}",
        service.said()
    );
    let url = format!("tcp://{}", service.address());
    for url in [&url, &socket] {
        let hi = host.ok(&["-H", url, "run", "--rm", "busybox", "echo", "hi"]);
        assert_eq!(hi, "hi");
        let mut command = docker(&host, &service, &["run", "--rm", "busybox", "echo", "hi"]);
        let hi = ran(command.env("DOCKER_HOST", url));
        assert_eq!((hi.code, hi.out.as_str()), (Some(0), "hi"), "{}", hi.err);
    }
    drop(service);
    let gone = host.fails(1, &["-H", &url, "ps"]);
    assert!(
        gone.starts_with(&format!("Cannot connect to the Docker daemon at {url}. Is")),
        "{gone}"
    );
}
