//! Reads our standard input on a thread of its own.
//!
//! A terminal, a pipe and a file all read alike that way, none is made non-blocking behind the
//! back of whoever shares it, and a read that never returns keeps nobody.

use super::keys::{Keys, Typed, Watch};
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
    watch: Option<Watch>,
    detached: bool,
}

impl Input {
    /// Starts reading; with keys, watches for them.
    pub(crate) fn start(keys: Option<Keys>) -> Self {
        let (send, pieces) = mpsc::channel(2);
        std::thread::spawn(move || read(&mut std::io::stdin().lock(), &send));
        Self { pieces, watch: keys.map(Watch::new), detached: false }
    }

    /// The next event. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Event {
        if self.detached {
            return Event::Detach;
        }
        let Some(bytes) = self.pieces.recv().await else { return Event::End };
        let Some(watch) = &mut self.watch else { return Event::Bytes(bytes) };
        match watch.typed(&bytes) {
            Typed::Bytes(bytes) => Event::Bytes(bytes),
            Typed::Detach(bytes) if bytes.is_empty() => Event::Detach,
            Typed::Detach(bytes) => {
                self.detached = true;
                Event::Bytes(bytes)
            }
        }
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
