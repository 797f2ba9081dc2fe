//! The one interface that a new network namespace has.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use sys::Errno;

use super::Done;

/// An `RTM_NEWLINK` that asks for an answer: of link 1, which the loopback interface is wherever it is the
/// first, with `IFF_UP` set and named as what changes. Numbers are in the machine's order.
const UP: [u32; 8] = [32, 16 | (1 | 4) << 16, 0, 0, 0, 1, 1, 1];

/// Brings the loopback interface up.
pub(super) fn loopback_up() -> Done {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let mut message = [0; 32];
    for (bytes, number) in message.chunks_exact_mut(4).zip(UP) {
        bytes.copy_from_slice(&number.to_ne_bytes());
    }
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 128];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // The number of the error, 0 for none, follows the head.
    let number = answer[..length].get(16..20).and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number.saturating_neg()).into()),
        None => Err(Errno::PROTO.into()),
    }
}
