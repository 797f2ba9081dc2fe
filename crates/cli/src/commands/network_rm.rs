//! `network rm`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::client::volumes::Force;

/// Remove networks
#[derive(clap::Args, Debug)]
pub(super) struct NetworkRmArgs {
    /// Do not mind one that is not there
    #[arg(short, long)]
    force: bool,
    networks: Vec<String>,
}

command!(
    NetworkRmArgs,
    rm,
    ["network rm", "network remove"],
    "NETWORK [NETWORK...]",
    Arity::AtLeast(1)
);

async fn rm(cx: &Cx, args: NetworkRmArgs) -> Outcome {
    let force = if args.force { Force::Yes } else { Force::No };
    each(
        cx,
        &args.networks,
        |client, name| async move { client.network_remove(&name, force).await },
    )
    .await
}
