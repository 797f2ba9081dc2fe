//! A person at a terminal: echo, size, keys, detaching and coming back, and the terminal given
//! back as it was, which [`Terminal::end`] checks each time.

use rustix::process::Signal;
use testkit::{Host, Terminal};

use crate::host;

/// What busybox's shell says when it is ready.
const PROMPT: &str = "/ # ";
const CTRL_C: &str = "\x03";
const DETACH: &str = "\x10\x11";

/// A script that shows whoever is attached that it lives, and tells of each interrupt.
const TELLS_INTERRUPTS: &str =
    "trap 'echo caught' INT; trap 'exit 5' USR1; while :; do echo ready; sleep 0.05; done";

fn state(host: &Host, name: &str) -> String {
    host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name])
}

#[test]
fn a_shell_has_a_terminal_of_this_size() {
    let host = host();
    let mut terminal = host.terminal(&["run", "--rm", "-it", "busybox", "sh"]);
    terminal.expect(PROMPT);
    assert!(terminal.is_raw());
    terminal.type_("echo $TERM; stty size; tty\r");
    terminal.expect("echo $TERM");
    terminal.expect("xterm\r\n40 100\r\n/dev/pts/0\r\n");
    terminal.type_("exit 3\r");
    assert_eq!(terminal.end(), 3);
    // The size is there before the first instruction.
    host.again(&mut terminal, &["run", "--rm", "-it", "busybox", "stty", "size"]);
    terminal.expect("40 100\r\n");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_new_size_is_told() {
    let host = host();
    let script =
        "trap 'stty size' WINCH; trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done";
    let mut terminal =
        host.terminal(&["run", "--rm", "-it", "--name", "s1", "busybox", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.resize(50, 132);
    terminal.expect("50 132\r\n");
    // A window that is dragged: whatever is left out between, the last size counts.
    for step in 0..500 {
        terminal.resize(10 + step % 60, 20 + step % 90);
    }
    terminal.resize(33, 77);
    terminal.expect("33 77\r\n");
    host.ok(&["kill", "-s", "USR1", "s1"]);
    assert_eq!(terminal.end(), 5);
}

#[test]
fn one_can_leave_and_come_back() {
    let host = host();
    let mut terminal = host.terminal(&["run", "-it", "--name", "d1", "busybox", "sh"]);
    terminal.expect(PROMPT);
    terminal.type_("x=kept\r");
    terminal.expect(PROMPT);
    terminal.type_(DETACH);
    assert_eq!(terminal.end(), 0);
    assert_eq!(state(&host, "d1"), "running 0");
    host.again(&mut terminal, &["attach", "d1"]);
    // The shell is asked to draw its prompt again for whoever comes.
    terminal.expect(PROMPT);
    terminal.type_("echo $x$((40+2))\r");
    terminal.expect("kept42\r\n");
    terminal.type_(DETACH);
    terminal.expect("read escape sequence");
    assert_eq!(terminal.end(), 1);
    host.again(&mut terminal, &["attach", "d1"]);
    terminal.type_("exit 9\r");
    assert_eq!(terminal.end(), 9);
    assert_eq!(state(&host, "d1"), "exited 9");
}

#[test]
fn the_keys_to_leave_can_be_chosen() {
    let host = host();
    let mut terminal = host.terminal(&[
        "run",
        "-it",
        "--name",
        "d1",
        "--detach-keys",
        "ctrl-a,b",
        "busybox",
        "sh",
        "-c",
        "stty raw -echo; echo ready; cat",
    ]);
    terminal.expect("ready");
    // The default keys are bytes now, and so is a sequence that breaks off.
    terminal.type_("\x10\x11");
    terminal.expect("\x10\x11");
    terminal.type_("\x01x");
    terminal.expect("\x01x");
    terminal.type_("\x01b");
    assert_eq!(terminal.end(), 0);
    // From the configuration, which a flag overrides.
    let folder = host.scratch().join(".docker");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), r#"{"detachKeys":"ctrl-x"}"#).unwrap();
    for (flags, keys) in [(&[][..], "\x18"), (&["--detach-keys", "ctrl-y"], "\x18\x19")] {
        host.again(&mut terminal, &[&["attach"], flags, &["d1"]].concat());
        terminal.type_("?");
        terminal.expect("?");
        terminal.type_(keys);
        terminal.expect("read escape sequence");
        assert_eq!(terminal.end(), 1);
        host.again(&mut terminal, &[&["exec", "-it"], flags, &["d1", "sh"]].concat());
        terminal.expect(PROMPT);
        terminal.type_(keys);
        terminal.expect("read escape sequence");
        assert_eq!(terminal.end(), 1);
    }
    assert_eq!(state(&host, "d1"), "running 0");
}

#[test]
fn keys_that_are_none_are_refused() {
    let host = host();
    let bad = ["--detach-keys", "ctrl-a,zz"];
    let mut terminal = host.terminal(&[&["run", "-it"], &bad[..], &["busybox", "true"]].concat());
    terminal.expect("Invalid detach keys (ctrl-a,zz) provided");
    assert_eq!(terminal.end(), 1);
    assert_eq!(host.ok(&["ps", "-aq"]), "");
    host.ok(&["run", "-dit", "--name", "b1", "busybox", "sh"]);
    for command in [&["attach"][..], &["exec", "-it"], &["start", "-ai"]] {
        let program: &[&str] = if command[0] == "exec" { &["true"] } else { &[] };
        host.again(&mut terminal, &[command, &bad, &["b1"], program].concat());
        terminal.expect("Invalid detach keys (ctrl-a,zz) provided");
        assert_eq!(terminal.end(), 1);
    }
}

#[test]
fn all_who_are_attached_see_the_same() {
    let host = host();
    let mut first = host.terminal(&["run", "-it", "--name", "m1", "busybox", "sh"]);
    first.expect(PROMPT);
    let mut second = host.terminal(&["attach", "m1"]);
    let mut third = host.terminal(&["attach", "m1"]);
    // A prompt that is drawn again shows that each is there.
    second.expect(PROMPT);
    third.expect(PROMPT);
    second.type_("echo seen-by-$((2+1))\r");
    for terminal in [&mut first, &mut second, &mut third] {
        terminal.expect("seen-by-3\r\n");
    }
    third.type_(DETACH);
    assert_eq!(third.end(), 1);
    first.type_("exit 6\r");
    assert_eq!((first.end(), second.end()), (6, 6));
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let host = host();
    host.ok(&["run", "-d", "--name", "e1", "busybox", "sleep", "1000"]);
    let mut terminal = host.terminal(&["exec", "-it", "e1", "sh"]);
    terminal.expect(PROMPT);
    assert!(terminal.is_raw());
    terminal.type_("echo $TERM; stty size\r");
    terminal.expect("xterm\r\n40 100\r\n");
    // Told by the very process that is to be interrupted: between two commands the shell would
    // swallow the signal.
    terminal.type_("sh -c 'echo go-$((1+1)); exec sleep 1000'\r");
    terminal.expect("go-2\r\n");
    terminal.type_(CTRL_C);
    terminal.expect(PROMPT);
    terminal.type_("exit 4\r");
    assert_eq!(terminal.end(), 4);
    let script = "trap 'stty size; exit 8' WINCH; echo ready; while :; do sleep 0.02; done";
    host.again(&mut terminal, &["exec", "-it", "e1", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.resize(20, 60);
    terminal.expect("20 60\r\n");
    assert_eq!(terminal.end(), 8);
    host.again(&mut terminal, &["exec", "-it", "e1", "stty", "size"]);
    terminal.expect("20 60\r\n");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn ctrl_c_is_for_the_process() {
    let host = host();
    let run = ["run", "--name", "c1", "busybox", "sh", "-c", TELLS_INTERRUPTS];
    // In a terminal of the container's the key is a byte; without one the signal is passed on.
    for flags in [&["-it"][..], &[]] {
        let mut terminal = host.terminal(&[&run[..1], flags, &run[1..]].concat());
        terminal.expect("ready");
        for _ in 0..2 {
            terminal.type_(CTRL_C);
            terminal.expect("caught");
        }
        host.ok(&["kill", "-s", "USR1", "c1"]);
        assert_eq!(terminal.end(), 5);
        host.ok(&["rm", "c1"]);
    }
}

#[test]
fn ctrl_c_can_be_for_us() {
    let host = host();
    let mut terminal = host.terminal(&[
        "run",
        "--sig-proxy=false",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        TELLS_INTERRUPTS,
    ]);
    terminal.expect("ready");
    terminal.type_(CTRL_C);
    assert_eq!(terminal.end(), 130);
    assert!(!terminal.screen().contains("caught"));
    assert_eq!(state(&host, "c1"), "running 0");
    host.again(&mut terminal, &["attach", "--sig-proxy=false", "c1"]);
    terminal.expect("ready");
    terminal.type_(CTRL_C);
    assert_eq!(terminal.end(), 130);
    // The third time is meant for us in any case.
    host.again(&mut terminal, &["attach", "c1"]);
    terminal.expect("ready");
    for _ in 0..2 {
        terminal.type_(CTRL_C);
        terminal.expect("caught");
    }
    terminal.type_(CTRL_C);
    terminal.expect("got 3 SIGTERM/SIGINTs, forcefully exiting");
    assert_eq!(terminal.end(), 1);
    host.again(&mut terminal, &["logs", "-f", "c1"]);
    terminal.expect("caught");
    terminal.type_(CTRL_C);
    assert_eq!(terminal.end(), 130);
    assert_eq!(state(&host, "c1"), "running 0");
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    let host = host();
    let mut terminal = host.terminal(&["run", "-it", "--name", "g1", "busybox", "sh"]);
    terminal.expect(PROMPT);
    host.ok(&["kill", "g1"]);
    assert_eq!(terminal.end(), 137);
    // A start that fails.
    host.again(&mut terminal, &["run", "--rm", "-it", "busybox", "nosuch"]);
    terminal.expect("executable file not found in $PATH");
    assert_eq!(terminal.end(), 127);
    // Who runs a container passes signals on.
    let run = ["run", "--rm", "-it", "busybox", "sh", "-c", TELLS_INTERRUPTS];
    host.again(&mut terminal, &run);
    terminal.expect("ready");
    terminal.signal(Signal::INT);
    terminal.expect("caught");
    terminal.signal(Signal::USR1);
    assert_eq!(terminal.end(), 5);
    // Who is attached to its terminal is ended by them, and the container is not.
    host.ok(&["run", "-dit", "--name", "g2", "busybox", "sh"]);
    host.again(&mut terminal, &["attach", "g2"]);
    terminal.expect(PROMPT);
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        assert!(terminal.is_raw());
        terminal.signal(signal);
        assert_eq!(terminal.end(), code);
        assert_eq!(state(&host, "g2"), "running 0");
        host.again(&mut terminal, &["attach", "g2"]);
        terminal.expect(PROMPT);
    }
    // A container that is removed ends whoever is attached to it.
    host.ok(&["rm", "-f", "g2"]);
    assert_eq!(terminal.end(), 137);
}

#[test]
fn a_reader_of_our_output_may_go() {
    let host = host();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut terminal = Terminal::open();
    let mut command = host.in_session(&["run", "-it", "--name", "r1", "busybox", "sh"]);
    command.stdin(terminal.stdio()).stdout(writer).stderr(terminal.stdio());
    terminal.start(&mut command);
    // As if by SIGPIPE; nobody is told what nobody reads.
    assert_eq!(terminal.end(), 141);
    assert_eq!(terminal.screen(), "");
    assert_eq!(state(&host, "r1"), "running 0");
}

#[test]
fn one_can_watch_without_a_hand_in_it() {
    let host = host();
    host.ok(&["run", "-dit", "--name", "w1", "busybox", "sh"]);
    let mut watcher = host.terminal(&["attach", "--no-stdin", "w1"]);
    watcher.expect(PROMPT);
    let mut typist = host.terminal(&["attach", "w1"]);
    typist.expect(PROMPT);
    typist.type_("echo one-$((1+1))\r");
    typist.expect("one-2\r\n");
    watcher.expect("one-2");
    assert!(!watcher.is_raw());
    watcher.type_("lost\r");
    watcher.expect("lost");
    typist.type_("echo two-$((2+2))\r");
    typist.expect("two-4\r\n");
    // A key that comes before the shell reads again is none of its.
    typist.expect(PROMPT);
    assert!(!typist.screen().contains("lost"));
    // The terminal's end of input.
    typist.type_("\x04");
    assert_eq!((typist.end(), watcher.end()), (0, 0));
}

#[test]
fn start_and_attach_in_one() {
    let host = host();
    host.ok(&["create", "-it", "--name", "a1", "busybox", "sh"]);
    let mut terminal = host.terminal(&["start", "-ai", "a1"]);
    terminal.expect(PROMPT);
    terminal.type_("stty size\r");
    terminal.expect("40 100\r\n");
    terminal.type_("exit 7\r");
    assert_eq!(terminal.end(), 7);
    host.again(&mut terminal, &["start", "-ai", "a1"]);
    terminal.expect(PROMPT);
    terminal.type_(DETACH);
    assert_eq!(terminal.end(), 0);
    assert_eq!(state(&host, "a1"), "running 0");
}

#[test]
fn what_needs_a_terminal_says_so() {
    let host = host();
    host.ok(&["run", "-dit", "--name", "n1", "busybox", "sh"]);
    for words in [
        &["run", "-it", "--rm", "busybox", "true"][..],
        &["exec", "-it", "n1", "true"],
        &["attach", "n1"],
    ] {
        assert_eq!(host.fails(1, words), "the input device is not a TTY", "{words:?}");
    }
    assert_eq!(host.ok(&["ps", "-aq"]).lines().count(), 1);
    // The container's terminal alone needs none of ours.
    assert_eq!(host.ok(&["run", "-t", "--rm", "busybox", "tty"]), "/dev/pts/0\r");
    assert_eq!(host.ok(&["exec", "-t", "n1", "sh", "-c", "tty > /dev/null && echo x"]), "x\r");
}
