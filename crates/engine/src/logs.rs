//! `logs`: reads a container's log, `json-file` or dhow's own, through its rotations, and follows it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use model::NameOrId;
use model::log::LogSpec;
use serde::Deserialize;

use crate::container::Container;
use crate::follow::{End, Follow, open_all};
use crate::segment::Segment;
use crate::tail::{Seen, Tail};
use crate::view::{LogQuery, LogRecord, LogStream};
use crate::{Engine, EngineError, lines, log_config};

/// Reads a log record by record.
#[derive(Debug)]
pub struct LogReader {
    tail: Tail,
    query: LogQuery,
    form: Form,
    later: Later,
}

/// What a record is that was written after the last moment.
#[derive(Debug, Clone, Copy)]
enum Later {
    /// Not wanted: behind it may be earlier ones, of after a clock was set back.
    Passed,
    /// The end: who follows has seen the moment come, as in Docker.
    End,
}

/// How a line of the file is read.
#[derive(Debug)]
pub(crate) enum Form {
    Json,
    /// The attributes are in no line, since all have the same.
    Local(BTreeMap<String, String>),
}

/// One line of a `json-file`.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    log: Cow<'l, str>,
    #[serde(borrow)]
    stream: Cow<'l, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// There is no such container, or its driver keeps nothing.
    pub fn logs(&self, who: &NameOrId, mut query: LogQuery) -> Result<LogReader, EngineError> {
        let container = self.find(who)?;
        let form = Form::of(&container)?;
        let path = self.log_path(&container);
        let over = query.until.is_some_and(|until| until <= Timestamp::now());
        let follow = match query.follow.take() {
            Some(gone) if !over && self.life(&container)?.is_running() => {
                let exit = Some(self.watch_exit(&container.id)?);
                Some(Follow::new(&path, gone, End { exit, at: query.until })?)
            }
            Some(_) | None => None,
        };
        LogReader::open(path, form, query, follow)
    }

    /// The file that an inspection shows: only Docker's own is there to be read.
    pub(crate) fn shown_log(&self, container: &Container) -> PathBuf {
        match container.record.spec.log {
            LogSpec::JsonFile { .. } => self.log_path(container),
            LogSpec::Local { .. } | LogSpec::Remote { .. } | LogSpec::None => PathBuf::new(),
        }
    }
}

impl LogReader {
    pub(crate) fn open(
        path: PathBuf,
        form: Form,
        query: LogQuery,
        follow: Option<Follow>,
    ) -> Result<Self, EngineError> {
        let mut files = open_all(&path).map_err(EngineError::file("open", &path))?;
        let start = match query.tail {
            None => 0,
            Some(wanted) => {
                skip_to_tail(&mut files, wanted).map_err(EngineError::file("read", &path))?
            }
        };
        let later = if follow.is_some() { Later::End } else { Later::Passed };
        Ok(Self { tail: Tail::new(path, files, start, follow)?, query, form, later })
    }

    /// The next record; `None` at the end, which a follower reaches when the container stops.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self) -> Result<Option<LogRecord>, EngineError> {
        let (query, form, later) = (&self.query, &self.form, self.later);
        // A line that is no record was cut by a full disk or a killed shim.
        let mut look = |record| select(query, later, record);
        self.tail.find(|line| form.parse(line).map_or(Seen::Passed, &mut look))
    }
}

fn select(query: &LogQuery, later: Later, record: LogRecord) -> Seen<LogRecord> {
    if query.until.is_some_and(|until| record.time > until) {
        return match later {
            Later::Passed => Seen::Passed,
            Later::End => Seen::TooLate,
        };
    }
    let is_late_enough = query.since.is_none_or(|since| record.time >= since);
    let is_wanted = match record.stream {
        LogStream::Stdout => query.streams.stdout,
        LogStream::Stderr => query.streams.stderr,
    };
    if is_late_enough && is_wanted { Seen::Wanted(record) } else { Seen::Passed }
}

/// Drops older files that the last `wanted` lines do not reach; where in the oldest one left to
/// begin.
fn skip_to_tail(files: &mut Vec<Segment>, wanted: u64) -> std::io::Result<u64> {
    let mut missing = wanted;
    for index in 0..files.len() {
        let (start, found) = lines::tail_start(&mut files[index], missing)?;
        if found >= missing {
            files.truncate(index + 1);
            return Ok(start);
        }
        missing -= found;
    }
    Ok(0)
}

impl Form {
    /// How a container's log is read.
    ///
    /// # Errors
    /// Its driver keeps nothing.
    pub(crate) fn of(container: &Container) -> Result<Self, EngineError> {
        match &container.record.spec.log {
            LogSpec::JsonFile { .. } => Ok(Self::Json),
            LogSpec::Local { .. } => Ok(Self::Local(BTreeMap::new())),
            LogSpec::Remote { cache: Some(_), details, .. } => {
                Ok(Self::Local(log_config::extra(details, container)))
            }
            LogSpec::Remote { cache: None, .. } | LogSpec::None => Err(EngineError::LogNotKept),
        }
    }

    /// The attributes that are in no line.
    pub(crate) const fn attributes(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Json => None,
            Self::Local(attributes) => Some(attributes),
        }
    }

    /// `None` of what is no record.
    fn parse(&self, line: &[u8]) -> Option<LogRecord> {
        match self {
            Self::Json => parse_json(line),
            Self::Local(attributes) => parse_local(line, attributes),
        }
    }
}

fn parse_json(line: &[u8]) -> Option<LogRecord> {
    let Line { log, stream, attrs, time } = serde_json::from_slice(line).ok()?;
    let stream = match stream.as_ref() {
        "stderr" => LogStream::Stderr,
        _ => LogStream::Stdout,
    };
    Some(LogRecord { stream, time, bytes: log.into_owned().into_bytes(), attributes: attrs })
}

