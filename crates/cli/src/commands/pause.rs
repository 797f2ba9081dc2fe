//! `pause`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;

/// Freeze all processes of containers
#[derive(clap::Args, Debug)]
pub(super) struct PauseArgs {
    containers: Vec<String>,
}

command!(
    PauseArgs,
    pause,
    ["container pause", "pause"],
    "CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn pause(cx: &Cx, args: PauseArgs) -> Outcome {
    each(cx, &args.containers, |client, name| async move { client.container_pause(&name).await })
        .await
}
