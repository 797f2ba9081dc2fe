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

/// Of an id whose twelve digits that are shown are not all decimal, as in Docker: a container's name on networks is
/// such an id, and digits alone are a number to many a program.
fn id_bytes() -> Result<[u8; 32], NoRandomness> {
    loop {
        let bytes = bytes()?;
        if !is_number(&bytes) {
            return Ok(bytes);
        }
    }
}

fn is_number(bytes: &[u8; 32]) -> bool {
    bytes[..6].iter().all(|byte| byte >> 4 < 10 && byte & 15 < 10)
}

pub(crate) fn container_id() -> Result<ContainerId, NoRandomness> {
    id_bytes().map(ContainerId::from_random)
}

pub(crate) fn exec_id() -> Result<ExecId, NoRandomness> {
    id_bytes().map(ExecId::from_random)
}

pub(crate) fn network_id() -> Result<NetworkId, NoRandomness> {
    id_bytes().map(NetworkId::from_random)
}

/// A volume's name where the user gave none: 64 hex digits, as Docker's.
pub(crate) fn volume_name() -> Result<String, NoRandomness> {
    bytes().map(|bytes| model::digest::hex(&bytes))
}

/// For a generated container name.
pub(crate) fn number() -> Result<u32, NoRandomness> {
    bytes().map(|[a, b, c, d, ..]| u32::from_le_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_alone_are_drawn_again() {
        let mut bytes = [0xab; 32];
        bytes[..6].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x90, 0x09]);
        assert!(is_number(&bytes));
        bytes[5] = 0x9a;
        assert!(!is_number(&bytes));
        assert!((0..5000).all(|_| !is_number(container_id().unwrap().as_bytes())));
    }
}
