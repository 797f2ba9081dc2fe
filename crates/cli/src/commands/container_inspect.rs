//! `container inspect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::inspect::{Kind, all, recipes};
use crate::recipe::Recipe;

/// Show everything about containers
#[derive(clap::Args, Debug)]
pub(super) struct ContainerInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Tell how to make them again: run (a command line) or compose (a file)
    #[arg(long = "as", value_name = "string")]
    style: Option<Recipe>,
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
    if let Some(style) = args.style {
        return recipes(cx, style, args.format.as_deref(), &args.names).await;
    }
    let kind = if args.size { Kind::ContainerSize } else { Kind::Container };
    all(cx, kind, args.format.as_deref(), &args.names).await
}
