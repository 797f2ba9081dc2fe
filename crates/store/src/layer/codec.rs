//! Compression of layers: recognised by their first bytes, decoded, bounded.
//!
//! Owns gzip (of several members), zstd (of several frames, skippable ones too) and plain. All
//! decoders are linked in: a program found in an image or in `$PATH` is never run (I7).

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), the usual one.
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// A layer whose compression is wrong.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not what the media type says.
    #[error("the layer is {found}, its media type says {declared}")]
    Mismatch {
        /// By the media type.
        declared: Compression,
        /// By the first bytes.
        found: Compression,
    },
    /// A compression that dhow does not read.
    #[error("{0} compression is not supported; use gzip, zstd or none")]
    Unsupported(&'static str),
    /// The compressed data are damaged, end early, or need too much memory.
    #[error("decompress the layer ({compression})")]
    Decode {
        /// As what it was read.
        compression: Compression,
        /// What the decoder says.
        source: io::Error,
    },
}

/// The largest window that a zstd frame may ask for: 128 MiB, the decoder's own default and four
/// times what `zstd -19` uses. A header can ask for 2 GiB otherwise.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How many first bytes [`sniff`] looks at.
const MAGIC_LEN: usize = 6;

/// Recognises a compression by the first bytes; what is none of them is plain.
pub(super) fn sniff(start: &[u8]) -> Result<Compression, CodecError> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame may come first; it has sixteen magic numbers.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(CodecError::Unsupported("xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(CodecError::Unsupported("bzip2")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(CodecError::Unsupported("lz4")),
        _ => Ok(Compression::None),
    }
}

/// Chooses the compression. With `declared`, the bytes must agree: otherwise two readers of one
/// layer could see different images.
pub(super) fn choose(
    declared: Option<Compression>,
    start: &[u8],
) -> Result<Compression, CodecError> {
    let found = sniff(start)?;
    match declared {
        Some(declared) if declared != found => Err(CodecError::Mismatch { declared, found }),
        _ => Ok(found),
    }
}

/// A source whose first bytes have been looked at.
pub(super) type Started<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// Takes a source's first bytes, however slowly they come, and puts them back in front.
pub(super) fn start<R: BufRead>(mut source: R) -> io::Result<(Vec<u8>, Started<R>)> {
    let mut magic = Vec::with_capacity(MAGIC_LEN);
    Read::by_ref(&mut source).take(MAGIC_LEN as u64).read_to_end(&mut magic)?;
    Ok((magic.clone(), io::Cursor::new(magic).chain(source)))
}

/// Gives the plain bytes of a compressed source.
pub(super) enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, R>>),
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(source: R, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(source),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    pub(super) fn get_ref(&self) -> &R {
        match self {
            Self::Plain(source) => source,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    pub(super) fn into_inner(self) -> R {
        match self {
            Self::Plain(source) => source,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Zstd(decoder) => decoder.read(buf),
        }
    }
}
