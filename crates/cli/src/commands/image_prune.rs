//! `image prune`

use super::prune::{self, Images};
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::filter::Filter;
use std::process::ExitCode;

const UNUSED: &str =
    "WARNING! This will remove all images without at least one container associated to them.\n";
const DANGLING: &str = "WARNING! This will remove all dangling images.\n";

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
    let (which, warning) =
        if args.all { (Images::Unused, UNUSED) } else { (Images::Dangling, DANGLING) };
    if !args.force && !prune::confirmed(cx, warning)? {
        return Ok(ExitCode::SUCCESS);
    }
    prune::images(cx, which, &prune::filters(cx, &args.filter)).await?.tell(cx)
}
