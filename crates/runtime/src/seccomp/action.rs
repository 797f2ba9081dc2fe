//! What a filter answers, and the kernel's encoding of it.
//!
//! Which call gets which answer is decided elsewhere.

/// The largest errno the kernel passes on; it caps larger ones silently.
pub const MAX_ERRNO: u16 = 4095;

/// `ENOSYS`: the answer to calls that a filter does not know.
pub(super) const ENOSYS: Action = Action::Errno(38);

/// What happens to a system call. Ordered as the kernel orders the answers of several filters:
/// the strictest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The process dies (`SCMP_ACT_KILL_PROCESS`).
    KillProcess,
    /// The thread dies (`SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`).
    KillThread,
    /// The thread gets `SIGSYS` (`SCMP_ACT_TRAP`).
    Trap,
    /// The call fails with this errno, at most [`MAX_ERRNO`]; 0 pretends success.
    Errno(u16),
    /// A listener decides (`SCMP_ACT_NOTIFY`).
    Notify,
    /// A tracer decides and is told this number; without one the call fails with `ENOSYS`.
    Trace(u16),
    /// Executed and logged.
    Log,
    /// Executed.
    Allow,
}

impl Action {
    /// The kernel's `SECCOMP_RET_*` value with its data.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Notify => 0x7fc0_0000,
            Self::Trace(message) => 0x7ff0_0000 | message as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// Whether a filter whose default this is means to let unknown calls through, or leaves them to
    /// a tracer that can answer `ENOSYS` itself.
    pub(super) const fn is_permissive(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Trace(_))
    }

    /// How strict the kind of action is, apart from its data; the strictest is the least.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::KillProcess => 0,
            Self::KillThread => 1,
            Self::Trap => 2,
            Self::Errno(_) => 3,
            Self::Notify => 4,
            Self::Trace(_) => 5,
            Self::Log => 6,
            Self::Allow => 7,
        }
    }
}
