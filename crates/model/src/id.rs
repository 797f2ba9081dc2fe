//! Names for every id: containers, images, execs, networks; and what a user may type for one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex, unhex32};

/// A text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {text:?}: expected 64 lower-case hex digits")]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

/// Declares an id of 32 random bytes that prints as 64 hex digits.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Makes an id of 32 random bytes that the caller has drawn.
            #[must_use]
            pub const fn from_random(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 12 hex digits, as Docker shows ids to people.
            #[must_use]
            pub fn short(&self) -> String {
                hex(&self.0[..6])
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                unhex32(text)
                    .map(Self)
                    .ok_or_else(|| ParseIdError { kind: $kind, text: text.to_owned() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_type!(
    /// 64 hex digits, random: one container.
    ContainerId, "container id"
);
id_type!(
    /// 64 hex digits, random: one process started by `exec`.
    ExecId, "exec id"
);
id_type!(
    /// 64 hex digits, random: one network.
    NetworkId, "network id"
);

/// The digest of an image's configuration, which Docker's graph drivers call the image's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// The first 12 hex digits.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageId {
    type Err = crate::digest::ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Longest name that dhow accepts, in bytes.
pub const NAME_MAX: usize = 255;

/// A container's name without the leading slash: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// A name outside Docker's grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct BadContainerName(String);

impl ContainerName {
    /// The name, without a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = BadContainerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix('/').unwrap_or(text);
        if is_plain_name(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadContainerName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = BadContainerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Docker's grammar for names of containers and volumes: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first_is_plain = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest_is_plain = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    first_is_plain && rest_is_plain && (2..=NAME_MAX).contains(&name.len())
}

/// What a user types to mean a container: a full id, a name (with or without the slash), or a
/// unique prefix of an id, looked up in that order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameOrId(String);

impl NameOrId {
    /// Takes the text as typed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as typed, for messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as a name: without one leading slash.
    #[must_use]
    pub fn as_name(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// The full id, if the text is one.
    #[must_use]
    pub fn as_id(&self) -> Option<ContainerId> {
        self.0.parse().ok()
    }
}

impl From<ContainerId> for NameOrId {
    fn from(id: ContainerId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_grammar() {
        for good in ["ab", "/web", "a.b-c_d", "0x"] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in ["", "/", "x", "-a", "a b", "a/b", "é1", "a\n", long.as_str()] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
        }
        assert_eq!("/web".parse::<ContainerName>().unwrap().as_str(), "web");
    }

    #[test]
    fn an_id_prints_as_it_was_read() {
        let text = "00ff".repeat(16);
        let id: ContainerId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.short(), &text[..12]);
        assert!("00FF".repeat(16).parse::<ContainerId>().is_err());
    }
}
