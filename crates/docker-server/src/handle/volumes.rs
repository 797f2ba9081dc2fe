//! Volumes.

use std::collections::BTreeMap;
use std::io::Write;

use docker_api::types::volumes::{
    VolumeCloned, VolumeCreate, VolumeList, VolumeUpdate, VolumesPruned,
};
use engine::EngineError;
use engine::view::{Compression, Freezing};
use http::StatusCode;
use model::mount::VolumeWish;

use super::transfer::archive;
use crate::call::{Call, apart};
use crate::error::HttpError;
use crate::filter;
use crate::given;
use crate::raise;
use crate::reply::{self, Reply, TAR};

/// `GET /volumes`.
pub(super) async fn list(call: &Call) -> Result<Reply, HttpError> {
    let filter = filter::Volumes::parse(&call.query)?;
    let views = call.run_brief(|engine| engine.volumes()).await?;
    let volumes = views.iter().filter(|view| filter.fits(view)).map(raise::volume).collect();
    Ok(reply::json(&VolumeList { volumes, warnings: None }))
}

/// `POST /volumes/create`.
pub(super) async fn create(mut call: Call) -> Result<Reply, HttpError> {
    let request: VolumeCreate = call.json().await?.value;
    if !matches!(request.driver.as_str(), "" | "local") {
        let (name, driver) = (&request.name, &request.driver);
        return Err(HttpError::not_found(format!(
            "create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found"
        )));
    }
    let name = (!request.name.is_empty()).then_some(request.name);
    let labels = request.labels.unwrap_or_default();
    let options = request.driver_opts.unwrap_or_default();
    let view = call.run(|engine| engine.volume_create(name, labels, options)).await?;
    Ok(reply::json_status(StatusCode::CREATED, &raise::volume(&view)))
}

/// `POST /volumes/prune`.
pub(super) async fn prune(call: &Call) -> Result<Reply, HttpError> {
    let wanted = filter::PruneVolumes::parse(&call.query, call.api)?;
    let pruned = call.run(move |engine| engine.prune_volumes(|view| wanted.fits(view))).await?;
    Ok(reply::json(&VolumesPruned {
        volumes_deleted: Some(pruned.removed),
        space_reclaimed: pruned.reclaimed,
    }))
}

/// `GET /volumes/{name}`.
pub(super) async fn inspect(call: &Call, name: String) -> Result<Reply, HttpError> {
    let view = call.run_brief(move |engine| engine.volume_inspect(&name)).await?;
    Ok(reply::json(&raise::volume(&view)))
}

/// `DELETE /volumes/{name}`; with force it does not matter whether there is one.
pub(super) async fn remove(call: &Call, name: String) -> Result<Reply, HttpError> {
    let force = call.query.flag("force");
    let remove = move |engine: &engine::Engine| match engine.volume_remove(&name) {
        Err(EngineError::NoSuchVolume(_)) if force => Ok(()),
        other => other,
    };
    call.run(remove).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `PUT /volumes/{name}`: whether a volume of a cluster can be used.
pub(super) async fn availability(call: &Call, name: String) -> Result<Reply, HttpError> {
    call.run_brief(move |engine| engine.volume_inspect(&name)).await?;
    Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, super::NO_SWARM))
}

/// `POST /dhow/volumes/{name}/clone`.
pub(super) async fn clone(call: &Call, name: String) -> Result<Reply, HttpError> {
    let (to, freezing) = (needed(call, "to")?, freezing(call));
    let cloning = move |engine: &engine::Engine| engine.volume_clone(&name, &to, freezing);
    let (view, copied) = call.run(cloning).await?;
    let cloned = VolumeCloned {
        volume: raise::volume(&view),
        shared: copied.shared,
        skipped_sockets: copied.skipped_sockets,
        skipped_devices: copied.skipped_devices,
    };
    Ok(reply::json_status(StatusCode::CREATED, &cloned))
}

/// `GET /dhow/volumes/{name}/archive`.
pub(super) async fn export(call: Call, name: String) -> Result<Reply, HttpError> {
    let freezing = freezing(&call);
    let compression = match call.query.get("compression").unwrap_or("zstd") {
        "zstd" => Compression::Zstd,
        "gzip" => Compression::Gzip,
        "none" => Compression::None,
        other => {
            return Err(HttpError::bad_request(format!(
                "unknown compression: {other:?} (zstd, gzip or none)"
            )));
        }
    };
    let looked = name.clone();
    call.run(move |engine| engine.volume_can_export(&looked)).await?;
    let write = move |engine: &engine::Engine, to: &mut dyn Write| {
        engine.volume_export(&name, compression, freezing, to)
    };
    Ok(reply::stream(TAR, archive(call.engine, write)?))
}

/// `PUT /dhow/volumes/{name}/archive`.
pub(super) async fn import(call: Call, name: String) -> Result<Reply, HttpError> {
    let wish = VolumeWish { labels: map(&call, "labels")?, options: map(&call, "options")? };
    let engine = call.engine.clone();
    let (reader, pump) = call.into_reader();
    tokio::spawn(pump);
    let view = apart(move || engine.volume_import(&name, wish, reader)).await??;
    Ok(reply::json_status(StatusCode::CREATED, &raise::volume(&view)))
}

/// A map that stands in the query, since the body is something else.
fn map(call: &Call, key: &str) -> Result<BTreeMap<String, String>, HttpError> {
    match call.query.get(key) {
        None | Some("") => Ok(BTreeMap::new()),
        Some(text) => docker_api::json::parse_reply(text.as_bytes())
            .map_err(|error| HttpError::bad_request(format!("{key}: {error}"))),
    }
}

/// `POST /dhow/volumes/{name}/rename`.
pub(super) async fn rename(call: &Call, name: String) -> Result<Reply, HttpError> {
    let to = needed(call, "name")?;
    call.run(move |engine| {
        engine.volume_rename(&name, &to, &|asked| given::renamed(asked, &name, &to))
    })
    .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /dhow/volumes/{name}/update`.
pub(super) async fn update(mut call: Call, name: String) -> Result<Reply, HttpError> {
    let VolumeUpdate { label_add, label_rm } = call.json().await?.value;
    let view = call.run(move |engine| engine.volume_update(&name, label_add, &label_rm)).await?;
    Ok(reply::json(&raise::volume(&view)))
}

/// Whether containers that use a volume stand still while it is read.
fn freezing(call: &Call) -> Freezing {
    if call.query.flag("pause") { Freezing::Yes } else { Freezing::No }
}

fn needed(call: &Call, key: &str) -> Result<String, HttpError> {
    let value = call.query.get(key).filter(|value| !value.is_empty());
    value.map(str::to_owned).ok_or_else(|| HttpError::bad_request(format!("{key} is required")))
}
