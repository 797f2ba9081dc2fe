//! Keeps the disk busy while bytes come in, so that the flush at the end has little left to do.
//!
//! The kernel would let gigabytes of dirty pages wait for half a minute; an operation that promises
//! to be on disk when it returns would then work first and write afterwards, instead of both at
//! once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes after which writing begins. Less costs commits of the file system's journal.
const EVERY: u64 = 64 << 20;

/// Counts bytes and starts a flush now and then, one at a time.
#[derive(Debug)]
pub(super) struct Writeback {
    root: PathBuf,
    written: AtomicU64,
    busy: Arc<AtomicBool>,
}

impl Writeback {
    pub(super) fn new(root: &Path) -> Self {
        let busy = Arc::new(AtomicBool::new(false));
        Self { root: root.to_owned(), written: AtomicU64::new(0), busy }
    }

    /// Notes that bytes were written.
    pub(super) fn note(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        let crosses = before / EVERY != (before + bytes) / EVERY;
        if crosses && !self.busy.swap(true, Ordering::AcqRel) {
            self.start();
        }
    }

    /// Errors are reported by the flush at the end, whose descriptor is older than they are.
    fn start(&self) {
        let (root, busy) = (self.root.clone(), Arc::clone(&self.busy));
        let flush = move || {
            let _ = File::open(root).map(rustix::fs::syncfs);
            busy.store(false, Ordering::Release);
        };
        if std::thread::Builder::new().name("writeback".to_owned()).spawn(flush).is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_runs_beside_the_writer_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let writeback = Writeback::new(dir.path());
        writeback.note(EVERY - 1);
        assert!(!writeback.busy.load(Ordering::Acquire), "not before there is enough");
        writeback.note(1);
        // The thread clears the mark when it is done; no other way leads out of this loop.
        while writeback.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(writeback.written.load(Ordering::Relaxed), EVERY);
    }
}
