//! `kill`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;

/// Kill running containers
#[derive(clap::Args, Debug)]
pub(super) struct KillArgs {
    /// Signal to send (default KILL)
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    containers: Vec<String>,
}

command!(
    KillArgs,
    kill,
    ["container kill", "kill"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn kill(cx: &Cx, args: KillArgs) -> Outcome {
    each(cx, &args.containers, |client, name| {
        let signal = args.signal.clone();
        async move { client.container_kill(&name, signal.as_deref()).await }
    })
    .await
}
