//! `volume prune`

use super::prune;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::filter::Filter;
use std::process::ExitCode;

const ALL: &str =
    "WARNING! This will remove all local volumes not used by at least one container.\n";
const ANONYMOUS: &str =
    "WARNING! This will remove anonymous local volumes not used by at least one container.\n";

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
    let mut filters = prune::filters(cx, &args.filter);
    if args.all {
        if filters.has("all") {
            let why = "conflicting options: cannot specify both --all and --filter all=1";
            return Err(Failure::error(why.to_owned()));
        }
        filters.add("all", "true");
    }
    let warning = if args.all { ALL } else { ANONYMOUS };
    if !args.force && !prune::confirmed(cx, warning)? {
        return Ok(ExitCode::SUCCESS);
    }
    prune::volumes(cx, &filters).await?.tell(cx)
}
