//! Bytes between tasks that wait and threads that block, counted on the way.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// How much is passed on at once.
const PIECE: usize = 256 << 10;

/// How many bytes have passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One end of a pipe in memory: what is sent is read by the other one. An error that is sent, or an
/// end that goes without [`Sender::end`], breaks it off.
pub(super) fn pipe() -> (Sender, Receiver) {
    let (send, receive) = mpsc::channel(4);
    let sender = Sender { send, buffer: Vec::new() };
    (sender, Receiver { receive, current: Bytes::new(), ended: false })
}

/// Where bytes go in.
#[derive(Debug)]
pub(super) struct Sender {
    send: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

impl Sender {
    /// Passes a piece on; false if nobody reads any more.
    pub(super) async fn send(&self, bytes: Bytes) -> bool {
        self.send.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// That was all.
    pub(super) async fn end(self) {
        // Nobody reads any more, so nobody waits for the end.
        let _ = self.send.send(Piece::End).await;
    }

    /// The same for a thread that may block.
    pub(super) fn end_here(mut self) -> io::Result<()> {
        self.flush()?;
        self.send.blocking_send(Piece::End).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        let sent = self.send.blocking_send(Piece::Bytes(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Where bytes come out, for a thread that may block.
#[derive(Debug)]
pub(super) struct Receiver {
    receive: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receive.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = buffer.len().min(self.current.len());
        buffer[..n].copy_from_slice(&self.current[..n]);
        self.current.advance(n);
        Ok(n)
    }
}

/// A reader whose bytes are counted.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) count: Count,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.add(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_and_a_break_is_no_end() {
        let (mut send, mut receive) = pipe();
        let sending = std::thread::spawn(move || {
            send.write_all(b"abc").unwrap();
            send.end_here()
        });
        let mut text = String::new();
        receive.read_to_string(&mut text).unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(text, "abc");
        let (mut send, mut receive) = pipe();
        let sending =
            std::thread::spawn(move || send.write_all(b"abc").and_then(|()| send.flush()));
        assert!(receive.read_to_string(&mut text).is_err());
        sending.join().unwrap().unwrap();
    }
}
