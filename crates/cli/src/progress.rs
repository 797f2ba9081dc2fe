//! Draws what pull, load and import report: on a terminal one line a layer, rewritten in place;
//! elsewhere one line for each change of state.

use crate::error::Failure;
use crate::human;
use docker_api::stream::JsonStream;
use docker_api::types::progress::{Progress, ProgressDetail};
use std::collections::HashMap;
use std::io::{self, Write};

/// What is drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canvas {
    /// A terminal of so many columns.
    Terminal(usize),
    /// Anything else.
    Plain,
}

/// Draws a stream to its end. An error that the stream reports becomes the outcome.
pub(crate) async fn draw(
    stream: &mut JsonStream<Progress>,
    canvas: Canvas,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut drawing = Drawing { canvas, lines: HashMap::new() };
    while let Some(message) = stream.next().await? {
        drawing.message(&message, out)?;
        out.flush()?;
    }
    Ok(())
}

/// Reads a stream to its end and shows nothing.
pub(crate) async fn drain(stream: &mut JsonStream<Progress>) -> Result<(), Failure> {
    while let Some(message) = stream.next().await? {
        failure(&message)?;
    }
    Ok(())
}

fn failure(message: &Progress) -> Result<(), Failure> {
    match (&message.error_detail, message.error.as_str()) {
        (Some(detail), _) => Err(Failure::error(detail.message.clone())),
        (None, "") => Ok(()),
        (None, text) => Err(Failure::error(text)),
    }
}

struct Drawing {
    canvas: Canvas,
    /// The line of each id, counted from the first one.
    lines: HashMap<String, usize>,
}

impl Drawing {
    fn message(&mut self, message: &Progress, out: &mut impl Write) -> Result<(), Failure> {
        failure(message)?;
        if message.aux.is_some() {
            return Ok(());
        }
        let Canvas::Terminal(width) = self.canvas else { return Ok(plain(message, out)?) };
        let detail = message.progress_detail.filter(|_| !message.id.is_empty());
        let Some(detail) = detail else {
            // What has no id is none of the lines above: those are done with.
            self.lines.clear();
            return Ok(plain(message, out)?);
        };
        let up = self.rise(&message.id, out)?;
        let bar = bar(detail, width);
        write!(out, "\x1b[{up}A\x1b[2K\r{}: {} {bar}\r\x1b[{up}B", message.id, message.status)?;
        Ok(())
    }

    /// How far up the line of `id` is; a new one is made at the end.
    fn rise(&mut self, id: &str, out: &mut impl Write) -> io::Result<usize> {
        let count = self.lines.len();
        if let Some(line) = self.lines.get(id) {
            return Ok(count - line);
        }
        self.lines.insert(id.to_owned(), count);
        out.write_all(b"\n")?;
        Ok(1)
    }
}

fn plain(message: &Progress, out: &mut impl Write) -> io::Result<()> {
    if message.progress_detail.is_some_and(|detail| detail.current > 0 || detail.total > 0) {
        return Ok(());
    }
    if !message.id.is_empty() {
        write!(out, "{}: ", message.id)?;
    }
    if message.stream.is_empty() {
        writeln!(out, "{}", message.status)
    } else {
        out.write_all(message.stream.as_bytes())
    }
}

/// `[==>      ]  34.6MB/880MB`, as far as there is room.
fn bar(detail: ProgressDetail, width: usize) -> String {
    let ProgressDetail { current, total } = detail;
    if current <= 0 && total <= 0 {
        return String::new();
    }
    let size = |bytes| human::progress_size(human::float(bytes));
    if total <= 0 {
        return format!("{:>8}", size(current));
    }
    let half = usize::try_from(i128::from(current) * 50 / i128::from(total)).unwrap_or(0).min(50);
    let bar = if width > 110 {
        format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half))
    } else {
        String::new()
    };
    if current > total {
        return format!("{bar}{:>8}", size(current));
    }
    format!("{bar}{:>8}/{}", size(current), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(canvas: Canvas, want: Expect) {
        let messages = [
            r#"{"status":"Pulling from library/x","id":"latest"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"aa"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Digest: sha256:1"}"#,
            r#"{"stream":"Loaded image: x\n"}"#,
            r#"{"aux":{"ID":"x"}}"#,
        ];
        let mut drawing = Drawing { canvas, lines: HashMap::new() };
        let mut out = Vec::new();
        for text in messages {
            let message = docker_api::json::parse_reply(text.as_bytes()).unwrap();
            drawing.message(&message, &mut out).unwrap_or_else(|e| panic!("{e:?}"));
        }
        let text = String::from_utf8(out).unwrap();
        want.assert_eq(&text.replace('\x1b', "^").replace('\r', "<"));
    }

    #[test]
    fn plain_output_has_a_line_for_each_state() {
        check(
            Canvas::Plain,
            expect![[r#"
            latest: Pulling from library/x
            aa: Pulling fs layer
            bb: Pulling fs layer
            bb: Pull complete
            Digest: sha256:1
            Loaded image: x
        "#]],
        );
    }

    #[test]
    fn a_terminal_has_a_line_for_each_layer() {
        check(
            Canvas::Terminal(80),
            expect![[r#"
            latest: Pulling from library/x

            ^[1A^[2K<aa: Pulling fs layer <^[1B
            ^[1A^[2K<bb: Pulling fs layer <^[1B^[2A^[2K<aa: Downloading     500B/1kB<^[2B^[1A^[2K<bb: Pull complete <^[1BDigest: sha256:1
            Loaded image: x
        "#]],
        );
    }

    #[test]
    fn bars() {
        let bar = |current, total, width| bar(ProgressDetail { current, total }, width);
        assert_eq!(bar(0, 0, 200), "");
        assert_eq!(bar(34_612_345, 0, 80), " 34.61MB");
        assert_eq!(bar(500, 1000, 80), "    500B/1kB");
        let full = format!("[{}>{}]     500B/1kB", "=".repeat(25), " ".repeat(25));
        assert_eq!(bar(500, 1000, 120), full);
        assert_eq!(bar(2000, 1000, 80), "     2kB");
    }

    #[test]
    fn errors_end_the_stream() {
        let text = r#"{"errorDetail":{"message":"no space left"},"error":"x"}"#;
        let message = docker_api::json::parse_reply(text.as_bytes()).unwrap();
        let failure = failure(&message).unwrap_err();
        assert_eq!(failure.message.as_deref(), Some("no space left"));
    }
}
