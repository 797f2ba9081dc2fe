//! For tests: who clones this process, and who looks at what a clone has as well.
//!
//! Tests are threads of one process. A clone of it, which a log's compressor begins as, has all descriptors until it
//! closes them: a lock that a test has let go is held for that long, and a pipe's end is not its end.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static CLONES: RwLock<()> = RwLock::new(());

/// That nobody clones this process.
pub(crate) type Nobody = RwLockReadGuard<'static, ()>;

/// Waits until nobody clones this process; nobody does as long as this value is. A thread has one of them.
pub(crate) fn nobody() -> Nobody {
    CLONES.read().unwrap_or_else(PoisonError::into_inner)
}

/// As long as this value is, this thread may clone, and nobody relies on it that nobody does.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    CLONES.write().unwrap_or_else(PoisonError::into_inner)
}
