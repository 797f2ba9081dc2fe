//! A container's streams by websocket: `GET /containers/{id}/attach/ws`.
//!
//! Messages are what the container says and hears, whichever stream it is of: there are no frames of Docker's in
//! them. Frames, masks, pings and limits of the protocol are the library's.

use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use docker_api::frame::{Channel, Demux};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::header::{HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::detach::DetachKeys;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use crate::error::HttpError;
use crate::splice::{Frames, Parted, splice};

/// What both sides of a handshake hash: RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The longest message that is taken. Input comes by keys and by pieces of files.
const LONGEST: usize = 1 << 20;

/// Bytes on their way between the two, each way; and read at once.
const PIPE: usize = 64 << 10;

/// What was agreed on with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// What shows the client that a websocket is understood here.
    pub(crate) accept: String,
    /// How the container's side is written.
    pub(crate) output: Output,
    /// How it is sent.
    pub(crate) messages: Messages,
}

/// How a container's output comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// In frames that name its stream.
    Framed,
    /// As its terminal shows it.
    Raw,
}

/// Of what kind messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    /// As they are.
    Binary,
    /// As text, in which what is none is replaced: clients before 1.28.
    Text,
}

/// Whether an origin is the server that is asked.
fn is_of(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    origin.split_once("://").is_some_and(|(_, place)| place.eq_ignore_ascii_case(host))
}

/// What a client's key is answered with.
pub(crate) fn accept(headers: &HeaderMap) -> Result<String, HttpError> {
    let is = |name, want: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.eq_ignore_ascii_case(want))
    };
    // Any page may open a websocket to any server, which its browser then says here.
    if let Some(page) = headers.get(ORIGIN)
        && !is_of(page, headers.get(HOST))
    {
        return Err(HttpError::new(
            StatusCode::FORBIDDEN,
            format!(
                "a page of {} may not open a websocket here",
                String::from_utf8_lossy(page.as_bytes())
            ),
        ));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    match key {
        Some(key) if is(UPGRADE, "websocket") && is(SEC_WEBSOCKET_VERSION, "13") => {
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
            Ok(STANDARD.encode(hash))
        }
        _ => Err(HttpError::bad_request(
            "a websocket of version 13 is needed: Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version say so",
        )),
    }
}

/// Joins a client and a container until one of them ends. The head has been sent; `early` came behind the request.
pub(crate) async fn join<I>(
    io: I,
    early: Bytes,
    (container, keys): (UnixStream, Option<DetachKeys>),
    agreed: &Agreed,
) -> Parted
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let longest = Some(LONGEST);
    let config = WebSocketConfig::default().max_message_size(longest).max_frame_size(longest);
    let socket =
        WebSocketStream::from_partially_read(io, early.into(), Role::Server, Some(config)).await;
    let (to_client, from_client) = socket.split();
    let (near, far) = tokio::io::duplex(PIPE);
    let (from_container, to_container) = tokio::io::split(far);
    let mut speaking = pin!(speak(from_container, to_client, agreed));
    let mut hearing = pin!(hear(from_client, to_container));
    let parted = tokio::select! {
        parted = splice(near, (container, Frames::AsItIs), keys, Bytes::new()) => parted,
        () = &mut hearing => Parted::ClientLost,
        _ = &mut speaking => Parted::ClientLost,
    };
    if parted != Parted::ClientLost {
        // What the container said last is on its way, to a client that may leave meanwhile.
        tokio::select! {
            _ = speaking => {}
            () = hearing => {}
        }
    }
    parted
}

/// Passes input on, until the client says that it leaves, or has left.
pub(crate) async fn hear<S, W>(mut from_client: S, mut to_container: W)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = from_client.next().await {
        let input = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => {
                // The library answers it when it is asked for more.
                let _ = from_client.next().await;
                return;
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        // A container that reads no more is no reason to leave: its output may go on.
        let _ = to_container.write_all(&input).await;
    }
}

/// Passes output on to its end, which is told, or to that of the client; which of them it was.
pub(crate) async fn speak<R, S>(mut from_container: R, mut to_client: S, agreed: &Agreed) -> Parted
where
    R: AsyncRead + Unpin,
    S: Sink<Message, Error = Error> + Unpin,
{
    let (mut buffer, mut demux) = (BytesMut::with_capacity(PIPE), Demux::default());
    while from_container.read_buf(&mut buffer).await.unwrap_or(0) > 0 {
        while let Some(output) = next(&mut buffer, &mut demux, agreed.output) {
            if to_client.send(message(output, agreed.messages)).await.is_err() {
                return Parted::ClientLost;
            }
        }
    }
    // Whoever has left needs no goodbye.
    let _ = to_client.close().await;
    Parted::OutputEnded
}

/// What the buffer holds of output; none asks for more.
fn next(buffer: &mut BytesMut, demux: &mut Demux, output: Output) -> Option<Bytes> {
    match output {
        Output::Raw => (!buffer.is_empty()).then(|| buffer.split().freeze()),
        Output::Framed => {
            // Our own shims write the frames; what is none of them ends the output.
            let (channel, bytes) = demux.next(buffer).ok().flatten()?;
            (channel != Channel::System).then_some(bytes)
        }
    }
}

