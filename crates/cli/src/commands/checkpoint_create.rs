//! `checkpoint create`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::types::checkpoints::CheckpointCreate;
use std::process::ExitCode;

/// Write down what runs in a container, to start it from there
#[derive(clap::Args, Debug)]
pub(super) struct CheckpointCreateArgs {
    /// Keep it in this directory instead of with the container
    #[arg(long, value_name = "string", default_value = "")]
    checkpoint_dir: String,
    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    container: String,
    checkpoint: String,
}

command!(
    CheckpointCreateArgs,
    create,
    ["checkpoint create"],
    "[OPTIONS] CONTAINER CHECKPOINT",
    Arity::Exactly(2)
);

async fn create(cx: &Cx, args: CheckpointCreateArgs) -> Outcome {
    let request = CheckpointCreate {
        checkpoint_id: args.checkpoint,
        checkpoint_dir: args.checkpoint_dir,
        exit: !args.leave_running,
    };
    cx.client()?.checkpoint_create(&args.container, &request).await?;
    cx.line(&request.checkpoint_id)?;
    Ok(ExitCode::SUCCESS)
}
