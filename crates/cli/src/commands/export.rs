//! `export`

use super::save::Target;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Export a container's file system as an archive
#[derive(clap::Args, Debug)]
pub(super) struct ExportArgs {
    /// Write to this file instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    container: String,
}

command!(
    ExportArgs,
    export,
    ["container export", "export"],
    "[OPTIONS] CONTAINER",
    Arity::Exactly(1)
);

async fn export(cx: &Cx, args: ExportArgs) -> Outcome {
    let target = Target::open(args.output.as_deref())?;
    let stream = cx.client()?.container_export(&args.container).await?;
    target.write(stream).await?;
    Ok(ExitCode::SUCCESS)
}
