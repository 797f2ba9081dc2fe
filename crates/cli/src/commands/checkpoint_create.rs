//! `checkpoint create`

use super::save::Target;
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
    /// Write it to this file as well (- is STDOUT)
    #[arg(long, value_name = "string")]
    export: Option<String>,
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
    // What cannot be written to is said before the container ends.
    let target = args.export.as_deref().map(|file| Target::open_private(Some(file))).transpose()?;
    let request = CheckpointCreate {
        checkpoint_id: args.checkpoint,
        checkpoint_dir: args.checkpoint_dir,
        exit: !args.leave_running,
    };
    let client = cx.client()?;
    client.checkpoint_create(&args.container, &request).await?;
    let Some(target) = target else {
        cx.line(&request.checkpoint_id)?;
        return Ok(ExitCode::SUCCESS);
    };
    let is_stdout = matches!(target, Target::Stdout);
    let dir = Some(request.checkpoint_dir.as_str()).filter(|dir| !dir.is_empty());
    let archive = client.checkpoint_export(&args.container, &request.checkpoint_id, dir).await?;
    target.write(archive).await?;
    if !is_stdout {
        cx.line(&request.checkpoint_id)?;
    }
    Ok(ExitCode::SUCCESS)
}
