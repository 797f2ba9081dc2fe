//! A little space that is kept back, so that removals work on a full disk.
//!
//! A row's deletion needs room in the log of the database before the space of what it deletes is
//! free. Whoever finds no room for that gives the reserve away, and makes it anew when there is some.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

/// Room for the largest of our transactions, and for a few small ones: what a removal has used of the
/// reserve may be taken by others before there is a whole one again.
const SIZES: [u64; 4] = [1 << 20, 512 << 10, 256 << 10, 128 << 10];

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

    /// Keeps the space back, or as much of it as there is.
    pub(crate) fn keep(&self) {
        let kept = std::fs::metadata(&self.path).map_or(0, |kept| kept.len());
        if kept == SIZES[0] {
            return;
        }
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        let Ok(file) = file else { return };
        let is_kept = SIZES.iter().take_while(|size| **size > kept).any(|size| {
            let got = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, *size);
            // On a file system that cannot allocate there is no reserve, and an empty file says so.
            got != Err(rustix::io::Errno::NOSPC)
        });
        if !is_kept && kept == 0 {
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
        // As of somebody who was killed before there was any space in it.
        std::fs::write(&path, "").unwrap();
        reserve.keep();
        reserve.keep();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SIZES[0]);
        assert!(reserve.give());
        assert!(!path.exists());
    }
}
