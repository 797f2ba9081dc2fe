//! Archives and pulls: bodies that are large or long, with progress while they run.

use std::io::{self, Write};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use docker_api::types::images::AuthConfig;
use docker_api::types::progress::Progress as Wire;
use engine::view::{ImportOptions, Progress, RegistryAuth};
use engine::{Engine, EngineError};
use model::{NameOrId, Platform, Reference};
use tokio::sync::mpsc;

use crate::call::{Call, lasting};
use crate::error::HttpError;
use crate::raise;
use crate::reply::{self, JSON, OCTETS, Pieces, Reply, TAR};

/// How much of an archive is sent at once.
const PIECE: usize = 256 << 10;

/// Clients pad or do not, as they please.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `GET /containers/{id}/export`.
pub(super) async fn export(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    // What is wrong with the name is said before the archive begins.
    let lookup = who.clone();
    call.run(move |engine| engine.inspect(&lookup)).await?;
    let write = move |engine: &Engine, to: &mut dyn Write| engine.export(&who, to);
    Ok(reply::stream(OCTETS, archive(call.engine, write)?))
}

/// `GET /images/get` and `GET /images/{name}/get`.
pub(super) async fn save(call: Call, names: Vec<String>) -> Result<Reply, HttpError> {
    if names.is_empty() {
        return Err(HttpError::bad_request("names is required"));
    }
    if archived_platform(&call)?.is_some_and(|platform| platform != Platform::host()) {
        return Err(HttpError::later("saving another platform than the host's"));
    }
    let lookup = names.clone();
    call.run(move |engine| engine.image_can_save(&lookup)).await?;
    let write = move |engine: &Engine, to: &mut dyn Write| engine.image_save(&names, to);
    Ok(reply::stream(TAR, archive(call.engine, write)?))
}

/// Runs something that writes an archive, on a thread of its own. An error breaks the connection
/// off in the middle of the body: a client must not take a part for the whole.
pub(super) fn archive<F>(engine: Engine, write: F) -> Result<Pieces, HttpError>
where
    F: FnOnce(&Engine, &mut dyn Write) -> Result<(), EngineError> + Send + 'static,
{
    let (send, receive) = mpsc::channel(2);
    lasting(move || {
        let mut to = PieceWriter::new(send);
        let written = write(&engine, &mut to);
        let ended = match written {
            Ok(()) => to.flush(),
            Err(error) => to.send.blocking_send(Err(io::Error::other(error))).map_err(gone),
        };
        // Nobody reads any more, so nobody wants to know.
        drop(ended);
    })?;
    Ok(receive)
}

