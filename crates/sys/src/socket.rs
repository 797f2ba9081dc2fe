//! What rustix does not ask of a socket.
#![expect(unsafe_code, reason = "rustix has no SIOCOUTQ")]

use std::os::fd::{AsFd, AsRawFd};

use crate::{Errno, check};

/// How much of what was written to a Unix socket its peer has not read yet: zero if it has read it all. The
/// kernel counts what the bytes take in its memory, which is more than their number.
///
/// # Errors
/// It is no socket.
pub fn unread_by_peer(socket: impl AsFd) -> Result<u32, Errno> {
    let mut count: libc::c_int = 0;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed for this call, and the kernel writes one int to where the pointer
    // points, which is one of ours. SIOCOUTQ and TIOCOUTQ are one number.
    let returned = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut count) };
    check(returned.into())?;
    Ok(u32::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_the_peer_has_read_does_not_count() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(&near), Ok(0));
        near.write_all(b"four").unwrap();
        assert!(unread_by_peer(&near).unwrap() >= 4);
        far.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread_by_peer(&near), Ok(0));
    }
}
