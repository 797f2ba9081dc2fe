//! What the server streams: bytes, JSON objects, and the output of a container.

use std::io;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::error::ApiError;
use crate::frame::{Channel, Demux, FrameError};
use crate::json;

pub use crate::body::Upload;

/// The body of a reply, piece by piece.
#[derive(Debug)]
pub struct ByteStream(Incoming);

impl ByteStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(body)
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|e| ApiError::Stream(io::Error::other(e)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Objects one behind the other, however they are separated.
#[derive(Debug)]
pub struct JsonStream<T> {
    bytes: ByteStream,
    buffer: BytesMut,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonStream<T> {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { bytes: ByteStream::new(body), buffer: BytesMut::new(), of: PhantomData }
    }

    /// The next object; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, ApiError> {
        Ok(match self.next_text().await? {
            Some(text) => Some(json::parse_reply(&text).map_err(ApiError::StreamJson)?),
            None => None,
        })
    }

    /// The next object as it was sent.
    pub async fn next_text(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(length) = value_length(&self.buffer) {
                return Ok(Some(self.buffer.split_to(length).freeze()));
            }
            match self.bytes.next().await? {
                Some(more) => self.buffer.extend_from_slice(&more),
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Err(ApiError::StreamJson(json::JsonError::Eof)),
            }
        }
    }
}

/// Where the first whole value of `text` ends. A syntax error is left to whoever parses it.
fn value_length(text: &[u8]) -> Option<usize> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let mut values =
        serde_json::Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Some(values.byte_offset()),
        Some(Err(e)) if e.is_eof() => None,
        Some(Err(_)) => Some(text.len()),
        None => None,
    }
}

/// How the output of a container is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As it comes from the terminal: stdout and stderr are one.
    Raw,
    /// In frames that say which stream they are of.
    Multiplexed,
}

/// Some output of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which stream; a terminal's output counts as stdout.
    pub channel: Channel,
    /// The bytes, never empty.
    pub bytes: Bytes,
}

/// Unpacks frames or passes raw bytes on, from wherever the bytes come.
#[derive(Debug)]
struct Unpack {
    framing: Framing,
    demux: Demux,
    buffer: BytesMut,
}

impl Unpack {
    fn new(framing: Framing) -> Self {
        Self { framing, demux: Demux::default(), buffer: BytesMut::new() }
    }

    /// What the buffer holds; `None` asks for more.
    fn take(&mut self) -> Result<Option<Chunk>, ApiError> {
        let (channel, bytes) = match self.framing {
            Framing::Raw if self.buffer.is_empty() => return Ok(None),
            Framing::Raw => (Channel::Stdout, self.buffer.split().freeze()),
            Framing::Multiplexed => match self.demux.next(&mut self.buffer).map_err(broken)? {
                Some(piece) => piece,
                None => return Ok(None),
            },
        };
        if channel == Channel::System {
            let message = String::from_utf8_lossy(&bytes).into_owned();
            return Err(ApiError::Stream(io::Error::other(message)));
        }
        Ok(Some(Chunk { channel, bytes }))
    }

    fn end(&self) -> Result<Option<Chunk>, ApiError> {
        match self.framing {
            Framing::Multiplexed if !self.demux.at_boundary(&self.buffer) => {
                Err(ApiError::Stream(io::ErrorKind::UnexpectedEof.into()))
            }
            Framing::Raw | Framing::Multiplexed => Ok(None),
        }
    }
}

fn broken(error: FrameError) -> ApiError {
    ApiError::Stream(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The output that `logs` gives.
#[derive(Debug)]
pub struct LogStream {
    bytes: ByteStream,
    unpack: Unpack,
}

impl LogStream {
    pub(crate) fn new(body: Incoming, framing: Framing) -> Self {
        Self { bytes: ByteStream::new(body), unpack: Unpack::new(framing) }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ApiError> {
        loop {
            if let Some(chunk) = self.unpack.take()? {
                return Ok(Some(chunk));
            }
            match self.bytes.next().await? {
                Some(more) => self.unpack.buffer.extend_from_slice(&more),
                None => return self.unpack.end(),
            }
        }
    }
}

type Connection = TokioIo<Upgraded>;

/// A connection that belongs to a container's streams now.
#[derive(Debug)]
pub struct Attached {
    /// What the container writes.
    pub output: AttachedOutput,
    /// What the container reads.
    pub input: AttachedInput,
}

impl Attached {
    pub(crate) fn new(upgraded: Upgraded, framing: Framing) -> Self {
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        Self {
            output: AttachedOutput { read, unpack: Unpack::new(framing) },
            input: AttachedInput(write),
        }
    }
}

/// The output of an attached container.
#[derive(Debug)]
pub struct AttachedOutput {
    read: ReadHalf<Connection>,
    unpack: Unpack,
}

impl AttachedOutput {
    /// How the server sends it.
    pub fn framing(&self) -> Framing {
        self.unpack.framing
    }

    /// The next piece; `None` when the container has closed its output or was detached from.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ApiError> {
        loop {
            if let Some(chunk) = self.unpack.take()? {
                return Ok(Some(chunk));
            }
            self.unpack.buffer.reserve(32 << 10);
            let read = self.read.read_buf(&mut self.unpack.buffer).await;
            if read.map_err(ApiError::Stream)? == 0 {
                return self.unpack.end();
            }
        }
    }
}

/// The input of an attached container.
#[derive(Debug)]
pub struct AttachedInput(WriteHalf<Connection>);

impl AttachedInput {
    /// Sends bytes, and returns when the connection has taken all of them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.0.write_all(bytes).await.map_err(ApiError::Stream)?;
        self.0.flush().await.map_err(ApiError::Stream)
    }

    /// Says that there is no more input; output goes on.
    pub async fn close(mut self) -> Result<(), ApiError> {
        self.0.shutdown().await.map_err(ApiError::Stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        for (text, want) in [
            (r#"{"a":1}"#, Some(7)),
            ("{\"a\":1}\r\n{\"b\":2}\r\n", Some(7)),
            ("\r\n{\"b\":2}", Some(9)),
            (r#"{"a":"#, None),
            (r#"{"a":"}"#, None),
            ("\r\n", None),
            ("", None),
            ("!", Some(1)),
        ] {
            assert_eq!(value_length(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn a_message_of_the_server_ends_the_stream() {
        let mut unpack = Unpack::new(Framing::Multiplexed);
        unpack.buffer.extend_from_slice(&crate::frame::encode(Channel::System, b"gone"));
        let error = unpack.take().unwrap_err();
        let ApiError::Stream(source) = error else { panic!("{error}") };
        assert_eq!(source.to_string(), "gone");
    }

    #[test]
    fn raw_bytes_are_one_stream() {
        let mut unpack = Unpack::new(Framing::Raw);
        unpack.buffer.extend_from_slice(b"\x01\0\0\0");
        let chunk = unpack.take().unwrap().unwrap();
        assert_eq!((chunk.channel, &chunk.bytes[..]), (Channel::Stdout, &b"\x01\0\0\0"[..]));
        assert_eq!(unpack.take().unwrap(), None);
        assert!(unpack.end().unwrap().is_none());
    }
}
