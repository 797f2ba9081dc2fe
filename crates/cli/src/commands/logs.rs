//! `logs`

use super::events::stamp;
use crate::argv::{Arity, Outcome, command};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::lines::{self, Colour, Extent, Prefix, Shown, Which};
use crate::parse::filter::{Filter, collect};
use crate::session::output;
use docker_api::query::LogsQuery;
use docker_api::stream::LogStream;
use regex_lite::Regex;
use std::process::ExitCode;

/// Show what containers have written
///
/// Of several containers, each line has the name of its container in front, and lines are in the order of time.
#[derive(clap::Args, Debug)]
pub(super) struct LogsArgs {
    /// Show the attributes that log options add
    #[arg(long)]
    details: bool,
    /// Also those containers that match, as for ps -a
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Go on also when the container is started again, or another one of this name is made
    #[arg(short = 'F', long)]
    follow_name: bool,
    /// Only lines that match a regular expression
    #[arg(long, value_name = "pattern")]
    grep: Option<String>,
    /// Also those containers that have this label
    #[arg(long, value_name = "label")]
    label: Vec<String>,
    /// No colours for names
    #[arg(long)]
    no_color: bool,
    /// No names in front of lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Of the container of this name that was removed last
    #[arg(long)]
    previous: bool,
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
    containers: Vec<String>,
}

command!(
    LogsArgs,
    logs,
    ["container logs", "logs"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    Arity::AtLeast(0)
);

async fn logs(cx: &Cx, args: LogsArgs) -> Outcome {
    let query = LogsQuery {
        follow: args.follow,
        stdout: true,
        stderr: true,
        since: time("since", args.since.as_deref())?,
        until: time("until", args.until.as_deref())?,
        timestamps: args.timestamps,
        tail: Some(args.tail.clone()),
        details: args.details,
    };
    let which = which(&args)?;
    let is_plain = args.grep.is_none() && !args.follow_name;
    match (which.names.as_slice(), &which.filters) {
        ([name], None) if args.previous && is_plain && !args.follow => {
            print(cx.client()?.previous_logs(name, &query).await?).await
        }
        _ if args.previous => Err(Failure::error(
            "--previous shows one container, as it was: it cannot be followed, and goes without --grep, --label and --filter",
        )),
        ([container], None) if is_plain => plain(cx, container, &query).await,
        _ => lines::show(cx, which, (query, extent(&args)), shown(&args)?).await,
    }
}

/// One container's, as it comes.
async fn plain(cx: &Cx, container: &str, query: &LogsQuery) -> Outcome {
    print(cx.client()?.container_logs(container, query).await?).await
}

async fn print(mut stream: LogStream) -> Outcome {
    while let Some(chunk) = stream.next().await? {
        output::write(chunk.channel, &chunk.bytes).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time(name: &str, text: Option<&str>) -> Result<Option<String>, Failure> {
    stamp(text).map_err(|e| Failure::error(format!("invalid value for \"{name}\": {e}")))
}

fn which(args: &LogsArgs) -> Result<Which, Failure> {
    let has_filter = !(args.filter.is_empty() && args.label.is_empty());
    if args.containers.is_empty() && !has_filter {
        return Err(Failure::error("name a container, or choose some by --label or --filter"));
    }
    let mut filters = collect(&args.filter);
    args.label.iter().for_each(|label| filters.add("label", label));
    Ok(Which { names: args.containers.clone(), filters: has_filter.then_some(filters) })
}

const fn extent(args: &LogsArgs) -> Extent {
    match (args.follow_name, args.follow) {
        (true, _) => Extent::Name,
        (false, true) => Extent::Life,
        (false, false) => Extent::Past,
    }
}

fn shown(args: &LogsArgs) -> Result<Shown, Failure> {
    let pattern = args.grep.as_deref().map(Regex::new).transpose();
    let pattern =
        pattern.map_err(|e| Failure::error(format!("invalid value for \"grep\": {e}")))?;
    let is_one = args.containers.len() == 1 && args.filter.is_empty() && args.label.is_empty();
    let has_colour = !args.no_color
        && cx::stdout_is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let prefix = match (is_one || args.no_log_prefix, has_colour) {
        (true, _) => Prefix::None,
        (false, true) => Prefix::Name(Colour::Coloured),
        (false, false) => Prefix::Name(Colour::Plain),
    };
    Ok(Shown { prefix, stamps: args.timestamps, pattern })
}
