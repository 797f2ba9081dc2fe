//! Images: lists, names, removal.

use docker_api::types::images::ImagesPruned;
use engine::view::{ImageRemoveMode, ImageView};
use engine::{Engine, EngineError};
use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::moment;
use model::{Platform, Reference};

use super::transfer;
use crate::call::Call;
use crate::error::HttpError;
use crate::filter;
use crate::quirks;
use crate::raise;
use crate::reply::{self, Reply};
use crate::route::ImageRoute;

/// `POST /images/create`: a pull, or an import.
pub(super) async fn create(call: Call) -> Result<Reply, HttpError> {
    match (call.query.get("fromImage"), call.query.get("fromSrc")) {
        (Some(image), _) => {
            let image = image.to_owned();
            transfer::pull(call, image).await
        }
        (None, Some("-")) => transfer::import(call).await,
        (None, Some(source)) => {
            // Docker takes an address without a scheme as well.
            let has_scheme = source.contains("://");
            let url = if has_scheme { source.to_owned() } else { format!("http://{source}") };
            transfer::import_from(call, url).await
        }
        (None, None) => Err(HttpError::bad_request("fromImage or fromSrc is required")),
    }
}

/// Operations on one image.
pub(super) async fn one(
    call: Call,
    name: String,
    operation: ImageRoute,
) -> Result<Reply, HttpError> {
    match operation {
        ImageRoute::Inspect => inspect(&call, name).await,
        ImageRoute::History => history(&call, name).await,
        ImageRoute::Tag => tag(&call, name).await,
        ImageRoute::Remove => remove(&call, name).await,
        ImageRoute::Save => transfer::save(call, vec![name]).await,
        ImageRoute::Push => transfer::push(call, &name).await,
    }
}

/// `GET /images/json`.
pub(super) async fn list(call: &Call) -> Result<Reply, HttpError> {
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    let wanted = filter::Images::parse(&call.query, &now)?;
    let views = call.run_brief(move |engine| select(engine, &wanted)).await?;
    let mut summaries: Vec<_> = views.iter().map(raise::image_summary).collect();
    if call.api.lists_manifests() && call.query.flag("manifests") {
        for (summary, view) in summaries.iter_mut().zip(&views) {
            summary.manifests = Some(raise::manifests(view));
        }
    }
    if call.api.has_usage_types() && call.query.flag("shared-size") {
        let usage = call.run_brief(|engine| engine.images_usage()).await?;
        for summary in &mut summaries {
            let counted = usage.images.iter().find(|(view, _)| view.id.to_string() == summary.id);
            summary.shared_size = counted.map_or(-1, |(_, shared)| raise::signed(*shared));
        }
    }
    quirks::image_list(call.api, &mut summaries);
    Ok(reply::json(&summaries))
}

fn select(engine: &Engine, wanted: &filter::Images) -> Result<Vec<ImageView>, EngineError> {
    let created = |name: &String| Ok::<_, EngineError>(engine.image_inspect(name)?.created);
    let (before, since) = wanted.boundaries();
    let before = before.map(created).transpose()?;
    let since = since.map(created).transpose()?;
    let is_between = |view: &ImageView| {
        before.is_none_or(|before| view.created < before)
            && since.is_none_or(|since| view.created > since)
    };
    let views = engine.image_list()?.into_iter().filter(is_between);
    let mut views: Vec<ImageView> = views.filter_map(|view| wanted.select(view)).collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.created));
    Ok(views)
}

/// `POST /images/prune`.
pub(super) async fn prune(call: &Call) -> Result<Reply, HttpError> {
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    let wanted = filter::PruneImages::parse(&call.query, &now)?;
    let pruned = call.run(move |engine| engine.prune_images(|view| wanted.fits(view))).await?;
    Ok(reply::json(&ImagesPruned {
        images_deleted: raise::or_null(pruned.removed.iter().map(raise::removal).collect()),
        space_reclaimed: pruned.reclaimed,
    }))
}

async fn inspect(call: &Call, name: String) -> Result<Reply, HttpError> {
    let platform =
        if call.api.inspects_platform() { transfer::described_platform(call)? } else { None };
    let has_manifests = call.api.has_image_platforms() && call.query.flag("manifests");
    if has_manifests && platform.is_some() {
        return Err(HttpError::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let view = view_for(call, name, platform).await?;
    let mut wire = raise::image(&view);
    wire.manifests = has_manifests.then(|| raise::manifests(&view));
    if call.api == quirks::MAX {
        return Ok(reply::json(&wire));
    }
    let mut value = serde_json::to_value(&wire).map_err(|e| HttpError::internal(e.to_string()))?;
    quirks::image_inspect(call.api, &view.config, &mut value);
    Ok(reply::json(&value))
}

async fn history(call: &Call, name: String) -> Result<Reply, HttpError> {
    let platform =
        if call.api.has_image_platforms() { transfer::described_platform(call)? } else { None };
    if platform.is_some() {
        view_for(call, name.clone(), platform).await?;
    }
    let steps = call.run_brief(move |engine| engine.image_history(&name)).await?;
    Ok(reply::json(&steps.iter().map(raise::history).collect::<Vec<_>>()))
}

/// An image, if it is for the platform that is asked for: each is here for one alone.
async fn view_for(
    call: &Call,
    name: String,
    wanted: Option<Platform>,
) -> Result<ImageView, HttpError> {
    let typed = name.clone();
    let view = call.run_brief(move |engine| engine.image_inspect(&typed)).await?;
    let config = &view.config;
    let variant = config.variant.as_deref().unwrap_or_default();
    let own = Platform::normal(&config.os, &config.architecture, variant);
    match wanted {
        Some(wanted) if own.suits(&wanted).is_none() => Err(HttpError::not_found(format!(
            "image with reference {name} was found but its platform ({own}) does not match the specified platform ({wanted})"
        ))),
        Some(_) | None => Ok(view),
    }
}

async fn tag(call: &Call, name: String) -> Result<Reply, HttpError> {
    let repo: Reference = call.query.get("repo").unwrap_or_default().parse()?;
    let reference = match call.query.get("tag") {
        Some(tag) => repo.at_tag(tag)?,
        None => repo,
    };
    call.run(move |engine| engine.image_tag(&name, &reference)).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

async fn remove(call: &Call, name: String) -> Result<Reply, HttpError> {
    if call.query.get("platforms").is_some() {
        return Err(HttpError::later("removing single platforms"));
    }
    let mode =
        if call.query.flag("force") { ImageRemoveMode::Force } else { ImageRemoveMode::Careful };
    let steps = call.run(move |engine| engine.image_remove(&name, mode)).await?;
    Ok(reply::json(&steps.iter().map(raise::removal).collect::<Vec<_>>()))
}
