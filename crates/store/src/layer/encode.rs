//! Compression of an archive that is written.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::codec::Compression;

/// Gives what is written to it on, compressed.
pub enum Encoder<W: Write> {
    /// As it is.
    Plain(W),
    /// One member.
    Gzip(GzEncoder<W>),
    /// One frame, with a checksum.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl<W: Write> Encoder<W> {
    /// In front of `out`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(out: W, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what is left, and the end.
    ///
    /// # Errors
    /// What is behind it.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self {
            Self::Plain(out) => out,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_compressed_is_read_again() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for (compression, magic) in [
            (Compression::None, &[0, 0, 0, 0][..]),
            (Compression::Gzip, &[0x1f, 0x8b]),
            (Compression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
        ] {
            let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
            encoder.write_all(&text).unwrap();
            let packed = encoder.finish().unwrap();
            assert!(packed.starts_with(magic), "{compression:?}");
            let mut read = Vec::new();
            let limits = super::super::Limits::default();
            let mut opened = super::super::outer::open(&*packed, limits.ratio).unwrap();
            opened.read_to_end(&mut read).unwrap();
            assert!(read == text, "{compression:?}");
        }
    }
}
