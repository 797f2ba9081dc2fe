//! `stats`

use crate::argv::{Arity, Outcome, command};
use crate::board::Board;
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use crate::format::containers::Cut;
use crate::format::stats::{self, Reading};
use crate::table::Format;
use docker_api::query::ListContainers;
use docker_api::{ApiError, Client};
use std::process::ExitCode;
use std::time::Duration;

/// How often the table is drawn anew.
const FRAME: Duration = Duration::from_millis(500);

/// Show what containers use
#[derive(clap::Args, Debug)]
pub(super) struct StatsArgs {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Format: table, table TEMPLATE, json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show one reading and quit
    #[arg(long)]
    no_stream: bool,
    /// Do not cut texts off
    #[arg(long)]
    no_trunc: bool,
    containers: Vec<String>,
}

command!(
    StatsArgs,
    stats,
    ["container stats", "stats"],
    "[OPTIONS] [CONTAINER...]",
    Arity::AtLeast(0)
);

async fn stats(cx: &Cx, args: StatsArgs) -> Outcome {
    let text = match &args.format {
        Some(format) => format.clone(),
        None => cx.config.preferences().stats_format.clone(),
    };
    let format = Format::parse(&text, stats::NAMED)?;
    let cut = if args.no_trunc { Cut::Whole } else { Cut::Short };
    let client = cx.client()?;
    if args.no_stream {
        let readings = once(client, &args).await?;
        cx.print(&format.render(stats::list(&readings, cut))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    watch(cx, client, &args, |readings| format.render(stats::list(readings, cut))).await
}

/// The containers to show: those named, or all there are.
async fn names(client: &Client, args: &StatsArgs) -> Result<Vec<String>, ApiError> {
    if !args.containers.is_empty() {
        return Ok(args.containers.clone());
    }
    let query = ListContainers { all: args.all, ..ListContainers::default() };
    Ok(client.container_list(&query).await?.into_iter().map(|container| container.id).collect())
}

/// One reading of each, all at the same time. What was found in a list may be gone by then; of what
/// was named, each that is not there is told.
async fn once(client: &Client, args: &StatsArgs) -> Result<Vec<Reading>, Failure> {
    let names = names(client, args).await?;
    let read = |name: String| {
        let client = client.clone();
        let task = {
            let name = name.clone();
            tokio::spawn(async move { client.container_stats_once(&name).await })
        };
        (name, task)
    };
    let running: Vec<_> = names.into_iter().map(read).collect();
    let mut readings = Vec::with_capacity(running.len());
    let mut failed = Vec::new();
    for (asked, task) in running {
        match task.await.map_err(|e| Failure::error(e.to_string()))? {
            Ok(stats) => readings.push(Reading { asked, stats: Some(stats), is_live: true }),
            Err(error) if args.containers.is_empty() && error.is_not_found() => {}
            Err(error) => failed.push(api_message(&error)),
        }
    }
    if failed.is_empty() { Ok(readings) } else { Err(Failure::error(failed.join("\n"))) }
}

async fn watch(
    cx: &Cx,
    client: &Client,
    args: &StatsArgs,
    render: impl Fn(&[Reading]) -> Result<String, Failure>,
) -> Outcome {
    let board = Board::default();
    let is_named = !args.containers.is_empty();
    let mut frames = tokio::time::interval(FRAME);
    for frame in 0_u64.. {
        frames.tick().await;
        let names = names(client, args).await?;
        board.follow(client, &names);
        if frame == 0 {
            board.wait_for_first().await;
        }
        if let (true, Some(error)) = (is_named, board.failure()) {
            return Err(Failure::error(api_message(&error)));
        }
        let table = render(&board.readings(&names))?;
        // Home, each line to its end, and whatever was below.
        cx.print(&format!("\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\n")))?;
        if is_named && board.is_over() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
