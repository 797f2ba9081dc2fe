//! The 8-byte frames that carry stdout and stderr of a container without a terminal on one stream:
//! `[stream, 0, 0, 0, length as big-endian u32]`, then the bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Length of a frame's head.
pub const HEADER: usize = 8;

/// The longest frame that is believed. Servers write at most 32 KiB at once; a larger claim means
/// that the stream is not framed at all.
pub const MAX_FRAME: usize = 16 << 20;

/// `Content-Type` of a framed stream.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// `Content-Type` of a stream without frames.
pub const RAW: &str = "application/vnd.docker.raw-stream";

/// What the bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// An echo of stdin; shown as stdout.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A message of the server about the stream itself; it ends the stream as an error.
    System,
}

impl Channel {
    /// The number in the frame's head.
    pub fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Stdin),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::System),
            _ => None,
        }
    }
}

/// Why a stream is not a sequence of frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No stream has this number.
    #[error("unrecognized stream number {0}")]
    Channel(u8),
    /// The frame claims more bytes than any server writes.
    #[error("frame of {0} bytes is too long")]
    Length(usize),
}

/// The head of a frame. Lengths beyond what a frame can say are the caller's to split; they are
/// cut at `u32::MAX` here.
pub fn header(channel: Channel, length: usize) -> [u8; HEADER] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [channel.number(), 0, 0, 0, length[0], length[1], length[2], length[3]]
}

/// A whole frame.
pub fn encode(channel: Channel, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&header(channel, payload.len()));
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// Takes frames apart, however the bytes arrive. Bytes of a frame are handed out as soon as they
/// are there, so a slow frame is not delayed until its end.
#[derive(Debug, Default)]
pub struct Demux {
    open: Option<(Channel, usize)>,
}

impl Demux {
    /// Takes the next piece from the front of `buffer`; `None` asks for more bytes.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<(Channel, Bytes)>, FrameError> {
        loop {
            let (channel, left) = match self.open {
                Some(open) => open,
                None if buffer.len() < HEADER => return Ok(None),
                None => take_header(buffer)?,
            };
            self.open = (left > 0).then_some((channel, left));
            if left == 0 {
                continue;
            }
            if buffer.is_empty() {
                return Ok(None);
            }
            let piece = buffer.split_to(left.min(buffer.len())).freeze();
            let left = left - piece.len();
            self.open = (left > 0).then_some((channel, left));
            return Ok(Some((channel, piece)));
        }
    }

    /// Whether the stream may end here: not inside a frame.
    pub fn at_boundary(&self, buffer: &BytesMut) -> bool {
        self.open.is_none() && buffer.is_empty()
    }
}

fn take_header(buffer: &mut BytesMut) -> Result<(Channel, usize), FrameError> {
    let number = buffer.get_u8();
    buffer.advance(3);
    let length = buffer.get_u32() as usize;
    let channel = Channel::from_number(number).ok_or(FrameError::Channel(number))?;
    if length > MAX_FRAME { Err(FrameError::Length(length)) } else { Ok((channel, length)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(demux: &mut Demux, buffer: &mut BytesMut) -> Vec<(Channel, Bytes)> {
        std::iter::from_fn(|| demux.next(buffer).unwrap()).collect()
    }

    #[test]
    fn a_frame_reads_as_the_notes_say() {
        let frame = encode(Channel::Stderr, b"hi\n");
        assert_eq!(&frame[..], b"\x02\0\0\0\0\0\0\x03hi\n");
    }

    #[test]
    fn empty_frames_are_skipped() {
        let mut buffer = BytesMut::from(&encode(Channel::Stdout, b"")[..]);
        buffer.extend_from_slice(&encode(Channel::Stdout, b"x"));
        let mut demux = Demux::default();
        let got = drain(&mut demux, &mut buffer);
        assert_eq!(got, [(Channel::Stdout, Bytes::from_static(b"x"))]);
        assert!(demux.at_boundary(&buffer));
    }

    #[test]
    fn an_end_inside_a_frame_is_seen() {
        let mut buffer = BytesMut::from(&encode(Channel::Stdout, b"abc")[..HEADER + 1]);
        let mut demux = Demux::default();
        assert_eq!(drain(&mut demux, &mut buffer).len(), 1);
        assert!(!demux.at_boundary(&buffer));
    }

    #[test]
    fn a_stream_without_frames_is_refused() {
        let mut plain = BytesMut::from(&b"hello world"[..]);
        assert_eq!(Demux::default().next(&mut plain), Err(FrameError::Channel(b'h')));
        let mut lie = BytesMut::from(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(Demux::default().next(&mut lie), Err(FrameError::Length(0xffff_ffff)));
    }

    fn channel() -> impl Strategy<Value = Channel> {
        prop_oneof![Just(Channel::Stdout), Just(Channel::Stderr), Just(Channel::System)]
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_bytes(
            frames in prop::collection::vec((channel(), prop::collection::vec(any::<u8>(), 0..50)), 0..10),
            cut in 1usize..20,
        ) {
            let wire: Vec<u8> = frames.iter().flat_map(|(c, p)| encode(*c, p)).collect();
            let (mut demux, mut buffer) = (Demux::default(), BytesMut::new());
            let mut got: Vec<(u8, u8)> = Vec::new();
            for part in wire.chunks(cut) {
                buffer.extend_from_slice(part);
                for (channel, bytes) in drain(&mut demux, &mut buffer) {
                    got.extend(bytes.iter().map(|b| (channel.number(), *b)));
                }
            }
            let want: Vec<(u8, u8)> = frames
                .iter()
                .flat_map(|(c, p)| p.iter().map(|b| (c.number(), *b)))
                .collect();
            prop_assert_eq!(got, want);
            prop_assert!(demux.at_boundary(&buffer));
        }
    }
}
