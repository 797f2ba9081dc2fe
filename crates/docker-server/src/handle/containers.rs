//! Containers: lists, making, and everything that is one verb and a status.

use std::ops::ControlFlow;
use std::sync::Arc;

use docker_api::types::containers::{
    ContainersPruned, CreateContainer, CreateResponse, TopResponse, UpdateBody, UpdateResponse,
};
use engine::view::{
    ContainerView, ListQuery, Listed, RemoveOptions, SizeView, StartOutcome, StopOutcome, TopView,
};
use engine::{Engine, EngineError};
use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::container::{StopTimeout, TerminalSize};
use model::id::BadContainerName;
use model::moment;
use model::{ContainerId, ContainerName, ImageId, NameOrId, Signal};

use super::{archive, checkpoints, exec, logs, streams, transfer};
use crate::call::Call;
use crate::error::HttpError;
use crate::filter::{self, Boundary};
use crate::lines::Style;
use crate::lower::{self, Beside};
use crate::quirks;
use crate::raise::{self, PortList};
use crate::reply::{self, JsonList, Reply};
use crate::route::ContainerRoute;
use crate::service::Shared;

/// Operations on one container.
pub(super) async fn one(
    call: Call,
    id: String,
    operation: ContainerRoute,
) -> Result<Reply, HttpError> {
    let who = NameOrId::new(id);
    match operation {
        ContainerRoute::Inspect => inspect(&call, who).await,
        ContainerRoute::Logs => logs::logs(call, who).await,
        ContainerRoute::Export => transfer::export(call, who).await,
        ContainerRoute::ArchiveStat => archive::stat(&call, who).await,
        ContainerRoute::ArchiveGet => archive::get(call, who).await,
        ContainerRoute::ArchivePut => archive::put(call, who).await,
        ContainerRoute::Changes => changes(&call, who).await,
        ContainerRoute::Stats => streams::stats(call, who).await,
        ContainerRoute::Top => top(&call, who).await,
        ContainerRoute::Resize => resize(&call, who).await,
        ContainerRoute::Start => start(&call, who).await,
        ContainerRoute::Stop => stop(&call, who).await,
        ContainerRoute::Restart => restart(&call, who).await,
        ContainerRoute::Kill => kill(&call, who).await,
        ContainerRoute::Rename => rename(&call, who).await,
        ContainerRoute::Pause => pause(&call, who).await,
        ContainerRoute::Unpause => unpause(&call, who).await,
        ContainerRoute::Update => update(call, who).await,
        ContainerRoute::Attach => streams::attach(call, who).await,
        ContainerRoute::AttachSocket => streams::attach_socket(call, who).await,
        ContainerRoute::Wait => streams::wait(call, who).await,
        ContainerRoute::Remove => remove(&call, who).await,
        ContainerRoute::CheckpointCreate => checkpoints::create(call, who).await,
        ContainerRoute::CheckpointList => checkpoints::list(&call, who).await,
        ContainerRoute::ExecCreate => exec::create(call, who).await,
        ContainerRoute::ExecList => exec::list(&call, who).await,
    }
}

/// `POST /containers/create`.
pub(super) async fn create(mut call: Call) -> Result<Reply, HttpError> {
    let text = call.json_text().await?;
    if text.is_empty() {
        return Err(reply::missing_body().into());
    }
    let parsed = CreateContainer::from_json(&text)?;
    let beside = Beside {
        name: call.query.get("name"),
        platform: call.query.get("platform").filter(|_| call.api.has_create_platform()),
    };
    let lowered = lower::create(&parsed.value, beside, call.api)?;
    let created = call.run(move |engine| engine.create(lowered.spec)).await?;
    let unknown = parsed.unknown.iter().map(|field| format!("unknown field {field}"));
    let warnings = unknown.chain(lowered.warnings).chain(created.warnings).collect();
    let body = CreateResponse { id: created.id.to_string(), warnings };
    Ok(reply::json_status(StatusCode::CREATED, &body))
}

/// `GET /containers/json`.
pub(super) async fn list(call: &Call) -> Result<Reply, HttpError> {
    let wanted = filter::Containers::parse(&call.query)?;
    let limit = call.query.number::<i64>("limit")?.and_then(|n| usize::try_from(n).ok());
    let limit = limit.filter(|n| *n > 0);
    let all = call.query.flag("all") || limit.is_some() || wanted.implies_all();
    let listing = Listing {
        query: if all { ListQuery::All } else { ListQuery::Running },
        limit: limit.unwrap_or(usize::MAX),
        sizes: Sizes::asked_by(call),
        style: Style {
            ports: if call.query.flag("ranges") { PortList::Ranges } else { PortList::Each },
            api: call.api,
        },
    };
    let service = call.service.clone();
    let work = move |engine: &Engine| summaries(engine, &wanted, listing, service.as_deref());
    let list = match listing.sizes {
        Sizes::Shown => call.run(work).await?,
        Sizes::Left => call.run_brief(work).await?,
    };
    Ok(reply::json_list(list))
}