fn message(output: Bytes, messages: Messages) -> Message {
    match messages {
        Messages::Binary => Message::Binary(output),
        Messages::Text => {
            Message::Text(Utf8Bytes::from(String::from_utf8_lossy(&output).into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docker_api::frame::encode;
    use tokio::io::DuplexStream;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_key_of_the_rfc_has_the_answer_of_the_rfc() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let full = headers(&[key, version, ("upgrade", "WebSocket")]);
        assert_eq!(accept(&full).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for short in [
            &[key, version][..],
            &[key, ("upgrade", "websocket")],
            &[version, ("upgrade", "websocket")],
        ] {
            assert_eq!(accept(&headers(short)).unwrap_err().status, 400);
        }
    }

    #[test]
    fn pages_of_others_open_none() {
        let asked = |origin: &str| {
            headers(&[
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-version", "13"),
                ("upgrade", "websocket"),
                ("host", "127.0.0.1:2375"),
                ("origin", origin),
            ])
        };
        assert!(accept(&asked("http://127.0.0.1:2375")).is_ok());
        for origin in ["http://example.com", "http://127.0.0.1", "null", ""] {
            assert_eq!(accept(&asked(origin)).unwrap_err().status, 403, "{origin}");
        }
    }

    /// A client, and the container's end, with the join between them.
    async fn joined(
        output: Output,
        keys: Option<&str>,
    ) -> (WebSocketStream<DuplexStream>, UnixStream, tokio::task::JoinHandle<Parted>) {
        let (client, server) = tokio::io::duplex(PIPE);
        let (near, far) = UnixStream::pair().unwrap();
        let agreed = Agreed { accept: String::new(), output, messages: Messages::Binary };
        let keys = keys.map(|keys| DetachKeys::parse(Some(keys)).unwrap());
        let task =
            tokio::spawn(async move { join(server, Bytes::new(), (near, keys), &agreed).await });
        (WebSocketStream::from_raw_socket(client, Role::Client, None).await, far, task)
    }

    #[tokio::test]
    async fn both_streams_come_without_frames_and_the_end_is_told() {
        let (mut client, mut container, task) = joined(Output::Framed, None).await;
        client.send(Message::binary(&b"in"[..])).await.unwrap();
        let mut input = [0; 2];
        container.read_exact(&mut input).await.unwrap();
        assert_eq!(&input, b"in");
        for (channel, text) in [(Channel::Stdout, "out"), (Channel::Stderr, "err")] {
            container.write_all(&encode(channel, text.as_bytes())).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(text.as_bytes()));
        }
        drop(container);
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
        assert_eq!(task.await.unwrap(), Parted::OutputEnded);
    }

    async fn has_left(says_so: bool) {
        let (mut client, mut container, task) = joined(Output::Raw, None).await;
        client.send(Message::text("typed")).await.unwrap();
        let mut input = [0; 5];
        container.read_exact(&mut input).await.unwrap();
        assert_eq!(&input, b"typed");
        if says_so {
            client.close(None).await.unwrap();
        }
        drop(client);
        assert_eq!(task.await.unwrap(), Parted::ClientLost);
        assert_eq!(container.read(&mut input).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_closes_and_who_vanishes_has_left() {
        has_left(true).await;
        has_left(false).await;
    }

    #[tokio::test]
    async fn the_detach_keys_part_them() {
        let (mut client, container, task) = joined(Output::Raw, Some("ctrl-p,ctrl-q")).await;
        client.send(Message::binary(&b"ls\x10\x11"[..])).await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
        assert_eq!(task.await.unwrap(), Parted::Detached);
        drop(container);
    }

    /// More has been said than the client has room for, and it leaves without having read it.
    #[tokio::test]
    async fn who_leaves_before_the_last_words_is_not_waited_for() {
        let (mut client, mut container, task) = joined(Output::Raw, None).await;
        let words = tokio::spawn(async move {
            // It may be cut off in the middle.
            let _ = container.write_all(&[b'x'; 4 * PIPE]).await;
        });
        assert!(client.next().await.unwrap().unwrap().is_binary());
        client.close(None).await.unwrap();
        drop(client);
        task.await.unwrap();
        words.await.unwrap();
    }

    #[tokio::test]
    async fn which_end_it_was_is_told() {
        let raw = Agreed { accept: String::new(), output: Output::Raw, messages: Messages::Binary };
        for (has_left, ended) in [(true, Parted::ClientLost), (false, Parted::OutputEnded)] {
            let (client, server) = tokio::io::duplex(PIPE);
            let to_client = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
            let client = (!has_left).then_some(client);
            assert_eq!(speak(&b"said"[..], to_client, &raw).await, ended);
            drop(client);
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_in_text() {
        let output = Bytes::from_static(b"a\xff");
        assert_eq!(message(output.clone(), Messages::Text), Message::text("a\u{fffd}"));
        assert_eq!(message(output.clone(), Messages::Binary), Message::Binary(output));
    }
}
