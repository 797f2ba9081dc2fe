//! Cuts output into lines and makes a record of each.
//!
//! Docker's law: a record is a line; a line of more than 16 KiB is cut into records of 16 KiB
//! (its last part carries the line feed); what is left at the end of a stream is a record
//! without one. How a record looks is its `Form`'s. Nothing here touches a file.

use super::escape::Scan;
use super::form::{Form, LineEnd, Mark, index};
use super::stamp::Ticks;
use crate::protocol::StreamKind;

/// Longest piece of a line in one record, line feed included.
pub(super) const MAX_LINE: usize = 16 << 10;

/// What makes records of output.
#[derive(Debug)]
pub(super) struct Recorder {
    ticks: Ticks,
    /// Of each stream, the line that has not ended yet.
    open: [Vec<u8>; 2],
    form: Form,
    batch: Vec<u8>,
    /// Where in the batch each record ends; only of records that travel on their own.
    ends: Vec<usize>,
}

impl Recorder {
    pub(super) const fn new(form: Form) -> Self {
        let open = [Vec::new(), Vec::new()];
        Self { ticks: Ticks::new(), open, form, batch: Vec::new(), ends: Vec::new() }
    }

    /// The clock's time now, nanoseconds since 1970.
    pub(super) fn at(&mut self, now: i64) {
        self.ticks.at(now);
    }

    /// The records made since the last [`Recorder::clear`].
    pub(super) fn batch(&self) -> &[u8] {
        &self.batch
    }

    /// The same one by one, of a form whose records travel on their own.
    pub(super) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.batch[*start..*end])
    }

    /// Forgets the batch, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.ends.clear();
    }

    /// Frees what is not needed while nothing comes.
    pub(super) fn trim(&mut self) {
        (self.batch, self.ends) = (Vec::new(), Vec::new());
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
        let (records, ends) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.ends));
        let start = self.batch.len();
        self.form.begin(StreamKind::Stderr, self.ticks.current(), &mut self.batch);
        self.form.text(text.as_bytes(), &mut self.batch);
        self.close(StreamKind::Stderr, LineEnd::Newline, start);
        let note = self.batch.len();
        self.batch.extend_from_slice(&records);
        self.ends.extend(ends.into_iter().map(|end| end + note));
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
        self.form.begin(stream, self.ticks.current(), &mut self.batch);
        match self.form.text(window, &mut self.batch) {
            Scan::Newline(at) => {
                self.close(stream, LineEnd::Newline, start);
                &data[at + 1..]
            }
            Scan::End if window.len() == MAX_LINE => {
                self.close(stream, LineEnd::Open, start);
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
        let start = self.batch.len();
        self.form.begin(stream, self.ticks.current(), &mut self.batch);
        // There is no line feed in an open line, so the scan reaches its end.
        self.form.text(&open, &mut self.batch);
        self.close(stream, end, start);
        open.clear();
        self.open[index(stream)] = open;
    }

    /// Writes what follows the text of a record.
    fn close(&mut self, stream: StreamKind, end: LineEnd, start: usize) {
        let mark = Mark { stream, end, time: self.ticks.take() };
        self.form.close(mark, start, &mut self.batch);
        if self.form.is_message() {
            self.ends.push(self.batch.len());
        }
    }
}
