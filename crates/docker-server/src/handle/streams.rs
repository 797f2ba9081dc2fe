//! What lasts: attach, wait, stats.

use std::os::fd::OwnedFd;
use std::time::Duration;

use docker_api::frame::{MULTIPLEXED, RAW};
use docker_api::types::containers::{WaitError, WaitResponse};
use engine::view::{AttachRequest, ExitReport, StatsView, Streams, WaitCondition};
use engine::{Engine, EngineError};
use model::NameOrId;
use model::container::Terminal;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Call, blocking, lasting};
use crate::connection::{Form, Leaving};
use crate::error::HttpError;
use crate::params::Query;
use crate::quirks::ApiVersion;
use crate::raise;
use crate::reply::{self, JSON, Reply};
use crate::splice::Frames;
use crate::websocket::{self, Agreed, Messages, Output};
use model::detach::DetachKeys;

/// How often a container's readings are taken.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// The `Content-Type` of a stream of output.
pub(super) fn stream_type(terminal: bool, api: ApiVersion) -> &'static str {
    if !terminal && api.names_multiplexed_streams() { MULTIPLEXED } else { RAW }
}

/// How a connection is given to streams. Docker names what is in them to those alone that upgrade.
pub(super) fn given_away(call: &Call, terminal: bool) -> Form {
    let upgrade = call.wants_upgrade();
    let content_type = stream_type(terminal || !upgrade, call.api);
    Form::Stream { upgrade, content_type, frames: Frames::AsItIs }
}

/// Whether a container has a terminal.
pub(super) fn has_terminal(engine: &Engine, who: &NameOrId) -> Result<bool, EngineError> {
    let view = engine.inspect(who)?;
    Ok(matches!(view.spec.process.terminal, Terminal::Pty { .. }))
}

fn attach_request(query: &Query) -> AttachRequest {
    AttachRequest {
        stdin: query.flag("stdin"),
        streams: Streams { stdout: query.flag("stdout"), stderr: query.flag("stderr") },
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    }
}

/// `POST /containers/{id}/attach`.
pub(super) async fn attach(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let request = attach_request(&call.query);
    attach_by(call, who, request, given_away).await
}

/// `GET /containers/{id}/attach/ws`.
pub(super) async fn attach_socket(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let accept = websocket::accept(&call.headers)?;
    let mut request = attach_request(&call.query);
    if !call.api.chooses_socket_streams() {
        request.stdin = true;
        request.streams = Streams { stdout: true, stderr: true };
    }
    attach_by(call, who, request, |call, terminal| {
        let output = if terminal { Output::Raw } else { Output::Framed };
        let is_binary = call.api.has_binary_messages();
        let messages = if is_binary { Messages::Binary } else { Messages::Text };
        Form::Socket(Agreed { accept, output, messages })
    })
    .await
}

/// Gives the connection to a container, in the form that its having a terminal asks for.
async fn attach_by(
    call: Call,
    who: NameOrId,
    request: AttachRequest,
    form: impl FnOnce(&Call, bool) -> Form,
) -> Result<Reply, HttpError> {
    let keys = DetachKeys::parse(call.query.get("detachKeys"))?;
    let (terminal, stream) = call
        .run({
            let who = who.clone();
            move |engine| Ok((has_terminal(engine, &who)?, engine.attach(&who, request)?))
        })
        .await?;
    let form = form(&call, terminal);
    let engine = call.engine.clone();
    // A container that is gone has nobody to be told of.
    let tell = Box::new(move || drop(engine.detached(&who)));
    call.hijack(stream, form, terminal.then(|| Leaving { keys, tell })).await
}

/// `POST /containers/{id}/wait`: the head comes at once, so that the client knows that nothing
/// will be missed.
pub(super) async fn wait(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let condition = match call.query.get("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => {
            return Err(HttpError::bad_request(format!("invalid condition: \"{other}\"")));
        }
    };
    let wait = call.run(move |engine| engine.wait(&who, condition)).await?;
    let (send, receive) = oneshot::channel();
    let pipe = std::io::pipe().map_err(|e| HttpError::internal(format!("pipe: {e}")))?;
    let (hangup, asked) = (OwnedFd::from(pipe.0), pipe.1);
    lasting(move || {
        if let Some(report) = wait.finish(&hangup).transpose() {
            let _ = send.send(report);
        }
    })?;
    Ok(reply::later(JSON, async move {
        let report = receive.await;
        // Until then it tells the thread that somebody wants to know.
        drop(asked);
        reply::line(&waited(report))
    }))
}

/// The head has been sent, so what went wrong can only be told in the body.
fn waited(
    report: Result<Result<ExitReport, EngineError>, oneshot::error::RecvError>,
) -> WaitResponse {
    let failed = |message| WaitResponse { status_code: 0, error: Some(WaitError { message }) };
    match report {
        Ok(Ok(ExitReport { code, error })) => WaitResponse {
            status_code: i64::from(code.0),
            error: error.map(|message| WaitError { message }),
        },
        Ok(Err(error)) => failed(HttpError::from(error).message),
        Err(ended) => failed(format!("waiting did not end: {ended}")),
    }
}

/// `GET /containers/{id}/stats`.
pub(super) async fn stats(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let stream = call.query.flag_or("stream", true);
    let one_shot = call.query.flag("one-shot");
    if stream && one_shot {
        return Err(HttpError::bad_request("cannot have stream=true and one-shot=true"));
    }
    let first = read_stats(call.engine.clone(), who.clone()).await?;
    if stream {
        return Ok(stats_stream(call.engine, who, first));
    }
    if one_shot || first.usage.is_none() {
        return Ok(reply::json(&raise::stats(&first, None)));
    }
    tokio::time::sleep(STATS_EVERY).await;
    let second = read_stats(call.engine, who).await?;
    Ok(reply::json(&raise::stats(&second, Some(&first))))
}

async fn read_stats(engine: Engine, who: NameOrId) -> Result<StatsView, HttpError> {
    blocking(move || engine.stats(&who).map_err(HttpError::from)).await?
}

/// Readings until the container or the client has gone.
fn stats_stream(engine: Engine, who: NameOrId, first: StatsView) -> Reply {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut before: Option<StatsView> = None;
        let mut now = first;
        loop {
            let line = reply::line(&raise::stats(&now, before.as_ref()));
            if send.send(Ok(line.into())).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(STATS_EVERY) => {}
                () = send.closed() => return,
            }
            before = Some(now);
            now = match read_stats(engine.clone(), who.clone()).await {
                Ok(next) => next,
                Err(_) => return,
            };
        }
    });
    reply::stream(JSON, receive)
}
