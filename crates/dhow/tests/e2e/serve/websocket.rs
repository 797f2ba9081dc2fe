//! A container's streams by websocket, byte by byte as RFC 6455 has them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Pair;

/// A client's message: binary, whole, masked with zeros.
fn message(text: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(text.len()).unwrap();
    [&[0x82, length, 0, 0, 0, 0][..], text].concat()
}

struct Client(UnixStream);

impl Client {
    fn attach(pair: &Pair, container: &str) -> (Self, String) {
        let mut stream = UnixStream::connect(&pair.service.socket).unwrap();
        let ask = format!(
            "GET /v1.51/containers/{container}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\n\
             Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (Self(stream), String::from_utf8(head).unwrap())
    }

    /// A message of the server's: its first byte, and what it says.
    fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        assert!(head[1] < 126, "short ones are expected");
        let mut text = vec![0; head[1].into()];
        self.0.read_exact(&mut text).unwrap();
        (head[0], text)
    }

    /// What comes until the server says goodbye.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.hear() {
                (0x82, text) => all.extend(text),
                (0x88, _) => return all,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_container_is_fed_and_heard_by_websocket() {
    let pair = Pair::new();
    let script = "read line; echo got $line; echo bad >&2";
    pair.ok(&["create", "-i", "--name", "reads", "busybox", "sh", "-c", script]);
    let (mut client, head) = Client::attach(&pair, "reads");
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    pair.ok(&["start", "reads"]);
    // A question is answered, and is no input. It comes first: what is read ends the container.
    client.0.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'?']).unwrap();
    client.0.write_all(&message(b"it\n")).unwrap();
    let mut said = Vec::new();
    let mut answered = false;
    loop {
        match client.hear() {
            (0x82, text) => said.extend(text),
            (0x8a, text) => answered = text == b"?",
            (0x88, _) => break,
            other => panic!("{other:?}"),
        }
    }
    // The two streams have no order between them.
    let mut lines: Vec<_> = std::str::from_utf8(&said).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["bad", "got it"]);
    assert!(answered, "the library answers pings");
}

#[test]
fn a_terminal_is_left_by_its_keys_by_websocket_too() {
    let pair = Pair::new();
    pair.ok(&["run", "-dit", "--name", "stays", "busybox", "cat"]);
    let (mut client, _) = Client::attach(&pair, "stays");
    client.0.write_all(&message(b"x\n")).unwrap();
    let mut echoed = Vec::new();
    while !echoed.ends_with(b"x\r\nx\r\n") {
        let (kind, text) = client.hear();
        assert_eq!(kind, 0x82);
        echoed.extend(text);
    }
    client.0.write_all(&message(b"\x10\x11")).unwrap();
    assert_eq!(client.rest(), b"");
    assert_eq!(pair.ok(&["ps", "--format", "{{.Names}}"]), "stays");
    // Whoever asks for something else than a websocket is told what is missing.
    let plain = "GET /containers/stays/attach/ws HTTP/1.1\nHost: d\nConnection: close\n\n";
    assert!(pair.service.say(plain).starts_with("HTTP/1.1 400 "));
    pair.ok(&["rm", "-f", "stays"]);
}
