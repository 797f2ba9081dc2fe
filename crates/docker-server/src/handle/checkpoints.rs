//! `/containers/{id}/checkpoints`, which Docker has where experiments are allowed, and we always.

use std::io::Write;
use std::path::PathBuf;

use docker_api::types::checkpoints::{Checkpoint, CheckpointCreate};
use engine::Engine;
use engine::view::{After, CheckpointOptions, CheckpointPlace};
use http::StatusCode;
use model::NameOrId;

use super::transfer::archive;
use crate::call::{Call, apart};
use crate::error::HttpError;
use crate::raise;
use crate::reply::{self, Reply, TAR};

/// `POST /containers/{id}/checkpoints`.
pub(super) async fn create(mut call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let request: CheckpointCreate = call.json().await?.value;
    let place = CheckpointPlace {
        name: request.checkpoint_id,
        dir: directory(Some(&request.checkpoint_dir)),
    };
    let after = if request.exit { After::Ends } else { After::Runs };
    let options = CheckpointOptions { after };
    call.run(move |engine| engine.checkpoint(&who, &place, options)).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// `GET /containers/{id}/checkpoints`.
pub(super) async fn list(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let dir = directory(call.query.get("dir"));
    let names = call.run(move |engine| engine.checkpoints(&who, dir.as_deref())).await?;
    let list: Vec<_> = names.into_iter().map(|name| Checkpoint { name }).collect();
    Ok(reply::json(&raise::or_null(list)))
}

/// `DELETE /containers/{id}/checkpoints/{name}`.
pub(super) async fn remove(call: &Call, id: String, name: String) -> Result<Reply, HttpError> {
    let place = CheckpointPlace { name, dir: directory(call.query.get("dir")) };
    call.run(move |engine| engine.checkpoint_remove(&NameOrId::new(id), &place)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /dhow/containers/{id}/checkpoints/{name}`: it as an archive.
pub(super) async fn export(call: Call, id: String, name: String) -> Result<Reply, HttpError> {
    let place = CheckpointPlace { name, dir: directory(call.query.get("dir")) };
    let who = NameOrId::new(id);
    let (lookup, looked) = (who.clone(), place.clone());
    call.run(move |engine| engine.checkpoint_can_export(&lookup, &looked)).await?;
    let write =
        move |engine: &Engine, to: &mut dyn Write| engine.checkpoint_export(&who, &place, to);
    Ok(reply::stream(TAR, archive(call.engine, write)?))
}

/// `PUT /dhow/containers/{id}/checkpoints/{name}`: such an archive.
pub(super) async fn import(call: Call, id: String, name: String) -> Result<Reply, HttpError> {
    let place = CheckpointPlace { name, dir: directory(call.query.get("dir")) };
    let engine = call.engine.clone();
    let (reader, pump) = call.into_reader();
    tokio::spawn(pump);
    apart(move || engine.checkpoint_import(&NameOrId::new(id), &place, reader)).await??;
    Ok(reply::empty(StatusCode::CREATED))
}

/// What a start names, if it names one.
pub(super) fn of_start(call: &Call) -> Option<CheckpointPlace> {
    let name = call.query.get("checkpoint").filter(|name| !name.is_empty())?;
    let dir = directory(call.query.get("checkpoint-dir"));
    Some(CheckpointPlace { name: name.to_owned(), dir })
}

fn directory(text: Option<&str>) -> Option<PathBuf> {
    text.filter(|text| !text.is_empty()).map(PathBuf::from)
}
