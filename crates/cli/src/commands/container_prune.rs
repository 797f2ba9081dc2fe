//! `container prune`

use super::prune;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::Filter;
use std::process::ExitCode;

const WARNING: &str = "WARNING! This will remove all stopped containers.\n";

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
    if !args.force && !prune::confirmed(cx, WARNING)? {
        return Ok(ExitCode::SUCCESS);
    }
    prune::containers(cx, &prune::filters(cx, &args.filter)).await?.tell(cx)
}
