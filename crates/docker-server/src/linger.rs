//! A connection that ends politely: what the client still sends is read and thrown away for a moment.
//!
//! A reply can come before the request has been read to its end: a refusal, of a body of which nobody
//! wants to see more. Closing a socket that has unread bytes resets it, on which the kernel throws away
//! what the other side has not read: the client would get an error of its writing in place of the reply.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the client has to read its reply and stop: half a second in Go's servers.
const MOMENT: Duration = Duration::from_secs(1);

/// Read at once.
const BUFFER: usize = 8 << 10;

/// A connection whose end is not its reset.
#[derive(Debug)]
pub(crate) struct Linger<I> {
    io: I,
    /// Until when it is read on; there is one since the last byte was written.
    until: Option<Pin<Box<Sleep>>>,
}

impl<I> Linger<I> {
    pub(crate) const fn new(io: I) -> Self {
        Self { io, until: None }
    }

    pub(crate) fn into_inner(self) -> I {
        self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Linger<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<I> {
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
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// The client sees the end of what it is sent at once; its own is awaited for a moment.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, until } = self.get_mut();
        if until.is_none() {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + MOMENT)));
        let mut space = [0; BUFFER];
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut space);
            // A connection that breaks has ended as well.
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
