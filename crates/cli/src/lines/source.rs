//! One container's log, as a client reads it.

use super::assemble::{Assembler, Line};
use docker_api::ApiError;
use docker_api::client::Client;
use docker_api::query::LogsQuery;
use docker_api::stream::LogStream;
use jiff::Timestamp;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) name: String,
    /// When its last line was written; empty before the first.
    pub(super) last: String,
    /// Whether its log is read at this moment.
    pub(super) is_followed: bool,
    /// Whether it has been started again since.
    pub(super) is_wanted_again: bool,
}

impl Target {
    pub(super) fn new(id: String, name: &str) -> Self {
        let name = name.trim_start_matches('/').to_owned();
        Self { id, name, last: String::new(), is_followed: false, is_wanted_again: false }
    }

    /// The question for what has been written since its last line.
    pub(super) fn rest_of(&self, query: &LogsQuery) -> LogsQuery {
        let Ok(last) = self.last.parse::<Timestamp>() else { return query.clone() };
        let next = last.as_nanosecond() + 1;
        let since =
            format!("{}.{:09}", next.div_euclid(1_000_000_000), next.rem_euclid(1_000_000_000));
        LogsQuery { since: Some(since), tail: None, ..query.clone() }
    }
}

/// What a follower has heard of the container with this number.
pub(super) enum Heard {
    Lines(usize, Vec<Line>),
    Ended(usize, Option<ApiError>),
}

/// The log of one container.
pub(super) struct Source {
    stream: LogStream,
    assembler: Assembler,
    ended: bool,
}

impl Source {
    pub(super) async fn open(
        client: &Client,
        target: &Target,
        query: &LogsQuery,
    ) -> Result<Self, ApiError> {
        let stream = client.container_logs(&target.id, query).await?;
        Ok(Self { stream, assembler: Assembler::default(), ended: false })
    }

    /// Reads a piece; false at the end.
    pub(super) async fn read(&mut self, lines: &mut VecDeque<Line>) -> Result<bool, ApiError> {
        if self.ended {
            return Ok(false);
        }
        let mut push = |line| lines.push_back(line);
        match self.stream.next().await? {
            Some(chunk) => self.assembler.push(chunk.channel, &chunk.bytes, &mut push),
            None => {
                self.ended = true;
                self.assembler.finish(&mut push);
            }
        }
        Ok(true)
    }
}

/// Follows a log to its end, and says what it hears.
pub(super) async fn follow(
    client: Client,
    (number, id): (usize, String),
    query: LogsQuery,
    send: mpsc::Sender<Heard>,
) {
    let ended = pass_on(&client, (number, &id), &query, &send).await;
    // Whoever asked may have gone.
    let _ = send.send(Heard::Ended(number, ended.err())).await;
}

async fn pass_on(
    client: &Client,
    (number, id): (usize, &str),
    query: &LogsQuery,
    send: &mpsc::Sender<Heard>,
) -> Result<(), ApiError> {
    let target = Target::new(id.to_owned(), "");
    let mut source = Source::open(client, &target, query).await?;
    let mut lines = VecDeque::new();
    while source.read(&mut lines).await? {
        if !lines.is_empty()
            && send.send(Heard::Lines(number, lines.drain(..).collect())).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}
