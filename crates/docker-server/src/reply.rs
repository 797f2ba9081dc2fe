//! Answers: bodies that are there, bodies that come, and the headers that all of them have.

use std::io;

use bytes::{Bytes, BytesMut};
use docker_api::json::JsonError;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::raise::VERSION;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Reply = Response<Body>;

/// The pieces of a body that is being made. An error breaks the connection off, which is the only
/// way to tell a client that what it got is not all.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

/// How much of small pieces is sent together.
const GATHERED: usize = 64 << 10;

/// Content types.
pub(crate) const JSON: &str = "application/json";
pub(crate) const TAR: &str = "application/x-tar";
/// What an export of a container is called; an archive all the same.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// 200 and a JSON value.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    json_status(StatusCode::OK, value)
}

/// 200 and a JSON list.
pub(crate) fn json_list(list: JsonList) -> Reply {
    with_type(StatusCode::OK, JSON, full(list.text()))
}

/// A JSON list in the making: of long lists only the text is kept.
#[derive(Debug, Default)]
pub(crate) struct JsonList {
    text: Vec<u8>,
    len: usize,
}

impl JsonList {
    /// Adds a value; gives its text.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> &[u8] {
        self.begin();
        let start = self.text.len();
        // As in `line`, this cannot fail.
        let _ = serde_json::to_writer(&mut self.text, value);
        &self.text[start..]
    }

    /// Adds a value by its text.
    pub(crate) fn push_text(&mut self, json: &[u8]) {
        self.begin();
        self.text.extend_from_slice(json);
    }

    fn begin(&mut self) {
        self.text.push(if self.len == 0 { b'[' } else { b',' });
        self.len += 1;
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What is sent of it, for tests.
    #[cfg(test)]
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.text()
    }

    fn text(mut self) -> Vec<u8> {
        self.text.extend_from_slice(if self.len == 0 { b"[]\n" } else { b"]\n" });
        self.text
    }
}

/// A JSON value with a line end, as Docker's encoder leaves it.
pub(crate) fn json_status(status: StatusCode, value: &impl Serialize) -> Reply {
    with_type(status, JSON, full(line(value)))
}

/// One JSON value and a line end.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    // Our types have string keys only and no fallible impls, so this cannot fail.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    with_type(status, "text/plain; charset=utf-8", full(text))
}

/// 200 and a text of this type.
pub(crate) fn typed(content_type: &'static str, text: impl Into<Bytes>) -> Reply {
    with_type(StatusCode::OK, content_type, full(text))
}

/// The last one of its connection.
pub(crate) fn last(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// Nothing but a status.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

/// 200 and a body that comes in pieces. The head is sent at once.
pub(crate) fn stream(content_type: &'static str, pieces: Pieces) -> Reply {
    let frames = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    with_type(StatusCode::OK, content_type, StreamBody::new(frames).boxed_unsync())
}

/// The same for small pieces: those that are waiting are sent together.
pub(crate) fn gathered(content_type: &'static str, pieces: Pieces) -> Reply {
    let frames = stream::unfold((pieces, None), |(mut pieces, broken)| async move {
        let (piece, broken) = gather(&mut pieces, broken).await?;
        Some((piece.map(Frame::data), (pieces, broken)))
    });
    with_type(StatusCode::OK, content_type, StreamBody::new(frames).boxed_unsync())
}

/// The next piece of a body, or the error that came after the last one; and the error that was met
/// in gathering.
async fn gather(
    pieces: &mut Pieces,
    broken: Option<io::Error>,
) -> Option<(io::Result<Bytes>, Option<io::Error>)> {
    if let Some(error) = broken {
        return Some((Err(error), None));
    }
    let mut piece = match pieces.recv().await? {
        Ok(first) if !pieces.is_empty() => BytesMut::from(first),
        first => return Some((first, None)),
    };
    let mut broken = None;
    while piece.len() < GATHERED {
        match pieces.try_recv() {
            Ok(Ok(more)) => piece.extend_from_slice(&more),
            Ok(Err(error)) => {
                broken = Some(error);
                break;
            }
            Err(_) => break,
        }
    }
    Some((Ok(piece.freeze()), broken))
}

/// 200 and a body that is known later. The head is sent at once.
pub(crate) fn later<F>(content_type: &'static str, body: F) -> Reply
where
    F: Future<Output = Vec<u8>> + Send + 'static,
{
    let frames = stream::once(async move { Ok(Frame::data(Bytes::from(body.await))) });
    with_type(StatusCode::OK, content_type, StreamBody::new(frames).boxed_unsync())
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// There is no such operation. Docker leaves its version out of this one.
pub(crate) fn nowhere() -> Reply {
    let message = "page not found".to_owned();
    let mut reply =
        json_status(StatusCode::NOT_FOUND, &docker_api::types::ErrorResponse { message });
    add_headers(reply.headers_mut());
    reply.headers_mut().remove(API_VERSION);
    reply
}

/// What stands in the head of every answer.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    let server = format!("Docker/{VERSION} (linux)");
    headers.insert(API_VERSION, HeaderValue::from_static(docker_api::API_VERSION));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    if let Ok(server) = HeaderValue::from_str(&server) {
        headers.insert(http::header::SERVER, server);
    }
}

/// What a request body that must be there says when it is not.
pub(crate) fn missing_body() -> JsonError {
    JsonError::Eof
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_among_gathered_pieces_comes_after_them() {
        let (send, receive) = tokio::sync::mpsc::channel(4);
        for piece in [Ok("a"), Ok("b"), Err(io::Error::other("no")), Ok("c")] {
            send.send(piece.map(Bytes::from)).await.unwrap();
        }
        drop(send);
        let mut body = gathered(JSON, receive).into_body();
        let mut told = Vec::new();
        while let Some(frame) = body.frame().await {
            told.push(match frame {
                Ok(frame) => String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap(),
                Err(error) => format!("error: {error}"),
            });
        }
        assert_eq!(told, ["ab", "error: no", "c"]);
    }
}
