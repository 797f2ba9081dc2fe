//! Logs of several containers as one: line by line, in the order of time; or as they come, also of
//! containers that are started again or made anew.

mod assemble;
mod print;
mod source;

pub(crate) use print::{Colour, Prefix, Shown};

use crate::cx::Cx;
use crate::error::{Failure, api_message};
use docker_api::ApiError;
use docker_api::client::Client;
use docker_api::query::{EventsQuery, Filters, ListContainers, LogsQuery};
use docker_api::stream::JsonStream;
use docker_api::types::system::Event;
use print::Printer;
use source::{Heard, Source, Target, follow};
use std::collections::VecDeque;
use std::process::ExitCode;
use tokio::sync::mpsc;

/// How many pieces of news may wait.
const WAITING: usize = 64;

/// Which containers.
#[derive(Debug)]
pub(crate) struct Which {
    /// Names or ids.
    pub(crate) names: Vec<String>,
    /// And those that these fit, if there are any.
    pub(crate) filters: Option<Filters>,
}

/// How far a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To where it is now.
    Past,
    /// To the end of each container.
    Life,
    /// On and on: whatever has that name, or fits, when it starts again.
    Name,
}

/// Shows the logs.
pub(crate) async fn show(
    cx: &Cx,
    which: Which,
    (query, extent): (LogsQuery, Extent),
    shown: Shown,
) -> Result<ExitCode, Failure> {
    let client = cx.client()?;
    // Who listens before it looks misses no start.
    let starts = match extent {
        Extent::Past | Extent::Life => None,
        Extent::Name => Some(starts(client).await?),
    };
    let targets = targets(client, &which, extent).await?;
    let query = LogsQuery { timestamps: true, follow: extent != Extent::Past, ..query };
    let mut printer = Printer::new(shown);
    targets.iter().for_each(|target| printer.admit(&target.name));
    match extent {
        Extent::Past => past(cx, client, (&targets, &query), &printer).await,
        Extent::Life | Extent::Name => {
            let (send, receive) = mpsc::channel(WAITING);
            let board = Board { targets: Vec::new(), which, query, send };
            lasting(cx, client, (board, targets, receive), (printer, starts)).await
        }
    }
}

async fn starts(client: &Client) -> Result<JsonStream<Event>, Failure> {
    let mut filters = Filters::default();
    filters.add("type", "container");
    filters.add("event", "start");
    Ok(client.events(&EventsQuery { since: None, until: None, filters }).await?)
}

/// Those that are there now. Who follows a name may come before the container.
async fn targets(client: &Client, which: &Which, extent: Extent) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    for name in &which.names {
        match client.container_inspect(name).await {
            Ok(found) => targets.push(Target::new(found.value.id, &found.value.name)),
            Err(error) if extent == Extent::Name && error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(filters) = &which.filters {
        let query =
            ListContainers { all: true, filters: filters.clone(), ..ListContainers::default() };
        let mut found: Vec<Target> = client
            .container_list(&query)
            .await?
            .into_iter()
            .filter_map(|container| Some(Target::new(container.id, container.names.first()?)))
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        targets.extend(found);
    }
    let mut seen = std::collections::BTreeSet::new();
    targets.retain(|target| seen.insert(target.id.clone()));
    Ok(targets)
}

/// All that was written, in the order of time.
async fn past(
    cx: &Cx,
    client: &Client,
    (targets, query): (&[Target], &LogsQuery),
    printer: &Printer,
) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    let mut sources: Vec<(usize, Source, VecDeque<assemble::Line>)> = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        match Source::open(client, target, query).await {
            Ok(source) => sources.push((number, source, VecDeque::new())),
            Err(error) => code = complain(cx, target, &error),
        }
    }
    loop {
        for (_, source, lines) in &mut sources {
            while lines.is_empty() && source.read(lines).await? {}
        }
        sources.retain(|(_, _, lines)| !lines.is_empty());
        let first = |lines: &VecDeque<assemble::Line>| lines.front().map(|line| line.stamp.clone());
        let earliest = sources.iter_mut().min_by_key(|(_, _, lines)| first(lines));
        let Some((number, _, lines)) = earliest else { return Ok(code) };
        if let Some(line) = lines.pop_front() {
            printer.print((*number, &targets[*number].name), &line).await?;
        }
    }
}

