//! JSON strings exactly as Docker's log writer prints them.
//!
//! It differs from other JSON writers: `<`, `>` and `&` are escaped (the output is safe inside
//! HTML), a tab is `\u0009`, each byte that is not UTF-8 becomes one `\ufffd`, and U+2028 and
//! U+2029 are escaped for JavaScript. Bytes that need nothing are copied in runs.

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// At a line feed, at this index.
    Newline(usize),
    /// At the end of the data.
    End,
}

/// Appends `data` up to its first line feed (which is not appended), escaped.
pub(super) fn escape_line(data: &[u8], out: &mut Vec<u8>) -> Scan {
    let mut at = 0;
    loop {
        let run = plain_run(&data[at..]);
        out.extend_from_slice(&data[at..at + run]);
        at += run;
        let Some(byte) = data.get(at) else { return Scan::End };
        match byte {
            b'\n' => return Scan::Newline(at),
            0x80.. => at += escape_wide(&data[at..], out),
            byte => {
                escape_ascii(*byte, out);
                at += 1;
            }
        }
    }
}

/// Appends `data` up to its first line feed (which is not appended), as it is.
pub(super) fn copy_line(data: &[u8], out: &mut Vec<u8>) -> Scan {
    let length = line_length(data);
    out.extend_from_slice(&data[..length]);
    if length < data.len() { Scan::Newline(length) } else { Scan::End }
}

/// How many bytes there are in front of the first line feed.
fn line_length(data: &[u8]) -> usize {
    const STEP: usize = 32;
    let mut run = 0;
    for step in data.chunks_exact(STEP) {
        if step.iter().fold(false, |found, byte| found | (*byte == b'\n')) {
            break;
        }
        run += STEP;
    }
    let tail = &data[run..];
    run + tail.iter().position(|byte| *byte == b'\n').unwrap_or(tail.len())
}

/// How many bytes in front can be copied as they are.
fn plain_run(data: &[u8]) -> usize {
    const STEP: usize = 16;
    let mut run = 0;
    // Whole steps first: without a branch in it, this inner loop becomes vector instructions.
    for step in data.chunks_exact(STEP) {
        if step.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        run += STEP;
    }
    let tail = &data[run..];
    run + tail.iter().position(|byte| is_special(*byte)).unwrap_or(tail.len())
}

const fn is_special(byte: u8) -> bool {
    (byte < 0x20)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
        | (byte >= 0x80)
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

/// Handles what begins with a byte above ASCII; returns how many bytes that was.
fn escape_wide(data: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(length) = utf8_length(data) else {
        out.extend_from_slice(b"\\ufffd");
        return 1;
    };
    match &data[..length] {
        [0xe2, 0x80, 0xa8] => out.extend_from_slice(b"\\u2028"),
        [0xe2, 0x80, 0xa9] => out.extend_from_slice(b"\\u2029"),
        character => out.extend_from_slice(character),
    }
    length
}

/// The length of the character in front, or `None` if it is not UTF-8 (or cut off).
fn utf8_length(data: &[u8]) -> Option<usize> {
    let length = match data.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    // The standard library knows the rules on overlong forms and surrogates.
    std::str::from_utf8(data.get(..length)?).is_ok().then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn escaped(data: &[u8]) -> String {
        let mut out = Vec::new();
        assert_eq!(escape_line(data, &mut out), Scan::End);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_docker_prints_it() {
        assert_eq!(escaped(b"a\tb\r\"\\\x1b[0m\x7f"), "a\\u0009b\\r\\\"\\\\\\u001b[0m\x7f");
        assert_eq!(escaped(b"<a href=\"x\">&"), "\\u003ca href=\\\"x\\\"\\u003e\\u0026");
        assert_eq!(escaped("žluť 漢字 🦀".as_bytes()), "žluť 漢字 🦀");
        assert_eq!(escaped("\u{2028}\u{2029}".as_bytes()), "\\u2028\\u2029");
    }

    #[test]
    fn each_byte_that_is_not_utf8_is_replaced() {
        for (bad, count) in [
            (&b"\xff"[..], 1),
            (b"\xc0\xaf", 2),
            (b"\xe2\x82", 2),
            (b"\xed\xa0\x80", 3),
            (b"\xf4\x90\x80\x80", 4),
            (b"\xf0\x9f\xa6", 3),
        ] {
            assert_eq!(escaped(bad), "\\ufffd".repeat(count), "{bad:x?}");
        }
        assert_eq!(escaped(b"a\xe2b"), "a\\ufffdb");
    }

    #[test]
    fn a_line_feed_ends_the_scan() {
        let mut out = Vec::new();
        let data = b"0123456789abcdef0123456789abcdef012\nrest";
        assert_eq!(escape_line(data, &mut out), Scan::Newline(35));
        assert_eq!(out, &data[..35]);
    }

    #[test]
    fn a_copy_ends_where_an_escape_does() {
        for length in [0, 1, 31, 32, 33, 64, 100] {
            let line = vec![b'x'; length];
            let mut out = Vec::new();
            assert_eq!(copy_line(&line, &mut out), Scan::End);
            assert_eq!(out, line);
            let data = [&line[..], b"\n\xff\n"].concat();
            out.clear();
            assert_eq!(copy_line(&data, &mut out), Scan::Newline(length));
            assert_eq!(out, line);
        }
    }

    proptest! {
        /// Any text comes back from any JSON reader.
        #[test]
        fn text_survives(text in "[^\n]{0,200}") {
            let json = format!("\"{}\"", escaped(text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        /// Any bytes become valid JSON.
        #[test]
        fn bytes_become_valid_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let line: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\n').collect();
            let json = format!("\"{}\"", escaped(&line));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
        }
    }
}
