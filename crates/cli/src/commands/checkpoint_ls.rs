//! `checkpoint ls`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::table::{Column, Format, List, Named, Row};
use docker_api::types::checkpoints::Checkpoint;
use std::process::ExitCode;

/// List checkpoints of a container
#[derive(clap::Args, Debug)]
pub(super) struct CheckpointLsArgs {
    /// Those in this directory instead of those with the container
    #[arg(long, value_name = "string")]
    checkpoint_dir: Option<String>,
    container: String,
}

command!(
    CheckpointLsArgs,
    ls,
    ["checkpoint ls", "checkpoint list"],
    "[OPTIONS] CONTAINER",
    Arity::Exactly(1)
);

const NAMED: Named<'static> = Named { table: "{{.Name}}", raw: None };
const COLUMNS: &[Column] = &[("Name", "CHECKPOINT NAME")];

async fn ls(cx: &Cx, args: CheckpointLsArgs) -> Outcome {
    let dir = args.checkpoint_dir.as_deref();
    let checkpoints = cx.client()?.checkpoint_list(&args.container, dir).await?;
    let rows = checkpoints.into_iter().map(row).collect();
    let list = List { columns: COLUMNS, type_name: "*formatter.checkpointContext", rows };
    cx.print(&Format::parse("table", NAMED)?.render(list)?)?;
    Ok(ExitCode::SUCCESS)
}

fn row(checkpoint: Checkpoint) -> Row {
    Row { fields: vec![("Name", checkpoint.name)], labels: Default::default() }
}
