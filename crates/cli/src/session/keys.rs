//! Detach keys: a sequence that, typed into a terminal, leaves the container alone.

/// A sequence of bytes to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

impl Default for Keys {
    /// `ctrl-p,ctrl-q`
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl Keys {
    /// Reads letters and `ctrl-` with a letter or one of `@[\]^_`, separated by commas; empty is
    /// the default.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| format!("Invalid detach keys ({text}) provided"))
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', byte] => match byte.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            symbol @ b'['..=b'_' => Some(symbol - b'[' + 27),
            _ => None,
        },
        _ => None,
    }
}

/// What is to be passed on of some input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, and then the user detaches.
    Detach(Vec<u8>),
}

/// Watches for the sequence. What begins like it is held back until it is clear that it is not.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Keys,
    matched: usize,
}

impl Watch {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, matched: 0 }
    }

    pub(crate) fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut passed = Vec::with_capacity(bytes.len() + self.matched);
        for byte in bytes {
            if *byte == self.keys.0[self.matched] {
                self.matched += 1;
            } else {
                self.broken(*byte, &mut passed);
            }
            if self.matched == self.keys.0.len() {
                return Typed::Detach(passed);
            }
        }
        Typed::Bytes(passed)
    }

    /// What was held back is passed on; the byte may begin the sequence anew.
    fn broken(&mut self, byte: u8, passed: &mut Vec<u8>) {
        passed.extend_from_slice(&self.keys.0[..self.matched]);
        self.matched = usize::from(byte == self.keys.0[0]);
        if self.matched == 0 {
            passed.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        assert_eq!(Keys::parse("ctrl-p,ctrl-q"), Ok(Keys::default()));
        assert_eq!(Keys::parse("ctrl-A,b,ctrl-@,ctrl-["), Ok(Keys(vec![1, b'b', 0, 27])));
        assert_eq!(Keys::parse("zz"), Err("Invalid detach keys (zz) provided".to_owned()));
        assert_eq!(Keys::parse("a,"), Err("Invalid detach keys (a,) provided".to_owned()));
    }

    #[test]
    fn an_unfinished_sequence_is_passed_on() {
        let mut watch = Watch::new(Keys::default());
        assert_eq!(watch.typed(b"a\x10"), Typed::Bytes(b"a".to_vec()));
        assert_eq!(watch.typed(b"b"), Typed::Bytes(b"\x10b".to_vec()));
        assert_eq!(watch.typed(b"\x10\x10"), Typed::Bytes(b"\x10".to_vec()));
        assert_eq!(watch.typed(b"\x11rest"), Typed::Detach(Vec::new()));
    }
}
