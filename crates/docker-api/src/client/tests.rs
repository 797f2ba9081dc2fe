//! The client against scripted servers: bytes in, bytes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::frame::{self, Channel};
use crate::query::{AttachQuery, WaitCondition};
use crate::stream::Upload;
use crate::types::containers::CreateContainer;

/// A client whose every connection is served by `serve`, and how many there have been.
fn client<F, S>(serve: S) -> (Client, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(DuplexStream) -> F + Send + Sync + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let transport = Transport::memory(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(far));
        Ok(Box::new(near))
    });
    (Client::new(transport), count)
}

/// Reads the head of a request.
async fn head(io: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn reply(io: &mut DuplexStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    io.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (client, count) = client(|mut io| async move {
        while let Some(head) = head(&mut io).await {
            assert!(head.starts_with("GET /v1.51/version HTTP/1.1\r\n"), "{head}");
            reply(&mut io, "200 OK", r#"{"Version":"1","Components":null}"#).await;
        }
    });
    for _ in 0..3 {
        let version = client.version().await.unwrap();
        assert_eq!(version.value.version, "1");
        assert_eq!(&version.text[..], br#"{"Version":"1","Components":null}"#);
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_went_away_is_replaced() {
    let (client, count) = client(|mut io| async move {
        head(&mut io).await;
        reply(&mut io, "200 OK", "{}").await;
    });
    client.version().await.unwrap();
    client.version().await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_refusal_carries_status_and_message() {
    let (client, count) = client(|mut io| async move {
        while head(&mut io).await.is_some() {
            reply(&mut io, "404 Not Found", r#"{"message":"No such container: x"}"#).await;
        }
    });
    for _ in 0..2 {
        let error = client.container_inspect("x").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "No such container: x");
    }
    // An error is a reply like any other: its connection is kept.
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_says_what_it_sends() {
    let (client, _) = client(|mut io| async move {
        let head = head(&mut io).await.unwrap().to_ascii_lowercase();
        assert!(
            head.starts_with("post /v1.44/containers/create?name=a%20b http/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        reply(&mut io, "201 Created", r#"{"Id":"1","Warnings":null}"#).await;
    });
    let request = CreateContainer::default();
    let client = client.with_version("1.44");
    let created = client.container_create(&request, Some("a b"), None).await.unwrap();
    assert_eq!((created.id.as_str(), created.warnings.len()), ("1", 0));
}

#[tokio::test]
async fn waiting_begins_with_the_head() {
    let (go, went) = tokio::sync::oneshot::channel::<()>();
    let went = Arc::new(tokio::sync::Mutex::new(Some(went)));
    let (client, _) = client(move |mut io| {
        let went = went.clone();
        async move {
            head(&mut io).await;
            let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            io.write_all(start.as_bytes()).await.unwrap();
            went.lock().await.take().unwrap().await.unwrap();
            io.write_all(b"11\r\n{\"StatusCode\":3}\n\r\n0\r\n\r\n").await.unwrap();
        }
    });
    let waiting = client.container_wait("x", WaitCondition::NextExit).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(waiting.finish().await.unwrap().status_code, 3);
}

#[tokio::test]
async fn a_taken_connection_is_read_from_the_first_byte_and_half_closed() {
    let (client, _) = client(|mut io| async move {
        let head = head(&mut io).await.unwrap().to_ascii_lowercase();
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: tcp\r\n"), "{head}");
        let mut start = Vec::from(
            &b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
               Content-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"[..],
        );
        start.extend_from_slice(&frame::encode(Channel::Stdout, b"early"));
        io.write_all(&start).await.unwrap();
        let mut input = String::new();
        io.read_to_string(&mut input).await.unwrap();
        io.write_all(&frame::encode(Channel::Stderr, input.as_bytes())).await.unwrap();
    });
    let mut attached = client.container_attach("x", &AttachQuery::default()).await.unwrap();
    assert_eq!(attached.output.framing(), Framing::Multiplexed);
    let chunk = attached.output.next().await.unwrap().unwrap();
    assert_eq!((chunk.channel, &chunk.bytes[..]), (Channel::Stdout, &b"early"[..]));
    attached.input.write(b"typed").await.unwrap();
    attached.input.close().await.unwrap();
    let chunk = attached.output.next().await.unwrap().unwrap();
    assert_eq!((chunk.channel, &chunk.bytes[..]), (Channel::Stderr, &b"typed"[..]));
    assert_eq!(attached.output.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_take_over_is_a_refusal() {
    let (client, _) = client(|mut io| async move {
        head(&mut io).await;
        reply(&mut io, "409 Conflict", r#"{"message":"paused"}"#).await;
        head(&mut io).await;
        reply(&mut io, "200 OK", "").await;
    });
    let refused = client.container_attach("x", &AttachQuery::default()).await.unwrap_err();
    assert_eq!(refused.status(), Some(409));
    let ignored = client.container_attach("x", &AttachQuery::default()).await.unwrap_err();
    assert!(matches!(ignored, ApiError::NotUpgraded { status: 200, .. }), "{ignored}");
}

/// Reads a body that comes in chunks.
async fn chunked_body(io: &mut DuplexStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push(io.read_u8().await.unwrap().into());
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut piece = vec![0; size + 2];
        io.read_exact(&mut piece).await.unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&piece[..size]);
    }
}

#[tokio::test]
async fn an_archive_arrives_as_it_was_read() {
    let archive: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = archive.clone();
    let (client, _) = client(move |mut io| {
        let want = archive.clone();
        async move {
            head(&mut io).await;
            let got = chunked_body(&mut io).await;
            assert!(got == want);
            reply(&mut io, "200 OK", "{\"stream\":\"a\"}\r\n{\"stream\":\"b\"}\r\n").await;
        }
    });
    let upload = crate::stream::Upload::blocking(std::io::Cursor::new(sent));
    let mut progress = client.image_load(upload, None).await.unwrap();
    assert_eq!(progress.next().await.unwrap().unwrap().stream, "a");
    assert_eq!(progress.next().await.unwrap().unwrap().stream, "b");
    assert_eq!(progress.next().await.unwrap(), None);
}

#[tokio::test]
async fn no_server_is_named() {
    let client = Client::new(Transport::Unix("/nonexistent/dhow.sock".into()));
    let error = client.version().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to unix:///nonexistent/dhow.sock");
}

#[tokio::test]
async fn names_have_no_slash_before_them_and_are_never_empty() {
    let (client, count) = client(|mut io| async move {
        let head = head(&mut io).await.unwrap();
        assert!(head.starts_with("POST /v1.51/containers/web/start HTTP/1.1\r\n"), "{head}");
        reply(&mut io, "204 No Content", "").await;
    });
    client.container_start("/web", None).await.unwrap();
    // Without a name the path would be another's: the list of all, or none at all.
    for (refused, says) in [
        (client.container_start("", None).await.map(drop), "container"),
        (client.container_inspect("/").await.map(drop), "container"),
        (client.image_inspect("").await.map(drop), "image"),
        (client.network_inspect("").await.map(drop), "network"),
        (client.volume_inspect("").await.map(drop), "volume"),
    ] {
        let want = format!("invalid {says} name or ID: value is empty");
        assert_eq!(refused.unwrap_err().to_string(), want);
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_platform_of_an_archive_is_json_since_1_48() {
    let (client, _) = client(|mut io| async move {
        let head = head(&mut io).await.unwrap();
        let line = head.lines().next().unwrap().to_owned();
        reply(&mut io, "400 Bad Request", &format!(r#"{{"message":"{line}"}}"#)).await;
    });
    let json = "platform=%7B%22architecture%22%3A%22arm64%22%2C%22os%22%3A%22linux%22%7D";
    for (version, platform) in [("1.51", json), ("1.48", json), ("1.47", "platform=linux%2Farm64")]
    {
        let client = client.clone().with_version(version);
        let archive = Upload::blocking(std::io::empty());
        let loaded = client.image_load(archive, Some("linux/arm64")).await.map(drop);
        let saved = client.image_save(&["a"], Some("linux/arm64")).await.map(drop);
        for asked in [loaded, saved] {
            let asked = asked.unwrap_err().to_string();
            assert!(asked.contains(platform), "{version}: {asked}");
        }
    }
}
