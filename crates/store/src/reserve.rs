//! A little space that is kept back, so that removals work on a full disk.
//!
//! A row's deletion needs room in the log of the database before the space of what it deletes is
//! free. Whoever finds no room for that gives the reserve away, and makes it anew when there is some.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

/// Room for the largest of our transactions.
const BYTES: u64 = 1 << 20;

/// The reserve of one root.
#[derive(Debug, Clone)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Gives the space away; `false` if there is none.
    pub(crate) fn give(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Keeps the space back, unless it is or there is none to keep.
    pub(crate) fn keep(&self) {
        let new = File::options().write(true).create_new(true).mode(0o600).open(&self.path);
        // On a file system that cannot allocate there is no reserve, and an empty file says so.
        if let Ok(file) = new
            && rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES)
                == Err(rustix::io::Errno::NOSPC)
        {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_once_and_can_be_given_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let reserve = Reserve::at(path.clone());
        assert!(!reserve.give());
        reserve.keep();
        reserve.keep();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), BYTES);
        assert!(reserve.give());
        assert!(!path.exists());
    }
}
