//! Docker's own command line, and plain HTTP, against the service.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use testkit::{Ran, Terminal, until};

use super::Pair;

#[test]
fn docker_runs_containers() {
    let pair = Pair::new();
    assert!(pair.ok(&["version"]).contains("API version:      1.51 (minimum version 1.24)"));
    assert!(pair.ok(&["info"]).contains("Storage Driver: overlay2"));
    assert_eq!(pair.ok(&["run", "--rm", "busybox", "echo", "hi"]), "hi");
    let both = pair.ends(3, &["run", "--rm", "busybox", "sh", "-c", "echo o; echo e >&2; exit 3"]);
    assert_eq!((both.out.as_str(), both.err.as_str()), ("o", "e"));
    let mut cat = pair.command(&["run", "--rm", "-i", "busybox", "cat"]);
    let mut child =
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"fed").unwrap();
    assert_eq!(Ran::new(&child.wait_with_output().unwrap()).out, "fed");
    let told = pair.ends(127, &["run", "--rm", "busybox", "nosuch"]).err;
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    pair.ends(126, &["run", "--rm", "busybox", "/etc"]);
    assert_eq!(pair.ok(&["ps", "-aq"]), "");
}

#[test]
fn docker_has_a_terminal() {
    let pair = Pair::new();
    let mut terminal = Terminal::open();
    let mut command = pair.command(&["run", "--rm", "-it", "busybox", "sh"]);
    command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
    terminal.start(&mut command);
    terminal.expect("/ # ");
    terminal.type_("echo $((6*7)); tty\r");
    terminal.expect("42\r\n/dev/pts/0\r\n");
    terminal.type_("exit 4\r");
    assert_eq!(terminal.end(), 4);
}

#[test]
fn docker_looks_after_what_runs() {
    let pair = Pair::new();
    let script = "echo begun; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    pair.ok(&["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", script]);
    assert_eq!(pair.ok(&["exec", "web", "sh", "-c", "echo in; exit 0"]), "in");
    pair.ends(5, &["exec", "web", "sh", "-c", "exit 5"]);
    assert_eq!(pair.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "web running");
    assert!(pair.ok(&["port", "web"]).starts_with("80/tcp -> 127.0.0.1:"));
    // The shell has it in its own line.
    until("the sleep", || {
        let top = pair.ok(&["top", "web"]);
        let mut rows = top.lines().map(|line| line.split_whitespace().skip(7));
        rows.any(|command| command.eq(["sleep", "0.1"]))
    });
    let figures = ["stats", "--no-stream", "--format", "{{.Name}} {{.MemPerc}}", "web"];
    assert!(pair.ok(&figures).starts_with("web "));
    let file = pair.host.scratch().join("passwd");
    let path = file.to_str().unwrap();
    pair.ok(&["cp", "web:/etc/passwd", path]);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("root:"));
    pair.ok(&["cp", path, "web:/copied"]);
    assert_eq!(pair.ok(&["diff", "web"]).lines().last(), Some("A /copied"));
    assert_eq!(pair.ok(&["commit", "web", "mine:1"]).len(), "sha256:".len() + 64);
    assert_eq!(pair.ok(&["run", "--rm", "mine:1", "head", "-c4", "/copied"]), "root");
    let mut logs = pair.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(logs.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "begun\n");
    pair.ok(&["stop", "web"]);
    assert!(logs.wait().unwrap().success(), "a log that is followed ends with its container");
    pair.ok(&["rm", "web"]);
    let gone = pair.ends(1, &["inspect", "web"]);
    assert_eq!((gone.out.as_str(), gone.err.as_str()), ("[]", "Error: No such object: web"));
}

#[test]
fn docker_has_networks_and_volumes() {
    let pair = Pair::new();
    pair.ok(&["network", "create", "net"]);
    pair.ok(&["volume", "create", "vol"]);
    let mounted = "vol:/data";
    pair.ok(&["run", "--rm", "-v", mounted, "--network", "net", "busybox", "touch", "/data/x"]);
    assert_eq!(pair.ok(&["run", "--rm", "-v", mounted, "busybox", "ls", "/data"]), "x");
    let names = ["network", "ls", "--format", "{{.Name}}", "--filter", "type=custom"];
    assert_eq!(pair.ok(&names), "net");
    pair.ok(&["network", "rm", "net"]);
    pair.ok(&["volume", "rm", "vol"]);
    assert_eq!(pair.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn what_is_not_there_yet_is_refused_in_a_sentence() {
    let pair = Pair::new();
    let context = pair.host.scratch().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM busybox\n").unwrap();
    // More than the socket holds: it has to be read, or the client hears of a broken pipe alone.
    std::fs::write(context.join("big"), vec![0; 8 << 20]).unwrap();
    let mut build = pair.command(&["build", context.to_str().unwrap()]);
    let refused = Ran::new(&build.env("DOCKER_BUILDKIT", "0").output().unwrap());
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("not supported yet: build"), "{}", refused.err);
    let refused = pair.ends(1, &["node", "ls"]).err;
    assert!(refused.contains("This node is not a swarm manager."), "{refused}");
}

#[test]
fn requests_are_found_in_the_log_by_their_ids() {
    let pair = Pair::new();
    let reply = pair
        .service
        .say("GET /_ping HTTP/1.1\nHost: d\nX-Request-Id: mine-7\nConnection: close\n\n");
    for header in ["x-request-id: mine-7\r\n", "content-length: 2\r\n"] {
        assert!(reply.contains(header), "{reply}");
    }
    let line = "id=mine-7 request=\"GET /_ping\" status=200";
    until("it is in the log", || pair.service.said().contains(line));
    let reply =
        pair.service.say("GET /_ping HTTP/1.1\nHost: d\nX-Request-Id: a b\nConnection: close\n\n");
    assert!(!reply.contains("a b"), "{reply}");
}

#[test]
fn a_container_that_binds_the_socket_asks_the_service() {
    let pair = Pair::new();
    let socket = format!("{}:/var/run/docker.sock", pair.service.socket.display());
    let program = format!("{}:/dhow:ro", crate::DHOW);
    let run = ["run", "--rm", "--name", "asker", "-v", &socket, "-v", &program, "busybox"];
    let ask = ["/dhow", "-H", "unix:///var/run/docker.sock", "ps", "--format", "{{.Names}}"];
    assert_eq!(pair.ok(&[&run[..], &ask].concat()), "asker");
}
