//! `network inspect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::inspect::{Kind, all};

/// Show everything about networks
#[derive(clap::Args, Debug)]
pub(super) struct NetworkInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    names: Vec<String>,
}

command!(
    NetworkInspectArgs,
    inspect,
    ["network inspect"],
    "[OPTIONS] NETWORK [NETWORK...]",
    Arity::AtLeast(1)
);

async fn inspect(cx: &Cx, args: NetworkInspectArgs) -> Outcome {
    all(cx, Kind::Network, args.format.as_deref(), &args.names).await
}
