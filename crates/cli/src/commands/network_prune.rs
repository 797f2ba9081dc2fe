//! `network prune`

use super::prune;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::Filter;
use std::process::ExitCode;

const WARNING: &str =
    "WARNING! This will remove all custom networks not used by at least one container.\n";

/// Remove networks that no container uses
#[derive(clap::Args, Debug)]
pub(super) struct NetworkPruneArgs {
    /// Remove only those that match, e.g. until=24h or label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

command!(NetworkPruneArgs, network_prune, ["network prune"], "[OPTIONS]", Arity::Exactly(0));

async fn network_prune(cx: &Cx, args: NetworkPruneArgs) -> Outcome {
    if !args.force && !prune::confirmed(cx, WARNING)? {
        return Ok(ExitCode::SUCCESS);
    }
    prune::networks(cx, &prune::filters(cx, &args.filter)).await?.tell_names(cx)
}