/// Gathers what is written into pieces of a body.
#[derive(Debug)]
pub(super) struct PieceWriter {
    send: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl PieceWriter {
    pub(super) fn new(send: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { send, buffer: Vec::new() }
    }
}

pub(super) fn gone<T>(_: mpsc::error::SendError<T>) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone")
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.send.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

/// `POST /images/load`.
pub(super) async fn load(call: Call) -> Result<Reply, HttpError> {
    let platform = archived_platform(&call)?;
    let engine = call.engine.clone();
    let (reader, pump) = call.into_reader();
    tokio::spawn(pump);
    let mut told = Told::begin(move |tell| engine.image_load(reader, platform, tell))?;
    // Docker answers 200 and tells what is wrong with an archive in the stream.
    match told.first().await {
        First::Message(message) => Ok(told.stream(Some(message))),
        First::Ended(Ok(())) => Ok(told.stream(None)),
        First::Ended(Err(error)) => Ok(told.stream(Some(Wire::failed(error.message)))),
    }
}

/// `POST /images/create?fromSrc=-`.
pub(super) async fn import(call: Call) -> Result<Reply, HttpError> {
    let options = import_options(&call, "-")?;
    let engine = call.engine.clone();
    let (reader, pump) = call.into_reader();
    tokio::spawn(pump);
    let importing = move |tell: &mut Tell| {
        let id = engine.image_import(reader, &options)?;
        tell(Progress::Imported(id));
        Ok(())
    };
    Told::begin(importing)?.reply().await
}

/// `POST /images/create?fromSrc=URL`.
pub(super) async fn import_from(call: Call, url: String) -> Result<Reply, HttpError> {
    let options = import_options(&call, &url)?;
    let engine = call.engine;
    let importing = move |tell: &mut Tell| {
        let id = engine.image_import_from(&url, &options, tell)?;
        tell(Progress::Imported(id));
        Ok(())
    };
    Told::begin(importing)?.reply().await
}

/// Docker says where an image has come from if nobody says anything else.
fn import_options(call: &Call, from: &str) -> Result<ImportOptions, HttpError> {
    let query = &call.query;
    let message = query.get("message").filter(|message| !message.is_empty());
    let reference = query.get("repo").map(|repo| with_tag(repo, query.get("tag"))).transpose()?;
    Ok(ImportOptions {
        reference: reference.map(|reference| reference.to_string()),
        message: message.map_or_else(|| format!("Imported from {from}"), str::to_owned),
        changes: query.all("changes"),
        platform: platform(call)?,
    })
}

/// `POST /images/create?fromImage=`.
pub(super) async fn pull(call: Call, image: String) -> Result<Reply, HttpError> {
    let reference = with_tag(&image, call.query.get("tag"))?;
    let platform = platform(&call)?;
    let auth = auth(&call);
    let engine = call.engine;
    let pulling = move |tell: &mut Tell| {
        // A name alone means all that the repository has.
        if reference.tag().is_none() && reference.digest().is_none() {
            engine.image_pull_all(&reference, platform, auth, tell)
        } else {
            engine.image_pull(&reference, platform, auth, tell)
        }
    };
    Told::begin(pulling)?.reply().await
}

/// `POST /images/{name}/push`.
pub(super) async fn push(call: Call, name: &str) -> Result<Reply, HttpError> {
    if described_platform(&call)?.is_some_and(|platform| platform != Platform::host()) {
        return Err(HttpError::later("pushing another platform than the host's"));
    }
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() {
        return Err(HttpError::bad_request("cannot push a digest reference"));
    }
    let reference = match call.query.get("tag").filter(|tag| !tag.is_empty()) {
        Some(tag) => reference.at_tag(tag)?,
        None => reference,
    };
    let auth = auth(&call);
    let engine = call.engine;
    let pushing = move |tell: &mut Tell| engine.image_push(&reference, &auth, tell);
    Told::begin(pushing)?.reply().await
}

/// One platform of an image that is here, as JSON; a pull names one as text.
pub(super) fn described_platform(call: &Call) -> Result<Option<Platform>, HttpError> {
    let Some(text) = call.query.get("platform").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wanted: docker_api::types::Platform = serde_json::from_str(text)
        .map_err(|error| HttpError::bad_request(format!("failed to parse platform: {error}")))?;
    if wanted.os.is_empty() || wanted.architecture.is_empty() {
        return Err(HttpError::bad_request("both OS and Architecture must be provided"));
    }
    Ok(Some(Platform::normal(&wanted.os, &wanted.architecture, &wanted.variant)))
}

/// A tag may also be a digest.
pub(super) fn with_tag(repo: &str, tag: Option<&str>) -> Result<Reference, HttpError> {
    let reference: Reference = repo.parse()?;
    match tag {
        None => Ok(reference),
        Some(tag) => match tag.parse() {
            Ok(digest) => Ok(reference.at_digest(digest)),
            Err(_) => Ok(reference.at_tag(tag)?),
        },
    }
}

fn platform(call: &Call) -> Result<Option<Platform>, HttpError> {
    Ok(call.query.get("platform").map(str::parse).transpose()?)
}

/// One platform of an archive: clients of 1.48 and newer give it as JSON, `dhow` itself as text.
fn archived_platform(call: &Call) -> Result<Option<Platform>, HttpError> {
    match call.query.get("platform") {
        Some(text) if text.starts_with('{') => described_platform(call),
        Some(_) | None => platform(call),
    }
}

/// Credentials. What cannot be read counts as none, as in Docker.
pub(super) fn auth(call: &Call) -> RegistryAuth {
    let header = call.headers.get("x-registry-auth").and_then(|value| value.to_str().ok());
    let text = LENIENT.decode(header.unwrap_or_default()).unwrap_or_default();
    registry_auth(docker_api::json::parse_reply(&text).unwrap_or_default())
}

pub(super) fn registry_auth(wire: AuthConfig) -> RegistryAuth {
    let some = |text: String| (!text.is_empty()).then_some(text);
    RegistryAuth {
        basic: some(wire.username).map(|name| (name, wire.password)),
        identity_token: some(wire.identitytoken),
        registry_token: some(wire.registrytoken),
    }
}

/// Where an operation tells what it does.
type Tell = dyn FnMut(Progress) + Send;

/// An operation that runs on a thread of its own and tells what it does.
#[derive(Debug)]
struct Told {
    messages: mpsc::Receiver<Message>,
}

#[derive(Debug)]
enum Message {
    Progress(Wire),
    Ended(Result<(), HttpError>),
}

/// What came first.
enum First {
    Message(Wire),
    Ended(Result<(), HttpError>),
}

impl Told {
    fn begin<F>(work: F) -> Result<Self, HttpError>
    where
        F: FnOnce(&mut Tell) -> Result<(), EngineError> + Send + 'static,
    {
        let (send, messages) = mpsc::channel(64);
        lasting(move || {
            let tell = send.clone();
            // A client that leaves does not stop what it began: the next pull finds it done.
            let mut tell = move |event: Progress| pass_on(&tell, &event);
            let ended = work(&mut tell).map_err(HttpError::from);
            let _ = send.blocking_send(Message::Ended(ended));
        })?;
        Ok(Self { messages })
    }

