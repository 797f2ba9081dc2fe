//! `diff`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::types::containers::FilesystemChange;
use std::process::ExitCode;

/// Show what a container has changed in its file system
#[derive(clap::Args, Debug)]
pub(super) struct DiffArgs {
    container: String,
}

command!(DiffArgs, diff, ["container diff", "diff"], "CONTAINER", Arity::Exactly(1));

async fn diff(cx: &Cx, args: DiffArgs) -> Outcome {
    let changes = cx.client()?.container_changes(&args.container).await?;
    let lines: String = changes.iter().map(line).collect();
    cx.print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

fn line(change: &FilesystemChange) -> String {
    let letter = match change.kind {
        0 => 'C',
        1 => 'A',
        _ => 'D',
    };
    format!("{letter} {}\n", change.path)
}
