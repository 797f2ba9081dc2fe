//! `unpause`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;

/// Thaw all processes of containers
#[derive(clap::Args, Debug)]
pub(super) struct UnpauseArgs {
    containers: Vec<String>,
}

command!(
    UnpauseArgs,
    unpause,
    ["container unpause", "unpause"],
    "CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn unpause(cx: &Cx, args: UnpauseArgs) -> Outcome {
    each(cx, &args.containers, |client, name| async move { client.container_unpause(&name).await })
        .await
}