/// `POST /containers/prune`.
pub(super) async fn prune(call: &Call) -> Result<Reply, HttpError> {
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    let wanted = filter::PruneContainers::parse(&call.query, &now)?;
    // Logs of containers that went before fit no filter.
    let is_whole = call.query.get("filters").is_none_or(|filters| matches!(filters, "" | "{}"));
    let pruned = call.run(move |engine| {
        let mut pruned = engine.prune_containers(|view| wanted.fits(view))?;
        if is_whole {
            pruned.reclaimed += engine.forget_previous_logs();
        }
        Ok(pruned)
    });
    let pruned = pruned.await?;
    let removed: Vec<String> = pruned.removed.iter().map(ToString::to_string).collect();
    Ok(reply::json(&ContainersPruned {
        containers_deleted: raise::or_null(removed),
        space_reclaimed: pruned.reclaimed,
    }))
}

/// What a list shows beside what its filters say.
#[derive(Debug, Clone, Copy)]
struct Listing {
    query: ListQuery,
    limit: usize,
    sizes: Sizes,
    style: Style,
}

/// Whether sizes are shown: they are counted file by file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Shown,
    Left,
}

impl Sizes {
    fn asked_by(call: &Call) -> Self {
        if call.query.flag("size") { Self::Shown } else { Self::Left }
    }

    fn of(self, engine: &Engine, id: ContainerId) -> Result<Option<SizeView>, EngineError> {
        match self {
            Self::Shown => engine.size(&NameOrId::from(id)).map(Some),
            Self::Left => Ok(None),
        }
    }
}

