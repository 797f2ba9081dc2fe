//! One request on its way to the engine: its parameters, its body, its connection.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use docker_api::json::{self, Parsed};
use engine::{Engine, EngineError};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE, USER_AGENT};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::{Form, Hijack, Leaving};
use crate::error::HttpError;
use crate::params::Query;
use crate::quirks::ApiVersion;
use crate::reply::{Pieces, Reply};
use crate::service::Shared;

/// Of bodies that are read as a whole. Archives are not.
const BODY_MAX: usize = 8 << 20;
/// How long such a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// How long an archive's may be waited for; what its reader takes does not count.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// For so many bytes that have come it may take a second more.
const BODY_RATE: u64 = 1 << 10;

/// Who else waits for the thread that a connection is served on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Only whoever sent the request, and it waits for the reply.
    Alone,
    /// Other connections.
    Others,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) company: Company,
    pub(crate) api: ApiVersion,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) engine: Engine,
    pub(crate) body: Incoming,
    pub(crate) hijack: mpsc::Sender<Hijack>,
    /// The service, if this is not the command line's own process.
    pub(crate) service: Option<Arc<Shared>>,
}

impl Call {
    /// Runs a verb of the engine where it may block.
    pub(crate) async fn run<T, F>(&self, verb: F) -> Result<T, HttpError>
    where
        F: FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
        T: Send + 'static,
    {
        let engine = self.engine.clone();
        blocking(move || verb(&engine).map_err(HttpError::from)).await?
    }

    /// The same for a verb that waits for a container's end, which may take as long as its user likes.
    pub(crate) async fn run_long<T, F>(&self, verb: F) -> Result<T, HttpError>
    where
        F: FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
        T: Send + 'static,
    {
        let engine = self.engine.clone();
        apart(move || verb(&engine).map_err(HttpError::from)).await?
    }

    /// The same for a verb that waits for nobody: it reads, or asks a shim for what a shim does at
    /// once. In the command line's own process it is run on the spot, where a thread, and the way
    /// there and back, would take longer than most of these verbs (0.2 ms of 1.7 for `ps`).
    pub(crate) async fn run_brief<T, F>(&self, verb: F) -> Result<T, HttpError>
    where
        F: FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
        T: Send + 'static,
    {
        match self.company {
            Company::Alone => verb(&self.engine).map_err(HttpError::from),
            Company::Others => self.run(verb).await,
        }
    }

    /// Reads a JSON body; none at all reads as `{}`.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<Parsed<T>, HttpError> {
        let text = self.json_text().await?;
        let text = if text.is_empty() { Bytes::from_static(b"{}") } else { text };
        Ok(json::parse(&text)?)
    }

    /// The text of a JSON body; empty if there is none.
    pub(crate) async fn json_text(&mut self) -> Result<Bytes, HttpError> {
        let text = whole(&mut self.body).await?;
        if !text.is_empty() {
            self.expect_json()?;
        }
        Ok(text)
    }

    fn expect_json(&self) -> Result<(), HttpError> {
        let kind = self.headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(HttpError::bad_request(format!(
            "unsupported Content-Type header ({}): must be 'application/json'",
            kind.unwrap_or_default()
        )))
    }

    /// Whether the client asked for the connection in HTTP's own way.
    pub(crate) fn wants_upgrade(&self) -> bool {
        let connection = self.headers.get(CONNECTION).and_then(|value| value.to_str().ok());
        let names_it = |token: &str| token.trim().eq_ignore_ascii_case("upgrade");
        self.headers.contains_key(UPGRADE) && connection.is_some_and(|c| c.split(',').any(names_it))
    }

    /// Whether the client is written in Go, whose HTTP gives what follows a head to whoever takes the
    /// connection over.
    fn keeps_early(&self) -> bool {
        let agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        agent.is_some_and(|name| {
            name.starts_with("Docker-Client/") || name.starts_with("Go-http-client/")
        })
    }

    /// Gives the connection to a container's streams. The reply that this is declared to return
    /// never comes: HTTP has ended on this connection.
    pub(crate) async fn hijack(
        self,
        container: std::os::unix::net::UnixStream,
        form: Form,
        leaving: Option<Leaving>,
    ) -> Result<Reply, HttpError> {
        container
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixStream::from_std(container))
            .map_err(|e| HttpError::internal(format!("using the container's stream: {e}")))
            .map(|container| Hijack { form, container, leaving, keeps_early: self.keeps_early() })?
            .send(&self.hijack)
            .await;
        std::future::pending().await
    }

    /// The body as a blocking reader, and the pump that feeds it: to be run beside the reading.
    pub(crate) fn into_reader(self) -> (BodyReader, impl Future<Output = ()> + Send) {
        let (send, receive) = mpsc::channel(4);
        let pump = pump(self.body, send);
        (BodyReader { pieces: receive, current: Bytes::new() }, pump)
    }
}

