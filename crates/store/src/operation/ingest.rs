//! Blobs on their way in: appended, hashed as they pass, verified before they count.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use model::Digest;
use sha2::{Digest as _, Sha256};
use sys::failpoint::{Point, reach};

use super::outfile::OutFile;
use crate::Inner;
use crate::blobs::BlobError;
use crate::layout::{self, Layout};
use crate::lock::{self, Attempt, Kind};

/// Names of ingests that no other operation may take up.
pub(crate) const PRIVATE_PREFIX: &str = "tmp-";

/// The start of an ingest.
#[derive(Debug)]
pub enum Begin {
    /// The blob is in the store.
    Present,
    /// Write its bytes from [`Ingest::offset`] on.
    Started(Ingest),
    /// Another operation writes it; see [`crate::Blobs::wait`].
    Busy,
}

/// A blob that is being written. Dropped unfinished, one of known digest can be resumed.
#[derive(Debug)]
pub struct Ingest {
    // First, so that a name which goes does so while its file is locked.
    part: Part,
    out: OutFile,
    hashing: Hashing,
    written: u64,
    wanted: Option<(Digest, u64)>,
}

/// Who computes the digest.
#[derive(Debug)]
enum Hashing {
    /// Each byte as it is appended.
    Here(Box<Sha256>),
    /// The extractor, which sees the same bytes.
    Elsewhere,
}

/// The file of an ingest; removed when dropped, if nobody could take it up.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    on_drop: OnDrop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    Keep,
    Remove,
}

/// A blob that is what it says, not yet in place.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    part: Part,
    out: OutFile,
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Remove {
            // Already renamed into place, or a leftover that the collection knows by its name.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Ingest {
    /// Takes up a partial file; what it holds is hashed once more.
    pub(super) fn resume(
        file: File,
        path: PathBuf,
        wanted: (Digest, u64),
    ) -> Result<Self, BlobError> {
        let mut ingest = Self::resume_unhashed(file, path, wanted)?;
        let mut hasher = Box::new(Sha256::new());
        io::copy(&mut ingest.so_far(), &mut Update(&mut hasher)).map_err(ingest.failed("read"))?;
        ingest.hashing = Hashing::Here(hasher);
        Ok(ingest)
    }

    /// Takes up a partial file whose bytes the extractor will hash.
    pub(super) fn resume_unhashed(
        file: File,
        path: PathBuf,
        wanted: (Digest, u64),
    ) -> Result<Self, BlobError> {
        let part = Part { path, on_drop: OnDrop::Keep };
        let written = file.metadata().map_err(BlobError::io("look at", &part.path))?.len();
        let out = OutFile::new(file, written);
        let hashing = Hashing::Elsewhere;
        let mut ingest = Self { out, part, hashing, written, wanted: Some(wanted) };
        if written > wanted.1 {
            ingest.restart()?;
        }
        Ok(ingest)
    }

    pub(super) fn unknown(inner: &Arc<Inner>) -> Result<Self, BlobError> {
        let dir = inner.layout.ingest();
        let name = layout::random_name().map_err(BlobError::io("name a file in", &dir))?;
        let path = dir.join(format!("{PRIVATE_PREFIX}{name}"));
        let attempt = lock::attempt(&path, Kind::File).map_err(BlobError::io("create", &path))?;
        let Attempt::Held(file) = attempt else {
            let taken = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(BlobError::io("create", &path)(taken));
        };
        let part = Part { path, on_drop: OnDrop::Remove };
        let hashing = Hashing::Here(Box::new(Sha256::new()));
        Ok(Self { out: OutFile::new(file, 0), part, hashing, written: 0, wanted: None })
    }

    /// Leaves the digest to the extractor.
    pub(super) fn unhashed(mut self) -> Self {
        self.hashing = Hashing::Elsewhere;
        self
    }

    /// Demands of a blob of unknown digest that it turn out to be this one.
    pub(super) fn expecting(mut self, digest: Digest, size: u64) -> Self {
        self.wanted = Some((digest, size));
        self
    }

    /// How many bytes are there already.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More than the blob's size; the file system.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let after = self.written + bytes.len() as u64;
        if let Some((digest, expected)) = self.wanted
            && after > expected
        {
            self.condemn();
            return Err(BlobError::WrongSize { digest, expected, actual: after });
        }
        let appended = self.out.append(bytes, &self.part.path);
        appended.map_err(self.failed("write"))?;
        let written = reach(Point::BlobHalf).map_err(io::Error::from);
        written.map_err(self.failed("write"))?;
        if let Hashing::Here(hasher) = &mut self.hashing {
            hasher.update(bytes);
        }
        self.written = after;
        Ok(())
    }

    /// Forgets what came so far, for a source that cannot resume.
    ///
    /// # Errors
    /// The file system.
    pub fn restart(&mut self) -> Result<(), BlobError> {
        self.out.clear().map_err(self.failed("truncate"))?;
        self.written = 0;
        if let Hashing::Here(hasher) = &mut self.hashing {
            hasher.reset();
        }
        Ok(())
    }

    /// The bytes that are there already, once they are settled.
    fn so_far(&self) -> SoFar<'_> {
        SoFar::new(self.out.file(), self.written)
    }

    /// Another handle on the same file, to be read while this one is appended to.
    pub(super) fn reopen(&self) -> Result<File, BlobError> {
        self.out.file().try_clone().map_err(self.failed("reopen"))
    }

    /// What came is of no use: it goes when this is dropped.
    pub(super) fn condemn(&mut self) {
        self.part.on_drop = OnDrop::Remove;
    }

    /// Size and digest are right, or the file goes.
    pub(super) fn verify(mut self) -> Result<Verified, BlobError> {
        let actual = match &mut self.hashing {
            Hashing::Here(hasher) => Digest::from_bytes(hasher.finalize_reset().into()),
            Hashing::Elsewhere => {
                self.out.settle().map_err(self.failed("write"))?;
                let mut hasher = Sha256::new();
                io::copy(&mut self.so_far(), &mut Update(&mut hasher))
                    .map_err(self.failed("read"))?;
                Digest::from_bytes(hasher.finalize().into())
            }
        };
        self.verify_as(actual)
    }

    /// Size is right and the digest, which the extractor has computed, too; or the file goes.
    pub(super) fn verify_as(mut self, actual: Digest) -> Result<Verified, BlobError> {
        if let Some((digest, expected)) = self.wanted
            && self.written < expected
        {
            // Short is not wrong: the rest can still come.
            return Err(BlobError::WrongSize { digest, expected, actual: self.written });
        }
        if let Some((expected, _)) = self.wanted
            && expected != actual
        {
            self.condemn();
            return Err(BlobError::WrongContent { expected, actual });
        }
        self.out.settle().map_err(self.failed("write"))?;
        Ok(Verified { digest: actual, size: self.written, out: self.out, part: self.part })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> BlobError + use<> {
        BlobError::io(action, &self.part.path)
    }
}

