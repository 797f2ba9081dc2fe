//! Linux's capabilities: their names and numbers.

use std::fmt;
use std::str::FromStr;

/// One Linux capability, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// The kernel's names without their `CAP_` prefix, at the index of their number (Linux 5.9 added
/// the last one).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capability {
    /// `CAP_NET_ADMIN`: whoever has it manages networks.
    pub const NET_ADMIN: Self = Self(12);

    /// Every capability that has a name, in the order of their numbers.
    pub fn every() -> impl Iterator<Item = Self> {
        (0_u8..).take(NAMES.len()).map(Self)
    }

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Takes a name in any case, with or without `CAP_`, as Docker's options allow.
    pub fn parse_loosely(name: &str) -> Result<Self, UnknownCapability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::every()
            .find(|capability| NAMES[usize::from(capability.0)] == bare)
            .ok_or_else(|| UnknownCapability(name.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

/// Takes exactly the form that OCI and seccomp profiles use: `CAP_SYS_ADMIN`.
impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        if name.starts_with("CAP_") && !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Self::parse_loosely(name);
        }
        Err(UnknownCapability(name.to_owned()))
    }
}

/// No capability has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability: {0:?}")]
pub struct UnknownCapability(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_number() {
        for capability in Capability::every() {
            assert_eq!(capability.to_string().parse(), Ok(capability));
        }
        assert_eq!("CAP_SYS_ADMIN".parse::<Capability>().unwrap().number(), 21);
        assert_eq!("CAP_NET_ADMIN".parse(), Ok(Capability::NET_ADMIN));
        assert_eq!("CAP_CHECKPOINT_RESTORE".parse::<Capability>().unwrap().number(), 40);
    }

    #[test]
    fn options_take_any_case_and_prefix_but_profiles_only_the_kernels() {
        for name in ["sys_admin", "SYS_ADMIN", "cap_sys_admin", "CAP_Sys_Admin"] {
            assert_eq!(Capability::parse_loosely(name).unwrap().number(), 21);
        }
        assert!("sys_admin".parse::<Capability>().is_err());
        assert!("CAP_sys_admin".parse::<Capability>().is_err());
    }
}
