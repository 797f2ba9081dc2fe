//! systemd's two small protocols: sockets that it hands over (`sd_listen_fds(3)`), and how the service
//! is getting on (`sd_notify(3)`). Both are variables of the environment, and neither needs systemd.

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::Context as _;

/// The first descriptor that is handed over.
const FIRST: i32 = 3;

/// The sockets that were handed over to this very process, none if there are none.
pub(super) fn inherited() -> anyhow::Result<Vec<OwnedFd>> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    // Whoever started us may have been handed some itself, and its children have its environment.
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    (FIRST..FIRST.saturating_add(count))
        .map(|fd| {
            sys::inherited::take(fd).with_context(|| format!("take descriptor {fd} of LISTEN_FDS"))
        })
        .collect()
}

/// Tells whoever watches over this process; that nobody does is no failure.
pub(super) fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let name = name.as_encoded_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name),
        ),
    };
    let told = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = told {
        crate::complain(&format!("cannot tell NOTIFY_SOCKET {state}: {error}"));
    }
}