/// Reads a file's beginning, wherever its offset stands.
#[derive(Debug)]
pub(super) struct SoFar<'f> {
    file: &'f File,
    offset: u64,
    end: u64,
}

impl<'f> SoFar<'f> {
    pub(super) fn new(file: &'f File, end: u64) -> Self {
        Self { file, offset: 0, end }
    }
}

impl Read for SoFar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..len], self.offset)?;
        if read == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        Ok(read)
    }
}

/// Hashes what is written.
struct Update<'h>(&'h mut Sha256);

impl Write for Update<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Verified {
    /// Brings the bytes to the disk.
    pub(super) fn flush(&self) -> Result<(), BlobError> {
        self.out.file().sync_data().map_err(BlobError::io("flush", &self.part.path))
    }

    /// Names the file by its digest. The caller has flushed it.
    ///
    /// It keeps its old, locked name until it is dropped, which the caller does when the row is
    /// written: a process that looked for either in between would bring the same blob again.
    pub(super) fn put_in_place(&mut self, layout: &Layout) -> Result<(), BlobError> {
        let place = layout.blob(&self.digest);
        let linked = std::fs::hard_link(&self.part.path, &place);
        if linked.is_err() {
            // A leftover without a row is there, or the file system has no hard links.
            std::fs::rename(&self.part.path, &place)
                .map_err(BlobError::io("put in place", &place))?;
        }
        self.part.on_drop = OnDrop::Remove;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, oci};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn files(store: &Store, dir: &str) -> usize {
        std::fs::read_dir(store.root().join(dir)).unwrap().count()
    }

