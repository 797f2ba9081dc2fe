//! `restart`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::number::Int;
use docker_api::query::StopOptions;

/// Restart containers
#[derive(clap::Args, Debug)]
pub(super) struct RestartArgs {
    /// Signal that stops the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, alias = "time", value_name = "int")]
    timeout: Option<Int>,
    containers: Vec<String>,
}

command!(
    RestartArgs,
    restart,
    ["container restart", "restart"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn restart(cx: &Cx, args: RestartArgs) -> Outcome {
    let options = StopOptions { signal: args.signal, timeout: args.timeout.map(|t| t.0) };
    each(cx, &args.containers, |client, name| {
        let options = options.clone();
        async move { client.container_restart(&name, &options).await }
    })
    .await
}
