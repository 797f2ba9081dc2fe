//! Two things of a directory that change places as fast as they can.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags};

/// A thread that exchanges two paths until this value goes, also when a test fails meanwhile.
#[derive(Debug)]
pub struct Swap {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swap {
    /// Begins.
    ///
    /// # Panics
    /// They cannot be exchanged.
    #[must_use]
    pub fn start(a: &Path, b: &Path) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (seen, a, b) = (Arc::clone(&done), a.to_owned(), b.to_owned());
        let exchange = move || {
            while !seen.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE)
                    .expect("exchange two paths");
            }
        };
        Self { done, thread: Some(std::thread::spawn(exchange)) }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        // A test that fails already has its own reason.
        if !std::thread::panicking() {
            ended.expect("a thread").expect("exchange two paths");
        }
    }
}
