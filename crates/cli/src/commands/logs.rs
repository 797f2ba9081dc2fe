//! `logs`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use crate::session::output;
use docker_api::query::LogsQuery;
use model::moment::{Reference, stamp};
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
    let point = |name: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let reference =
            Reference { now: jiff::Timestamp::now(), zone: jiff::tz::TimeZone::system() };
        stamp(text, &reference)
            .map(Some)
            .map_err(|e| Failure::error(format!("invalid value for \"{name}\": {e}")))
    };
    let query = LogsQuery {
        follow: args.follow,
        stdout: true,
        stderr: true,
        since: point("since", &args.since)?,
        until: point("until", &args.until)?,
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
