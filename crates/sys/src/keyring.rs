//! Session keyrings.
//!
//! Owns the one call that a container's init needs; keys themselves are nobody's business here.
#![expect(unsafe_code, reason = "keyctl(2) has no wrapper")]

use std::ffi::CStr;

use crate::{Errno, check};

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
const JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Gives the calling thread a new session keyring called `name`, so that it and what it executes
/// cannot read the keys of whoever started it.
///
/// `ENOSYS` where the kernel has no keyrings, `EDQUOT` when the user has too many keys.
pub fn join_session(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is a valid NUL-terminated string for the whole call and is only read.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(returned).map(drop)
}
