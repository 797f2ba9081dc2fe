//! Whole lines of what a server sends of a log, each with the time in front of it.

use docker_api::frame::Channel;

/// Bytes of a time and the space behind it: `2026-11-21T22:22:47.224372180Z `.
const STAMP: usize = 31;
/// Where a server cuts a long line, to give the rest a time of its own.
const CUT: usize = 16 << 10;
/// The longest line that is kept whole; a longer one is several.
const LONGEST: usize = 1 << 20;

/// One line of a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) channel: Channel,
    /// When it was written, as text that sorts; empty if the server says nothing.
    pub(super) stamp: String,
    /// With its line feed.
    pub(super) text: Vec<u8>,
}

/// The lines of one container that have not ended.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: [Vec<u8>; 2],
}

impl Assembler {
    /// Takes in what came, and gives to `out` what has become whole.
    pub(super) fn push(&mut self, channel: Channel, bytes: &[u8], out: &mut impl FnMut(Line)) {
        let open = &mut self.open[usize::from(channel == Channel::Stderr)];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || open.len() > LONGEST {
                out(line(channel, std::mem::take(open)));
            }
        }
    }

    /// At the end of the log, what has no end is a line as well.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Line)) {
        for channel in [Channel::Stdout, Channel::Stderr] {
            let open = std::mem::take(&mut self.open[usize::from(channel == Channel::Stderr)]);
            if !open.is_empty() {
                out(line(channel, open));
            }
        }
    }
}

fn line(channel: Channel, bytes: Vec<u8>) -> Line {
    let (stamp, mut text) = match stamp(&bytes) {
        Some(stamp) => (stamp.trim_end().to_owned(), bytes[STAMP..].to_vec()),
        None => (String::new(), bytes),
    };
    // A long line was cut into records, and each has a time.
    let mut at = CUT;
    while text.get(at..).and_then(stamp_of).is_some() {
        text.drain(at..at + STAMP);
        at += CUT;
    }
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    Line { channel, stamp, text }
}

fn stamp_of(bytes: &[u8]) -> Option<()> {
    stamp(bytes).map(drop)
}

/// The time at the front.
fn stamp(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes.get(..STAMP)?).ok()?;
    let is_stamp = text
        .bytes()
        .zip(b"0000-00-00T00:00:00.000000000Z ")
        .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape });
    is_stamp.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-21T22:22:47.224372180Z";

    fn lines(pieces: &[(Channel, &str)]) -> Vec<(Channel, String, String)> {
        let (mut assembler, mut all) = (Assembler::default(), Vec::new());
        let mut out = |line: Line| {
            all.push((line.channel, line.stamp, String::from_utf8(line.text).unwrap()));
        };
        for (channel, piece) in pieces {
            assembler.push(*channel, piece.as_bytes(), &mut out);
        }
        assembler.finish(&mut out);
        all
    }

    #[test]
    fn pieces_become_lines_of_their_own_stream() {
        let (one, two) = (format!("{TIME} on"), format!("{TIME} two\n{TIME} th"));
        let got = lines(&[
            (Channel::Stdout, &one),
            (Channel::Stderr, &two),
            (Channel::Stdout, "e\n"),
            (Channel::Stderr, "ree"),
        ]);
        let want = |channel, text: &str| (channel, TIME.to_owned(), text.to_owned());
        assert_eq!(
            got,
            [
                want(Channel::Stderr, "two\n"),
                want(Channel::Stdout, "one\n"),
                want(Channel::Stderr, "three\n")
            ]
        );
        assert_eq!(lines(&[(Channel::Stdout, "bare\n")])[0].2, "bare\n");
    }

    #[test]
    fn the_times_inside_of_a_long_line_are_taken_out() {
        let long = "x".repeat(CUT);
        let got = lines(&[(Channel::Stdout, &format!("{TIME} {long}{TIME} {long}{TIME} end\n"))]);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].2, format!("{long}{long}end\n"));
    }
}
