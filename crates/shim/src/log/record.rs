//! Cuts output into lines and makes a `json-file` record of each.
//!
//! Docker's law: a record is a line; a line of more than 16 KiB is cut into records of 16 KiB
//! (its last part carries the line feed); what is left at the end of a stream is a record
//! without one. Nothing here touches a file.

use std::collections::BTreeMap;

use super::escape::{Scan, escape_line};
use super::stamp::Stamper;
use crate::protocol::StreamKind;

/// Longest piece of a line in one record, line feed included.
pub(super) const MAX_LINE: usize = 16 << 10;

/// Whether a record ends its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    Open,
}

/// What makes records of output.
#[derive(Debug)]
pub(super) struct Recorder {
    stamper: Stamper,
    /// Of each stream, the line that has not ended yet.
    open: [Vec<u8>; 2],
    /// `","stream":"stdout",` and so on up to the time.
    middle: [Vec<u8>; 2],
    batch: Vec<u8>,
}

impl Recorder {
    pub(super) fn new(attrs: &BTreeMap<String, String>) -> Self {
        Self {
            stamper: Stamper::new(),
            open: [Vec::new(), Vec::new()],
            middle: [middle("stdout", attrs), middle("stderr", attrs)],
            batch: Vec::new(),
        }
    }

    /// The clock's time now, nanoseconds since 1970.
    pub(super) fn at(&mut self, now: i64) {
        self.stamper.at(now);
    }

    /// The records made since the last [`Recorder::clear`].
    pub(super) fn batch(&self) -> &[u8] {
        &self.batch
    }

    /// Forgets the batch, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.batch.clear();
    }

    /// Frees what is not needed while nothing comes.
    pub(super) fn trim(&mut self) {
        self.batch = Vec::new();
        self.open.iter_mut().for_each(Vec::shrink_to_fit);
    }

    /// Makes records until the data are used up or the batch has reached `room` bytes; returns
    /// what was not used. As in Docker, the record that reaches the limit goes beyond it.
    pub(super) fn take<'a>(&mut self, stream: StreamKind, data: &'a [u8], room: usize) -> &'a [u8] {
        let mut rest = self.complete_open(stream, data);
        while !rest.is_empty() && self.batch.len() < room {
            rest = self.take_line(stream, rest);
        }
        rest
    }

    /// Ends a stream.
    pub(super) fn finish(&mut self, stream: StreamKind) {
        if !self.open[index(stream)].is_empty() {
            self.emit_open(stream, LineEnd::Open);
        }
    }

    /// Puts a line of our own in front of the batch.
    pub(super) fn note(&mut self, text: &str) {
        let records = std::mem::take(&mut self.batch);
        self.take_line(StreamKind::Stderr, text.as_bytes());
        self.batch.extend_from_slice(&records);
    }

    /// Goes on with a line that an earlier read left open.
    fn complete_open<'a>(&mut self, stream: StreamKind, data: &'a [u8]) -> &'a [u8] {
        let open = &mut self.open[index(stream)];
        if open.is_empty() {
            return data;
        }
        let window = &data[..data.len().min(MAX_LINE - open.len())];
        let end = window.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(window.len());
        open.extend_from_slice(&window[..taken]);
        let is_full = open.len() == MAX_LINE;
        match end {
            Some(at) => {
                self.emit_open(stream, LineEnd::Newline);
                &data[at + 1..]
            }
            None if is_full => {
                self.emit_open(stream, LineEnd::Open);
                &data[taken..]
            }
            None => &[],
        }
    }

    /// Makes a record of the first line; if its end has not come yet, keeps it.
    fn take_line<'a>(&mut self, stream: StreamKind, data: &'a [u8]) -> &'a [u8] {
        let window = &data[..data.len().min(MAX_LINE)];
        let start = self.batch.len();
        self.batch.extend_from_slice(HEAD);
        match escape_line(window, &mut self.batch) {
            Scan::Newline(at) => {
                self.close(stream, LineEnd::Newline);
                &data[at + 1..]
            }
            Scan::End if window.len() == MAX_LINE => {
                self.close(stream, LineEnd::Open);
                &data[MAX_LINE..]
            }
            Scan::End => {
                self.batch.truncate(start);
                self.open[index(stream)].extend_from_slice(window);
                &[]
            }
        }
    }

    fn emit_open(&mut self, stream: StreamKind, end: LineEnd) {
        let mut open = std::mem::take(&mut self.open[index(stream)]);
        self.batch.extend_from_slice(HEAD);
        // There is no line feed in an open line, so the scan reaches its end.
        escape_line(&open, &mut self.batch);
        self.close(stream, end);
        open.clear();
        self.open[index(stream)] = open;
    }

    /// Writes what follows the text of a record.
    fn close(&mut self, stream: StreamKind, end: LineEnd) {
        if end == LineEnd::Newline {
            self.batch.extend_from_slice(b"\\n");
        }
        self.batch.extend_from_slice(&self.middle[index(stream)]);
        self.stamper.append(&mut self.batch);
        self.batch.extend_from_slice(b"\"}\n");
    }
}

const HEAD: &[u8] = b"{\"log\":\"";

const fn index(stream: StreamKind) -> usize {
    match stream {
        StreamKind::Stdout => 0,
        StreamKind::Stderr => 1,
    }
}

fn middle(stream: &str, attrs: &BTreeMap<String, String>) -> Vec<u8> {
    let attrs = if attrs.is_empty() {
        String::new()
    } else {
        // A map of strings cannot fail to become JSON.
        format!("\"attrs\":{},", serde_json::to_string(attrs).unwrap_or_default())
    };
    format!("\",\"stream\":\"{stream}\",{attrs}\"time\":\"").into_bytes()
}
