//! `os/architecture[/variant]`: parsing, normalising, choosing from an index.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in the words of the image specification (`linux/arm64/v8`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// GOARCH: `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty where the architecture has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected os/architecture[/variant], for example linux/amd64")]
pub struct BadPlatform(String);

impl Platform {
    /// The platform that this binary was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self::normal("linux", architecture, "")
    }

    /// Normalises as containerd does: `x86_64` is `amd64`, `aarch64` is `arm64`, and arm64's
    /// default variant `v8` is left out.
    #[must_use]
    pub fn normal(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", other) => ("arm64", other),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
            (other, variant) => (other, variant),
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How well an image for `self` runs where `wanted` is asked for: `None` not at all, else
    /// higher is better. An older amd64 or arm variant runs on a newer one.
    #[must_use]
    pub fn suits(&self, wanted: &Self) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let (mine, theirs) = (level(&self.variant), level(&wanted.variant));
        match (mine, theirs) {
            (mine, theirs) if mine == theirs => Some(u32::MAX),
            (Some(mine), Some(theirs)) if mine < theirs => Some(mine),
            (None, Some(_)) => Some(0),
            _ => None,
        }
    }
}

fn level(variant: &str) -> Option<u32> {
    variant.strip_prefix('v').and_then(|digits| digits.parse().ok())
}

impl FromStr for Platform {
    type Err = BadPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadPlatform(text.to_owned());
        let plain = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| plain(part)) {
            return Err(bad());
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        match lower.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [os @ "linux"] => Ok(Self { os: os.to_owned(), ..Self::host() }),
            [architecture] if architecture != "windows" => {
                Ok(Self::normal("linux", architecture, ""))
            }
            [os, architecture] => Ok(Self::normal(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::normal(os, architecture, variant)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_become_one() {
        for (typed, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARM64", "linux/arm64"),
            ("linux/i686", "linux/386"),
        ] {
            assert_eq!(platform(typed).to_string(), normal, "{typed}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/../x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_older_variant_suits_a_newer_machine() {
        let v3 = platform("linux/amd64/v3");
        assert_eq!(platform("linux/amd64").suits(&v3), Some(0));
        assert_eq!(v3.suits(&platform("linux/amd64")), None);
        assert!(
            platform("linux/arm/v6").suits(&platform("linux/arm/v7"))
                < platform("linux/arm/v7").suits(&platform("linux/arm/v7"))
        );
        assert_eq!(platform("linux/arm64").suits(&platform("linux/amd64")), None);
    }
}
