//! `volume create`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::env::{self, Label};
use docker_api::types::volumes::VolumeCreate;
use std::process::ExitCode;

/// Create a volume
#[derive(clap::Args, Debug)]
pub(super) struct VolumeCreateArgs {
    /// Driver of the volume
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set a label
    #[arg(long, value_name = "list")]
    label: Vec<Label>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    name: Option<String>,
}

command!(VolumeCreateArgs, create, ["volume create"], "[OPTIONS] [VOLUME]", Arity::AtMost(1));

async fn create(cx: &Cx, args: VolumeCreateArgs) -> Outcome {
    let request = VolumeCreate {
        name: args.name.unwrap_or_default(),
        driver: args.driver,
        driver_opts: Some(env::map(&args.opt)),
        labels: Some(env::map(args.label.iter().map(|label| &label.0))),
    };
    let volume = cx.client()?.volume_create(&request).await?;
    cx.line(&volume.name)?;
    Ok(ExitCode::SUCCESS)
}
