//! `network disconnect`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use docker_api::types::networks::NetworkDisconnect;
use std::process::ExitCode;

/// Disconnect a container from a network
#[derive(clap::Args, Debug)]
pub(super) struct NetworkDisconnectArgs {
    /// The same as without: no address outlives its container here
    #[arg(short, long)]
    force: bool,
    network: String,
    container: String,
}

command!(
    NetworkDisconnectArgs,
    disconnect,
    ["network disconnect"],
    "[OPTIONS] NETWORK CONTAINER",
    Arity::Exactly(2)
);

async fn disconnect(cx: &Cx, args: NetworkDisconnectArgs) -> Outcome {
    let request = NetworkDisconnect { container: args.container, force: args.force };
    cx.client()?.network_disconnect(&args.network, &request).await?;
    Ok(ExitCode::SUCCESS)
}
