//! `volume update`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::parse::env::{self, Label};
use docker_api::types::volumes::VolumeUpdate;
use std::process::ExitCode;

/// Change the labels of a volume
#[derive(clap::Args, Debug)]
pub(super) struct VolumeUpdateArgs {
    /// Whether a volume of a cluster can be used (active, pause, drain); there are none
    #[arg(long, value_name = "string")]
    availability: Option<String>,
    /// Set a label (NAME=value)
    #[arg(long, value_name = "list")]
    label_add: Vec<Label>,
    /// Take a label away
    #[arg(long, value_name = "list")]
    label_rm: Vec<String>,
    volume: String,
}

command!(VolumeUpdateArgs, update, ["volume update"], "[OPTIONS] VOLUME", Arity::Exactly(1));

async fn update(cx: &Cx, args: VolumeUpdateArgs) -> Outcome {
    let client = cx.client()?;
    let has_labels = !args.label_add.is_empty() || !args.label_rm.is_empty();
    if args.availability.is_some() || !has_labels {
        client.volume_inspect(&args.volume).await?;
        return Err(Failure::error("can only update cluster volumes"));
    }
    let update = VolumeUpdate {
        label_add: env::map(args.label_add.iter().map(|label| &label.0)),
        label_rm: args.label_rm,
    };
    let volume = client.volume_update(&args.volume, &update).await?;
    cx.line(&volume.name)?;
    Ok(ExitCode::SUCCESS)
}
