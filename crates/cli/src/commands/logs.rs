//! `logs`

use super::events::stamp;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::session::output;
use docker_api::query::LogsQuery;
use std::process::ExitCode;

/// Show what a container has written
#[derive(clap::Args, Debug)]
pub(super) struct LogsArgs {
    /// Show the attributes that log options add
    #[arg(long)]
    details: bool,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// From this time on: 2013-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Only so many lines from the end
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Up to this time: 2013-01-02T13:23:37Z, or 42m for 42 minutes ago
    #[arg(long, value_name = "string")]
    until: Option<String>,
    container: String,
}

command!(LogsArgs, logs, ["container logs", "logs"], "[OPTIONS] CONTAINER", Arity::Exactly(1));

async fn logs(cx: &Cx, args: LogsArgs) -> Outcome {
    let query = LogsQuery {
        follow: args.follow,
        stdout: true,
        stderr: true,
        since: stamp("since", args.since.as_deref())?,
        until: stamp("until", args.until.as_deref())?,
        timestamps: args.timestamps,
        tail: Some(args.tail),
        details: args.details,
    };
    let mut stream = cx.client()?.container_logs(&args.container, &query).await?;
    while let Some(chunk) = stream.next().await? {
        output::write(chunk.channel, &chunk.bytes).await?;
    }
    Ok(ExitCode::SUCCESS)
}
