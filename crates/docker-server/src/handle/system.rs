//! The server itself.

use std::sync::Arc;

use docker_api::types::system::{NotStarted, ResetDone, StartDone};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};

use engine::Engine;

use crate::call::{Call, blocking};
use crate::error::HttpError;
use crate::raise;
use crate::reply::{self, Reply};
use crate::service::Shared;
use crate::service::metrics::{self, Process, Snapshot};

/// `GET` and `HEAD /_ping`.
pub(super) fn ping() -> Reply {
    const BUILDER: HeaderName = HeaderName::from_static("builder-version");
    const SWARM: HeaderName = HeaderName::from_static("swarm");
    let mut reply = reply::text(http::StatusCode::OK, "OK");
    let headers = reply.headers_mut();
    headers.insert(BUILDER, HeaderValue::from_static("2"));
    headers.insert(SWARM, HeaderValue::from_static("inactive"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply
}

/// `GET /version`.
pub(super) fn version(call: &Call) -> Reply {
    reply::json(&raise::version(&call.engine.kernel()))
}

/// `GET /info`.
pub(super) async fn info(call: &Call) -> Result<Reply, HttpError> {
    let info = call.run_brief(|engine| engine.info()).await?;
    Ok(reply::json(&raise::info(&info)))
}

/// `GET /metrics`.
pub(super) async fn metrics(call: &Call) -> Result<Reply, HttpError> {
    match &call.service {
        Some(shared) => measured(call.engine.clone(), shared).await,
        None => Ok(reply::nowhere()),
    }
}

/// What a service tells whoever measures it.
pub(crate) async fn measured(engine: Engine, shared: &Arc<Shared>) -> Result<Reply, HttpError> {
    let counts = shared.clone();
    let info = blocking(move || {
        counts.counts().told.ask(&engine)?;
        engine.info().map_err(HttpError::from)
    });
    let info = info.await??;
    let process = Process::read().map_err(|e| HttpError::internal(format!("read /proc: {e}")))?;
    let snapshot =
        Snapshot { counts: shared.counts(), under_way: shared.under_way(), info: &info, process };
    Ok(reply::typed(metrics::CONTENT_TYPE, snapshot.render()))
}

/// `POST /dhow/reset`.
pub(super) async fn reset(call: &Call) -> Result<Reply, HttpError> {
    let warnings = call.run(|engine| engine.reset()).await?;
    Ok(reply::json(&ResetDone { warnings }))
}

/// `POST /dhow/reconcile`.
pub(super) async fn reconcile(call: &Call) -> Result<Reply, HttpError> {
    call.run(|engine| engine.reconcile()).await?;
    Ok(reply::empty(http::StatusCode::NO_CONTENT))
}

/// `POST /dhow/start`.
pub(super) async fn start_wished(call: &Call) -> Result<Reply, HttpError> {
    let mut done = StartDone::default();
    for booted in call.run(|engine| engine.start_wished()).await? {
        match booted.failed {
            None => done.started.push(booted.name),
            Some(error) => done.failed.push(NotStarted { name: booted.name, error }),
        }
    }
    Ok(reply::json(&done))
}
