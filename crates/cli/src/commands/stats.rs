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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

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
        readings.push(Reading { asked, stats: Some(stats), is_live: true });
    }
    Ok(readings)
}

/// What is known of one container.
#[derive(Clone, Debug)]
enum Entry {
    /// Nothing yet.
    Waiting,
    /// Its last reading.
    Read(Box<Stats>),
    /// There are no more readings, and what the last one was.
    Gone(Option<Box<Stats>>),
    /// It could not be read at all.
    Failed(Arc<ApiError>),
}

/// What is known of each container, by the name that it was asked for by.
#[derive(Clone, Default)]
struct Board {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    /// Somebody is not waiting any more.
    first: Arc<Notify>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &str, entry: Entry) {
        self.lock().insert(name.to_owned(), entry);
        self.first.notify_one();
    }

    /// Begins to read those that are new, and forgets those that are not asked for any more.
    fn follow(&self, client: &Client, names: &[String]) {
        let mut entries = self.lock();
        entries.retain(|name, _| names.contains(name));
        for name in names {
            if entries.contains_key(name) {
                continue;
            }
            entries.insert(name.clone(), Entry::Waiting);
            tokio::spawn(follow(client.clone(), name.clone(), self.clone()));
        }
    }

    /// Waits until each has been read once, or cannot be.
    async fn wait_for_first(&self) {
        while self.lock().values().any(|entry| matches!(entry, Entry::Waiting)) {
            self.first.notified().await;
        }
    }

    fn readings(&self, names: &[String]) -> Vec<Reading> {
        let entries = self.lock();
        let reading = |name: &String| {
            let known = entries.get(name).cloned().unwrap_or(Entry::Waiting);
            let (stats, is_live) = match known {
                Entry::Read(stats) => (Some(*stats), true),
                Entry::Gone(stats) => (stats.map(|stats| *stats), false),
                Entry::Waiting | Entry::Failed(_) => (None, false),
            };
            // Of one that is gone, who it was is known and nothing else.
            let of_the_dead =
                |stats: Stats| Stats { id: stats.id, name: stats.name, ..Stats::default() };
            let stats = if is_live { stats } else { stats.map(of_the_dead) };
            Reading { asked: name.clone(), stats, is_live }
        };
        names.iter().map(reading).collect()
    }

    /// The first of those that could not be read at all.
    fn failure(&self) -> Option<Arc<ApiError>> {
        self.lock().values().find_map(|entry| match entry {
            Entry::Failed(error) => Some(Arc::clone(error)),
            Entry::Waiting | Entry::Read(_) | Entry::Gone(_) => None,
        })
    }

    fn is_over(&self) -> bool {
        self.lock().values().all(|entry| matches!(entry, Entry::Gone(_)))
    }
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

/// Keeps one entry of the board current until the readings end.
async fn follow(client: Client, name: String, board: Board) {
    let mut last = None;
    let read = read(&client, &name, &board, &mut last).await;
    board.set(
        &name,
        match (read, last) {
            (Err(error), None) => Entry::Failed(Arc::new(error)),
            (_, last) => Entry::Gone(last),
        },
    );
}

async fn read(
    client: &Client,
    name: &str,
    board: &Board,
    last: &mut Option<Box<Stats>>,
) -> Result<(), ApiError> {
    let mut stream = client.container_stats(name).await?;
    while let Some(stats) = stream.next().await? {
        let stats = Box::new(stats);
        *last = Some(stats.clone());
        board.set(name, Entry::Read(stats));
    }
    Ok(())
}
