//! Networks.

use docker_api::types::networks::{
    NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworksPruned,
};
use http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{NameOrId, moment};

use crate::call::Call;
use crate::error::HttpError;
use crate::filter;
use crate::lower;
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

/// `POST /networks/create`.
pub(super) async fn create(mut call: Call) -> Result<Reply, HttpError> {
    let request: NetworkCreate = call.json().await?.value;
    let wish = lower::network(request)?;
    let id = call.run(|engine| engine.network_create(wish)).await?;
    let created = NetworkCreated { id: id.to_string(), warning: String::new() };
    Ok(reply::json_status(StatusCode::CREATED, &created))
}

/// `POST /networks/prune`.
pub(super) async fn prune(call: &Call) -> Result<Reply, HttpError> {
    let now = moment::Reference { now: Timestamp::now(), zone: TimeZone::system() };
    let wanted = filter::PruneNetworks::parse(&call.query, &now)?;
    let pruned = call.run(move |engine| engine.prune_networks(|view| wanted.fits(view))).await?;
    Ok(reply::json(&NetworksPruned { networks_deleted: raise::or_null(pruned.removed) }))
}

/// `GET /networks/{id}`. Docker's parameters `verbose` and `scope` choose among what a swarm has.
pub(super) async fn inspect(call: &Call, name: String) -> Result<Reply, HttpError> {
    let view = call.run_brief(move |engine| engine.network_inspect(&name)).await?;
    Ok(reply::json(&raise::network(&view)))
}

/// `GET /dhow/firewall`.
pub(super) async fn firewall(call: &Call) -> Result<Reply, HttpError> {
    let exposure = call.run_brief(|engine| engine.exposure()).await?;
    Ok(reply::json(&raise::firewall(&exposure)))
}

/// `POST /networks/{id}/connect`.
pub(super) async fn connect(mut call: Call, name: String) -> Result<Reply, HttpError> {
    let request: NetworkConnect = call.json().await?.value;
    let place = lower::connect(&name, request.endpoint_config.as_ref())?;
    let who = NameOrId::new(request.container);
    call.run(move |engine| engine.network_connect(&name, &who, place)).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`. What `Force` is for, an endpoint of a container that is no more, there
/// is not: a lease ends with its container.
pub(super) async fn disconnect(mut call: Call, name: String) -> Result<Reply, HttpError> {
    let request: NetworkDisconnect = call.json().await?.value;
    let who = NameOrId::new(request.container);
    call.run(move |engine| engine.network_disconnect(&name, &who)).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `DELETE /networks/{id}`.
pub(super) async fn remove(call: &Call, name: String) -> Result<Reply, HttpError> {
    call.run(move |engine| engine.network_remove(&name)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
