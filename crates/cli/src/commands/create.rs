//! `create`

use crate::argv::{Arity, Flags, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::make::{CreateFlags, MakeError, make, request};
use crate::options::ContainerOptions;
use crate::starting::refused;
use std::process::ExitCode;

/// Create a container, without starting it
#[derive(clap::Args, Debug)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    flags: CreateFlags,
    #[command(flatten)]
    options: ContainerOptions,
    image: String,
    command: Vec<String>,
}

command!(
    CreateArgs,
    create,
    ["container create", "create"],
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    Arity::AtLeast(1),
    Flags::First
);

async fn create(cx: &Cx, args: CreateArgs) -> Outcome {
    let request = request(&args.flags, &args.options, (&args.image, &args.command))
        .map_err(|message| refused(cx, &message))?;
    let made = make(cx, &args.flags, &request).await.map_err(|e| match e {
        MakeError::Usage(message) => Failure::error(message),
        MakeError::Api(error) => error.into(),
        MakeError::Failed(failure) => failure,
    })?;
    cx.line(&made.id)?;
    Ok(ExitCode::SUCCESS)
}
