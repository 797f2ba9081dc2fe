//! `rename`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Rename a container
#[derive(clap::Args, Debug)]
pub(super) struct RenameArgs {
    container: String,
    new_name: String,
}

command!(
    RenameArgs,
    rename,
    ["container rename", "rename"],
    "CONTAINER NEW_NAME",
    Arity::Exactly(2)
);

async fn rename(cx: &Cx, args: RenameArgs) -> Outcome {
    cx.client()?.container_rename(&args.container, &args.new_name).await?;
    Ok(ExitCode::SUCCESS)
}
