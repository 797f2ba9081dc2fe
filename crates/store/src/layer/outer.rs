//! The compression around a whole archive: recognised by its first bytes, decoded, bounded.
//!
//! An image's layer is compressed as its media type says (`codec`). What a user brings, to `load`,
//! `import` and `cp`, may be compressed with xz and bzip2 as well. All decoders are linked in.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::Limits;
use super::codec::{self, CodecError, Compression, Started};
use super::error::UnpackError;

const BUFFER: usize = 256 * 1024;

/// What an xz block may ask for, in KiB: a dictionary of 128 MiB, as much as zstd's window and twice
/// what `xz -9` uses, and what the decoder itself needs. A header can ask for 4 GiB otherwise.
const XZ_MEMORY: u32 = 129 << 10;

type Packed<R> = Started<BufReader<Counted<R>>>;

enum Decoder<R: Read> {
    /// As layers are.
    Layers(codec::Decoder<Packed<R>>),
    Xz(Box<XzReader<Packed<R>>>),
    Bzip2(Box<MultiBzDecoder<Packed<R>>>),
}

impl<R: Read> Decoder<R> {
    fn new(source: R, passed: Arc<AtomicU64>) -> Result<Self, UnpackError> {
        let source = BufReader::with_capacity(BUFFER, Counted { source, passed });
        let (magic, source) = codec::start(source).map_err(UnpackError::Read)?;
        Ok(match magic[..] {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                Self::Xz(Box::new(XzReader::new_mem_limit(source, true, XZ_MEMORY)))
            }
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
                Self::Bzip2(Box::new(MultiBzDecoder::new(source)))
            }
            _ => {
                let compression = codec::sniff(&magic)?;
                let decoder = codec::Decoder::new(source, compression);
                Self::Layers(decoder.map_err(|source| CodecError::Decode { compression, source })?)
            }
        })
    }

    const fn is_plain(&self) -> bool {
        matches!(self, Self::Layers(codec::Decoder::Plain(_)))
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Layers(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
        }
    }
}

/// The plain bytes of an archive. It ends with an error if far more come out than went in.
pub(crate) struct Opened<R: Read> {
    /// `None` after a failure: what a decoder does then, nobody has promised.
    decoder: Option<Decoder<R>>,
    passed: Arc<AtomicU64>,
    out: u64,
    /// How many bytes may come of one.
    ratio: u64,
}

/// Looks at the first bytes and puts the fitting decoder in front.
///
/// # Errors
/// The source's; a compression that is not read.
pub(crate) fn open<R: Read>(source: R, ratio: u64) -> Result<Opened<R>, UnpackError> {
    let passed = Arc::new(AtomicU64::new(0));
    let decoder = Decoder::new(source, Arc::clone(&passed))?;
    Ok(Opened { decoder: Some(decoder), passed, out: 0, ratio })
}

/// What a layer can be stored as, without decoding it: anything but what only whole archives may have.
///
/// # Errors
/// As [`open`].
pub(crate) fn as_layer<'r, R: Read + 'r>(source: R) -> Result<Box<dyn Read + 'r>, UnpackError> {
    let source = BufReader::with_capacity(BUFFER, source);
    let (magic, source) = codec::start(source).map_err(UnpackError::Read)?;
    match codec::sniff(&magic) {
        Err(CodecError::Unsupported(_)) => Ok(Box::new(open(source, Limits::default().ratio)?)),
        Ok(Compression::None | Compression::Gzip | Compression::Zstd) | Err(_) => {
            Ok(Box::new(source))
        }
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            return Err(io::Error::other("the archive has failed before"));
        };
        let read = match decoder.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                self.decoder = None;
                return Err(error);
            }
            Ok(read) => read,
        };
        if decoder.is_plain() {
            return Ok(read);
        }
        self.out += read as u64;
        let most = self.passed.load(Ordering::Relaxed).saturating_mul(self.ratio);
        if self.out > Limits::RATIO_FROM && self.out > most {
            return Err(io::Error::other(UnpackError::Bomb(self.ratio)));
        }
        Ok(read)
    }
}

struct Counted<R> {
    source: R,
    passed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// `printf content | xz`
    const XZ: &[u8] = include_bytes!("outer/content.xz");
    /// The same with a dictionary of 1.5 GiB in its header.
    const XZ_LARGE: &[u8] = include_bytes!("outer/large.xz");
    /// `printf content | bzip2`
    const BZIP2: &[u8] = include_bytes!("outer/content.bz2");

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut opened = open(bytes, Limits::default().ratio).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        let all = opened.read_to_end(&mut out);
        all.map(|_| out).map_err(|error| error.to_string())
    }

    #[test]
    fn every_compression_comes_out_the_same() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"content").unwrap();
        let zstd = zstd::encode_all(&b"content"[..], 1).unwrap();
        for packed in [&gzip.finish().unwrap(), &zstd, XZ, BZIP2, b"content"] {
            assert_eq!(read(packed).unwrap(), b"content");
        }
        assert_eq!(read(b"co").unwrap(), b"co");
        // Several streams are one.
        assert_eq!(read(&[XZ, XZ].concat()).unwrap(), b"contentcontent");
        assert_eq!(read(&[BZIP2, BZIP2].concat()).unwrap(), b"contentcontent");
    }

    #[test]
    fn what_is_not_read_and_damage_are_errors() {
        assert!(read(b"\x04\x22\x4d\x18 lz4").unwrap_err().contains("lz4"));
        for packed in [XZ, BZIP2] {
            for cut in 7..packed.len() {
                assert!(read(&packed[..cut]).is_err(), "cut at {cut}");
            }
            for at in 6..packed.len() {
                let mut flipped = packed.to_vec();
                flipped[at] ^= 0x10;
                // Not every bit is checked; none makes other content.
                assert!(read(&flipped).is_err() || read(&flipped).unwrap() == b"content", "{at}");
            }
            assert!(read(&[packed, b"more"].concat()).is_err());
        }
        assert!(read(b"\x1f\x8b but no gzip").is_err());
    }

    #[test]
    fn a_failed_archive_stays_failed() {
        let mut opened = open(&XZ[..20], Limits::default().ratio).unwrap();
        let mut out = Vec::new();
        assert!(opened.read_to_end(&mut out).is_err());
        assert!(opened.read_to_end(&mut out).is_err());
    }

    #[test]
    fn memory_is_bounded_by_us_and_not_by_a_header() {
        let refused = read(XZ_LARGE).unwrap_err();
        assert!(refused.contains("memory"), "{refused}");
    }

    #[test]
    fn a_layer_is_stored_as_it_comes_if_it_can_be() {
        let stored = |bytes: &[u8]| {
            let mut out = Vec::new();
            as_layer(bytes).unwrap().read_to_end(&mut out).unwrap();
            out
        };
        let zstd = zstd::encode_all(&b"content"[..], 1).unwrap();
        assert_eq!(stored(&zstd), zstd);
        assert_eq!((stored(XZ), stored(BZIP2)), (b"content".to_vec(), b"content".to_vec()));
    }
}
