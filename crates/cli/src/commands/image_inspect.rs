//! `image inspect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::inspect::{Kind, all};

/// Show everything about images
#[derive(clap::Args, Debug)]
pub(super) struct ImageInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    names: Vec<String>,
}

command!(
    ImageInspectArgs,
    inspect,
    ["image inspect"],
    "[OPTIONS] IMAGE [IMAGE...]",
    Arity::AtLeast(1)
);

async fn inspect(cx: &Cx, args: ImageInspectArgs) -> Outcome {
    all(cx, Kind::Image, args.format.as_deref(), &args.names).await
}
