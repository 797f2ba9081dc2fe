//! Whose turn it is on a connection: the client's, to say what it wants, or the service's, to answer.
//!
//! Two who do not know each other need to know: what reads and writes bytes, to limit how long a request's head
//! may take, and what answers, to be waited for until the last byte of its reply has left.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::linger::Linger;

/// How long a head may take from its first byte to its last. A connection without any is not limited: clients keep
/// them for later.
const HEAD: Duration = Duration::from_secs(30);

/// What is held as long as a reply is on its way, and goes when it has left.
type Held = Box<dyn Send>;

/// Whose turn it is.
#[derive(Default)]
enum State {
    /// Nobody's: there is no request.
    #[default]
    Idle,
    /// The client's, which has begun a head.
    Asking,
    /// The service's.
    Answering,
    /// The service's, which has said all; not all of it may have left.
    Said(#[expect(dead_code, reason = "its end is what matters")] Option<Held>),
}

/// What comes behind the head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The next one, as soon as the client likes.
    Head,
    /// A body, of which it is not known here where it ends.
    Body,
}

impl Behind {
    /// What comes behind that of this request.
    pub(crate) fn of<B: Body>(request: &Request<B>) -> Self {
        if request.body().is_end_stream() { Self::Head } else { Self::Body }
    }
}

/// The turn of one connection.
#[derive(Default)]
pub(crate) struct Turn(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    state: State,
    /// The last bytes that came: a head ends with an empty line.
    last: [u8; 3],
    /// Whether these are of a head, whole or not.
    of_head: bool,
}

impl Inner {
    /// Whether a head was begun behind the one that was answered.
    fn has_begun(&self) -> bool {
        self.of_head && !matches!(self.last, [_, b'\n', b'\n'] | [b'\n', b'\r', b'\n'])
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn")
    }
}

impl Turn {
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes have come.
    fn heard(&self, bytes: &[u8]) {
        self.change(|inner| {
            for byte in &bytes[bytes.len().saturating_sub(inner.last.len())..] {
                inner.last.rotate_left(1);
                inner.last[2] = *byte;
            }
            if matches!(inner.state, State::Idle) {
                inner.of_head = true;
                inner.state = State::Asking;
            }
        });
    }

    /// A head is whole.
    pub(crate) fn answering(&self, behind: Behind) {
        self.change(|inner| {
            inner.state = State::Answering;
            inner.of_head = behind == Behind::Head;
        });
    }

    /// All of an answer has been said. What is held goes when it has left.
    pub(crate) fn said(&self, held: Option<Held>) {
        self.change(|inner| inner.state = State::Said(held));
    }

    /// What was said has left, or will not. Whether something was.
    fn left(&self) -> bool {
        // What is held goes behind the lock.
        let before = self.change(|inner| match inner.state {
            State::Said(_) => {
                let next = if inner.has_begun() { State::Asking } else { State::Idle };
                std::mem::replace(&mut inner.state, next)
            }
            State::Idle | State::Asking | State::Answering => State::Idle,
        });
        matches!(before, State::Said(_))
    }

    fn is_asking(&self) -> bool {
        self.change(|inner| matches!(inner.state, State::Asking))
    }
}

/// A connection whose turns are looked after.
pub(crate) struct Turns<I> {
    io: Linger<I>,
    /// None of a connection that nobody has to be kept from: this process's own.
    turn: Option<Arc<Turn>>,
    /// When a head that was begun has taken too long.
    late: Option<Pin<Box<Sleep>>>,
}

impl<I> Turns<I> {
    pub(crate) const fn new(io: Linger<I>, turn: Option<Arc<Turn>>) -> Self {
        Self { io, turn, late: None }
    }

    /// It, for somebody who speaks no HTTP: nothing more of that will leave.
    pub(crate) fn into_inner(self) -> I {
        if let Some(turn) = &self.turn {
            turn.left();
        }
        self.io.into_inner()
    }

    /// The next head has all of its time.
    fn left(&mut self) {
        if self.turn.as_ref().is_some_and(|turn| turn.left()) {
            self.late = None;
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, turn, late } = self.get_mut();
        let Some(turn) = turn else { return Pin::new(io).poll_read(cx, buffer) };
        let before = buffer.filled().len();
        let read = Pin::new(io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            turn.heard(&buffer.filled()[before..]);
        }
        if !turn.is_asking() {
            *late = None;
            return read;
        }
        let late = late.get_or_insert_with(|| Box::pin(sleep(HEAD)));
        if read.is_pending() && late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a head took too long",
            )));
        }
        read
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Turns<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // HTTP only asks for this when it has nothing more to write.
        self.left();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.left();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Tells when it has gone.
    struct Tell(Arc<std::sync::atomic::AtomicBool>);

    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_begun_has_an_end_and_silence_has_none() {
        let (mut client, server) = tokio::io::duplex(64);
        let turn = Arc::new(Turn::default());
        let mut turns = Turns::new(Linger::new(server), Some(turn.clone()));
        let mut space = [0; 64];
        let silent = tokio::time::timeout(10 * HEAD, turns.read(&mut space)).await;
        assert!(silent.is_err(), "whoever says nothing may stay");
        client.write_all(b"GET").await.unwrap();
        assert_eq!(turns.read(&mut space).await.unwrap(), 3);
        let late = turns.read(&mut space).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // A body may take its time.
        turn.answering(Behind::Body);
        let slow = tokio::time::timeout(10 * HEAD, turns.read(&mut space)).await;
        assert!(slow.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_behind_another_request_has_an_end_as_well() {
        for (asked, behind, is_limited) in [
            ("GET / HTTP/1.1\r\n\r\nGET", Behind::Head, true),
            ("GET / HTTP/1.1\n\nG", Behind::Head, true),
            ("GET / HTTP/1.1\r\n\r\n", Behind::Head, false),
            ("GET / HTTP/1.1\n\n", Behind::Head, false),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: d\r\n\r\n", Behind::Head, false),
            ("POST / HTTP/1.1\r\n\r\nbody", Behind::Body, false),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            let turn = Arc::new(Turn::default());
            let mut turns = Turns::new(Linger::new(server), Some(turn.clone()));
            client.write_all(asked.as_bytes()).await.unwrap();
            let mut space = [0; 64];
            turns.read_exact(&mut space[..asked.len()]).await.unwrap();
            turn.answering(behind);
            turn.said(None);
            turns.flush().await.unwrap();
            let next = tokio::time::timeout(10 * HEAD, turns.read(&mut space)).await;
            assert_eq!(next.is_ok(), is_limited, "{asked}");
        }
    }

    #[tokio::test]
    async fn what_is_held_goes_when_all_has_left() {
        let (mut client, server) = tokio::io::duplex(4);
        let turn = Arc::new(Turn::default());
        let mut turns = Turns::new(Linger::new(server), Some(turn.clone()));
        let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_gone = || gone.load(std::sync::atomic::Ordering::Relaxed);
        turn.answering(Behind::Body);
        turns.flush().await.unwrap();
        turn.said(Some(Box::new(Tell(gone.clone()))));
        let mut writing = Box::pin(turns.write_all(b"five!"));
        let waiting = tokio::time::timeout(Duration::from_millis(1), writing.as_mut()).await;
        assert!(waiting.is_err() && !is_gone());
        client.read_exact(&mut [0; 4]).await.unwrap();
        writing.await.unwrap();
        assert!(!is_gone(), "HTTP may have more in hand");
        turns.flush().await.unwrap();
        assert!(is_gone());
    }
}