/// A body that is short and comes in time: who sends a byte now and then would keep its place for ever.
async fn whole<B>(mut body: B) -> Result<Bytes, HttpError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let begun = Instant::now();
    let mut all = BytesMut::new();
    loop {
        let earned = Duration::from_secs(all.len() as u64 / BODY_RATE);
        let Ok(frame) = timeout_at(begun + BODY_PATIENCE + earned, body.frame()).await else {
            let seconds = begun.elapsed().as_secs();
            let said =
                format!("the request body took too long: {} bytes in {seconds} s", all.len());
            return Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, said));
        };
        let data = match frame.map(|frame| frame.map(Frame::into_data)) {
            None => return Ok(all.freeze()),
            Some(Ok(Ok(data))) => data,
            Some(Ok(Err(_trailers))) => continue,
            Some(Err(error)) => {
                return Err(HttpError::bad_request(format!("reading request body: {error}")));
            }
        };
        if all.len() + data.len() > BODY_MAX {
            return Err(HttpError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("request body is larger than {BODY_MAX} bytes"),
            ));
        }
        all.extend_from_slice(&data);
    }
}

/// Runs what may block on a thread where it may.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, HttpError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| HttpError::internal(format!("the operation did not end: {e}")))
}

/// Runs what may block for as long as a container lives. Each has a thread of its own: the pool
/// that [`blocking`] takes its threads from is bounded, and many waits would leave none to others.
pub(crate) fn lasting<F>(work: F) -> Result<(), HttpError>
where
    F: FnOnce() + Send + 'static,
{
    let spawned = std::thread::Builder::new().spawn(work);
    spawned.map(drop).map_err(|e| HttpError::internal(format!("starting a thread: {e}")))
}

/// The same as [`blocking`] on a thread of its own: for what waits for the client or for a container.
pub(crate) async fn apart<T, F>(work: F) -> Result<T, HttpError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (send, done) = oneshot::channel();
    lasting(move || {
        // Whoever asked may have gone.
        let _ = send.send(work());
    })?;
    done.await.map_err(|_| HttpError::internal("the operation did not end"))
}

/// How many pieces of a body, of 64 KiB at most, are made before somebody reads them: what each slow reader keeps
/// in memory.
const AHEAD: usize = 8;

/// The same for what makes the pieces of a body. `hangup` is kept until nobody wants more of them:
/// the work waits on the other end of that pipe.
pub(crate) fn lasting_body<F>(hangup: Option<io::PipeWriter>, work: F) -> Result<Pieces, HttpError>
where
    F: FnOnce(&mpsc::Sender<io::Result<Bytes>>) + Send + 'static,
{
    let (send, receive) = mpsc::channel(AHEAD);
    let closed = send.clone();
    let (running, ended) = oneshot::channel::<()>();
    lasting(move || {
        work(&send);
        drop(running);
    })?;
    // This sender must go when the work has ended, or the body never would.
    tokio::spawn(async move {
        tokio::select! {
            () = closed.closed() => {}
            _ = ended => {}
        }
        drop(hangup);
    });
    Ok(receive)
}

