//! systemd as the first process of a container: when a container is prepared for it, and what its
//! programs are called.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// Whether a container is prepared for systemd as its first process (Podman's `--systemd`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SystemdMode {
    /// If its command is one of systemd's.
    #[default]
    Auto,
    /// Whatever its command is.
    Always,
    /// Never.
    Never,
}

/// A text that is no mode.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot parse bool {0:?}: --systemd is true, false or always")]
pub struct BadSystemdMode(String);

impl FromStr for SystemdMode {
    type Err = BadSystemdMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "true" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            other => Err(BadSystemdMode(other.to_owned())),
        }
    }
}

impl fmt::Display for SystemdMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "true",
            Self::Always => "always",
            Self::Never => "false",
        })
    }
}

impl SystemdMode {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What process 1 of a container is, as far as the container is made for it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FirstProcess {
    /// Some program.
    #[default]
    Program,
    /// systemd: it gets control groups of its own and what else it expects to find.
    Systemd,
}

impl FirstProcess {
    /// Whether it is just some program.
    #[must_use]
    pub fn is_program(&self) -> bool {
        *self == Self::Program
    }
}

/// Halt, which in a container means: stop all units and leave.
pub const HALT: Signal = Signal::RTMIN_3;

/// Whether this is how systemd is started as process 1, as Podman tells.
#[must_use]
pub fn is_systemd(program: &str) -> bool {
    matches!(program, "/sbin/init" | "/usr/sbin/init" | "/usr/local/sbin/init")
        || Path::new(program).file_name().is_some_and(|name| name == "systemd")
}

/// Where systemd expects file systems of its own, with the mode of a new one.
pub const OWN_TMPFS: [(&str, &str); 4] = [
    ("/run", "mode=755"),
    ("/run/lock", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/log/journal", "mode=755"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_by_its_command() {
        for init in ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "systemd"] {
            assert!(is_systemd(init), "{init}");
        }
        for other in ["init", "/bin/init", "/sbin/init/x", "sh", "", "/lib/systemd/systemd-udevd"] {
            assert!(!is_systemd(other), "{other}");
        }
    }

    #[test]
    fn modes_are_podmans() {
        for text in ["true", "false", "always"] {
            assert_eq!(text.parse::<SystemdMode>().unwrap().to_string(), text);
        }
        assert!("yes".parse::<SystemdMode>().is_err());
        assert_eq!(HALT, "RTMIN+3".parse().unwrap());
    }
}
