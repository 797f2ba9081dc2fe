//! Frames: how messages and output are cut out of a byte stream.
//!
//! Two forms. Messages to and from the shim are JSON behind a 32-bit little-endian length.
//! Output on an attached connection is in Docker's 8-byte frames. Nothing here reads or writes
//! a descriptor.

use crate::protocol::StreamKind;

/// Longest message, in bytes: a launch carries a whole OCI specification.
pub const MAX_LARGE: usize = 16 << 20;
/// Longest message of every other kind.
pub const MAX_SMALL: usize = 64 << 10;
/// Messages that may be large, by how their JSON begins.
const LARGE_KINDS: [&[u8]; 2] = [b"{\"Launch\":", b"{\"ExecStart\":"];
const PREFIX: usize = size_of::<u32>();

/// A message that is refused before it is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above what its kind may have.
    #[error("message of {length} bytes is too long")]
    TooLong {
        /// As announced.
        length: usize,
    },
}

/// Puts the length in front of a message.
///
/// # Errors
/// `TooLong` above [`MAX_LARGE`].
pub fn encode(message: &[u8]) -> Result<Vec<u8>, FrameError> {
    let too_long = FrameError::TooLong { length: message.len() };
    let length = u32::try_from(message.len()).map_err(|_| too_long.clone())?;
    if message.len() > MAX_LARGE {
        return Err(too_long);
    }
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(message);
    Ok(framed)
}

/// Collects the bytes of one connection and cuts messages out of them. Holds no more than what
/// has really arrived.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
}

impl FrameReader {
    /// One that has seen nothing yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more has arrived.
    ///
    /// # Errors
    /// `TooLong`: the connection cannot be used any more.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some((prefix, body)) = self.bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        check_length(length, body)?;
        if body.len() < length {
            return Ok(None);
        }
        let rest = body[length..].to_vec();
        let mut message = std::mem::replace(&mut self.bytes, rest);
        message.truncate(PREFIX + length);
        message.drain(..PREFIX);
        Ok(Some(message))
    }

    /// How many bytes wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What came after the last message: on an attached connection, the first input.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.bytes
    }
}

/// Judges a length by the first bytes of its message, so that a connection cannot make the
/// reader hold 16 MiB for a question that has 20 bytes.
fn check_length(length: usize, body: &[u8]) -> Result<(), FrameError> {
    if length <= MAX_SMALL {
        return Ok(());
    }
    let may_be = |kind: &[u8]| {
        let seen = body.len().min(kind.len());
        body[..seen] == kind[..seen]
    };
    if length <= MAX_LARGE && LARGE_KINDS.iter().any(|kind| may_be(kind)) {
        return Ok(());
    }
    Err(FrameError::TooLong { length })
}

/// Docker's header of a piece of output: stream, three zeroes, the length in big-endian.
#[must_use]
pub fn docker_header(stream: StreamKind, length: u32) -> [u8; 8] {
    let number = match stream {
        StreamKind::Stdout => 1,
        StreamKind::Stderr => 2,
    };
    let [a, b, c, d] = length.to_be_bytes();
    [number, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn prefix(length: usize) -> [u8; 4] {
        u32::try_from(length).unwrap().to_le_bytes()
    }

    #[test]
    fn a_question_may_not_be_large() {
        let mut reader = FrameReader::default();
        reader.push(&prefix(MAX_SMALL + 1));
        assert_eq!(reader.next_message(), Ok(None), "its kind is not known yet");
        reader.push(b"{\"St");
        assert_eq!(reader.next_message(), Err(FrameError::TooLong { length: MAX_SMALL + 1 }));
    }

    #[test]
    fn a_launch_may_be_large_but_not_endless() {
        let mut reader = FrameReader::default();
        reader.push(&prefix(MAX_LARGE));
        reader.push(b"{\"Launch\":{");
        assert_eq!(reader.next_message(), Ok(None));
        let mut reader = FrameReader::default();
        reader.push(&prefix(MAX_LARGE + 1));
        reader.push(b"{\"Launch\":{");
        assert!(reader.next_message().is_err());
    }

    #[test]
    fn input_behind_the_request_is_kept() {
        let mut reader = FrameReader::default();
        reader.push(&encode(b"attach").unwrap());
        reader.push(b"first input");
        assert_eq!(reader.next_message(), Ok(Some(b"attach".to_vec())));
        assert_eq!(reader.into_rest(), b"first input");
    }

    #[test]
    fn dockers_header() {
        assert_eq!(docker_header(StreamKind::Stderr, 258), [2, 0, 0, 0, 0, 0, 1, 2]);
    }

    proptest! {
        /// However the bytes are cut on the way, the same messages come out.
        #[test]
        fn cuts_do_not_matter(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1_usize..64,
        ) {
            let stream: Vec<u8> =
                messages.iter().flat_map(|message| encode(message).unwrap()).collect();
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                reader.push(piece);
                while let Some(message) = reader.next_message().unwrap() {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(reader.is_empty());
        }
    }
}
