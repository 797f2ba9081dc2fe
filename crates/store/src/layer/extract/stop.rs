//! What ends an extraction, before its place in the archive is added.

use rustix::io::Errno;
use sys::root::RootError;

use crate::layer::ApplyOptions;
use crate::layer::error::{ApplyError, Refusal};

/// What stops an entry, before its place is added.
pub(super) enum Stop {
    Refused(Refusal),
    Os(&'static str, Errno),
    Limit(&'static str, u64),
    Apply(ApplyError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<crate::tar::TarError> for Stop {
    fn from(error: crate::tar::TarError) -> Self {
        Self::Apply(error.into())
    }
}

/// Names the operation that failed.
pub(super) trait During<T> {
    fn during(self, op: &'static str) -> Result<T, Stop>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, op: &'static str) -> Result<T, Stop> {
        self.map_err(|errno| Stop::Os(op, errno))
    }
}

impl<T> During<T> for Result<T, RootError> {
    fn during(self, op: &'static str) -> Result<T, Stop> {
        self.map_err(|error| Stop::Os(op, error.errno().unwrap_or(Errno::INVAL)))
    }
}

pub(super) fn placed(stop: Stop, entry: u64, name: &[u8]) -> ApplyError {
    let name = name.to_vec();
    match stop {
        Stop::Refused(refusal) => ApplyError::Refused { entry, name, refusal },
        Stop::Os(op, source) => ApplyError::Os { entry, name, op, source },
        Stop::Limit(what, limit) => ApplyError::Limit { entry, name, what, limit },
        Stop::Apply(error) => error,
    }
}

/// A path that cannot be walked is the archive's fault; anything else the system's.
pub(super) fn blocked(op: &'static str, error: &RootError) -> Stop {
    match error.errno() {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Refusal::Parent.into(),
        Some(Errno::XDEV) => Refusal::KernelFiles.into(),
        errno => Stop::Os(op, errno.unwrap_or(Errno::INVAL)),
    }
}

/// Counts an entry, or a directory made for one: a name of 4 KiB can ask for 2,047 of those.
pub(super) fn count_inode(inodes: &mut u64, options: &ApplyOptions) -> Result<(), Stop> {
    let limit = options.limits.entries;
    *inodes += 1;
    if *inodes > limit { Err(Stop::Limit("entries", limit)) } else { Ok(()) }
}