    fn started(begin: Begin) -> Ingest {
        match begin {
            Begin::Started(ingest) => ingest,
            other @ (Begin::Present | Begin::Busy) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_blob_is_there_once_it_is_verified() {
        let (_dir, store) = store();
        let (content, digest) = (b"content", oci::digest(b"content"));
        let operation = store.begin().unwrap();
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        ingest.append(content).unwrap();
        assert!(matches!(operation.ingest(&digest, 7).unwrap(), Begin::Busy));
        assert_eq!(store.blobs().size(&digest).unwrap(), None);
        operation.commit_blob(ingest).unwrap();
        assert_eq!(store.blobs().size(&digest).unwrap(), Some(7));
        assert_eq!(store.blobs().read(&digest, 7).unwrap(), content);
        assert!(matches!(operation.ingest(&digest, 7).unwrap(), Begin::Present));
        assert!(matches!(operation.ingest(&digest, 8), Err(BlobError::WrongSize { .. })));
        assert_eq!(files(&store, "ingest"), 0);
    }

    #[test]
    fn an_interrupted_download_is_resumed() {
        let (_dir, store) = store();
        let digest = oci::digest(b"content");
        let operation = store.begin().unwrap();
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        ingest.append(b"con").unwrap();
        // What is short is not wrong: it is kept.
        let error = operation.commit_blob(ingest).unwrap_err();
        assert!(matches!(error, BlobError::WrongSize { actual: 3, .. }), "{error}");
        drop(operation);
        let operation = store.begin().unwrap();
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        assert_eq!(ingest.offset(), 3);
        let mut replayed = Vec::new();
        ingest.so_far().read_to_end(&mut replayed).unwrap();
        assert_eq!(replayed, b"con");
        ingest.append(b"tent").unwrap();
        operation.commit_blob(ingest).unwrap();
        assert_eq!(store.blobs().read(&digest, 7).unwrap(), b"content");
    }

    #[test]
    fn wrong_bytes_are_named_and_gone() {
        let (_dir, store) = store();
        let digest = oci::digest(b"content");
        let operation = store.begin().unwrap();
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        ingest.append(b"CONTENT").unwrap();
        let error = operation.commit_blob(ingest).unwrap_err();
        assert!(matches!(error, BlobError::WrongContent { expected, .. } if expected == digest));
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        assert_eq!(ingest.offset(), 0, "nothing of the wrong bytes was kept");
        assert!(matches!(ingest.append(b"too long"), Err(BlobError::WrongSize { actual: 8, .. })));
        drop(ingest);
        assert_eq!(files(&store, "ingest"), 0);
        assert_eq!(files(&store, "images/blobs/sha256"), 0);
    }

    #[test]
    fn a_damaged_blob_is_not_read_and_a_large_one_not_whole() {
        let (_dir, store) = store();
        let digest = oci::digest(b"content");
        let operation = store.begin().unwrap();
        let mut ingest = started(operation.ingest(&digest, 7).unwrap());
        ingest.append(b"content").unwrap();
        operation.commit_blob(ingest).unwrap();
        let error = store.blobs().read(&digest, 6).unwrap_err();
        assert!(matches!(error, BlobError::TooLarge { size: 7, max: 6, .. }), "{error}");
        let file = store.root().join("images/blobs/sha256").join(digest.hex());
        std::fs::write(file, b"CONTENT").unwrap();
        let error = store.blobs().read(&digest, 7).unwrap_err();
        assert!(matches!(error, BlobError::WrongContent { .. }), "{error}");
    }

    #[test]
    fn a_blob_without_a_name_leaves_nothing_when_it_is_given_up() {
        let (_dir, store) = store();
        let operation = store.begin().unwrap();
        let mut given_up = operation.ingest_unknown().unwrap();
        given_up.append(b"x").unwrap();
        drop(given_up);
        let mut kept = operation.ingest_unknown().unwrap();
        kept.append(b"y").unwrap();
        assert_eq!(operation.stage(kept).unwrap(), oci::digest(b"y"));
        assert_eq!(files(&store, "ingest"), 1);
        drop(operation);
        assert_eq!((files(&store, "ingest"), files(&store, "leases")), (0, 0));
    }
}
