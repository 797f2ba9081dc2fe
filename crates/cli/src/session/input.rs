//! Reads our standard input on a thread of its own.
//!
//! A terminal, a pipe and a file all read alike that way, none is made non-blocking behind the
//! back of whoever shares it, and a read that never returns keeps nobody.

use model::detach::{DetachKeys, Detector, Typed};
use std::io::Read;
use tokio::sync::mpsc;

/// Read at once; as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// What the input gives.
pub(crate) enum Event {
    /// Bytes to pass on.
    Bytes(Vec<u8>),
    /// There are no more.
    End,
    /// The user typed the detach keys.
    Detach,
}

/// The reader's end.
pub(crate) struct Input {
    pieces: mpsc::Receiver<Vec<u8>>,
    detector: Option<Detector>,
    state: State,
}

/// What comes when all bytes are passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// More of them.
    Reads,
    /// The end.
    Ended,
    /// The user has typed the detach keys.
    Detached,
}

impl Input {
    /// Starts reading; with keys, watches for them.
    pub(crate) fn start(keys: Option<DetachKeys>) -> Self {
        let (send, pieces) = mpsc::channel(2);
        std::thread::spawn(move || read(&mut std::io::stdin().lock(), &send));
        Self { pieces, detector: keys.map(Detector::new), state: State::Reads }
    }

    /// The next event. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Event {
        while self.state == State::Reads {
            let bytes = match self.pieces.recv().await {
                Some(bytes) => self.typed(bytes),
                None => self.ended(),
            };
            if !bytes.is_empty() {
                return Event::Bytes(bytes);
            }
        }
        if self.state == State::Detached { Event::Detach } else { Event::End }
    }

    /// What is to be passed on of some bytes.
    fn typed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(detector) = &mut self.detector else { return bytes };
        let mut passed = Vec::with_capacity(bytes.len());
        if detector.feed(&bytes, &mut passed) == Typed::Detach {
            self.state = State::Detached;
        }
        passed
    }

    /// What was held back, since it could have become the keys.
    fn ended(&mut self) -> Vec<u8> {
        self.state = State::Ended;
        let mut passed = Vec::new();
        if let Some(detector) = &mut self.detector {
            detector.finish(&mut passed);
        }
        passed
    }
}

/// A read error ends the input as its end does: the container sees the same.
fn read(input: &mut impl Read, send: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if send.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
