//! Detach keys: the sequence that, typed into a terminal, leaves the container alone.
//!
//! Both ends of a session look for it: the command line, so that a connection that hangs can be
//! left, and the server, for clients that only pass bytes on.

use std::fmt;

/// A sequence of bytes to look for in what is typed; not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// A text that is no sequence of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid detach keys ({0}) provided")]
pub struct BadDetachKeys(String);

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl fmt::Display for DetachKeys {
    /// As [`DetachKeys::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, key) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            match key {
                0..=0x1f => {
                    write!(f, "{separator}ctrl-{}", char::from(key + b'@').to_ascii_lowercase())?
                }
                _ => write!(f, "{separator}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, or what is given instead: letters, and `ctrl-` with a letter or one of
    /// `@ [ \ ] ^ _`, separated by commas.
    ///
    /// # Errors
    /// The text is no such sequence.
    pub fn parse(text: Option<&str>) -> Result<Self, BadDetachKeys> {
        match text {
            None | Some("") => Ok(Self::default()),
            Some(text) => {
                let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
                keys.map(Self).ok_or_else(|| BadDetachKeys(text.to_owned()))
            }
        }
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        [prefix @ .., byte] if prefix.eq_ignore_ascii_case(b"ctrl-") => {
            match byte.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
                b'@' => Some(0),
                symbol @ b'['..=b'_' => Some(symbol - b'@'),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What has been typed so far, as far as it may become the sequence.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    /// How many of the keys the last bytes were.
    held: usize,
}

/// What to do after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// Go on.
    Text,
    /// Leave: the bytes that came before the sequence have been passed on.
    Detach,
}

impl Detector {
    /// Nothing has been typed yet.
    #[must_use]
    pub fn new(keys: DetachKeys) -> Self {
        Self { keys: keys.0, held: 0 }
    }

    /// Takes bytes, and appends to `out` those that cannot be part of the sequence (any more).
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Typed {
        for byte in bytes {
            self.step(*byte, out);
            if self.held == self.keys.len() {
                self.held = 0;
                return Typed::Detach;
            }
        }
        Typed::Text
    }

    /// Appends what is still held back: the input has ended, and no sequence with it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[..self.held]);
        self.held = 0;
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.keys[self.held] == byte {
            self.held += 1;
            return;
        }
        // The sequence broke. Of what was held back and this byte, the longest end that begins
        // the sequence again is kept; sequences are a few keys long, so trying all is quick.
        let mut seen = self.keys[..self.held].to_vec();
        seen.push(byte);
        while !self.keys.starts_with(&seen) {
            out.push(seen.remove(0));
        }
        self.held = seen.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> DetachKeys {
        DetachKeys::parse(Some(text)).unwrap()
    }

    #[test]
    fn sequences_read_as_docker_writes_them() {
        assert_eq!(DetachKeys::parse(None).unwrap().0, [16, 17]);
        assert_eq!(DetachKeys::parse(Some("")).unwrap().0, [16, 17]);
        assert_eq!(keys("ctrl-a,b").0, [1, b'b']);
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").0, [0, 27, 28, 29, 30, 31]);
        for bad in ["ctrl-", "ctrl-1", "ab", "a,,b", ",", "ctrl-p,", "é"] {
            assert_eq!(
                DetachKeys::parse(Some(bad)).unwrap_err().to_string(),
                format!("Invalid detach keys ({bad}) provided")
            );
        }
    }

    #[test]
    fn sequences_print_as_they_are_read() {
        for text in ["ctrl-p,ctrl-q", "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", "a,Z,~, "] {
            assert_eq!(keys(text).to_string(), text);
        }
    }

    #[test]
    fn a_broken_sequence_is_passed_on() {
        let mut detector = Detector::new(keys("ctrl-p,ctrl-q"));
        let mut out = Vec::new();
        assert_eq!(detector.feed(b"a\x10", &mut out), Typed::Text);
        assert_eq!(out, b"a");
        assert_eq!(detector.feed(b"b", &mut out), Typed::Text);
        assert_eq!(out, b"a\x10b");
        assert_eq!(detector.feed(b"\x10\x10\x11c", &mut out), Typed::Detach);
        assert_eq!(out, b"a\x10b\x10");
    }

    proptest! {
        /// However the bytes arrive: everything before the first sequence is passed on, and
        /// nothing else.
        #[test]
        fn detaches_at_the_first_sequence(
            sequence in prop::collection::vec(0u8..3, 1..5),
            input in prop::collection::vec(0u8..3, 0..60),
            cut in 1usize..8,
        ) {
            let mut detector = Detector::new(DetachKeys(sequence.clone()));
            let mut out = Vec::new();
            let detached = input
                .chunks(cut)
                .any(|part| detector.feed(part, &mut out) == Typed::Detach);
            let at = input.windows(sequence.len()).position(|window| window == sequence);
            prop_assert_eq!(detached, at.is_some());
            if !detached {
                detector.finish(&mut out);
            }
            prop_assert_eq!(&out[..], &input[..at.unwrap_or(input.len())]);
        }
    }
}
