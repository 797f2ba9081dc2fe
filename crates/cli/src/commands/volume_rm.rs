//! `volume rm`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::client::volumes::Force;

/// Remove volumes
#[derive(clap::Args, Debug)]
pub(super) struct VolumeRmArgs {
    /// Do not mind one that is not there
    #[arg(short, long)]
    force: bool,
    volumes: Vec<String>,
}

command!(
    VolumeRmArgs,
    rm,
    ["volume rm", "volume remove"],
    "[OPTIONS] VOLUME [VOLUME...]",
    Arity::AtLeast(1)
);

async fn rm(cx: &Cx, args: VolumeRmArgs) -> Outcome {
    let force = if args.force { Force::Yes } else { Force::No };
    each(cx, &args.volumes, |client, name| async move { client.volume_remove(&name, force).await })
        .await
}
