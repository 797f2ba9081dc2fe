//! `builder prune`

use super::prune;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::{Filter, collect};
use crate::parse::number::Bytes;
use docker_api::query::BuildPrune;
use std::process::ExitCode;

const ALL: &str = "WARNING! This will remove all build cache. ";
const DANGLING: &str = "WARNING! This will remove all dangling build cache. ";

/// Remove what builds have left in the cache
#[derive(clap::Args, Debug)]
pub(super) struct BuilderPruneArgs {
    /// Also what the next build would use
    #[arg(short, long)]
    all: bool,
    /// Remove only what matches, e.g. until=24h
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// How much of the cache may stay
    #[arg(long, value_name = "bytes")]
    keep_storage: Option<Bytes>,
}

command!(BuilderPruneArgs, builder_prune, ["builder prune"], "[OPTIONS]", Arity::Exactly(0));

async fn builder_prune(cx: &Cx, args: BuilderPruneArgs) -> Outcome {
    if !args.force && !prune::confirmed(cx, if args.all { ALL } else { DANGLING })? {
        return Ok(ExitCode::SUCCESS);
    }
    let filters = collect(&args.filter);
    let keep_storage = args.keep_storage.map(|bytes| bytes.0);
    let options = BuildPrune { all: args.all, keep_storage, filters };
    prune::build_cache(cx, &options).await?.tell(cx)
}
