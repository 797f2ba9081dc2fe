//! Hashing of what passes.
//!
//! Owns SHA-256 and the count of bytes on the way in and on the way out. Compares with nothing.

use std::io::{self, Read, Write};

use model::Digest;
use sha2::{Digest as _, Sha256};

/// What has passed: its digest and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many there were.
    pub size: u64,
}

/// Digest and count in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Hasher {
    sha: Sha256,
    size: u64,
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn finish(self) -> Content {
        Content { digest: Digest::from_bytes(self.sha.finalize().into()), size: self.size }
    }
}

/// Hashes all that is read through it. Read to the end before [`HashReader::finish`].
#[derive(Debug)]
pub struct HashReader<R> {
    inner: R,
    hasher: Hasher,
    /// Whether an error came from the source, rather than from a decoder above.
    failed: bool,
}

impl<R: Read> HashReader<R> {
    /// Hashes what `inner` gives from here on.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default(), failed: false }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// True once the source has failed.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// What has passed.
    #[must_use]
    pub fn finish(self) -> Content {
        self.hasher.finish()
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buf);
        match &result {
            Ok(len) => self.hasher.update(&buf[..*len]),
            Err(error) => self.failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        result
    }
}

/// Hashes all that is written through it.
#[derive(Debug)]
pub struct HashWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashWriter<W> {
    /// Hashes what goes to `inner` from here on.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// What has passed, and the writer below.
    pub fn finish(self) -> (Content, W) {
        (self.hasher.finish(), self.inner)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(buf)?;
        self.hasher.update(&buf[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn both_ways_give_the_same() {
        let mut reader = HashReader::new(&b"abc"[..]);
        let mut writer = HashWriter::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        let (written, bytes) = writer.finish();
        let read = reader.finish();
        assert_eq!((read, bytes.as_slice()), (written, &b"abc"[..]));
        assert_eq!((read.digest.to_string().as_str(), read.size), (ABC, 3));
    }
}
