//! How a record looks: `json-file`, `local`, a syslog message, a datagram for the journal.
//!
//! A form writes what stands around the text of a record; where records begin and end is
//! `record`'s business.

use std::collections::BTreeMap;

use super::escape::{Scan, copy_line, escape_line};
use super::journal::JournalForm;
use super::stamp::Stamper;
use super::syslog::SyslogForm;
use crate::protocol::StreamKind;

/// Bytes of a local record in front of its text: a letter and the time.
const LOCAL_HEAD: usize = 17;

/// Whether a record ends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    Newline,
    Open,
}

/// One record, besides its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) stream: StreamKind,
    pub(super) end: LineEnd,
    /// Nanoseconds since 1970.
    pub(super) time: i64,
}

/// The forms that there are.
#[derive(Debug)]
pub(super) enum Form {
    Json(JsonForm),
    Local,
    Syslog(SyslogForm),
    Journal(JournalForm),
}

impl Form {
    /// Whether each record travels on its own. If not, each is a line of a file.
    pub(super) const fn is_message(&self) -> bool {
        match self {
            Self::Json(_) | Self::Local => false,
            Self::Syslog(_) | Self::Journal(_) => true,
        }
    }

    /// Writes what stands in front of the text.
    pub(super) fn begin(&mut self, stream: StreamKind, time: i64, out: &mut Vec<u8>) {
        match self {
            Self::Json(_) => out.extend_from_slice(b"{\"log\":\""),
            Self::Local => out.extend_from_slice(&[0; LOCAL_HEAD]),
            Self::Syslog(form) => form.begin(stream, time, out),
            Self::Journal(_) => out.extend_from_slice(b"MESSAGE="),
        }
    }

    /// Writes the text up to its first line feed.
    pub(super) fn text(&self, data: &[u8], out: &mut Vec<u8>) -> Scan {
        match self {
            Self::Json(_) => escape_line(data, out),
            Self::Local | Self::Syslog(_) | Self::Journal(_) => copy_line(data, out),
        }
    }

    /// Writes what follows the text of the record that began at `start`.
    pub(super) fn close(&mut self, mark: Mark, start: usize, out: &mut Vec<u8>) {
        match self {
            Self::Json(form) => form.close(mark, out),
            Self::Local => {
                if let Some(head) = out.get_mut(start..start + LOCAL_HEAD) {
                    head.copy_from_slice(&local_head(mark));
                }
                out.push(b'\n');
            }
            Self::Syslog(_) => out.push(b'\n'),
            Self::Journal(form) => form.close(mark, out),
        }
    }
}

/// What Docker's `json-file` has in each line besides the text.
#[derive(Debug)]
pub(super) struct JsonForm {
    stamper: Stamper,
    /// Of each stream, `","stream":"stdout",` and so on up to the time.
    middle: [Vec<u8>; 2],
}

impl JsonForm {
    pub(super) fn new(attrs: &BTreeMap<String, String>) -> Self {
        Self { stamper: Stamper::new(), middle: [middle("stdout", attrs), middle("stderr", attrs)] }
    }

    fn close(&mut self, mark: Mark, out: &mut Vec<u8>) {
        if mark.end == LineEnd::Newline {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(&self.middle[index(mark.stream)]);
        self.stamper.append(mark.time, out);
        out.extend_from_slice(b"\"}\n");
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

/// A letter and sixteen hex digits: `O` and `E` for a line of stdout and of stderr, small ones for
/// a record that does not end its line; then the time in nanoseconds since 1970.
fn local_head(mark: Mark) -> [u8; LOCAL_HEAD] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match (mark.stream, mark.end) {
        (StreamKind::Stdout, LineEnd::Newline) => b'O',
        (StreamKind::Stdout, LineEnd::Open) => b'o',
        (StreamKind::Stderr, LineEnd::Newline) => b'E',
        (StreamKind::Stderr, LineEnd::Open) => b'e',
    };
    let mut head = [letter; LOCAL_HEAD];
    let mut rest = mark.time.cast_unsigned();
    for digit in head[1..].iter_mut().rev() {
        *digit = HEX[usize::try_from(rest & 15).unwrap_or(0)];
        rest >>= 4;
    }
    head
}

/// The place of a stream in a pair.
pub(super) const fn index(stream: StreamKind) -> usize {
    match stream {
        StreamKind::Stdout => 0,
        StreamKind::Stderr => 1,
    }
}
