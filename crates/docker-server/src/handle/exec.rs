//! Additional processes.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use docker_api::frame::{self, Channel};
use docker_api::types::IdResponse;
use docker_api::types::exec::{ExecCreate, ExecStart};
use engine::EngineError;
use engine::view::ExecAttach;
use http::StatusCode;
use model::{ExecId, NameOrId, Signal};

use super::containers::terminal_size;
use super::streams::given_away;
use crate::call::Call;
use crate::connection::{Form, Leaving};
use crate::error::HttpError;
use crate::lower;
use crate::raise;
use crate::reply::{self, Reply};
use crate::route::ExecRoute;
use crate::splice::Frames;
use model::detach::DetachKeys;

/// `POST /containers/{id}/exec`.
pub(super) async fn create(mut call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let request: ExecCreate = call.json().await?.value;
    DetachKeys::parse(Some(&request.detach_keys))?;
    let spec = lower::exec(&request, call.api)?;
    let id = call.run_brief(move |engine| engine.exec_create(&who, spec)).await?;
    Ok(reply::json_status(StatusCode::CREATED, &IdResponse { id: id.to_string() }))
}

/// `GET /dhow/containers/{id}/execs`: those that run, and the last that have ended.
pub(super) async fn list(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let (list, limit) = call
        .run(move |engine| {
            let limit = engine.inspect(&who)?.spec.limits.memory;
            Ok((engine.exec_list(&who)?, limit))
        })
        .await?;
    let now = jiff::Timestamp::now();
    let list: Vec<_> = list.iter().map(|view| raise::exec_summary(view, limit, now)).collect();
    Ok(reply::json(&list))
}

/// Operations on one exec.
pub(super) async fn one(call: Call, id: &str, operation: ExecRoute) -> Result<Reply, HttpError> {
    if operation == ExecRoute::Kill {
        return kill(&call, id.to_owned()).await;
    }
    // Whatever is no id is the id of no exec.
    let exec: ExecId =
        id.parse().map_err(|_| HttpError::not_found(format!("No such exec instance: {id}")))?;
    match operation {
        ExecRoute::Inspect => {
            let view = call.run_brief(move |engine| engine.exec_inspect(&exec)).await?;
            Ok(reply::json(&raise::exec(&view)))
        }
        ExecRoute::Resize => {
            let size = terminal_size(&call)?;
            call.run_brief(move |engine| engine.exec_resize(&exec, size)).await?;
            Ok(reply::empty(StatusCode::OK))
        }
        ExecRoute::Keep => {
            call.run_brief(move |engine| engine.exec_keep(&exec)).await?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        ExecRoute::Start | ExecRoute::Kill => start(call, exec).await,
    }
}

/// `POST /dhow/exec/{id}/kill`: the beginning of an id will do.
async fn kill(call: &Call, id: String) -> Result<Reply, HttpError> {
    let signal = call.query.get("signal").map(str::parse).transpose()?.unwrap_or(Signal::KILL);
    call.run(move |engine| engine.exec_kill(&engine.find_exec(&id)?, signal)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn start(mut call: Call, id: ExecId) -> Result<Reply, HttpError> {
    let request: ExecStart = call.json().await?.value;
    let asked = request.console_size.filter(|_| call.api.has_console_size());
    let size = lower::console_size(asked.unwrap_or_default())?;
    let attach = if request.detach { ExecAttach::Detached } else { ExecAttach::Attached(size) };
    let refuses = request.detach || request.dhow.is_some_and(|dhow| dhow.refuse);
    let started = call
        .run_brief(move |engine| match engine.exec_start(&id, attach) {
            Err(EngineError::Start(failure)) if !refuses => Ok(Err(failure.message)),
            other => other.map(Ok),
        })
        .await?;
    let (stream, spec) = match started {
        Ok((Some(stream), spec)) => (stream, spec),
        Ok((None, _)) => return Ok(reply::empty(StatusCode::OK)),
        Err(words) => return not_started(call, &words, request.tty).await,
    };
    let keys = DetachKeys::parse(spec.detach_keys.as_deref())?;
    let mut form = given_away(&call, spec.terminal && request.tty);
    // Docker goes by the start and not by the exec: without `Tty` there, a terminal's output is framed.
    if let Form::Stream { frames, .. } = &mut form
        && spec.terminal
        && !request.tty
    {
        *frames = Frames::Added;
    }
    let engine = call.engine.clone();
    // An exec that is gone has nobody to be told of.
    let tell = Box::new(move || drop(engine.exec_detached(&id)));
    let leaving = spec.terminal.then(|| Leaving { keys, tell });
    call.hijack(stream, form, leaving).await
}

/// Docker has given the connection over before it starts the process, so its clients read there why there is none, and
/// ask for the code. It says so on standard output; a program that reads that must not take it for the command's.
async fn not_started(call: Call, words: &str, terminal: bool) -> Result<Reply, HttpError> {
    let text = format!("{words}\r\n");
    let (near, mut far) = UnixStream::pair().map_err(piped)?;
    let told = if terminal {
        far.write_all(text.as_bytes())
    } else {
        far.write_all(&frame::encode(Channel::Stderr, text.as_bytes()))
    };
    told.map_err(piped)?;
    let form = given_away(&call, terminal);
    call.hijack(near, form, None).await
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn piped(error: std::io::Error) -> HttpError {
    HttpError::internal(format!("passing an exec's output on: {error}"))
}
