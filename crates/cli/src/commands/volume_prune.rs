//! `volume prune`

use super::{confirmed, tell_pruned};
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::filter::{Filter, collect};
use std::process::ExitCode;

const ALL: &str = "WARNING! This will remove all local volumes not used by at least one container.";
const ANONYMOUS: &str =
    "WARNING! This will remove anonymous local volumes not used by at least one container.";

/// Remove volumes that no container uses
#[derive(clap::Args, Debug)]
pub(super) struct VolumePruneArgs {
    /// Also those that have a name, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Remove only those that match, e.g. label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

command!(VolumePruneArgs, volume_prune, ["volume prune"], "[OPTIONS]", Arity::Exactly(0));

async fn volume_prune(cx: &Cx, args: VolumePruneArgs) -> Outcome {
    let mut filters = collect(&args.filter);
    if args.all {
        if filters.has("all") {
            let why = "conflicting options: cannot specify both --all and --filter all=1";
            return Err(Failure::error(why.to_owned()));
        }
        filters.add("all", "true");
    }
    let warning = if args.all { ALL } else { ANONYMOUS };
    if !args.force && !confirmed(cx, warning)? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = cx.client()?.volume_prune(&filters).await?;
    let deleted = pruned.volumes_deleted.unwrap_or_default();
    tell_pruned(cx, "Deleted Volumes:", &deleted, pruned.space_reclaimed)
}
