//! `volume inspect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::inspect::{Kind, all};

/// Show everything about volumes
#[derive(clap::Args, Debug)]
pub(super) struct VolumeInspectArgs {
    /// Format: json, or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    names: Vec<String>,
}

command!(
    VolumeInspectArgs,
    inspect,
    ["volume inspect"],
    "[OPTIONS] VOLUME [VOLUME...]",
    Arity::AtLeast(1)
);

async fn inspect(cx: &Cx, args: VolumeInspectArgs) -> Outcome {
    all(cx, Kind::Volume, args.format.as_deref(), &args.names).await
}
