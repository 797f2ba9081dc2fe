//! Clients on other machines: TLS, TCP without it, and ssh.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testkit::{Host, Ran, TlsListener, until};

use super::{Pair, Service, docker};

/// A service that lets in who has a certificate, and the files of both sides.
pub(super) struct Guarded {
    pub(super) service: Service,
    dir: PathBuf,
    pub(super) host: Host,
}

impl Guarded {
    pub(super) fn new() -> Self {
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

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn url(&self) -> String {
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
    let words = [&words[..], &["--trusted-host", "ui.example"]].concat();
    for (more, says) in [
        (&["--trusted-host", "h"][..], "--trusted-host is for --unauthenticated-tcp"),
        (&["--unauthenticated-tcp", "--trusted-host", "http://h"], "name a host alone"),
    ] {
        let refused = host.fails(1, &[&["serve", "-H", "tcp://127.0.0.1:0"][..], more].concat());
        assert!(refused.contains(says), "{refused}");
    }
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
    // A page in a browser is not everybody: its owner may have its name lead here.
    let said = |fields: &str| {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        let request = format!("GET /_ping HTTP/1.1\n{fields}Connection: close\n\n");
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    let refused = said("Host: evil.example:2375\nAccept-Language: en\n");
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("dhow serve --trusted-host evil.example"), "{refused}");
    for fields in [
        "Host: evil.example:2375\n",
        "Host: 127.0.0.1:2375\nAccept-Language: en\n",
        "Host: ui.example:2375\nOrigin: http://ui.example:9000\n",
    ] {
        assert!(said(fields).ends_with("OK"), "{fields}");
    }
    drop(service);
    let gone = host.fails(1, &["-H", &url, "ps"]);
    assert!(
        gone.starts_with(&format!("Cannot connect to the Docker daemon at {url}. Is")),
        "{gone}"
    );
}

/// A `PATH` where `ssh` goes nowhere: it notes what it was asked, and does it here, where programs of these names
/// are dhow.
fn path_with_ssh(host: &Host, programs: &[&str]) -> String {
    let [ssh, there] = ["ssh", "there"].map(|name| host.scratch().join(name));
    for dir in [&ssh, &there] {
        let _ = std::fs::create_dir(dir);
    }
    let note = format!("echo \"$@\" >> {}", ssh.join("asked").display());
    let words = "while [ \"$1\" != -- ]; do shift; done; shift 2";
    let go = format!("unset DOCKER_HOST; PATH={}:/usr/bin:/bin exec sh -c \"$*\"", there.display());
    testkit::program(&ssh.join("ssh"), format!("#!/bin/sh\n{note}\n{words}\n{go}\n"));
    for program in programs {
        std::os::unix::fs::symlink(crate::DHOW, there.join(program)).unwrap();
    }
    format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ssh.display())
}

#[test]
fn ssh_goes_to_a_service_and_to_an_engine_without_one() {
    let pair = Pair::new();
    let path = path_with_ssh(&pair.host, &["dhow"]);
    let by_socket = format!("ssh://u@there:77{}", pair.service.socket.display());
    for url in ["ssh://there", &by_socket] {
        let mut command = pair.host.command(&["-H", url, "run", "--rm", "-i", "busybox", "cat"]);
        let mut child = pair.host.spawn(command.env("PATH", &path).stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(b"there and back").unwrap();
        let ran = Ran::new(&child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "there and back"), "{}", ran.err);
    }
    let asked = std::fs::read_to_string(pair.host.scratch().join("ssh/asked")).unwrap();
    assert!(asked.contains("-T -l u -p 77 -- there sh -c "), "{asked}");
    let told = pair.service.said();
    assert!(
        told.contains("request=\"POST /v1.51/containers/create\""),
        "the socket was used: {told}"
    );
}

/// A command that lives on looks at one thing after the other.
#[test]
fn an_ssh_that_has_ended_is_no_zombie() {
    let pair = Pair::new();
    let host = &pair.host;
    let path = path_with_ssh(host, &["dhow"]);
    let url = format!("ssh://there{}", pair.service.socket.display());
    for name in ["one", "two"] {
        host.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    }
    let mut command = host.command(&["-H", &url, "stats", "--format", "{{.Name}}", "one", "two"]);
    let mut stats = command.env("PATH", &path).stdout(Stdio::null()).spawn().unwrap();
    let own = stats.id().to_string();
    let children = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let told = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        // Its parent stands behind its name and its state.
        let parent = |stat: &String| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)? == own);
        told.filter(|stat| parent(stat) == Some(true)).count()
    };
    until("both are looked at", || children() >= 2);
    host.ok(&["rm", "-f", "one"]);
    until("the way to the one has gone", || children() == 1);
    stats.kill().unwrap();
    stats.wait().unwrap();
    host.ok(&["rm", "-f", "two"]);
}

#[test]
fn ssh_finds_dockers_client_where_there_is_no_dhow() {
    let pair = Pair::new();
    let path = path_with_ssh(&pair.host, &["docker"]);
    // Docker's own command line goes the same way.
    let mut docker = docker(&pair.host, &pair.service, &["run", "--rm", "busybox", "echo", "hi"]);
    for (name, value) in pair.host.command(&[]).get_envs() {
        docker.env(name, value.unwrap());
    }
    let mut dhow = pair.host.command(&["run", "--rm", "busybox", "echo", "hi"]);
    for command in [&mut docker, &mut dhow] {
        let hi = ran(command.env("PATH", &path).env("DOCKER_HOST", "ssh://there"));
        assert_eq!((hi.code, hi.out.as_str()), (Some(0), "hi"), "{}", hi.err);
    }
    std::fs::remove_file(pair.host.scratch().join("there/docker")).unwrap();
    let mut command = pair.host.command(&["-H", "ssh://there", "ps"]);
    let gone = ran(command.env("PATH", &path));
    assert_eq!(gone.code, Some(1));
    assert!(
        gone.err.contains("ssh ended before a server said anything: does \"ssh there\" work"),
        "{}",
        gone.err
    );
}

#[test]
fn dial_stdio_passes_on_both_ends() {
    let pair = Pair::new();
    let url = pair.service.url();
    let ask = "GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
    for words in [&["system", "dial-stdio"][..], &["-H", &url, "system", "dial-stdio"]] {
        let mut command = pair.host.command(words);
        let mut child = pair.host.spawn(command.stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(ask.as_bytes()).unwrap();
        // The server's end is the end, while the client could say more.
        let reply = Ran::new(&child.wait_with_output().unwrap());
        assert_eq!(reply.code, Some(0), "{}", reply.err);
        assert!(
            reply.out.starts_with("HTTP/1.1 200 OK") && reply.out.ends_with("OK"),
            "{}",
            reply.out
        );
        drop(stdin);
    }
    // The client's end is passed on, and what is said after it arrives.
    pair.host.ok(&["create", "-i", "--name", "cat", "busybox", "cat"]);
    let attach = "POST /containers/cat/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfed";
    let mut command = pair.host.command(&["-H", &url, "system", "dial-stdio"]);
    let mut child = pair.host.spawn(command.stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(attach.as_bytes()).unwrap();
    let mut head = [0; 12];
    child.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    pair.host.ok(&["start", "cat"]);
    let reply = Ran::new(&child.wait_with_output().unwrap());
    assert!(reply.out.ends_with("fed"), "{}", reply.out);
}
