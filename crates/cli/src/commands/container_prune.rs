//! `container prune`

use super::{confirmed, tell_pruned};
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::{Filter, collect};
use std::process::ExitCode;

const WARNING: &str = "WARNING! This will remove all stopped containers.";

/// Remove all stopped containers
#[derive(clap::Args, Debug)]
pub(super) struct ContainerPruneArgs {
    /// Remove only those that match, e.g. until=24h or label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

command!(ContainerPruneArgs, container_prune, ["container prune"], "[OPTIONS]", Arity::Exactly(0));

async fn container_prune(cx: &Cx, args: ContainerPruneArgs) -> Outcome {
    if !args.force && !confirmed(cx, WARNING)? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = cx.client()?.container_prune(&collect(&args.filter)).await?;
    let deleted = pruned.containers_deleted.unwrap_or_default();
    tell_pruned(cx, "Deleted Containers:", &deleted, pruned.space_reclaimed)
}
