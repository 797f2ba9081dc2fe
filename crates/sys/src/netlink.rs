//! Socket options of netlink that `rustix` lacks.
//!
//! Owns the two calls; what is sent over such sockets is built in `net`.
#![expect(unsafe_code, reason = "setsockopt with options that rustix does not know")]

use std::os::fd::{AsFd, AsRawFd};

use crate::{Errno, check};

/// Makes the kernel say in words why it refuses a request, and not echo the request.
///
/// `NETLINK_EXT_ACK` (4.12) and `NETLINK_CAP_ACK` (4.3).
///
/// # Errors
/// `ENOTSOCK` or `ENOPROTOOPT` if this is no netlink socket.
pub fn explain_refusals(socket: impl AsFd) -> Result<(), Errno> {
    set(&socket, libc::NETLINK_EXT_ACK)?;
    set(&socket, libc::NETLINK_CAP_ACK)
}

fn set(socket: &impl AsFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_| Errno::INVAL)?;
    // SAFETY: the option value is an initialised int that outlives the call, and `length` is its
    // size; the kernel copies it and keeps no pointer. The descriptor is open: it is borrowed.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            length,
        )
    };
    check(returned.into()).map(|_| ())
}
