//! `checkpoint import`

use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use docker_api::stream::Upload;
use std::process::ExitCode;

/// Take a checkpoint of a container from an archive
///
/// Only from whom you would let be root on this host: criu, which makes a container of it, is.
#[derive(clap::Args, Debug)]
pub(super) struct CheckpointImportArgs {
    /// Keep it in this directory instead of with the container
    #[arg(long, value_name = "string")]
    checkpoint_dir: Option<String>,
    /// Read this file instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    container: String,
    checkpoint: String,
}

command!(
    CheckpointImportArgs,
    import,
    ["checkpoint import"],
    "[OPTIONS] CONTAINER CHECKPOINT",
    Arity::Exactly(2)
);

async fn import(cx: &Cx, args: CheckpointImportArgs) -> Outcome {
    let archive = match args.input.as_deref() {
        None | Some("" | "-") if cx::stdin_is_terminal() => {
            return Err(Failure::error(
                "the checkpoint is read from stdin, which is a terminal; use -i",
            ));
        }
        None | Some("" | "-") => Upload::blocking(std::io::stdin()),
        Some(path) => Upload::blocking(super::load::open(path)?),
    };
    let dir = args.checkpoint_dir.as_deref();
    let client = cx.client()?;
    client.checkpoint_import(&args.container, &args.checkpoint, dir, archive).await?;
    cx.line(&args.checkpoint)?;
    Ok(ExitCode::SUCCESS)
}
