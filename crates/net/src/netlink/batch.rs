//! Writes netlink messages.
//!
//! Owns framing, lengths and padding. Lengths of attributes are 16 bits: what would not fit is an
//! error when the batch is finished, never a wrapped length (that class of mistake let an attacker
//! forge attributes in another runtime, CVE-2021-43784).

/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A payload of more than 65531 bytes.
    #[error("netlink attribute {0} is longer than 65535 bytes")]
    TooLong(u16),
    /// A text with a NUL, which would end it early for the kernel.
    #[error("netlink attribute {0} has a NUL inside of its text")]
    Nul(u16),
}

/// Attributes being written.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    fault: Option<EncodeError>,
}

impl Writer {
    /// Bytes as they are, padded to 4: the fixed header of a message.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// An attribute of bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start, kind);
    }

    /// A number in this machine's byte order.
    pub fn native_u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order.
    pub fn network_u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A text and its NUL.
    pub fn text(&mut self, kind: u16, text: &str) {
        if text.contains('\0') {
            self.fault.get_or_insert(EncodeError::Nul(kind));
        }
        let start = self.open(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.close(start, kind);
    }

    /// An attribute that holds what `inside` writes.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        inside(self);
        self.close(start, kind);
    }

    /// How many bytes are written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, if all of them could be written.
    ///
    /// # Errors
    /// The first thing that did not fit.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        self.fault.map_or(Ok(self.bytes), Err)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize, kind: u16) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.patch(start, &length.to_ne_bytes()),
            Err(_) => {
                self.fault.get_or_insert(EncodeError::TooLong(kind));
            }
        }
        self.pad();
    }

    fn patch(&mut self, start: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(start..start + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// What opens a message.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The message type.
    pub kind: u16,
    /// Flags besides `REQUEST`.
    pub flags: u16,
    /// What the message does, for errors: `add an address`.
    pub step: &'static str,
}

/// Messages that are sent with one system call.
///
/// The sequence number of a message is its place in the batch, from 1.
#[derive(Debug, Default)]
pub struct Batch {
    writer: Writer,
    steps: Vec<Step>,
}

/// What a message does and its flags.
pub(crate) type Step = (&'static str, u16);

impl Batch {
    /// A batch of one message.
    pub fn of(head: Head, header: &[u8], body: impl FnOnce(&mut Writer)) -> Self {
        let mut batch = Self::default();
        batch.message(head, header, body);
        batch
    }

    /// Appends a message: its protocol's fixed header, then attributes.
    pub fn message(&mut self, head: Head, header: &[u8], body: impl FnOnce(&mut Writer)) {
        let flags = head.flags | super::flag::REQUEST;
        self.steps.push((head.step, flags));
        let start = self.writer.written();
        let sequence = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.writer.bytes.extend_from_slice(&[0; 4]);
        self.writer.bytes.extend_from_slice(&head.kind.to_ne_bytes());
        self.writer.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.writer.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.writer.bytes.extend_from_slice(&[0; 4]);
        self.writer.raw(header);
        body(&mut self.writer);
        let length = u32::try_from(self.writer.written() - start).unwrap_or(u32::MAX);
        self.writer.patch(start, &length.to_ne_bytes());
    }

    /// The bytes, and for each message its step and flags.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Vec<Step>), EncodeError> {
        Ok((self.writer.finish()?, self.steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { kind: 16, flags: 0x400, step: "test" };

    #[test]
    fn a_message_has_the_bytes_of_the_protocol() {
        let batch = Batch::of(HEAD, &[7; 4], |w| w.nest(1, |w| w.bytes(2, &[9])));
        let (bytes, steps) = batch.finish().unwrap();
        let expected: [&[u8]; 8] = [
            &32_u32.to_ne_bytes(),
            &16_u16.to_ne_bytes(),
            &0x401_u16.to_ne_bytes(),
            &1_u32.to_ne_bytes(),
            &[0; 4],
            &[7; 4],
            &[12, 0, 1, 0x80],
            &[5, 0, 2, 0, 9, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(steps, [("test", 0x401)]);
    }

    #[test]
    fn a_length_never_wraps() {
        let long = vec![1_u8; 65_532];
        let batch = Batch::of(HEAD, &[], |w| w.bytes(4, &long));
        assert_eq!(batch.finish().unwrap_err(), EncodeError::TooLong(4));
        let batch = Batch::of(HEAD, &[], |w| {
            w.nest(5, |w| {
                w.bytes(4, &long[..65_000]);
                w.bytes(4, &long[..1000]);
            });
        });
        assert_eq!(batch.finish().unwrap_err(), EncodeError::TooLong(5));
    }

    #[test]
    fn a_text_with_a_nul_is_refused() {
        let batch = Batch::of(HEAD, &[], |w| w.text(3, "a\0b"));
        assert_eq!(batch.finish().unwrap_err(), EncodeError::Nul(3));
    }
}
