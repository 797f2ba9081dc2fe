//! `volume rename`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use std::process::ExitCode;

/// Rename a volume
///
/// Containers that use it use it by its new name from then on; none of them may run.
#[derive(clap::Args, Debug)]
pub(super) struct VolumeRenameArgs {
    volume: String,
    new_name: String,
}

command!(VolumeRenameArgs, rename, ["volume rename"], "VOLUME NEW_NAME", Arity::Exactly(2));

async fn rename(cx: &Cx, args: VolumeRenameArgs) -> Outcome {
    cx.client()?.volume_rename(&args.volume, &args.new_name).await?;
    Ok(ExitCode::SUCCESS)
}
