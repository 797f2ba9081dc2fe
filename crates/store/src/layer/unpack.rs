//! Unpacking of a blob: read, hash, decompress, hash, apply, in one pass and on two threads.
//!
//! Owns the pipeline. The calling thread reads the blob, hashes it and decompresses it; a second
//! one hashes what comes out and applies it. Buffers go round between them, so that memory is
//! bounded. The second thread has a umask of its own, which is why there always is one.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, channel};

use sys::root::Root;

use super::codec::{self, CodecError, Compression, Decoder, Started};
use super::error::{ApplyError, UnpackError};
use super::extract::Extractor;
use super::hash::{Content, HashReader, Hasher};
use super::{Applied, ApplyOptions, Limits};

/// One buffer. Large enough that handing it over costs nothing, small enough for the cache.
const CHUNK: usize = 256 * 1024;
/// Buffers that go round.
const CHUNKS: usize = 8;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The blob as it was read: what a manifest's descriptor names.
    pub blob: Content,
    /// The archive in it: its digest is the diff id.
    pub diff: Content,
    /// How it was compressed.
    pub compression: Compression,
}

/// What unpacking a blob did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// What to compare with the manifest and the configuration before the tree is used.
    pub content: Measured,
    /// What was applied.
    pub applied: Applied,
}

/// Unpacks a layer's blob into an empty directory. `declared` is what its media type says, `None`
/// for sources that say nothing. Nothing is synced, and on an error the directory holds a part.
///
/// # Errors
/// The archive's or the law's, with the entry; the compression's; those of reading and writing.
pub fn unpack(
    blob: impl Read,
    declared: Option<Compression>,
    dest: &Root,
    options: &ApplyOptions,
) -> Result<Unpacked, UnpackError> {
    let mut source = Source::open(blob, declared, options.limits)?;
    let (full, filled) = channel();
    let (empty, emptied) = channel();
    for _ in 0..CHUNKS {
        // The receiver is alive in this function.
        let _ = empty.send(vec![0; CHUNK].into_boxed_slice());
    }
    let hasher = source.diff_hasher();
    std::thread::scope(|scope| {
        let worker = move || -> Result<(Applied, Option<Content>), ApplyError> {
            let mut feed = Feed { full: filled, empty, chunk: None, position: 0, hasher };
            let applied = apply_here(&mut feed, dest, options)?;
            Ok((applied, feed.hasher.map(Hasher::finish)))
        };
        let worker = std::thread::Builder::new().name("unpack".into()).spawn_scoped(scope, worker);
        let worker = worker.map_err(ApplyError::Thread)?;
        let produced = source.produce(&emptied, &full);
        drop(full);
        // A panic aborts the program, so that there is always an outcome.
        let applied = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What the source says is the cause of what the other side says.
        produced?;
        let (applied, diff) = applied?;
        Ok(Unpacked { content: source.finish(diff)?, applied })
    })
}

/// Reads a blob to its end for its digests alone.
///
/// # Errors
/// As [`unpack`], but for those of the archive.
pub fn measure(
    blob: impl Read,
    declared: Option<Compression>,
    limits: Limits,
) -> Result<Measured, UnpackError> {
    let mut source = Source::open(blob, declared, limits)?;
    let mut hasher = source.diff_hasher();
    let mut buf = vec![0; CHUNK];
    loop {
        let len = source.fill(&mut buf)?;
        if len == 0 {
            return source.finish(hasher.map(Hasher::finish));
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&buf[..len]);
        }
    }
}

