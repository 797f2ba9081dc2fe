//! What is taken on the disk, and the builder's cache, which nothing is in.

use std::ops::ControlFlow;

use docker_api::types::usage::{BuildPruned, DiskUsage, OwnUsage};
use engine::view::{ListQuery, Listed};
use engine::{Engine, EngineError};
use jiff::Timestamp;
use model::NameOrId;

use crate::call::Call;
use crate::error::HttpError;
use crate::filter;
use crate::quirks;
use crate::raise::{self, PortList};
use crate::reply::{self, Reply};

/// What `type=` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Containers,
    Images,
    Volumes,
    BuildCache,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Containers, Self::Images, Self::Volumes, Self::BuildCache];

    fn parse(text: &str) -> Result<Self, HttpError> {
        match text {
            "container" => Ok(Self::Containers),
            "image" => Ok(Self::Images),
            "volume" => Ok(Self::Volumes),
            "build-cache" => Ok(Self::BuildCache),
            other => Err(HttpError::bad_request(format!("unknown object type: {other}"))),
        }
    }
}

/// `GET /system/df`.
pub(super) async fn disk_usage(call: &Call) -> Result<Reply, HttpError> {
    let named = if call.api.has_usage_types() { call.query.all("type") } else { Vec::new() };
    let kinds: Vec<Kind> = named.iter().map(|text| Kind::parse(text)).collect::<Result<_, _>>()?;
    let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds };
    let mut usage = call.run(move |engine| count(engine, &kinds)).await?;
    quirks::disk_usage(call.api, &mut usage);
    Ok(reply::json(&usage))
}

fn count(engine: &Engine, kinds: &[Kind]) -> Result<DiskUsage, EngineError> {
    let mut usage = DiskUsage::default();
    for kind in kinds {
        match kind {
            Kind::Containers => {
                usage.containers = Some(containers(engine)?);
                let previous_logs = raise::signed(engine.previous_logs_usage());
                usage.dhow = Some(OwnUsage { previous_logs });
            }
            Kind::Images => {
                let counted = engine.images_usage()?;
                usage.layers_size = raise::signed(counted.layers);
                usage.images = Some(counted.images.iter().map(raise::image_usage).collect());
            }
            Kind::Volumes => {
                let counted = engine.volumes_usage()?;
                usage.volumes = Some(counted.iter().map(raise::volume_usage).collect());
            }
            // Nothing is built here yet, so that nothing is kept of it.
            Kind::BuildCache => usage.build_cache = Some(Vec::new()),
        }
    }
    Ok(usage)
}

fn containers(
    engine: &Engine,
) -> Result<Vec<docker_api::types::containers::ContainerSummary>, EngineError> {
    let (now, mut list) = (Timestamp::now(), Vec::new());
    engine.list(ListQuery::All, |listed| {
        let view = match listed {
            Listed::Whole(view) => view,
            Listed::Unread(view) => {
                list.push(raise::unread(&view, now, PortList::Each));
                return Ok(ControlFlow::Continue(()));
            }
        };
        match engine.size(&NameOrId::from(view.id)) {
            Ok(size) => list.push(raise::summary(&view, Some(size), now, PortList::Each)),
            // Removed since it was read.
            Err(EngineError::NoSuchContainer(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(list)
}

/// `POST /build/prune`.
pub(super) fn build_prune(call: &Call) -> Result<Reply, HttpError> {
    filter::check_build_prune(&call.query)?;
    Ok(reply::json(&BuildPruned::default()))
}