/// The containers that are, or were, followed.
struct Board {
    targets: Vec<Target>,
    which: Which,
    query: LogsQuery,
    send: mpsc::Sender<Heard>,
}

/// Digits of an id from which they cannot be a name by chance, as lists show them.
const SHORT_ID: usize = 12;

impl Board {
    /// Begins to follow a container, from the beginning or from where it was left.
    fn follow(&mut self, client: &Client, target: Target) {
        let number = match self.targets.iter().position(|known| known.id == target.id) {
            Some(number) => {
                let known = &mut self.targets[number];
                known.started = known.started.or(target.started);
                number
            }
            None => {
                self.targets.push(target);
                self.targets.len() - 1
            }
        };
        let target = &mut self.targets[number];
        if target.is_followed {
            // It will have ended before it can be started; that has not come through yet.
            target.is_wanted_again = true;
            return;
        }
        target.is_followed = true;
        let query = target.rest_of(&self.query);
        tokio::spawn(follow(client.clone(), (number, target.id.clone()), query, self.send.clone()));
    }

    /// Whether a container that has started is one of those that are wanted.
    async fn wants(&self, client: &Client, target: &Target) -> Result<bool, Failure> {
        // Names may be made of an id's digits, so that fewer of them are no id's beginning.
        let is_id = |name: &str| name.len() >= SHORT_ID && target.id.starts_with(name);
        let is_named = |name: &String| *name == target.name || is_id(name);
        if self.which.names.iter().any(is_named) {
            return Ok(true);
        }
        let Some(filters) = &self.which.filters else { return Ok(false) };
        let filters = filters.clone();
        let query = ListContainers { all: true, filters, ..ListContainers::default() };
        Ok(client.container_list(&query).await?.iter().any(|found| found.id == target.id))
    }
}

async fn lasting(
    cx: &Cx,
    client: &Client,
    (mut board, targets, mut heard): (Board, Vec<Target>, mpsc::Receiver<Heard>),
    (mut printer, mut starts): (Printer, Option<JsonStream<Event>>),
) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    targets.into_iter().for_each(|target| board.follow(client, target));
    while starts.is_some() || board.targets.iter().any(|target| target.is_followed) {
        tokio::select! {
            Some(heard) = heard.recv() => match heard {
                Heard::Lines(number, lines) => {
                    for line in &lines {
                        let target = &mut board.targets[number];
                        target.last.clone_from(&line.stamp);
                        printer.print((number, &target.name), line).await?;
                    }
                }
                Heard::Ended(number, error) => {
                    if let Some(error) = error {
                        code = complain(cx, &board.targets[number], &error);
                    }
                    board.targets[number].is_followed = false;
                    if std::mem::take(&mut board.targets[number].is_wanted_again) {
                        let target = board.targets[number].clone();
                        board.follow(client, target);
                    }
                }
            },
            started = next(&mut starts) => match started? {
                Some(event) => {
                    let name = event.actor.attributes.get("name").cloned().unwrap_or_default();
                    let started = Some(i128::from(event.time_nano));
                    let target = Target { started, ..Target::new(event.actor.id, &name) };
                    if board.wants(client, &target).await? {
                        printer.admit(&target.name);
                        board.follow(client, target);
                    }
                }
                None => starts = None,
            },
        }
    }
    Ok(code)
}

/// The next start; never, where nobody listens.
async fn next(starts: &mut Option<JsonStream<Event>>) -> Result<Option<Event>, Failure> {
    match starts {
        Some(starts) => Ok(starts.next().await?),
        None => std::future::pending().await,
    }
}

/// One log that cannot be read keeps nobody from the others.
fn complain(cx: &Cx, target: &Target, error: &ApiError) -> ExitCode {
    cx.warn(&format!("{}: {}", target.name, api_message(error)));
    ExitCode::FAILURE
}
