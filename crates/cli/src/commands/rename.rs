//! `rename`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
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
    let is_empty = |name: &str| name.trim().trim_start_matches('/').is_empty();
    if is_empty(&args.container) || is_empty(&args.new_name) {
        return Err(Failure::error("Error: Neither old nor new names may be empty"));
    }
    cx.client()?.container_rename(&args.container, &args.new_name).await?;
    Ok(ExitCode::SUCCESS)
}
