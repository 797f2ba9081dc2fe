//! The body of a request: bytes at hand, or those of a file as the connection takes them.
//!
//! Owns how far a file has got, so that whoever waits for the answer knows that something moves.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::Method;
use crate::limits::Limits;

/// How much of a file is handed to a connection at once.
const PIECE: usize = 128 << 10;

/// How often is looked how far a file has got.
const LOOK: Duration = Duration::from_millis(100);

/// A whole file, to be sent; its clones count together.
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    file: Arc<File>,
    size: u64,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl FilePart {
    /// The first `size` bytes of a file. The counter hears how many have been handed on; whoever sets `stop` ends it.
    pub(crate) fn new(file: File, size: u64, sent: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Self {
        Self { file: Arc::new(file), size, sent, stop }
    }
}

/// What hyper sends.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// At hand; taken when it is sent.
    Whole(Bytes),
    /// A file, from a place on.
    File(FilePart, u64),
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<FilePart> for Outgoing {
    fn from(file: FilePart) -> Self {
        file.sent.store(0, Ordering::Relaxed);
        Self::File(file, 0)
    }
}

impl Outgoing {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Whole(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::File(file, at) => {
                if file.stop.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let left = usize::try_from(file.size - *at).unwrap_or(usize::MAX);
                if left == 0 {
                    return Ok(None);
                }
                let mut piece = vec![0; left.min(PIECE)];
                // A disk is read by the thread that drives the connection: it has nothing else to do.
                file.file.read_exact_at(&mut piece, *at)?;
                *at += piece.len() as u64;
                file.sent.store(*at, Ordering::Relaxed);
                Ok(Some(piece.into()))
            }
        }
    }

    fn left(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::File(file, at) => file.size - at,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.next().transpose().map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Method {
    /// Whether some of a file has gone.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self, Self::Upload(file) if file.sent.load(Ordering::Relaxed) > 0)
    }

    /// Waits for what was sent to be answered; `None` if it is given up, or nothing has moved for too long.
    pub(super) async fn watch<T>(
        &self,
        limits: &Limits,
        sending: impl Future<Output = T>,
    ) -> Option<T> {
        match self {
            Self::Upload(file) => file.watch(limits, sending).await,
            Self::Put(_) => tokio::time::timeout(limits.document, sending).await.ok(),
            Self::Get | Self::Head | Self::Post(_) | Self::Delete => {
                tokio::time::timeout(limits.idle, sending).await.ok()
            }
        }
    }
}

impl FilePart {
    async fn watch<T>(&self, limits: &Limits, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        let (mut moved, mut since) = (0, Instant::now());
        loop {
            if let Ok(answer) = tokio::time::timeout(LOOK.min(limits.idle), sending.as_mut()).await
            {
                return Some(answer);
            }
            let sent = self.sent.load(Ordering::Relaxed);
            // Of what it has got the registry makes a digest before it answers.
            let patience = if sent < self.size { limits.idle } else { limits.settle };
            if self.stop.load(Ordering::Relaxed) {
                return None;
            } else if sent != moved {
                (moved, since) = (sent, Instant::now());
            } else if since.elapsed() >= patience {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn part(bytes: &[u8], size: u64) -> FilePart {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FilePart::new(file, size, Arc::default(), Arc::default())
    }

    #[test]
    fn a_file_is_sent_in_pieces_and_counted() {
        let bytes: Vec<u8> = (0..=250).cycle().take(PIECE + 10).collect();
        let file = part(&bytes, bytes.len() as u64);
        let mut outgoing = Outgoing::from(file.clone());
        let mut got = Vec::new();
        while let Some(piece) = outgoing.next().unwrap() {
            got.extend_from_slice(&piece);
            assert_eq!(file.sent.load(Ordering::Relaxed), got.len() as u64);
            assert_eq!(outgoing.left(), (bytes.len() - got.len()) as u64);
        }
        assert_eq!(got, bytes);
    }

    #[test]
    fn a_file_that_is_shorter_or_given_up_is_an_error() {
        let mut short = Outgoing::from(part(b"ab", 3));
        assert_eq!(short.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let file = part(b"ab", 2);
        file.stop.store(true, Ordering::Relaxed);
        assert!(Outgoing::from(file).next().is_err());
    }

    /// Whether something is waited for that is answered when it has been looked at twenty times.
    fn is_awaited(file: FilePart, limits: &Limits) -> bool {
        let mut looks = 0;
        let answered = std::future::poll_fn(move |_| {
            looks += 1;
            if looks == 20 { Poll::Ready(()) } else { Poll::Pending }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Method::Upload(file).watch(limits, answered)).is_some()
    }

    #[test]
    fn what_has_gone_whole_is_waited_for_longer() {
        let short = Duration::from_millis(1);
        let limits = Limits { idle: short, settle: Duration::MAX, ..Limits::default() };
        let whole = part(b"ab", 2);
        whole.sent.store(2, Ordering::Relaxed);
        assert!(is_awaited(whole.clone(), &limits));
        whole.sent.store(1, Ordering::Relaxed);
        assert!(!is_awaited(whole.clone(), &limits));
        whole.sent.store(2, Ordering::Relaxed);
        whole.stop.store(true, Ordering::Relaxed);
        assert!(!is_awaited(whole, &limits));
    }

    #[test]
    fn bytes_at_hand_are_sent_once() {
        let mut outgoing = Outgoing::from(Bytes::from_static(b"x"));
        assert_eq!(outgoing.next().unwrap().as_deref(), Some(&b"x"[..]));
        assert!(outgoing.next().unwrap().is_none() && outgoing.is_end_stream());
    }
}
