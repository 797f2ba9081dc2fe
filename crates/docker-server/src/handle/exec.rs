//! Additional processes.

use docker_api::types::IdResponse;
use docker_api::types::exec::{ExecCreate, ExecStart};
use engine::view::ExecAttach;
use http::StatusCode;
use model::{ExecId, NameOrId, Signal};

use super::containers::terminal_size;
use super::streams::stream_type;
use crate::call::Call;
use crate::connection::Leaving;
use crate::error::HttpError;
use crate::lower;
use crate::raise;
use crate::reply::{self, Reply};
use crate::route::ExecRoute;
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
    let (stream, spec) = call.run_brief(move |engine| engine.exec_start(&id, attach)).await?;
    let Some(stream) = stream else { return Ok(reply::empty(StatusCode::OK)) };
    let keys = DetachKeys::parse(spec.detach_keys.as_deref())?;
    let content_type = stream_type(spec.terminal, call.api);
    let engine = call.engine.clone();
    // An exec that is gone has nobody to be told of.
    let tell = Box::new(move || drop(engine.exec_detached(&id)));
    let leaving = spec.terminal.then(|| Leaving { keys, tell });
    call.hijack(stream, content_type, leaving).await
}
