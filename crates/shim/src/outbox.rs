//! What waits to be written to one client: bounded, and honest about what it dropped.
//!
//! No descriptor here; `guard::conn` does the writing. A container must never wait for an
//! observer (invariant 10), and the consumer of a pipeline must never lose a byte: which of the
//! two a client is, it says itself when it attaches.

use crate::frame::docker_header;
use crate::protocol::{Delivery, StreamKind};

/// Bytes that wait for an observer before its output is dropped.
pub(crate) const OBSERVER_LIMIT: usize = 1 << 20;
/// Bytes that wait for a consumer before the process is made to wait.
pub(crate) const CONSUMER_LIMIT: usize = 256 << 10;

/// How output looks on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Docker's 8-byte frames: there are two streams to tell apart.
    Frames,
    /// As it came: a terminal has one stream.
    Raw,
}

/// The bytes that one client has yet to take.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes in front that are written already.
    taken: usize,
    /// Payload dropped since the client was last told.
    missed: u64,
}

impl Outbox {
    /// An empty one, which owns no memory.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0, missed: 0 }
    }

    /// What to write next.
    #[must_use]
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Whether nothing waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    /// Whether a consumer is so far behind that its process has to wait.
    #[must_use]
    pub(crate) fn is_congested(&self) -> bool {
        self.pending().len() >= CONSUMER_LIMIT
    }

    /// Takes note that `count` bytes of [`Outbox::pending`] are written.
    pub(crate) fn written(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
    }

    /// Adds bytes that must arrive whatever happens: replies.
    pub(crate) fn push_reply(&mut self, bytes: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds output. For an observer that is too far behind, counts it as missed instead: whole
    /// pieces, so that frames stay whole.
    pub(crate) fn push_output(&mut self, piece: Piece<'_>, delivery: Delivery) {
        let waiting = self.pending().len();
        if delivery == Delivery::Recent && waiting + piece.data.len() > OBSERVER_LIMIT {
            self.missed += piece.data.len() as u64;
            return;
        }
        // The gap is told once there is room again, in front of what follows it.
        if self.missed > 0 && waiting > OBSERVER_LIMIT / 2 {
            self.missed += piece.data.len() as u64;
            return;
        }
        self.tell_missed(piece.form);
        self.push_piece(piece);
    }

    /// Tells the client of a gap at the very end of its output.
    pub(crate) fn end_output(&mut self, form: Form) {
        self.tell_missed(form);
    }

    fn tell_missed(&mut self, form: Form) {
        if self.missed == 0 {
            return;
        }
        let notice = notice(self.missed, form);
        self.missed = 0;
        let data = notice.as_bytes();
        self.push_piece(Piece { stream: StreamKind::Stderr, form, data });
    }

    fn push_piece(&mut self, piece: Piece<'_>) {
        self.make_room();
        if piece.form == Form::Frames {
            // A piece is at most one read long; far below 4 GiB.
            let length = u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&docker_header(piece.stream, length));
        }
        self.bytes.extend_from_slice(piece.data);
    }

    /// Moves what waits to the front when most of the buffer is behind us, so that it does not
    /// grow with the length of the stream.
    fn make_room(&mut self) {
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Gives back memory that a past burst needed.
    pub(crate) fn trim(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

/// One read's worth of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// Where it came from.
    pub(crate) stream: StreamKind,
    /// How it goes out.
    pub(crate) form: Form,
    /// The bytes.
    pub(crate) data: &'a [u8],
}

/// The line that tells a slow client of its gap.
fn notice(missed: u64, form: Form) -> String {
    let end = match form {
        Form::Frames => "\n",
        // A terminal in raw mode does not return the carriage by itself.
        Form::Raw => "\r\n",
    };
    format!("{end}[dhow: {missed} bytes of output were dropped, this client reads too slowly]{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::expect;
    use proptest::prelude::*;

    fn piece(data: &[u8]) -> Piece<'_> {
        Piece { stream: StreamKind::Stdout, form: Form::Raw, data }
    }

    #[test]
    fn a_slow_observer_is_told_what_it_missed() {
        let mut outbox = Outbox::new();
        let burst = vec![b'x'; OBSERVER_LIMIT];
        outbox.push_output(piece(&burst), Delivery::Recent);
        outbox.push_output(piece(b"lost"), Delivery::Recent);
        assert_eq!(outbox.pending().len(), OBSERVER_LIMIT);
        outbox.written(10);
        outbox.push_output(piece(b"also lost"), Delivery::Recent);
        outbox.written(OBSERVER_LIMIT - 10);
        outbox.push_output(piece(b"seen"), Delivery::Recent);
        let text = String::from_utf8_lossy(outbox.pending());
        expect![[
            r#""\r\n[dhow: 13 bytes of output were dropped, this client reads too slowly]\r\nseen""#
        ]]
        .assert_eq(&format!("{text:?}"));
    }

    #[test]
    fn a_gap_at_the_end_is_told_too() {
        let mut outbox = Outbox::new();
        outbox.push_output(piece(&vec![b'x'; OBSERVER_LIMIT]), Delivery::Recent);
        outbox.push_output(piece(b"lost"), Delivery::Recent);
        outbox.end_output(Form::Frames);
        outbox.written(OBSERVER_LIMIT);
        assert_eq!(outbox.pending()[0], 2, "the notice is a frame of stderr");
        assert!(outbox.pending().ends_with(b"too slowly]\n"));
    }

    #[test]
    fn a_consumer_loses_nothing_and_is_seen_as_congested() {
        let mut outbox = Outbox::new();
        for _ in 0..40 {
            outbox.push_output(piece(&[b'x'; 64 << 10]), Delivery::Everything);
        }
        assert_eq!(outbox.pending().len(), 40 * (64 << 10));
        assert!(outbox.is_congested());
        outbox.written(outbox.pending().len());
        assert!(!outbox.is_congested());
    }

    #[test]
    fn trimming_gives_memory_back() {
        let mut outbox = Outbox::new();
        outbox.push_reply(&[0; 100]);
        outbox.written(100);
        outbox.trim();
        assert_eq!(outbox.bytes.capacity(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever is written and however slowly: an observer gets whole frames, in order, and
        /// what it got plus what it was told it missed is what there was.
        #[test]
        fn nothing_is_lost_in_silence(
            sizes in prop::collection::vec(1_usize..200_000, 1..30),
            takes in prop::collection::vec(0_usize..300_000, 40),
        ) {
            let mut outbox = Outbox::new();
            let mut wire = Vec::new();
            for (size, take) in sizes.iter().zip(&takes) {
                let data = vec![b'o'; *size];
                let piece = Piece { stream: StreamKind::Stdout, form: Form::Frames, data: &data };
                outbox.push_output(piece, Delivery::Recent);
                let count = outbox.pending().len().min(*take);
                wire.extend_from_slice(&outbox.pending()[..count]);
                outbox.written(count);
            }
            outbox.end_output(Form::Frames);
            wire.extend_from_slice(outbox.pending());
            let (mut got, mut told) = (0, 0);
            let mut rest = wire.as_slice();
            while let Some((header, body)) = rest.split_first_chunk::<8>() {
                let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let (payload, behind) = body.split_at(length as usize);
                if header[0] == 1 {
                    got += payload.len();
                } else {
                    let text = String::from_utf8_lossy(payload);
                    told += text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
                }
                rest = behind;
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(got + told, sizes.iter().sum::<usize>());
        }
    }
}
