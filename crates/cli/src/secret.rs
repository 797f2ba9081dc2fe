//! A line that is typed at a terminal and not shown.
//!
//! The terminal gives each byte as it is typed, the interrupt key too: whoever ends the command with it
//! gets a terminal back that shows again what is typed.

use crate::error::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead};

/// How a shell tells that an interrupt has ended a program.
const INTERRUPTED: u8 = 130;

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Reads one line of standard input, which is a terminal.
pub(crate) fn read_line() -> Result<String, Failure> {
    let silent = Silent::begin()?;
    let line = line(io::stdin().lock())?;
    drop(silent);
    line.ok_or_else(|| Failure::silent(INTERRUPTED))
}

/// What is typed, with its corrections; `None` if it is interrupted.
fn line(input: impl BufRead) -> io::Result<Option<String>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: [u8; 2] = [8, 127];
    const ERASE_LINE: u8 = 21;
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte? {
            INTERRUPT => return Ok(None),
            b'\n' | b'\r' | END => break,
            ERASE_LINE => line.clear(),
            byte if BACKSPACE.contains(&byte) => erase_last(&mut line),
            byte => line.push(byte),
        }
    }
    let text = String::from_utf8(line);
    text.map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8"))
}

/// A character may have several bytes.
fn erase_last(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        if byte & 0b1100_0000 != 0b1000_0000 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_is_left_of_what_was_typed() {
        for (typed, expected) in [
            (&b"abc\n more"[..], Some("abc")),
            (b"abc\r", Some("abc")),
            (b"ab\x7f\x08\x7fx\n", Some("x")),
            ("aé\u{7f}b\n".as_bytes(), Some("ab")),
            (b"wrong\x15right\x04", Some("right")),
            (b"", Some("")),
            (b"ab\x03", None),
        ] {
            assert_eq!(line(typed).unwrap().as_deref(), expected);
        }
        assert!(line(&b"\xff\n"[..]).is_err());
    }
}
