//! Push: from an image in the store to a reference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::push::PushStep;
use model::{Digest, ImageId, Reference};
use store::{ImageRecord, NewImage, Operation, Store};

use crate::answer::Code;
use crate::auth::AuthError;
use crate::credentials::Credentials;
use crate::pull::Registry;
use crate::session::{Access, Caller, RequestError, Session};
use crate::transport::{Ask, Method, TransportError};
use crate::upload::{self, Blob, UploadError, Way, Ways};

/// How many blobs go at once, as in Docker.
const PARALLEL: usize = 5;
/// From so many other repositories are blobs taken at most: each is one scope more of a token.
const ELSEWHERE_MAX: usize = 4;
/// How often is told how far a layer has come.
const LOOK: Duration = Duration::from_millis(100);

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Not for whoever asks.
    #[error("{}", denied(.name, .reason))]
    Denied {
        /// The repository, as people write it.
        name: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry cannot be asked, or says no.
    #[error("push {reference} to {registry}: {source}")]
    Request {
        /// As people write it.
        reference: String,
        /// The registry.
        registry: String,
        /// Why.
        source: Box<RequestError>,
    },
    /// A layer or the configuration was not taken.
    #[error("push {digest} to {registry}: {source}")]
    Blob {
        /// The registry.
        registry: String,
        /// The blob.
        digest: Digest,
        /// Why.
        source: Box<UploadError>,
    },
    /// No thread to push with.
    #[error("start a thread: {0}")]
    Thread(std::io::Error),
    /// Before any request.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The store.
    #[error(transparent)]
    Begin(#[from] store::BeginError),
    /// The store.
    #[error(transparent)]
    Publish(#[from] store::PublishError),
    /// The image's manifest.
    #[error(transparent)]
    Manifest(#[from] store::ManifestError),
    /// The store's blobs.
    #[error(transparent)]
    Stored(#[from] store::BlobError),
    /// The store's images.
    #[error(transparent)]
    Db(#[from] store::DbError),
}

impl PushError {
    /// Whether the registry wants to be asked less often.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        match self {
            Self::Request { source, .. } => source.is_rate_limit(),
            Self::Blob { source, .. } => {
                matches!(source.as_ref(), UploadError::Request(error) if error.is_rate_limit())
            }
            Self::Denied { .. }
            | Self::Thread(_)
            | Self::Transport(_)
            | Self::Begin(_)
            | Self::Publish(_)
            | Self::Manifest(_)
            | Self::Stored(_)
            | Self::Db(_) => false,
        }
    }

    fn request(reference: &Reference, error: RequestError) -> Self {
        match refusal(error) {
            Ok(reason) => Self::Denied { name: reference.familiar_name(), reason },
            Err(error) => Self::Request {
                reference: reference.familiar(),
                registry: reference.domain().to_owned(),
                source: Box::new(error),
            },
        }
    }

    fn blob(reference: &Reference, digest: Digest, error: UploadError) -> Self {
        let refused = |error| match refusal(error) {
            Ok(reason) => Err(Self::Denied { name: reference.familiar_name(), reason }),
            Err(error) => Ok(UploadError::Request(error)),
        };
        let error = match error {
            UploadError::Request(error) => match refused(error) {
                Ok(error) => error,
                Err(denied) => return denied,
            },
            error @ (UploadError::NoLocation
            | UploadError::WrongDigest(_)
            | UploadError::Stored(_)
            | UploadError::Stopped) => error,
        };
        let registry = reference.domain().to_owned();
        Self::Blob { registry, digest, source: Box::new(error) }
    }
}

/// The registry's words, if it says that it is not for whoever asks.
fn refusal(error: RequestError) -> Result<String, RequestError> {
    match error {
        RequestError::Auth(AuthError::Denied(reason) | AuthError::Refused(reason)) => Ok(reason),
        RequestError::Status { status, reason }
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                || reason.code == Code::Denied =>
        {
            Ok(reason.text)
        }
        error @ (RequestError::Auth(_)
        | RequestError::Status { .. }
        | RequestError::Transport(_)) => Err(error),
    }
}

/// Docker shows what the registry says, and has these words for one that says nothing.
fn denied(name: &str, reason: &str) -> String {
    let reason = match reason {
        "" => "denied: requested access to the resource is denied",
        reason => reason,
    };
    format!("push access to {name} denied: {reason}")
}

/// What is pushed.
#[derive(Debug, Clone)]
pub struct Push<'p> {
    /// With a tag.
    pub reference: &'p Reference,
    /// In the store.
    pub image: ImageId,
    /// Who asks.
    pub credentials: Credentials,
    /// Nanoseconds since the epoch.
    pub now_ns: i64,
}

/// What a repository has now under a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// Hears of each layer, by the digest of its blob.
pub type TellPush<'t> = dyn FnMut(Digest, PushStep) + 't;

/// What the threads of one push share.
struct Round<'r> {
    session: &'r Session,
    /// One that other repositories may be named in.
    mounting: Option<&'r Session>,
    store: &'r Store,
    reference: &'r Reference,
    queue: Mutex<VecDeque<&'r Blob>>,
    stop: Arc<AtomicBool>,
}

/// What a thread says.
enum Word {
    Begun(Digest),
    Done(Digest, Way),
    Failed(PushError),
}

impl Registry {
    /// Pushes an image of `store`. Blocks.
    ///
    /// # Errors
    /// The registry does not take it. What has come of it stays there without a name.
    pub fn push(
        &self,
        store: &Store,
        push: &Push<'_>,
        tell: &mut TellPush<'_>,
    ) -> Result<Pushed, PushError> {
        let image = store.images().get(&push.image)?;
        let image = image.ok_or(store::ManifestError::NoSuchImage(push.image))?;
        let (kind, manifest) = store.images().manifest(&push.image)?;
        let config = store.images().config_bytes(&push.image)?;
        let config = config.ok_or(store::ManifestError::NoSuchImage(push.image))?;
        let operation = store.begin()?;
        let blobs = blobs(store, &operation, &image, push.reference, config.len() as u64)?;
        let begin = |others: Vec<String>| {
            self.session(push.reference, &Access::Push(others), push.credentials.clone())
        };
        let others: BTreeSet<&String> = blobs.iter().flat_map(|blob| &blob.elsewhere).collect();
        let session = begin(Vec::new())?;
        let others: Vec<String> = others.into_iter().cloned().collect();
        let mounting = if others.is_empty() { None } else { Some(begin(others)?) };
        announce(&blobs, tell);
        let round = Round {
            session: &session,
            mounting: mounting.as_ref(),
            store,
            reference: push.reference,
            // The configuration is first in the list, and goes when its layers are there.
            queue: Mutex::new(blobs.iter().skip(1).collect()),
            stop: Arc::default(),
        };
        round.all(&blobs, tell)?;
        let mut ways = round.ways()?;
        round.one(&mut ways, &blobs[0])?;
        let pushed = Pushed { digest: store::oci::digest(&manifest), size: manifest.len() as u64 };
        round.manifest(&mut ways.own, &kind, &pushed, manifest.clone())?;
        let name = push.reference.at_digest(pushed.digest);
        if !image.repo_digests.contains(&name) {
            let repo_digests = vec![name];
            let now_ns = push.now_ns;
            let tags = Vec::new();
            operation.publish(&[NewImage { manifest, config, tags, repo_digests, now_ns }])?;
        }
        Ok(pushed)
    }
}

/// The configuration, then the layers, the last first as Docker tells them, each once. They stay until the operation ends.
fn blobs(
    store: &Store,
    operation: &Operation,
    image: &ImageRecord,
    reference: &Reference,
    config_size: u64,
) -> Result<Vec<Blob>, PushError> {
    let elsewhere = elsewhere(store, reference)?;
    let blob = |digest: Digest, size: u64| -> Result<Blob, PushError> {
        operation
            .has_blob(&digest, size)?
            .then(|| Blob {
                digest,
                size,
                elsewhere: elsewhere.get(&digest).cloned().unwrap_or_default(),
                sent: Arc::default(),
            })
            .ok_or(PushError::Stored(store::BlobError::Missing(digest)))
    };
    let mut all = vec![blob(image.id.0, config_size)?];
    for layer in image.layers.iter().rev() {
        let is_known = all.iter().any(|known| known.digest == layer.blob);
        if !is_known {
            all.push(blob(layer.blob, layer.blob_size)?);
        }
    }
    Ok(all)
}

/// Other repositories of the same registry that each blob should be in: images have been pulled from or pushed to
/// there.
fn elsewhere(
    store: &Store,
    reference: &Reference,
) -> Result<BTreeMap<Digest, Vec<String>>, PushError> {
    let mut found: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for image in store.images().list()? {
        let names = image.repo_digests.iter().filter(|name| name.domain() == reference.domain());
        for path in names.map(Reference::path).filter(|path| *path != reference.path()) {
            if used.len() == ELSEWHERE_MAX && !used.contains(path) {
                continue;
            }
            used.insert(path.to_owned());
            for layer in &image.layers {
                found.entry(layer.blob).or_default().insert(path.to_owned());
            }
        }
    }
    Ok(found.into_iter().map(|(blob, paths)| (blob, paths.into_iter().collect())).collect())
}

/// Tells what is going to happen to each layer.
fn announce(blobs: &[Blob], tell: &mut TellPush<'_>) {
    let layers = || blobs.iter().skip(1);
    layers().for_each(|blob| tell(blob.digest, PushStep::Preparing));
    layers().skip(PARALLEL).for_each(|blob| tell(blob.digest, PushStep::Waiting));
}

impl Round<'_> {
    /// Brings all layers there.
    fn all(&self, blobs: &[Blob], tell: &mut TellPush<'_>) -> Result<(), PushError> {
        let threads = PARALLEL.min(blobs.len() - 1);
        std::thread::scope(|scope| {
            let (say, words) = channel();
            let begin = || {
                let say = say.clone();
                let thread = std::thread::Builder::new().name("push".to_owned());
                thread.spawn_scoped(scope, move || self.work(&say)).map(drop)
            };
            let mut begun = (0..threads).map(|_| begin());
            // The layers are in a queue: fewer threads than are wanted bring them as well.
            let first = begun.next().unwrap_or(Ok(()));
            begun.for_each(drop);
            first.map_err(PushError::Thread).inspect_err(|_| self.give_up())?;
            drop(say);
            self.hear(blobs, &words, tell)
        })
    }

    /// Tells what the threads say, and how far each layer is, until all have ended.
    fn hear(
        &self,
        blobs: &[Blob],
        words: &Receiver<Word>,
        tell: &mut TellPush<'_>,
    ) -> Result<(), PushError> {
        let mut under_way: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut failed = None;
        loop {
            match words.recv_timeout(LOOK) {
                Ok(Word::Begun(digest)) => drop(under_way.insert(digest, 0)),
                Ok(Word::Done(digest, way)) => {
                    under_way.remove(&digest);
                    tell(digest, step(way));
                }
                Ok(Word::Failed(error)) => {
                    self.give_up();
                    failed.get_or_insert(error);
                }
                Err(RecvTimeoutError::Timeout) => progress(blobs, &mut under_way, tell),
                Err(RecvTimeoutError::Disconnected) => return failed.map_or(Ok(()), Err),
            }
        }
    }

    fn give_up(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// One thread's ways to the registry.
    fn ways(&self) -> Result<Ways<'_>, TransportError> {
        let mounting = self.mounting.map(Session::caller).transpose()?;
        Ok(Ways { own: self.session.caller()?, mounting })
    }

    /// What one thread does.
    fn work(&self, say: &Sender<Word>) {
        // Nobody hears it who has gone already.
        let say = |word| drop(say.send(word));
        let mut ways = match self.ways() {
            Ok(ways) => ways,
            Err(error) => return say(Word::Failed(error.into())),
        };
        while let Some(blob) = self.next() {
            say(Word::Begun(blob.digest));
            match self.one(&mut ways, blob) {
                Ok(way) => say(Word::Done(blob.digest, way)),
                Err(error) => return say(Word::Failed(error)),
            }
        }
    }

    fn next(&self) -> Option<&Blob> {
        let goes_on = !self.stop.load(Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        goes_on.then(|| queue.pop_front()).flatten()
    }

    fn one(&self, ways: &mut Ways<'_>, blob: &Blob) -> Result<Way, PushError> {
        let open = || self.store.blobs().open(&blob.digest);
        upload::bring(ways, blob, &self.stop, open)
            .map_err(|error| PushError::blob(self.reference, blob.digest, error))
    }

    fn manifest(
        &self,
        caller: &mut Caller<'_>,
        kind: &str,
        pushed: &Pushed,
        bytes: Vec<u8>,
    ) -> Result<(), PushError> {
        let tag = self.reference.tag().unwrap_or(model::reference::DEFAULT_TAG);
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::from_str(kind).ok().map(|kind| (header::CONTENT_TYPE, kind)));
        let url = self.session.at(&format!("manifests/{tag}"));
        let method = Method::Put(Bytes::from(bytes));
        let answer = caller.ask_again(&Ask { url, headers, method });
        let answer = answer.map_err(|error| PushError::request(self.reference, error))?;
        let checked = upload::check(&answer, &pushed.digest);
        answer.body.discard();
        checked.map_err(|error| PushError::blob(self.reference, pushed.digest, error))
    }
}

fn step(way: Way) -> PushStep {
    match way {
        Way::Exists => PushStep::Exists,
        Way::Mounted(from) => PushStep::Mounted(from),
        Way::Sent => PushStep::Pushed,
    }
}

/// Tells of each layer that has moved since.
fn progress(blobs: &[Blob], under_way: &mut BTreeMap<Digest, u64>, tell: &mut TellPush<'_>) {
    for blob in blobs {
        let Some(told) = under_way.get_mut(&blob.digest) else { continue };
        let current = blob.sent.load(Ordering::Relaxed);
        if current != *told {
            *told = current;
            tell(blob.digest, PushStep::Pushing { current, total: blob.size });
        }
    }
}
