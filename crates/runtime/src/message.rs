//! What an init says to its parent, and the one word that it waits for.
//!
//! Fixed bytes on a `SOCK_SEQPACKET` pair: making them needs no memory, and a message is whole or
//! not there. The end of the stream after `Go` means that the program runs.

use sys::Errno;
use sys::mount::KernelLog;

/// What the parent sends.
pub(crate) const GO: u8 = b'g';

/// The longest message.
pub(crate) const MAX: usize = HEADER + KernelLog::MAX;

/// Tag, index of a step, error number.
const HEADER: usize = 9;

/// What an init says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// All is set up; a terminal's master comes with it.
    Ready,
    /// The namespaces and mounts are there, the root is not entered yet: now hooks are run.
    AtHooks,
    /// The process goes on as another, a sibling, whose pidfd comes with it.
    Born,
    /// The filter is loaded; the descriptor that it asks through comes along.
    Listener,
    /// A step failed.
    Failed {
        /// Its index.
        step: usize,
        /// Why.
        errno: Errno,
        /// The kernel's words, or none.
        detail: String,
    },
}

/// The bytes of `Ready`.
pub(crate) const READY: [u8; 1] = *b"r";

/// The bytes of `AtHooks`.
pub(crate) const AT_HOOKS: [u8; 1] = *b"h";

/// The bytes of `Listener`.
pub(crate) const LISTENER: [u8; 1] = *b"l";

/// The bytes of `Born`.
pub(crate) const BORN: [u8; 1] = *b"b";

/// The bytes of `Failed`, and how many there are. Allocates nothing.
pub(crate) fn failed(step: usize, errno: Errno, log: &KernelLog) -> ([u8; MAX], usize) {
    let mut bytes = [0; MAX];
    let words = log.as_bytes();
    bytes[0] = b'f';
    // A plan has a few hundred steps.
    bytes[1..5].copy_from_slice(&u32::try_from(step).unwrap_or(u32::MAX).to_le_bytes());
    bytes[5..9].copy_from_slice(&errno.raw_os_error().to_le_bytes());
    bytes[HEADER..HEADER + words.len()].copy_from_slice(words);
    (bytes, HEADER + words.len())
}

impl Report {
    /// Reads a message; `None` if it is none of ours.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes == READY {
            return Some(Self::Ready);
        }
        if bytes == AT_HOOKS {
            return Some(Self::AtHooks);
        }
        if bytes == BORN {
            return Some(Self::Born);
        }
        if bytes == LISTENER {
            return Some(Self::Listener);
        }
        let (tag, rest) = bytes.split_first()?;
        let (step, rest) = rest.split_first_chunk::<4>()?;
        let (errno, words) = rest.split_first_chunk::<4>()?;
        (*tag == b'f').then(|| Self::Failed {
            step: u32::from_le_bytes(*step) as usize,
            errno: Errno::from_raw_os_error(i32::from_le_bytes(*errno)),
            detail: String::from_utf8_lossy(words).trim_end().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let (bytes, len) = failed(7, Errno::PERM, &KernelLog::EMPTY);
        let heard = Report::parse(&bytes[..len]);
        let said = Report::Failed { step: 7, errno: Errno::PERM, detail: String::new() };
        assert_eq!(heard, Some(said));
        assert_eq!(Report::parse(&READY), Some(Report::Ready));
        assert_eq!(Report::parse(&AT_HOOKS), Some(Report::AtHooks));
        assert_eq!(Report::parse(&BORN), Some(Report::Born));
        assert_eq!(Report::parse(&LISTENER), Some(Report::Listener));
        assert_eq!(Report::parse(b"b12"), None);
        assert_eq!(Report::parse(b"f123"), None);
        assert_eq!(Report::parse(b""), None);
    }
}
