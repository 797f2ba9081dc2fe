//! `checkpoint export`

use super::save::Target;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Write a checkpoint of a container to an archive
#[derive(clap::Args, Debug)]
pub(super) struct CheckpointExportArgs {
    /// The one in this directory instead of the one with the container
    #[arg(long, value_name = "string")]
    checkpoint_dir: Option<String>,
    /// Write to this file instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    container: String,
    checkpoint: String,
}

command!(
    CheckpointExportArgs,
    export,
    ["checkpoint export"],
    "[OPTIONS] CONTAINER CHECKPOINT",
    Arity::Exactly(2)
);

async fn export(cx: &Cx, args: CheckpointExportArgs) -> Outcome {
    let target = Target::open_private(args.output.as_deref())?;
    let dir = args.checkpoint_dir.as_deref();
    let stream = cx.client()?.checkpoint_export(&args.container, &args.checkpoint, dir).await?;
    target.write(stream).await?;
    Ok(ExitCode::SUCCESS)
}
