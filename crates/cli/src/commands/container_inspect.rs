//! `container inspect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::inspect::{Kind, all};

/// Show everything about containers
#[derive(clap::Args, Debug)]
pub(super) struct ContainerInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Count bytes
    #[arg(short, long)]
    size: bool,
    names: Vec<String>,
}

command!(
    ContainerInspectArgs,
    inspect,
    ["container inspect"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn inspect(cx: &Cx, args: ContainerInspectArgs) -> Outcome {
    let kind = if args.size { Kind::ContainerSize } else { Kind::Container };
    all(cx, kind, args.format.as_deref(), &args.names).await
}
