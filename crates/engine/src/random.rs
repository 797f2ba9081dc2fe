//! Random ids, from the kernel.
//!
//! By the system call: crates look for the C library's function at run time, do not find it in a
//! static program, and open, poll and read devices instead.

use model::{ContainerId, ExecId, NetworkId};
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel has no randomness for us.
#[derive(Debug, thiserror::Error)]
#[error("draw random bytes: {0}")]
pub struct NoRandomness(rustix::io::Errno);

/// 32 random bytes.
pub(crate) fn bytes() -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    // Up to 256 bytes come whole (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(NoRandomness)?;
    Ok(bytes)
}

pub(crate) fn container_id() -> Result<ContainerId, NoRandomness> {
    bytes().map(ContainerId::from_random)
}

pub(crate) fn exec_id() -> Result<ExecId, NoRandomness> {
    bytes().map(ExecId::from_random)
}

pub(crate) fn network_id() -> Result<NetworkId, NoRandomness> {
    bytes().map(NetworkId::from_random)
}

/// A volume's name where the user gave none: 64 hex digits, as Docker's.
pub(crate) fn volume_name() -> Result<String, NoRandomness> {
    bytes().map(|bytes| model::digest::hex(&bytes))
}

/// For a generated container name.
pub(crate) fn number() -> Result<u32, NoRandomness> {
    bytes().map(|[a, b, c, d, ..]| u32::from_le_bytes([a, b, c, d]))
}