/// Feeds a reader. Whoever makes an archive may be slow, and who reads it as well; but one of which nothing comes
/// any more, or a byte now and then, would keep what it is read for for ever.
async fn pump<B>(mut body: B, send: mpsc::Sender<io::Result<Bytes>>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut came, mut waited) = (0, Duration::ZERO);
    loop {
        let patience = ARCHIVE_PATIENCE + Duration::from_secs(came / BODY_RATE);
        let begun = Instant::now();
        let frame = timeout(patience.saturating_sub(waited), body.frame()).await;
        waited += begun.elapsed();
        let piece = match frame {
            Ok(None) => return,
            Ok(Some(frame)) => match frame.map(Frame::into_data) {
                Ok(Ok(data)) => Ok(data),
                Ok(Err(_trailers)) => continue,
                Err(error) => Err(io::Error::other(error)),
            },
            Err(_) => {
                let seconds = waited.as_secs();
                let why = format!("the request body took too long: {came} bytes in {seconds} s");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        };
        came += piece.as_ref().map_or(0, |data| data.len() as u64);
        let is_last = piece.is_err();
        // The reader has what it wants; the rest of the body is dropped with the connection.
        if send.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// A request's body for code that blocks. A connection that breaks is an error, never an end.
#[derive(Debug)]
pub(crate) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.current.len());
        buffer[..n].copy_from_slice(&self.current[..n]);
        self.current.advance(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures_util::stream;
    use http_body_util::StreamBody;

    /// A body of so many pieces, each so long, of which one comes each so often.
    fn slow(
        count: usize,
        length: usize,
        gap: Duration,
    ) -> impl Body<Data = Bytes, Error = io::Error> + Unpin {
        let pieces = stream::unfold(0, move |at| async move {
            if at == count {
                return None;
            }
            tokio::time::sleep(gap).await;
            Some((Ok(Frame::data(Bytes::from(vec![b' '; length]))), at + 1))
        });
        StreamBody::new(Box::pin(pieces))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_and_not_trickle() {
        let second = Duration::from_secs(1);
        let trickles = whole(slow(1000, 1, 7 * second)).await.unwrap_err();
        assert_eq!(trickles.status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(trickles.message, "the request body took too long: 8 bytes in 60 s");
        let silent = whole(slow(1, 1, 100 * second)).await.unwrap_err();
        assert_eq!(silent.message, "the request body took too long: 0 bytes in 60 s");
        // A modem's.
        assert_eq!(whole(slow(1000, 2 << 10, second)).await.unwrap().len(), 2_048_000);
        assert_eq!(whole(slow(0, 1, second)).await.unwrap().len(), 0);
        let large = whole(slow(9, 1 << 20, second)).await.unwrap_err();
        assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    /// What a reader is given: so many bytes, and what was wrong.
    async fn pumped(
        body: impl Body<Data = Bytes, Error = io::Error> + Unpin,
        reads: Duration,
    ) -> (usize, Option<io::Error>) {
        let (send, mut pieces) = mpsc::channel::<io::Result<Bytes>>(1);
        let mut bytes = 0;
        let read = async {
            while let Some(piece) = pieces.recv().await {
                tokio::time::sleep(reads).await;
                match piece {
                    Ok(piece) => bytes += piece.len(),
                    Err(error) => return Some(error),
                }
            }
            None
        };
        let (error, ()) = tokio::join!(read, pump(body, send));
        (bytes, error)
    }

    #[tokio::test(start_paused = true)]
    async fn an_archive_may_be_slow_and_not_trickle() {
        let minute = Duration::from_secs(60);
        let more = Duration::from_secs(61);
        let (bytes, error) = pumped(slow(1000, 1, more), Duration::ZERO).await;
        let error = error.unwrap();
        assert_eq!((bytes, error.kind()), (14, io::ErrorKind::TimedOut));
        assert_eq!(error.to_string(), "the request body took too long: 14 bytes in 900 s");
        // One that is made slowly, one that is paused once, and one whose reader is slow.
        for (body, reads) in [
            (slow(100, 100 << 10, minute), Duration::ZERO),
            (slow(1, 1, 14 * minute), Duration::ZERO),
            (slow(100, 1, Duration::ZERO), minute),
        ] {
            assert!(pumped(body, reads).await.1.is_none());
        }
    }
}
