//! `volume clone`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::client::volumes::Users;
use std::process::ExitCode;

/// Make a volume that has what another one has
///
/// Its content takes no room of its own where the file system can share it (XFS, Btrfs). Labels come along,
/// options do not: the new volume is a directory of its own.
#[derive(clap::Args, Debug)]
pub(super) struct VolumeCloneArgs {
    /// Pause the containers that use it while it is copied
    #[arg(long)]
    pause: bool,
    volume: String,
    new_volume: String,
}

command!(
    VolumeCloneArgs,
    clone,
    ["volume clone"],
    "[OPTIONS] VOLUME NEW_VOLUME",
    Arity::Exactly(2)
);

async fn clone(cx: &Cx, args: VolumeCloneArgs) -> Outcome {
    let users = if args.pause { Users::Pause } else { Users::Run };
    let cloned = cx.client()?.volume_clone(&args.volume, &args.new_volume, users).await?;
    for (count, what) in [
        (cloned.skipped_sockets, "sockets, which mean nothing without who listens"),
        (cloned.skipped_devices, "devices, which an ordinary user may not make"),
    ] {
        if count > 0 {
            cx.warning(&format!("left out: {count} {what}"));
        }
    }
    cx.line(&cloned.volume.name)?;
    Ok(ExitCode::SUCCESS)
}
