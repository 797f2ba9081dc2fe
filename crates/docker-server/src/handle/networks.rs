//! Networks: those that are built in.

use docker_api::types::networks::NetworksPruned;
use engine::EngineError;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::moment;

use crate::call::Call;
use crate::error::HttpError;
use crate::filter;
use crate::raise;
use crate::reply::{self, Reply};

/// `GET /networks`.
pub(super) async fn list(call: &Call) -> Result<Reply, HttpError> {
    let filter = filter::Networks::parse(&call.query)?;
    let views = call.run_brief(|engine| engine.networks()).await?;
    let fitting = views.iter().filter(|view| filter.fits(view));
    let mut networks: Vec<_> = fitting.map(raise::network).collect();
    for network in &mut networks {
        // Lists do not say who is on a network.
        network.containers.clear();
    }
    Ok(reply::json(&networks))
}

/// `POST /networks/prune`.
pub(super) async fn prune(call: &Call) -> Result<Reply, HttpError> {
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    filter::check_network_prune(&call.query, &now)?;
    let pruned = call.run(|engine| Ok::<_, EngineError>(engine.prune_networks())).await?;
    Ok(reply::json(&NetworksPruned { networks_deleted: raise::or_null(pruned.removed) }))
}

/// `GET /networks/{id}`.
pub(super) async fn inspect(call: &Call, name: String) -> Result<Reply, HttpError> {
    let view = call.run_brief(move |engine| engine.network_inspect(&name)).await?;
    Ok(reply::json(&raise::network(&view)))
}