    async fn first(&mut self) -> First {
        match self.messages.recv().await {
            Some(Message::Progress(message)) => First::Message(message),
            Some(Message::Ended(ended)) => First::Ended(ended),
            None => First::Ended(Err(HttpError::internal("the operation did not end"))),
        }
    }

    /// An error that comes before anything else has a status of its own.
    async fn reply(mut self) -> Result<Reply, HttpError> {
        match self.first().await {
            First::Message(message) => Ok(self.stream(Some(message))),
            First::Ended(Ok(())) => Ok(self.stream(None)),
            First::Ended(Err(error)) => Err(error),
        }
    }

    /// The messages as a body; an error is the last of them.
    fn stream(mut self, first: Option<Wire>) -> Reply {
        let (send, receive) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut next = first;
            loop {
                let sent = match next.take() {
                    Some(message) => send.send(Ok(line(&message))).await,
                    None => Ok(()),
                };
                next = match self.messages.recv().await {
                    // Nobody reads any more; the operation's messages run into nothing.
                    _ if sent.is_err() => return,
                    Some(Message::Progress(message)) => Some(message),
                    Some(Message::Ended(Err(error))) => Some(Wire::failed(error.message)),
                    Some(Message::Ended(Ok(()))) | None => return,
                };
            }
        });
        reply::stream(JSON, receive)
    }
}

/// A client that has gone hears nothing.
fn pass_on(to: &mpsc::Sender<Message>, event: &Progress) {
    let _ = to.blocking_send(Message::Progress(raise::progress(event)));
    if let Some(aux) = raise::progress_aux(event) {
        let _ = to.blocking_send(Message::Progress(aux));
    }
}

/// Docker separates these by CR LF.
fn line(message: &Wire) -> Bytes {
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.extend_from_slice(b"\r\n");
    text.into()
}
