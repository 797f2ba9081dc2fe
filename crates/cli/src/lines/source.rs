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
    /// When it was first heard to start, in nanoseconds since 1970: what is written from then on is
    /// news, however little of what was there before is wanted.
    pub(super) started: Option<i128>,
    /// Whether its log is read at this moment.
    pub(super) is_followed: bool,
    /// Whether it has been started again since.
    pub(super) is_wanted_again: bool,
}

impl Target {
    pub(super) fn new(id: String, name: &str) -> Self {
        let name = name.trim_start_matches('/').to_owned();
        let last = String::new();
        Self { id, name, last, started: None, is_followed: false, is_wanted_again: false }
    }

    /// The question for what has been written since its last line, or since it was started.
    pub(super) fn rest_of(&self, query: &LogsQuery) -> LogsQuery {
        let last = self.last.parse::<Timestamp>().ok();
        let Some(next) = last.map(|last| last.as_nanosecond() + 1).or(self.started) else {
            return query.clone();
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_what_came_after_the_last_line_or_since_the_first_start() {
        let query = LogsQuery { tail: Some("0".into()), ..LogsQuery::default() };
        let rest = |last: &str, started| {
            let target =
                Target { last: last.to_owned(), started, ..Target::new(String::new(), "/a") };
            let rest = target.rest_of(&query);
            (rest.since, rest.tail)
        };
        assert_eq!(rest("", None), (None, Some("0".into())));
        let started = Some(1_000_000_002);
        assert_eq!(rest("", started), (Some("1.000000002".into()), None));
        let last = "1970-01-01T00:00:05.999999999Z";
        assert_eq!(rest(last, started), (Some("6.000000000".into()), None));
    }
}
