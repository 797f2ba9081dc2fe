//! `checkpoint rm`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Remove a checkpoint
#[derive(clap::Args, Debug)]
pub(super) struct CheckpointRmArgs {
    /// The one in this directory instead of the one with the container
    #[arg(long, value_name = "string")]
    checkpoint_dir: Option<String>,
    container: String,
    checkpoint: String,
}

command!(
    CheckpointRmArgs,
    rm,
    ["checkpoint rm", "checkpoint remove"],
    "[OPTIONS] CONTAINER CHECKPOINT",
    Arity::Exactly(2)
);

async fn rm(cx: &Cx, args: CheckpointRmArgs) -> Outcome {
    let dir = args.checkpoint_dir.as_deref();
    cx.client()?.checkpoint_remove(&args.container, &args.checkpoint, dir).await?;
    Ok(ExitCode::SUCCESS)
}
