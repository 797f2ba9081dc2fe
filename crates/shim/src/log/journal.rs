//! How a record looks to systemd's journal: a datagram of fields, Docker's names.

use std::collections::BTreeMap;

use super::form::{LineEnd, Mark, index};
use super::stamp::Stamper;
use crate::protocol::StreamKind;

/// What each datagram has, and where each stream is in a line that was cut.
#[derive(Debug)]
pub(super) struct JournalForm {
    stamper: Stamper,
    /// The fields that are the same for all.
    fields: Vec<u8>,
    /// How many there were.
    ordinal: u64,
    /// Tells this start of the container from others; what cut lines are called begins with it.
    epoch: String,
    cut: [Cut; 2],
}

/// A line of a stream that has been cut: its number and how many parts came before.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    line: u64,
    parts: u64,
}

impl JournalForm {
    /// `epoch` is unlike that of any other log.
    pub(super) fn new(fields: &BTreeMap<String, String>, epoch: String) -> Self {
        let mut bytes = Vec::new();
        for (name, value) in fields {
            field(name, value.as_bytes(), &mut bytes);
        }
        field("CONTAINER_LOG_EPOCH", epoch.as_bytes(), &mut bytes);
        let cut = [Cut::default(); 2];
        Self { stamper: Stamper::new(), fields: bytes, ordinal: 0, epoch, cut }
    }

    pub(super) fn close(&mut self, mark: Mark, out: &mut Vec<u8>) {
        let priority: &[u8] = match mark.stream {
            StreamKind::Stdout => b"\nPRIORITY=6\nSYSLOG_TIMESTAMP=",
            StreamKind::Stderr => b"\nPRIORITY=3\nSYSLOG_TIMESTAMP=",
        };
        out.extend_from_slice(priority);
        self.stamper.append(mark.time, out);
        out.push(b'\n');
        self.ordinal += 1;
        field("CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes(), out);
        self.part(mark, out);
        out.extend_from_slice(&self.fields);
    }

    /// What tells the parts of one line.
    fn part(&mut self, mark: Mark, out: &mut Vec<u8>) {
        let cut = &mut self.cut[index(mark.stream)];
        if cut.parts == 0 && mark.end == LineEnd::Newline {
            return;
        }
        if cut.parts == 0 {
            cut.line = self.ordinal;
        }
        cut.parts += 1;
        let is_last = mark.end == LineEnd::Newline;
        if !is_last {
            field("CONTAINER_PARTIAL_MESSAGE", b"true", out);
        }
        field("CONTAINER_PARTIAL_ID", format!("{}{:016x}", self.epoch, cut.line).as_bytes(), out);
        field("CONTAINER_PARTIAL_ORDINAL", cut.parts.to_string().as_bytes(), out);
        field("CONTAINER_PARTIAL_LAST", if is_last { b"true" } else { b"false" }, out);
        if is_last {
            cut.parts = 0;
        }
    }
}

/// A field: a line, or with its length in front if its value has lines of its own.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_dockers_fields() {
        let fields = BTreeMap::from([
            ("CONTAINER_TAG".to_owned(), "web".to_owned()),
            ("NOTE".to_owned(), "a\nb".to_owned()),
        ]);
        let mut form = JournalForm::new(&fields, "e".to_owned());
        let mut out = b"MESSAGE=hi".to_vec();
        form.close(Mark { stream: StreamKind::Stderr, end: LineEnd::Newline, time: 0 }, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "MESSAGE=hi\nPRIORITY=3\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00Z\n\
             CONTAINER_LOG_ORDINAL=1\nCONTAINER_TAG=web\n\
             NOTE\n\u{3}\0\0\0\0\0\0\0a\nb\nCONTAINER_LOG_EPOCH=e\n"
        );
    }

    #[test]
    fn the_parts_of_a_line_are_told_from_each_other() {
        let mut form = JournalForm::new(&BTreeMap::new(), "e".to_owned());
        let mut parts = |stream, end| {
            let mut out = Vec::new();
            form.close(Mark { stream, end, time: 0 }, &mut out);
            let text = String::from_utf8(out).unwrap();
            let partial = text.lines().filter(|line| line.starts_with("CONTAINER_PARTIAL"));
            partial.map(|line| line["CONTAINER_PARTIAL_".len()..].to_owned()).collect::<Vec<_>>()
        };
        let (out, error) = (StreamKind::Stdout, StreamKind::Stderr);
        let first = parts(out, LineEnd::Open);
        assert_eq!(first, ["MESSAGE=true", "ID=e0000000000000001", "ORDINAL=1", "LAST=false"]);
        assert_eq!(parts(error, LineEnd::Newline), [""; 0]);
        assert_eq!(
            parts(out, LineEnd::Newline),
            ["ID=e0000000000000001", "ORDINAL=2", "LAST=true"]
        );
        assert_eq!(parts(out, LineEnd::Newline), [""; 0]);
    }
}
