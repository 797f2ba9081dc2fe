//! The compression around a whole archive: recognised by its first bytes, bounded.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::LoadError;

const BUFFER: usize = 1 << 18;
const MAGIC: usize = 6;
/// From here on, at most [`RATIO`] bytes may come out for one that went in.
const RATIO_FROM: u64 = 1 << 30;
pub(super) const RATIO: u64 = 1000;

/// The plain bytes of an archive. `Send`, so that the import may unpack them on another thread.
pub(super) type Plain = BufReader<Box<dyn Read + Send>>;

/// Looks at the first bytes and puts the fitting decoder in front.
pub(super) fn decompress(source: impl Read + Send + 'static) -> Result<Plain, LoadError> {
    let passed = Arc::new(AtomicU64::new(0));
    let counted = Counted { source, passed: Arc::clone(&passed) };
    let (magic, source) = peek(counted)?;
    let source = BufReader::with_capacity(BUFFER, source);
    let plain: Box<dyn Read + Send> = match magic[..] {
        [0x1f, 0x8b, ..] => bounded(flate2::bufread::MultiGzDecoder::new(source), passed),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            bounded(zstd::Decoder::with_buffer(source).map_err(LoadError::Decompress)?, passed)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Err(LoadError::Compression("xz")),
        [b'B', b'Z', b'h', ..] => return Err(LoadError::Compression("bzip2")),
        _ => return Ok(BufReader::with_capacity(BUFFER, Box::new(source))),
    };
    Ok(BufReader::with_capacity(BUFFER, plain))
}

fn bounded(decoder: impl Read + Send + 'static, passed: Arc<AtomicU64>) -> Box<dyn Read + Send> {
    Box::new(Bounded { decoder, passed, out: 0 })
}

/// Reads the first bytes and gives them back in front of the rest.
fn peek<R: Read>(mut source: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut magic = Vec::with_capacity(MAGIC);
    source.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    Ok((magic.clone(), Cursor::new(magic).chain(source)))
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

struct Bounded<R> {
    decoder: R,
    passed: Arc<AtomicU64>,
    out: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.out += read as u64;
        let most = self.passed.load(Ordering::Relaxed).saturating_mul(RATIO);
        if self.out > RATIO_FROM && self.out > most {
            return Err(io::Error::other(LoadError::Bomb(RATIO).to_string()));
        }
        Ok(read)
    }
}

/// True at the very end of the source: an archive without a single byte.
pub(super) fn is_empty(plain: &mut Plain) -> io::Result<bool> {
    Ok(plain.fill_buf()?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: Vec<u8>) -> Result<Vec<u8>, LoadError> {
        let mut out = Vec::new();
        decompress(Cursor::new(bytes))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn gzip_zstd_and_plain_come_out_the_same() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"content").unwrap();
        assert_eq!(read(gzip.finish().unwrap()).unwrap(), b"content");
        assert_eq!(read(zstd::encode_all(&b"content"[..], 1).unwrap()).unwrap(), b"content");
        assert_eq!(read(b"content".to_vec()).unwrap(), b"content");
        assert_eq!(read(b"co".to_vec()).unwrap(), b"co");
    }

    #[test]
    fn other_compressions_and_damage_are_named() {
        assert!(matches!(read(b"\xfd7zXZ\0...".to_vec()), Err(LoadError::Compression("xz"))));
        assert!(matches!(read(b"BZh9...".to_vec()), Err(LoadError::Compression("bzip2"))));
        assert!(read(b"\x1f\x8b but no gzip".to_vec()).is_err());
    }
}