/// Applies an uncompressed archive to an empty directory, and reads the source to its end.
///
/// # Errors
/// The archive's or the law's, with the entry; those of reading and writing.
pub fn apply(
    source: impl BufRead + Send,
    dest: &Root,
    options: &ApplyOptions,
) -> Result<Applied, ApplyError> {
    std::thread::scope(|scope| {
        let worker = move || apply_here(source, dest, options);
        let worker = std::thread::Builder::new().name("unpack".into()).spawn_scoped(scope, worker);
        let worker = worker.map_err(ApplyError::Thread)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Applies on the calling thread, which must end afterwards: its umask is private and 0.
fn apply_here(
    source: impl BufRead,
    dest: &Root,
    options: &ApplyOptions,
) -> Result<Applied, ApplyError> {
    sys::fs_context::private_umask_zero().map_err(|errno| ApplyError::Thread(errno.into()))?;
    Extractor::new(dest, options).run(source)
}

/// A blob that is being read, hashed and decompressed.
struct Source<R: Read> {
    decoder: Decoder<Started<BufReader<HashReader<R>>>>,
    compression: Compression,
    limits: Limits,
    out: u64,
}

impl<R: Read> Source<R> {
    fn open(blob: R, declared: Option<Compression>, limits: Limits) -> Result<Self, UnpackError> {
        let blob = BufReader::with_capacity(CHUNK, HashReader::new(blob));
        let (magic, blob) = codec::start(blob).map_err(UnpackError::Read)?;
        let compression = codec::choose(declared, &magic)?;
        let decoder = Decoder::new(blob, compression)
            .map_err(|source| CodecError::Decode { compression, source })?;
        Ok(Self { decoder, compression, limits, out: 0 })
    }

    fn blob(&self) -> &HashReader<R> {
        self.decoder.get_ref().get_ref().1.get_ref()
    }

    /// Hands over full buffers until the blob ends or nobody takes them any more.
    fn produce(
        &mut self,
        empty: &Receiver<Box<[u8]>>,
        full: &Sender<io::Result<Chunk>>,
    ) -> Result<(), UnpackError> {
        while let Ok(mut bytes) = empty.recv() {
            let len = match self.fill(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) => {
                    // The other side must not take this for the end.
                    let _ = full.send(Err(io::Error::other("the source failed")));
                    return Err(error);
                }
            };
            if full.send(Ok(Chunk { bytes, len })).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fills a buffer as far as the blob goes.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, UnpackError> {
        let mut len = 0;
        while len < buf.len() {
            match self.decoder.read(&mut buf[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
        self.out += len as u64;
        self.check_limits()?;
        Ok(len)
    }

    fn check_limits(&self) -> Result<(), UnpackError> {
        if self.out > self.limits.bytes {
            return Err(UnpackError::TooLarge(self.limits.bytes));
        }
        let most = self.blob().size().saturating_mul(self.limits.ratio);
        if self.out > Limits::RATIO_FROM && self.out > most {
            return Err(UnpackError::Bomb(self.limits.ratio));
        }
        Ok(())
    }

    fn failure(&self, source: io::Error) -> UnpackError {
        if self.blob().failed() || self.compression == Compression::None {
            UnpackError::Read(source)
        } else {
            CodecError::Decode { compression: self.compression, source }.into()
        }
    }

    /// What hashes the archive; nothing if it is the blob itself, which is hashed already.
    fn diff_hasher(&self) -> Option<Hasher> {
        (self.compression != Compression::None).then(Hasher::default)
    }

    /// The blob's digest. Decoders stop where their data end, so the rest is read here.
    fn finish(self, diff: Option<Content>) -> Result<Measured, UnpackError> {
        let (_, mut rest) = self.decoder.into_inner().into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(UnpackError::Read)?;
        let blob = rest.into_inner().finish();
        Ok(Measured { blob, diff: diff.unwrap_or(blob), compression: self.compression })
    }
}

/// A buffer of which the first `len` bytes count.
struct Chunk {
    bytes: Box<[u8]>,
    len: usize,
}

/// The other end: full buffers as one stream, hashed as they arrive.
struct Feed {
    full: Receiver<io::Result<Chunk>>,
    empty: Sender<Box<[u8]>>,
    chunk: Option<Chunk>,
    position: usize,
    hasher: Option<Hasher>,
}

impl Feed {
    fn advance(&mut self) -> io::Result<()> {
        if let Some(used) = self.chunk.take() {
            // Once all is read, nobody wants it back.
            let _ = self.empty.send(used.bytes);
        }
        self.position = 0;
        if let Ok(next) = self.full.recv() {
            let next = next?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&next.bytes[..next.len]);
            }
            self.chunk = Some(next);
        }
        Ok(())
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.as_ref().is_none_or(|chunk| self.position == chunk.len) {
            self.advance()?;
        }
        Ok(self.chunk.as_ref().map_or(&[], |chunk| &chunk.bytes[self.position..chunk.len]))
    }

    fn consume(&mut self, len: usize) {
        self.position += len;
    }
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buf.len());
        buf[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}
