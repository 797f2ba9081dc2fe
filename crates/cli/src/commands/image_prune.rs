//! `image prune`

use super::{confirmed, tell_pruned};
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::{Filter, collect};
use docker_api::types::images::DeleteItem;
use std::process::ExitCode;

const ALL: &str =
    "WARNING! This will remove all images without at least one container associated to them.";
const DANGLING: &str = "WARNING! This will remove all dangling images.";

/// Remove images that nothing uses
#[derive(clap::Args, Debug)]
pub(super) struct ImagePruneArgs {
    /// Also those that have a name, unless a container was made from them
    #[arg(short, long)]
    all: bool,
    /// Remove only those that match, e.g. until=24h or label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

command!(ImagePruneArgs, image_prune, ["image prune"], "[OPTIONS]", Arity::Exactly(0));

async fn image_prune(cx: &Cx, args: ImagePruneArgs) -> Outcome {
    let mut filters = collect(&args.filter);
    filters.add("dangling", if args.all { "false" } else { "true" });
    if !args.force && !confirmed(cx, if args.all { ALL } else { DANGLING })? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = cx.client()?.image_prune(&filters).await?;
    let deleted: Vec<String> = pruned.images_deleted.iter().flatten().map(line).collect();
    tell_pruned(cx, "Deleted Images:", &deleted, pruned.space_reclaimed)
}

/// In other words than `rmi` has for the same.
fn line(item: &DeleteItem) -> String {
    if item.deleted.is_empty() {
        format!("untagged: {}", item.untagged)
    } else {
        format!("deleted: {}", item.deleted)
    }
}