/// A letter, sixteen hex digits, and the text as it was written.
fn parse_local(line: &[u8], attributes: &BTreeMap<String, String>) -> Option<LogRecord> {
    let (letter, rest) = line.split_first()?;
    let (digits, text) = rest.split_at_checked(16)?;
    let (stream, end): (_, &[u8]) = match letter {
        b'O' => (LogStream::Stdout, b"\n"),
        b'o' => (LogStream::Stdout, b""),
        b'E' => (LogStream::Stderr, b"\n"),
        b'e' => (LogStream::Stderr, b""),
        _ => return None,
    };
    let nanos = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    let time = Timestamp::from_nanosecond(nanos.cast_signed().into()).ok()?;
    let bytes = [text, end].concat();
    Some(LogRecord { stream, time, bytes, attributes: attributes.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Streams;

    fn line(number: u32, stream: &str) -> String {
        format!(
            "{{\"log\":\"{number}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{:02}Z\"}}\n",
            number % 60
        )
    }

    #[test]
    fn local_lines_are_read_as_they_are_written() {
        let form = Form::Local(BTreeMap::new());
        let record = form.parse(b"E18ea2fa05ac00bd4\xff \x1b[0m").unwrap();
        assert_eq!(record.stream, LogStream::Stderr);
        assert_eq!(record.time.to_string(), "2026-11-21T22:22:47.22437218Z");
        assert_eq!(record.bytes, b"\xff \x1b[0m\n");
        assert_eq!(form.parse(b"o0000000000000000").unwrap().bytes, b"");
        for cut in
            [&b""[..], b"O18ea2fa05ac00bd", b"X18ea2fa05ac00bd4x", b"O18ea2fa05ac00b\xc3\xa9"]
        {
            assert_eq!(form.parse(cut), None);
        }
    }

    fn query() -> LogQuery {
        LogQuery {
            streams: Streams { stdout: true, stderr: true },
            since: None,
            until: None,
            tail: None,
            follow: None,
        }
    }

    fn read(files: &[(u32, u32)], query: LogQuery) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for (generation, numbers) in files.iter().rev().enumerate() {
            let name = if generation == 0 {
                path.clone()
            } else {
                dir.path().join(format!("x.log.{generation}"))
            };
            let text = (numbers.0..numbers.1).fold(String::new(), |text, number| {
                let stream = ["stdout", "stderr"][usize::from(number % 2 == 1)];
                text + &line(number, stream)
            });
            std::fs::write(name, text).unwrap();
        }
        let mut reader = LogReader::open(path, Form::Json, query, None).unwrap();
        std::iter::from_fn(|| reader.read().unwrap())
            .map(|record| String::from_utf8(record.bytes).unwrap().trim().to_owned())
            .collect()
    }

    #[test]
    fn rotated_files_are_read_oldest_first() {
        let all = read(&[(0, 3), (3, 5), (5, 9)], query());
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    }

    #[test]
    fn a_tail_reaches_back_through_rotations() {
        let tail =
            |count| read(&[(0, 3), (3, 5), (5, 9)], LogQuery { tail: Some(count), ..query() });
        assert_eq!(tail(0), [""; 0]);
        assert_eq!(tail(2), ["7", "8"]);
        assert_eq!(tail(5), ["4", "5", "6", "7", "8"]);
        assert_eq!(tail(100).len(), 9);
    }

    #[test]
    fn streams_and_times_select() {
        let err = Streams { stdout: false, stderr: true };
        assert_eq!(read(&[(0, 6)], LogQuery { streams: err, ..query() }), ["1", "3", "5"]);
        let from = "2026-01-01T00:00:02Z".parse().unwrap();
        let to = "2026-01-01T00:00:04Z".parse().unwrap();
        assert_eq!(
            read(&[(0, 6)], LogQuery { since: Some(from), until: Some(to), ..query() }),
            ["2", "3", "4"]
        );
    }

    /// The clock was set back between the third line and the fourth.
    #[test]
    fn times_select_where_the_clock_has_gone_back() {
        let moment = |second: u32| format!("2026-01-01T00:00:{second:02}Z").parse().unwrap();
        let files = [(40, 43), (10, 14)];
        let until = |second| LogQuery { until: Some(moment(second)), ..query() };
        assert_eq!(read(&files, until(41)), ["40", "41", "10", "11", "12", "13"]);
        assert_eq!(read(&files, until(11)), ["10", "11"]);
        let since = |second| LogQuery { since: Some(moment(second)), ..query() };
        assert_eq!(read(&files, since(12)), ["40", "41", "42", "12", "13"]);
        assert_eq!(read(&files, since(41)), ["41", "42"]);
        // The last lines are those that were written last.
        assert_eq!(
            read(&files, LogQuery { tail: Some(5), ..query() }),
            ["42", "10", "11", "12", "13"]
        );
        let both = LogQuery { since: Some(moment(11)), until: Some(moment(41)), ..query() };
        assert_eq!(read(&files, both), ["40", "41", "11", "12", "13"]);
    }

    #[test]
    fn a_line_that_was_cut_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(
            &path,
            format!("{}{{\"log\":\"half\n{}", line(0, "stdout"), line(1, "stdout")),
        )
        .unwrap();
        let mut reader = LogReader::open(path, Form::Json, query(), None).unwrap();
        assert_eq!(reader.read().unwrap().unwrap().bytes, b"0\n");
        assert_eq!(reader.read().unwrap().unwrap().bytes, b"1\n");
        assert_eq!(reader.read().unwrap(), None);
    }
}
