//! `GET /containers/{id}/logs`.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use docker_api::frame::{Channel, HEADER, header};
use engine::view::{LogQuery, LogRecord, LogStream, Streams};
use engine::{EngineError, LogReader};
use model::NameOrId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;

use super::streams::{has_terminal, stream_type};
use crate::call::{Call, lasting_body};
use crate::error::HttpError;
use crate::params::{Query, moment};
use crate::raise;
use crate::reply::{self, Reply};

/// How much is sent at once of a log that is only read.
const BATCH: usize = 64 << 10;

/// How records are written down.
#[derive(Debug, Clone, Copy)]
struct Format {
    /// Whether each stands in a frame that names its stream.
    framed: bool,
    /// Whether each begins with its time.
    timestamps: bool,
    /// Whether its attributes follow.
    details: bool,
    /// Whether each is sent as soon as it is there: somebody is looking on.
    at_once: bool,
}

/// Serves a log.
pub(super) async fn logs(call: Call, who: NameOrId) -> Result<Reply, HttpError> {
    let mut query = log_query(&call.query)?;
    // The reader stops when the reading end hangs up; the writing end goes with the reply's body.
    let hangup = if call.query.flag("follow") {
        let (reader, writer) = io::pipe().map_err(|e| HttpError::internal(format!("pipe: {e}")))?;
        query.follow = Some(reader.into());
        Some(writer)
    } else {
        None
    };
    let (terminal, reader) = call
        .run(move |engine| Ok((has_terminal(engine, &who)?, engine.logs(&who, query)?)))
        .await?;
    send(&call, terminal, reader, hangup)
}

/// Serves the log of a container that was removed.
pub(super) async fn previous(call: Call, name: String) -> Result<Reply, HttpError> {
    let who = NameOrId::new(name);
    let query = log_query(&call.query)?;
    let (terminal, reader) = call.run(move |engine| engine.previous_log(&who, query)).await?;
    send(&call, terminal, reader, None)
}

fn send(
    call: &Call,
    terminal: bool,
    reader: LogReader,
    hangup: Option<io::PipeWriter>,
) -> Result<Reply, HttpError> {
    let format = Format {
        framed: !terminal,
        timestamps: call.query.flag("timestamps"),
        details: call.query.flag("details"),
        at_once: hangup.is_some(),
    };
    let body = lasting_body(hangup, move |send| send_all(reader, format, send))?;
    Ok(reply::gathered(stream_type(terminal, call.api), body))
}

fn log_query(query: &Query) -> Result<LogQuery, HttpError> {
    let streams = Streams { stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    if !streams.stdout && !streams.stderr {
        return Err(HttpError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    Ok(LogQuery {
        streams,
        since: query.get("since").map(moment).transpose()?.flatten(),
        until: query.get("until").map(moment).transpose()?.flatten(),
        // Whatever is no number means all, as in Docker.
        tail: query.get("tail").and_then(|tail| tail.parse().ok()),
        follow: None,
    })
}

/// Sends record after record.
fn send_all(mut reader: LogReader, format: Format, send: &mpsc::Sender<io::Result<Bytes>>) {
    let mut batch = BytesMut::new();
    loop {
        let record = reader.read();
        let ended = match record {
            Ok(Some(record)) => {
                append(&mut batch, &record, format);
                false
            }
            Ok(None) => true,
            Err(error) => {
                append_error(&mut batch, &error, format);
                true
            }
        };
        let full = format.at_once || batch.len() >= BATCH || ended;
        if full && !batch.is_empty() && send.blocking_send(Ok(batch.split().freeze())).is_err() {
            return;
        }
        if ended {
            return;
        }
    }
}

fn append(batch: &mut BytesMut, record: &LogRecord, format: Format) {
    let mut head = String::new();
    if format.timestamps {
        head.push_str(&raise::log_time(record.time));
        head.push(' ');
    }
    if format.details {
        head.push_str(&attributes(record));
        head.push(' ');
    }
    let channel = match record.stream {
        LogStream::Stdout => Channel::Stdout,
        LogStream::Stderr => Channel::Stderr,
    };
    batch.reserve(HEADER + head.len() + record.bytes.len());
    if format.framed {
        batch.put_slice(&header(channel, head.len() + record.bytes.len()));
    }
    batch.put_slice(head.as_bytes());
    batch.put_slice(&record.bytes);
}

/// `key=value,key=value`, as Go escapes queries: what is in them is the container's.
fn attributes(record: &LogRecord) -> String {
    let pairs =
        record.attributes.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
    utf8_percent_encode(text, KEPT).to_string().replace(' ', "+")
}

/// The head has been sent, so an error can only be told inside the stream.
fn append_error(batch: &mut BytesMut, error: &EngineError, format: Format) {
    let text = format!("Error grabbing logs: {error}\n");
    if format.framed {
        batch.put_slice(&header(Channel::System, text.len()));
    }
    batch.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    #[test]
    fn one_stream_at_least() {
        let query = |text: &str| log_query(&Query::parse(text).unwrap());
        assert_eq!(
            query("stdout=0").unwrap_err().message,
            "Bad parameters: you must choose at least one stream"
        );
        assert_eq!(query("stderr=1&tail=5").unwrap().tail, Some(5));
        assert_eq!(query("stderr=1&tail=all").unwrap().tail, None);
        assert_eq!(query("stderr=1&tail=-5").unwrap().tail, None);
    }

    #[test]
    fn records_are_framed_one_by_one() {
        let mut record = LogRecord {
            stream: LogStream::Stderr,
            time: "2026-11-21T22:22:47.22Z".parse().unwrap(),
            bytes: b"hi\n".to_vec(),
            attributes: BTreeMap::new(),
        };
        let mut batch = BytesMut::new();
        let plain = Format { framed: true, timestamps: false, details: false, at_once: false };
        append(&mut batch, &record, plain);
        assert_eq!(&batch.split()[..], b"\x02\0\0\0\0\0\0\x03hi\n");
        append(&mut batch, &record, Format { framed: false, timestamps: true, ..plain });
        assert_eq!(&batch.split()[..], b"2026-11-21T22:22:47.220000000Z hi\n");
        let detailed = Format { framed: false, details: true, ..plain };
        append(&mut batch, &record, detailed);
        assert_eq!(&batch.split()[..], b" hi\n", "none are none");
        for (key, value) in [("tag", "a b,c=d"), ("app", "x\x1b[1m")] {
            record.attributes.insert(key.to_owned(), value.to_owned());
        }
        append(&mut batch, &record, detailed);
        assert_eq!(&batch.split()[..], b"app=x%1B%5B1m,tag=a+b%2Cc%3Dd hi\n");
    }
}
