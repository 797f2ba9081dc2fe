//! Taking ownership of descriptors that a process was started with.
#![expect(unsafe_code, reason = "an inherited descriptor is known by its number alone")]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::Errno;

/// The first number that is not stdio's.
const FIRST: RawFd = 3;

/// Takes the descriptor of this number, and marks it close-on-exec.
///
/// `EBADF` if there is none, or if it is one that this process has opened itself: those are all
/// close-on-exec, and an inherited one is not until it is taken, so that nothing is owned twice.
pub fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < FIRST {
        return Err(Errno::BADF);
    }
    // SAFETY: the number is not negative, and the borrow ends before anything could close it. That
    // it may name no open descriptor is what the next call finds out.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF);
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: the descriptor is open. The standard library, rustix and this workspace open every
    // descriptor close-on-exec, and this one was not, so it has no owner in this process yet; now
    // that it is marked, no second call can take it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn what_this_process_opened_cannot_be_taken() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(take(file.as_raw_fd()).unwrap_err(), Errno::BADF);
        assert_eq!(take(1).unwrap_err(), Errno::BADF);
        assert_eq!(take(1 << 20).unwrap_err(), Errno::BADF);
    }

    #[test]
    fn an_inherited_one_is_taken_once() {
        let file = std::fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let number = file.into_raw_fd();
        let taken = take(number).unwrap();
        assert!(fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        assert_eq!(take(number).unwrap_err(), Errno::BADF);
    }
}
