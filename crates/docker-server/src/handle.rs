//! The operations: parameters in, a verb of the engine, a reply out.

mod archive;
mod checkpoints;
mod commit;
mod containers;
mod events;
mod exec;
mod images;
mod logs;
mod networks;
mod registries;
mod streams;
pub(crate) mod system;
mod transfer;
mod usage;
mod volumes;

use http::StatusCode;

use crate::call::Call;
use crate::error::HttpError;
use crate::reply::{self, Reply};
use crate::route::Route;

/// Docker's answer to everything that needs a swarm.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Docker's answer to whoever would leave one.
const IN_NO_SWARM: &str = "This node is not part of a swarm";

/// Does what a request asks for.
pub(crate) async fn dispatch(call: Call, route: Route) -> Result<Reply, HttpError> {
    match route {
        Route::Ping => Ok(system::ping()),
        Route::Version => Ok(system::version(&call)),
        Route::Info => system::info(&call).await,
        Route::DiskUsage => usage::disk_usage(&call).await,
        Route::BuildPrune => usage::build_prune(&call),
        Route::Reset => system::reset(&call).await,
        Route::Reconcile => system::reconcile(&call).await,
        Route::PreviousLogs(name) => logs::previous(call, name).await,
        Route::StartWished => system::start_wished(&call).await,
        Route::Events => events::events(call).await,
        Route::Metrics => system::metrics(&call).await,
        Route::Options => Ok(reply::empty(StatusCode::OK)),
        Route::ContainerList => containers::list(&call).await,
        Route::ContainerCreate => containers::create(call).await,
        Route::Commit => commit::commit(call).await,
        Route::ContainerPrune => containers::prune(&call).await,
        Route::Container(id, operation) => containers::one(call, id, operation).await,
        Route::CheckpointRemove(id, name) => checkpoints::remove(&call, id, name).await,
        Route::CheckpointExport(id, name) => checkpoints::export(call, id, name).await,
        Route::CheckpointImport(id, name) => checkpoints::import(call, id, name).await,
        Route::Exec(id, operation) => exec::one(call, &id, operation).await,
        Route::ImageList => images::list(&call).await,
        Route::ImagePrune => images::prune(&call).await,
        Route::ImageCreate => images::create(call).await,
        Route::ImageSearch => registries::search(&call).await,
        Route::Login => registries::login(call).await,
        Route::Describe(name) => registries::describe(&call, &name).await,
        Route::ImageLoad => transfer::load(call).await,
        Route::ImagesSave => {
            let names = call.query.all("names");
            transfer::save(call, names).await
        }
        Route::Image(name, operation) => images::one(call, name, operation).await,
        Route::VolumeList => volumes::list(&call).await,
        Route::VolumePrune => volumes::prune(&call).await,
        Route::VolumeCreate => volumes::create(call).await,
        Route::VolumeInspect(name) => volumes::inspect(&call, name).await,
        Route::VolumeRemove(name) => volumes::remove(&call, name).await,
        // Docker's client asks whether it is a volume of a cluster before it sends this.
        Route::VolumeAvailability(name) => volumes::availability(&call, name).await,
        Route::VolumeClone(name) => volumes::clone(&call, name).await,
        Route::VolumeExport(name) => volumes::export(call, name).await,
        Route::VolumeImport(name) => volumes::import(call, name).await,
        Route::VolumeRename(name) => volumes::rename(&call, name).await,
        Route::VolumeUpdate(name) => volumes::update(call, name).await,
        Route::NetworkList => networks::list(&call).await,
        Route::NetworkCreate => networks::create(call).await,
        Route::NetworkRemove(name) => networks::remove(&call, name).await,
        Route::NetworkConnect(name) => networks::connect(call, name).await,
        Route::NetworkDisconnect(name) => networks::disconnect(call, name).await,
        Route::NetworkPrune => networks::prune(&call).await,
        Route::NetworkInspect(name) => networks::inspect(&call, name).await,
        Route::Firewall => networks::firewall(&call).await,
        Route::PluginList => Ok(reply::json(&Vec::<String>::new())),
        Route::Plugin(name) => Err(HttpError::not_found(format!("plugin {name:?} not found"))),
        Route::SwarmLeave => Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, IN_NO_SWARM)),
        Route::Swarm => Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, NO_SWARM)),
        Route::Later(what) => Err(HttpError::later(what)),
    }
}
