//! Output, input, terminals, the log.

use std::io::{Read, Write};
use std::net::Shutdown;

use model::container::{Stdin, TerminalSize};
use serde_json::Value;
use shim::frame;
use shim::protocol::{Delivery, Request, Target};

use crate::fixture::{ALL, Container, OUTPUT, Output, read_frames, read_until};

fn output(stdout: &str, stderr: &str) -> Output {
    Output { stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

pub(crate) fn a_client_that_came_before_the_start_gets_everything() {
    let container = Container::sh("echo first; echo problem >&2; echo last; exit 3");
    let (got, code) = container.run();
    assert_eq!((got, code), (output("first\nlast\n", "problem\n"), 3));
    container.end();
}

pub(crate) fn several_clients_get_the_same() {
    let container = Container::new(&["seq", "1", "5000"]);
    let clients: Vec<_> = (0..4).map(|_| container.attach(OUTPUT, Delivery::Recent)).collect();
    let (first, code) = container.run();
    assert_eq!(code, 0);
    assert_eq!(first.stdout.lines().count(), 5000);
    for client in clients {
        assert_eq!(read_frames(client), first);
    }
    assert_eq!(container.logged(), first.stdout);
    container.end();
}

pub(crate) fn an_observer_that_does_not_read_holds_nothing_up() {
    const TOTAL: usize = 8 << 20;
    let container = Container::sh(&format!("yes {} | head -c {TOTAL}", "x".repeat(999)));
    let mut observer = container.attach(OUTPUT, Delivery::Recent);
    container.start().unwrap();
    assert_eq!(container.code(), 0, "it ended though nobody read");
    let mut wire = Vec::new();
    observer.read_to_end(&mut wire).unwrap();
    let (mut got, mut told) = (0, 0);
    let mut rest = wire.as_slice();
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let (data, behind) = body.split_at(length as usize);
        if header[0] == 1 {
            got += data.len();
        } else {
            let text = String::from_utf8_lossy(data);
            told += text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        }
        rest = behind;
    }
    assert!(told > 0, "it was told that it missed something");
    assert_eq!(got + told, TOTAL);
    drop(observer);
    container.end();
}

pub(crate) fn a_consumer_that_reads_slowly_loses_nothing() {
    const LINES: usize = 400_000;
    let container = Container::new(&["seq", "1", &LINES.to_string()]);
    let client = container.attach(OUTPUT, Delivery::Everything);
    container.start().unwrap();
    // Before anything is read, another client finds the process alive: it waits.
    let held = container.shim().state().unwrap();
    assert!(held.life.is_running());
    let got = read_frames(client);
    assert_eq!(got.stdout.lines().count(), LINES);
    assert!(got.stdout.ends_with(&format!("{LINES}\n")));
    assert_eq!(got.stderr, "");
    container.end();
}

pub(crate) fn the_end_of_input_is_half_a_close() {
    let container = Container::sh("cat; echo and more").with_stdin(Stdin::OpenOnce);
    let mut client = container.attach(ALL, Delivery::Everything);
    container.start().unwrap();
    client.write_all(b"typed\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frames(client), output("typed\nand more\n", ""));
    assert_eq!(container.code(), 0);
    container.end();
}

pub(crate) fn input_that_is_not_once_outlives_its_client() {
    let container = Container::new(&["cat"]).with_stdin(Stdin::Open);
    container.start().unwrap();
    let mut first = container.attach(ALL, Delivery::Everything);
    first.write_all(b"one\n").unwrap();
    read_until(&mut first, "one\n");
    drop(first);
    let mut second = container.attach(ALL, Delivery::Everything);
    second.write_all(b"two\n").unwrap();
    second.shutdown(Shutdown::Write).unwrap();
    read_until(&mut second, "two\n");
    assert!(container.shim().state().unwrap().life.is_running());
    drop(second);
    container.end();
}

pub(crate) fn input_may_come_right_behind_the_request() {
    let container = Container::new(&["cat"]).with_stdin(Stdin::OpenOnce);
    let mut stream = container.shim().into_stream();
    let request =
        Request::Attach { target: Target::Container, streams: ALL, delivery: Delivery::Everything };
    let mut bytes = frame::encode(&serde_json::to_vec(&request).unwrap()).unwrap();
    bytes.extend_from_slice(b"early");
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    container.start().unwrap();
    let reply = sys::fdpass::recv_frame(&stream, frame::MAX_SMALL, 0).unwrap().unwrap();
    assert_eq!(reply.bytes, b"\"Ok\"");
    assert_eq!(read_frames(stream).stdout, "early");
    container.end();
}

pub(crate) fn a_terminal_has_its_size_and_hears_of_another() {
    let line = "stty size; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.1; done";
    let container = Container::sh(line).with_terminal(33, 77).with_stdin(Stdin::Open);
    let mut client = container.attach(ALL, Delivery::Everything);
    container.start().unwrap();
    assert_eq!(read_until(&mut client, "ready\r\n"), "33 77\r\nready\r\n");
    let size = TerminalSize { rows: 50, columns: 120 };
    container.shim().resize(Target::Container, size).unwrap();
    assert_eq!(read_until(&mut client, "120\r\n"), "50 120\r\n");
    assert_eq!(container.code(), 5);
    drop(client);
    container.end();
    let plain = Container::new(&["sleep", "1000"]);
    plain.start().unwrap();
    let refused = plain.shim().resize(Target::Container, size).unwrap_err();
    assert_eq!(refused.to_string(), "the process has no terminal");
    plain.end();
}

pub(crate) fn what_a_terminal_prints_last_is_not_lost() {
    for _ in 0..20 {
        let container = Container::sh("echo typed; printf last").with_terminal(24, 80);
        let mut client = container.attach(OUTPUT, Delivery::Everything);
        container.start().unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "typed\r\nlast");
        drop(client);
        container.end();
        assert_eq!(container.logged(), "typed\r\nlast");
    }
}

pub(crate) fn a_child_that_keeps_the_pipe_is_not_waited_for() {
    let mut container = Container::sh("sleep 1000 & echo done");
    let namespaces = container.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    let (got, code) = container.run();
    assert_eq!((got.stdout.as_str(), code), ("done\n", 0));
    container.end();
}

pub(crate) fn the_log_is_as_docker_writes_it() {
    let mut container = Container::sh("printf 'a<b>\\tc\\n'; printf '\\377\\n' >&2; printf rest");
    container.max_size = Some(10_000);
    container.start().unwrap();
    assert_eq!(container.code(), 0);
    container.end();
    let text = std::fs::read_to_string(container.log()).unwrap();
    let mut forms: Vec<String> = text
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            line.replace(record["time"].as_str().unwrap(), "T")
        })
        .collect();
    // The two streams are two pipes: which of them is read first is not settled.
    forms.sort();
    assert_eq!(
        forms,
        [
            r#"{"log":"\ufffd\n","stream":"stderr","time":"T"}"#,
            r#"{"log":"a\u003cb\u003e\u0009c\n","stream":"stdout","time":"T"}"#,
            r#"{"log":"rest","stream":"stdout","time":"T"}"#,
        ]
    );
}
