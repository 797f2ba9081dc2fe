//! The error of an operation in a root.

use std::path::PathBuf;

use rustix::io::Errno;

/// An operation in a root that failed.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The kernel refused.
    #[error("{op} {}", path.display())]
    Os {
        /// What was tried, as a verb.
        op: &'static str,
        /// The path as it was given, relative to the root.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// A file that had to be regular is a fifo, a device, a directory.
    #[error("{}: not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// An untrusted file is larger than its reader allows.
    #[error("{}: larger than {max} bytes", path.display())]
    TooLarge {
        /// The path as it was given.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// The path cannot name anything: it has a NUL, or ends in `..` where a name is needed.
    #[error("{}: not a usable path", .0.display())]
    BadPath(PathBuf),
}

impl RootError {
    /// The kernel's error, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Os { source, .. } => Some(*source),
            Self::NotRegular(_) | Self::TooLarge { .. } | Self::BadPath(_) => None,
        }
    }

    /// True if the path, or a directory on the way to it, does not exist.
    #[must_use]
    pub fn not_found(&self) -> bool {
        self.errno() == Some(Errno::NOENT)
    }
}
