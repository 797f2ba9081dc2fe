//! `stats`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use crate::format::containers::Cut;
use crate::format::stats::{self, Reading};
use crate::table::Format;
use docker_api::query::ListContainers;
use docker_api::types::stats::Stats;
use docker_api::{ApiError, Client};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
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
        let readings = once(client, names(client, &args).await?).await?;
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

/// One reading of each, all at the same time.
async fn once(client: &Client, names: Vec<String>) -> Result<Vec<Reading>, Failure> {
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
    for (asked, task) in running {
        let stats = task.await.map_err(|e| Failure::error(e.to_string()))??;
        readings.push(Reading { asked, stats: Some(stats) });
    }
    Ok(readings)
}

/// The last reading of each container, by its name; none before the first.
type Board = Arc<Mutex<BTreeMap<String, Option<Stats>>>>;

async fn watch(
    cx: &Cx,
    client: &Client,
    args: &StatsArgs,
    render: impl Fn(&[Reading]) -> Result<String, Failure>,
) -> Outcome {
    let board = Board::default();
    let mut frames = tokio::time::interval(FRAME);
    loop {
        frames.tick().await;
        let names = names(client, args).await?;
        let mut readings = Vec::with_capacity(names.len());
        for name in names {
            let known = lock(&board).get(&name).cloned();
            if known.is_none() {
                lock(&board).insert(name.clone(), None);
                tokio::spawn(follow(client.clone(), name.clone(), Arc::clone(&board)));
            }
            readings.push(Reading { asked: name, stats: known.flatten() });
        }
        let table = render(&readings)?;
        // Home, each line to its end, and whatever was below.
        cx.print(&format!("\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\n")))?;
        if !args.containers.is_empty() && lock(&board).is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn lock(board: &Board) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Stats>>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps one entry of the board current, and takes it away when the readings end.
async fn follow(client: Client, name: String, board: Board) {
    if let Err(e) = read(&client, &name, &board).await {
        // The entry vanishes; whoever watches sees that, and why is on stderr.
        tell(&e);
    }
    lock(&board).remove(&name);
}

async fn read(client: &Client, name: &str, board: &Board) -> Result<(), ApiError> {
    let mut stream = client.container_stats(name).await?;
    while let Some(stats) = stream.next().await? {
        lock(board).insert(name.to_owned(), Some(stats));
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a task of its own has nobody else to tell")]
fn tell(error: &ApiError) {
    eprintln!("{}", api_message(error));
}