fn summaries(
    engine: &Engine,
    wanted: &filter::Containers,
    listing: Listing,
    service: Option<&Shared>,
) -> Result<JsonList, EngineError> {
    let (before, since) = wanted.boundaries();
    let before = before.map(|name| boundary(engine, name)).transpose()?;
    let since = since.map(|name| boundary(engine, name)).transpose()?;
    let ancestors = ancestors(engine, wanted.ancestors())?;
    let fits_others = |made: (Timestamp, ContainerId), image| {
        filter::between(made, before, since)
            && (wanted.ancestors().is_empty() || filter::is_from(image, &ancestors))
    };
    let (now, mut list) = (Timestamp::now(), JsonList::default());
    engine.list(listing.query, |listed| {
        match listed {
            Listed::Whole(view) => {
                if wanted.fits(&view, raise::state_word(&view))
                    && fits_others((view.created, view.id), view.image)
                {
                    listing.add(&mut list, (&view, now), engine, service)?;
                }
            }
            Listed::Unread(view) => {
                if let Some(service) = service {
                    service.tell_unread(&view);
                }
                if wanted.fits_unread(&view, raise::unread_word(&view))
                    && fits_others((view.created, view.id), view.image)
                {
                    let mut summary = raise::unread(&view, now, listing.style.ports);
                    quirks::container_summary(listing.style.api, &mut summary);
                    list.push(&summary);
                }
            }
        }
        let is_full = list.len() >= listing.limit;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(list)
}

impl Listing {
    /// Adds a container, unless it was removed since it was read.
    fn add(
        self,
        list: &mut JsonList,
        (view, now): (&Arc<ContainerView>, Timestamp),
        engine: &Engine,
        service: Option<&Shared>,
    ) -> Result<(), EngineError> {
        if let (Sizes::Left, Some(service)) = (self.sizes, service) {
            service.lines().add(list, view, self.style, now);
            return Ok(());
        }
        let size = match self.sizes.of(engine, view.id) {
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            size => size?,
        };
        let mut summary = raise::summary(view, size, now, self.style.ports);
        quirks::container_summary(self.style.api, &mut summary);
        list.push(&summary);
        Ok(())
    }
}

fn boundary(engine: &Engine, name: &str) -> Result<(Boundary, ContainerId), EngineError> {
    let view = engine.inspect(&NameOrId::new(name))?;
    Ok((Boundary(view.created), view.id))
}

/// Images by name; one that does not exist has no containers.
fn ancestors(engine: &Engine, names: &[String]) -> Result<Vec<ImageId>, EngineError> {
    let mut ids = Vec::new();
    for name in names {
        match engine.image_inspect(name) {
            Ok(image) => ids.push(image.id),
            Err(EngineError::NoSuchImage(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ids)
}

async fn inspect(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let view = call.run_brief(move |engine| engine.inspect(&who)).await?;
    let (sizes, id) = (Sizes::asked_by(call), view.id);
    let size = match sizes {
        Sizes::Shown => call.run(move |engine| sizes.of(engine, id)).await?,
        Sizes::Left => None,
    };
    let mut wire = raise::inspect(&view, size);
    quirks::container_inspect(call.api, &mut wire);
    Ok(reply::json(&wire))
}

async fn start(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let outcome = match checkpoints::of_start(call) {
        Some(place) => call.run(move |engine| engine.start_from(&who, &place)).await?,
        None => call.run(move |engine| engine.start(&who)).await?,
    };
    Ok(reply::empty(match outcome {
        StartOutcome::Started => StatusCode::NO_CONTENT,
        StartOutcome::AlreadyRunning => StatusCode::NOT_MODIFIED,
    }))
}

/// `?signal=` and `?t=` of stop and restart.
fn stop_options(call: &Call) -> Result<(Option<Signal>, Option<StopTimeout>), HttpError> {
    let signal = call.query.get("signal").filter(|_| call.api.has_stop_signal());
    let signal = signal.map(str::parse).transpose()?;
    let timeout = call.query.number::<i64>("t")?.map(lower::stop_timeout).transpose()?;
    Ok((signal, timeout))
}

async fn stop(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let (signal, timeout) = stop_options(call)?;
    let outcome = call.run_long(move |engine| engine.stop(&who, signal, timeout)).await?;
    Ok(reply::empty(match outcome {
        StopOutcome::Stopped => StatusCode::NO_CONTENT,
        StopOutcome::AlreadyStopped => StatusCode::NOT_MODIFIED,
    }))
}

async fn restart(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let (signal, timeout) = stop_options(call)?;
    call.run_long(move |engine| engine.restart(&who, signal, timeout)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn kill(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let cannot = format!("cannot kill container: {who}: ");
    let kill = async {
        let signal = call.query.get("signal").map(str::parse).transpose()?.unwrap_or(Signal::KILL);
        call.run(move |engine| engine.kill(&who, signal)).await
    };
    kill.await.map_err(|no: HttpError| HttpError::new(no.status, cannot + &no.message))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn rename(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let Some(name) = call.query.get("name").filter(|name| !name.is_empty()) else {
        return Err(HttpError::bad_request("Neither old nor new names may be empty"));
    };
    // Docker tells names with their slash.
    let slashed = format!("/{}", name.strip_prefix('/').unwrap_or(name));
    let name: ContainerName = match slashed.parse() {
        Ok(name) => name,
        Err(bad) => {
            // That there is no such container is said first.
            call.run(move |engine| engine.inspect(&who)).await?;
            let bad: BadContainerName = bad;
            return Err(allocating(bad.into()));
        }
    };
    let renamed = call.run(move |engine| engine.rename(&who, &name)).await;
    renamed.map_err(|no| if no.status == StatusCode::CONFLICT { allocating(no) } else { no })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Docker's words around a name that cannot be had.
fn allocating(no: HttpError) -> HttpError {
    HttpError::new(no.status, format!("Error when allocating new name: {}", no.message))
}

async fn pause(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    call.run(move |engine| engine.pause(&who)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn unpause(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    call.run(move |engine| engine.unpause(&who)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn update(mut call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let text = call.json_text().await?;
    if text.is_empty() {
        return Err(reply::missing_body().into());
    }
    let parsed = UpdateBody::from_json(&text)?;
    let changes = lower::update(parsed.value, call.api)?;
    let warnings = call.run(move |engine| engine.update(&who, changes)).await?;
    let unknown = parsed.unknown.iter().map(|field| format!("unknown field {field}"));
    let warnings: Vec<String> = unknown.chain(warnings).collect();
    // Docker says null of none.
    let warnings = (!warnings.is_empty()).then_some(warnings);
    Ok(reply::json(&UpdateResponse { warnings }))
}

/// `?h=` and `?w=` of both resizes.
pub(super) fn terminal_size(call: &Call) -> Result<TerminalSize, HttpError> {
    Ok(TerminalSize { rows: call.query.required("h")?, columns: call.query.required("w")? })
}

async fn changes(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let changes = call.run(move |engine| engine.changes(&who)).await?;
    let raised: Vec<_> = changes.iter().map(raise::change).collect();
    // Docker says null of none.
    Ok(reply::json(&(!raised.is_empty()).then_some(raised)))
}

async fn top(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let arguments = call.query.get("ps_args").unwrap_or_default().to_owned();
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    let TopView { titles, processes } =
        call.run_brief(move |engine| engine.top(&who, &arguments, now)).await?;
    Ok(reply::json(&TopResponse { titles, processes }))
}

async fn resize(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    let size = terminal_size(call)?;
    call.run_brief(move |engine| engine.resize(&who, size)).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn remove(call: &Call, who: NameOrId) -> Result<Reply, HttpError> {
    if call.query.flag("link") {
        return remove_link(call, &who).await;
    }
    let options = RemoveOptions { force: call.query.flag("force"), volumes: call.query.flag("v") };
    call.run(move |engine| engine.remove(&who, options)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Docker takes the link's name apart at its last slash.
async fn remove_link(call: &Call, name: &NameOrId) -> Result<Reply, HttpError> {
    let name = name.to_string();
    let name = name.trim_start_matches('/');
    let Some((parent, alias)) = name.rsplit_once('/') else {
        let who = NameOrId::new(name);
        call.run_brief(move |engine| engine.inspect(&who)).await?;
        return Err(HttpError::new(
            StatusCode::CONFLICT,
            "Conflict, cannot remove the default link name of the container",
        ));
    };
    let (parent, alias) = (NameOrId::new(parent), alias.to_owned());
    call.run(move |engine| engine.unlink(&parent, &alias)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
