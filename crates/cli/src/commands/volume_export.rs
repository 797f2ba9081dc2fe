//! `volume export`

use super::save::Target;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::client::volumes::Users;
use std::process::ExitCode;

/// Write a volume to an archive
///
/// All that is in it, while containers use it; what they write meanwhile may be in it in part, unless they
/// are paused.
#[derive(clap::Args, Debug)]
pub(super) struct VolumeExportArgs {
    /// Compress it: zstd, gzip or none
    #[arg(long, value_name = "string", default_value = "zstd")]
    compression: String,
    /// Write to this file instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    /// Pause the containers that use it until it is written
    #[arg(long)]
    pause: bool,
    volume: String,
}

command!(VolumeExportArgs, export, ["volume export"], "[OPTIONS] VOLUME", Arity::Exactly(1));

async fn export(cx: &Cx, args: VolumeExportArgs) -> Outcome {
    let target = Target::open_private(args.output.as_deref())?;
    let users = if args.pause { Users::Pause } else { Users::Run };
    let stream = cx.client()?.volume_export(&args.volume, &args.compression, users).await?;
    target.write(stream).await?;
    Ok(ExitCode::SUCCESS)
}
