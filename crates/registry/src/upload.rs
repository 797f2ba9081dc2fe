//! One blob into a repository: looked for, taken from another repository, or sent.
//!
//! A blob goes in one piece (`POST`, then `PUT`: distribution specification, "POST then PUT"). What breaks off begins
//! anew: few registries keep what has come.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::Digest;

use crate::limits::Attempts;
use crate::session::{Caller, RequestError, is_passing};
use crate::transport::{Answer, Ask, FilePart, Method, TransportError};
use crate::url::{Scheme, Url};

/// Names what a registry says that it has got.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A blob that a repository is to have.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Repositories of the same registry that should have it, by their paths.
    pub(crate) elsewhere: Vec<String>,
    /// How many of its bytes have gone.
    pub(crate) sent: Arc<AtomicU64>,
}

/// How a blob came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was.
    Exists,
    /// From this repository.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// Why a blob is not there.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The registry does not take it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The way to a place for it.
    #[error("the registry names no place to send it to")]
    NoLocation,
    /// The registry says that it is another.
    #[error("the registry has got {0} instead")]
    WrongDigest(String),
    /// It is not there to be sent.
    #[error(transparent)]
    Stored(#[from] store::BlobError),
    /// Another has failed.
    #[error("stopped")]
    Stopped,
}

impl From<TransportError> for UploadError {
    fn from(error: TransportError) -> Self {
        Self::Request(error.into())
    }
}

/// One thread's ways to a registry.
#[derive(Debug)]
pub(crate) struct Ways<'s> {
    /// To the repository.
    pub(crate) own: Caller<'s>,
    /// To it and to others that its blobs may be in. Whoever may write to the one need not be shown the others.
    pub(crate) mounting: Option<Caller<'s>>,
}

/// Brings one blob there, with as many attempts as the limits allow. `open` opens it anew for each.
pub(crate) fn bring(
    ways: &mut Ways<'_>,
    blob: &Blob,
    stop: &Arc<AtomicBool>,
    open: impl Fn() -> Result<File, store::BlobError>,
) -> Result<Way, UploadError> {
    let mut attempts = Attempts::new();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(UploadError::Stopped);
        }
        let failed = match once(ways, blob, stop, &open) {
            Err(UploadError::Request(error)) if may_pass(&error) => error,
            outcome => return outcome,
        };
        match attempts.fail(ways.own.session.limits()) {
            _ if stop.load(Ordering::Relaxed) => return Err(UploadError::Stopped),
            Some(pause) => std::thread::sleep(pause),
            None => return Err(failed.into()),
        }
    }
}

/// Whether a new attempt may fare better. A place that the registry has forgotten is begun anew.
fn may_pass(error: &RequestError) -> bool {
    match error {
        RequestError::Transport(error) => error.is_passing(),
        RequestError::Status { status, .. } => {
            is_passing(*status) || *status == StatusCode::NOT_FOUND
        }
        RequestError::Auth(_) => false,
    }
}

fn once(
    ways: &mut Ways<'_>,
    blob: &Blob,
    stop: &Arc<AtomicBool>,
    open: impl Fn() -> Result<File, store::BlobError>,
) -> Result<Way, UploadError> {
    if exists(&mut ways.own, &blob.digest)? {
        return Ok(Way::Exists);
    }
    let place = match mount(ways, blob) {
        Mounted::From(repository) => return Ok(Way::Mounted(repository)),
        Mounted::Begun(place) => place,
        Mounted::No => {
            let answer = begin(&mut ways.own, "")?;
            let place = location(&ways.own, &answer)?;
            answer.body.discard();
            place
        }
    };
    send(&mut ways.own, blob, &place, stop, open()?)
}

/// A registry that does not say whether it has something may take it all the same, as with Docker.
fn exists(caller: &mut Caller<'_>, digest: &Digest) -> Result<bool, RequestError> {
    let url = caller.session.at(&format!("blobs/{digest}"));
    match caller.ask(&Ask { url, headers: HeaderMap::new(), method: Method::Head }) {
        Ok(_) => Ok(true),
        Err(RequestError::Status { .. }) => Ok(false),
        Err(error @ (RequestError::Auth(_) | RequestError::Transport(_))) => Err(error),
    }
}

/// What came of asking for a blob of another repository.
enum Mounted {
    From(String),
    /// An upload was begun in its stead, here.
    Begun(Url),
    No,
}

/// Asks for a blob of each repository that may have it. That it is refused, in whatever way, says nothing about an upload.
fn mount(ways: &mut Ways<'_>, blob: &Blob) -> Mounted {
    let Some(caller) = &mut ways.mounting else { return Mounted::No };
    let mut place: Option<Url> = None;
    for from in &blob.elsewhere {
        let Ok(answer) = begin(caller, &format!("?mount={}&from={from}", blob.digest)) else {
            continue;
        };
        if answer.status == StatusCode::CREATED && check(&answer, &blob.digest).is_ok() {
            answer.body.discard();
            return Mounted::From(from.clone());
        }
        let begun = location(caller, &answer);
        answer.body.discard();
        // One is enough.
        match (begun, &place) {
            (Ok(begun), None) => place = Some(begun),
            (Ok(begun), Some(_)) => give_up(caller, begun),
            (Err(_), _) => {}
        }
    }
    place.map_or(Mounted::No, Mounted::Begun)
}

fn begin(caller: &mut Caller<'_>, query: &str) -> Result<Answer, RequestError> {
    let url = caller.session.at(&format!("blobs/uploads/{query}"));
    let method = Method::Post(Bytes::new());
    caller.ask(&Ask { url, headers: HeaderMap::new(), method })
}

/// A registry that keeps it for a while does no harm.
fn give_up(caller: &mut Caller<'_>, place: Url) {
    let ask = Ask { url: place, headers: HeaderMap::new(), method: Method::Delete };
    if let Ok(answer) = caller.ask_once(ask) {
        answer.body.discard();
    }
}

/// Where it is to be sent. What is encrypted stays so.
fn location(caller: &Caller<'_>, answer: &Answer) -> Result<Url, UploadError> {
    let text = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let from = answer.origin.clone();
    let base = caller.session.at("blobs/uploads/");
    let place = base.join(text.ok_or(UploadError::NoLocation)?);
    let place = place.map_err(|source| TransportError::Location { from: from.clone(), source })?;
    if (from.scheme, place.origin.scheme) == (Scheme::Https, Scheme::Http) {
        return Err(TransportError::Downgrade { from, to: place.origin }.into());
    }
    Ok(place)
}

fn send(
    caller: &mut Caller<'_>,
    blob: &Blob,
    place: &Url,
    stop: &Arc<AtomicBool>,
    file: File,
) -> Result<Way, UploadError> {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    let file = FilePart::new(file, blob.size, Arc::clone(&blob.sent), Arc::clone(stop));
    let url = place.with_query(&format!("digest={}", blob.digest));
    let answer = caller.ask_once(Ask { url, headers, method: Method::Upload(file) })?;
    check(&answer, &blob.digest)?;
    answer.body.discard();
    Ok(Way::Sent)
}

/// Whether the registry says that it has got this, if it says anything.
pub(crate) fn check(answer: &Answer, digest: &Digest) -> Result<(), UploadError> {
    let said = answer.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
    match said {
        Some(said) if said != digest.to_string() => {
            Err(UploadError::WrongDigest(model::shown::shown(said)))
        }
        Some(_) | None => Ok(()),
    }
}
