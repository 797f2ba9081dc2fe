//! `stop`

use super::each;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::parse::number::Int;
use docker_api::query::StopOptions;

/// Stop running containers
///
/// Sends each its stop signal, waits for the grace period, then kills it.
#[derive(clap::Args, Debug)]
pub(super) struct StopArgs {
    /// Signal to send
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container; -1 waits for ever
    #[arg(short, long, alias = "time", value_name = "int")]
    timeout: Option<Int>,
    containers: Vec<String>,
}

command!(
    StopArgs,
    stop,
    ["container stop", "stop"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(1)
);

async fn stop(cx: &Cx, args: StopArgs) -> Outcome {
    let options = StopOptions { signal: args.signal, timeout: args.timeout.map(|t| t.0) };
    each(cx, &args.containers, |client, name| {
        let options = options.clone();
        async move { client.container_stop(&name, &options).await.map(drop) }
    })
    .await
}
