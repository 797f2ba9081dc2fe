//! Bodies of requests: nothing, bytes, or what a reader gives.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, try_unfold};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

pub(crate) type BoxBody = UnsyncBoxBody<Bytes, io::Error>;

/// How much is read at once. Archives are large, and every piece costs a wake-up on both sides.
const PIECE: usize = 256 << 10;

pub(crate) fn empty() -> BoxBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An archive to send.
pub struct Upload(BoxBody);

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upload")
    }
}

impl Upload {
    /// From an asynchronous reader.
    pub fn new<R: AsyncRead + Send + Unpin + 'static>(reader: R) -> Self {
        Self(StreamBody::new(pieces(reader)).boxed_unsync())
    }

    /// From a file or another blocking reader, on a thread of its own.
    pub fn blocking<R: io::Read + Send + 'static>(mut reader: R) -> Self {
        let (send, receive) = mpsc::channel::<io::Result<Bytes>>(2);
        // It ends with the reader, or when the request is dropped and nobody receives any more.
        tokio::task::spawn_blocking(move || send_pieces(&mut reader, &send));
        let stream = futures_util::stream::unfold(receive, |mut receive| async move {
            let piece = receive.recv().await?;
            Some((piece.map(Frame::data), receive))
        });
        Self(StreamBody::new(stream).boxed_unsync())
    }

    pub(crate) fn into_body(self) -> BoxBody {
        self.0
    }
}

fn send_pieces(reader: &mut impl io::Read, send: &mpsc::Sender<io::Result<Bytes>>) {
    while let Some(piece) = read_piece(reader).transpose() {
        let failed = piece.is_err();
        if send.blocking_send(piece).is_err() || failed {
            break;
        }
    }
}

fn read_piece(reader: &mut impl io::Read) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; PIECE];
    let mut filled = 0;
    while filled < PIECE {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok((filled > 0).then(|| buffer.into()))
}

fn pieces<R: AsyncRead + Send + Unpin>(
    reader: R,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    try_unfold((reader, BytesMut::new()), |(mut reader, mut buffer)| async move {
        buffer.reserve(PIECE);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
        let piece = buffer.split().freeze();
        Ok(Some((Frame::data(piece), (reader, buffer))))
    })
}
