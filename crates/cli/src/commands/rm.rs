//! `rm`

use super::each_but;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use docker_api::ApiError;
use docker_api::query::RemoveContainer;

/// Remove containers
#[derive(clap::Args, Debug)]
pub(super) struct RmArgs {
    /// Kill a running container first, and do not mind one that is not there
    #[arg(short, long)]
    force: bool,
    /// Remove a link instead of the container
    #[arg(short, long)]
    link: bool,
    /// Remove its anonymous volumes as well
    #[arg(short, long)]
    volumes: bool,
    containers: Vec<String>,
}

command!(
    RmArgs,
    rm,
    ["container rm", "container remove", "rm"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn rm(cx: &Cx, args: RmArgs) -> Outcome {
    let options = RemoveContainer { volumes: args.volumes, force: args.force, link: args.link };
    if let Some(empty) = args.containers.iter().find(|name| name.trim_matches('/').is_empty()) {
        return Err(Failure::error(format!("Container name cannot be empty: {empty:?}")));
    }
    // Forced, a container that is not there is told of and is no failure.
    let tolerated = if args.force { |e: &ApiError| e.is_not_found() } else { |_: &ApiError| false };
    each_but(cx, &args.containers, tolerated, |client, name| async move {
        client.container_remove(&name, options).await
    })
    .await
}
