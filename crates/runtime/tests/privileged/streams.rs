//! Pipes and terminals.

use serde_json::json;
use sys::process::Exit;

use crate::bundle::{Bundle, enter, process, read_terminal, spec, start, write_terminal};
use runtime::{HostFacts, Stdio};

fn terminal(line: &str) -> serde_json::Value {
    let mut spec = spec(&["sh", "-c", line]);
    spec["process"]["terminal"] = json!(true);
    spec["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    spec
}

fn run(bundle: &Bundle, spec: serde_json::Value) -> (String, Exit) {
    let spec = serde_json::from_value(spec).unwrap();
    let facts = HostFacts::detect().unwrap();
    let ready = start(bundle.launch(&spec, &facts, Stdio::Pty)).unwrap();
    let running = ready.go().unwrap();
    let text = read_terminal(running.terminal.unwrap());
    (text.replace("\r\n", "\n"), sys::process::wait(&running.pidfd).unwrap())
}

#[test]
fn a_terminal_is_the_containers_own_and_has_its_size() {
    let bundle = Bundle::new();
    let (text, exit) =
        run(&bundle, terminal("tty; stty size; ls -1 /dev/pts; stat -c '%a %t:%T' /dev/console"));
    // Major 136 is 88 in hexadecimal: a pseudo terminal.
    assert_eq!((text.as_str(), exit), ("/dev/pts/0\n33 77\n0\nptmx\n620 88:0\n", Exit::Code(0)));
}

#[test]
fn it_is_the_controlling_terminal_and_carries_input() {
    let bundle = Bundle::new();
    let spec = serde_json::from_value(terminal("read line < /dev/tty; echo got $line")).unwrap();
    let facts = HostFacts::detect().unwrap();
    let ready = start(bundle.launch(&spec, &facts, Stdio::Pty)).unwrap();
    let running = ready.go().unwrap();
    let master = running.terminal.unwrap();
    write_terminal(&master, "words\n");
    assert!(read_terminal(master).contains("got words"));
    assert_eq!(sys::process::wait(&running.pidfd), Ok(Exit::Code(0)));
}

#[test]
fn a_terminal_belongs_to_its_user() {
    let bundle = Bundle::new();
    let mut spec = terminal("stat -c %u /dev/pts/0; echo hello > /dev/stdout");
    spec["process"]["user"] = json!({ "uid": 12, "gid": 12 });
    assert_eq!(run(&bundle, spec), ("12\nhello\n".to_owned(), Exit::Code(0)));
}

#[test]
fn another_user_can_open_its_pipes_again() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]);
    spec["process"]["user"] = json!({ "uid": 12, "gid": 12 });
    let output = bundle.run(&spec).unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn exec_gets_a_terminal_of_the_same_container() {
    let bundle = Bundle::new();
    let container = bundle.sleeper(&spec(&["sleep", "1000"]));
    let mut process = process(&["sh", "-c", "tty; stty size"]);
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({ "height": 20, "width": 30 });
    let process = serde_json::from_value(process).unwrap();
    let running = enter(container.enter(&process, Stdio::Pty)).unwrap();
    let text = read_terminal(running.terminal.unwrap());
    assert_eq!(text, "/dev/pts/0\r\n20 30\r\n");
    sys::process::wait(&running.pidfd).unwrap();
}

#[test]
fn a_faked_terminal_multiplexer_is_not_used() {
    let bundle = Bundle::new();
    let mut spec = spec(&["sleep", "1000"]);
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    let container = bundle.sleeper(&spec);
    let faked = container.exec(&process(&[
        "sh",
        "-c",
        "mkdir -p /dev/pts && rm -f /dev/pts/ptmx && touch /dev/pts/ptmx",
    ]));
    faked.unwrap();
    let mut process = process(&["true"]);
    process["terminal"] = json!(true);
    let process = serde_json::from_value(process).unwrap();
    let error = enter(container.enter(&process, Stdio::Pty)).unwrap_err();
    assert_eq!(error.to_string(), "init: open a terminal: invalid argument");
}
