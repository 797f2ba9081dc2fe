//! What is unique to one state root, so that two roots on one host never meet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Distinguishes the kernel objects (bridge, nftables tables, cgroups) of one state root from
/// those of another: empty for the default root, else 6 hex digits of the root path's hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootTag(Option<[u8; 3]>);

impl RootTag {
    /// The tag of `/var/lib/dhow`.
    pub const DEFAULT: Self = Self(None);

    /// The tag of any other root. FNV-1a is enough: a collision needs two roots on one host
    /// that share 24 bits, and the owner of both chose their paths.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let [a, b, c, ..] = hash.to_be_bytes();
        Self(Some([a, b, c]))
    }

    /// `base` for the default root, else `base-xxxxxx`; at most `base` + 7 bytes.
    #[must_use]
    pub fn dashed(&self, base: &str) -> String {
        self.joined(base, '-')
    }

    /// `base` for the default root, else `base_xxxxxx`: nftables identifiers have no dash.
    #[must_use]
    pub fn underscored(&self, base: &str) -> String {
        self.joined(base, '_')
    }

    /// The group of this root's links (`IFLA_GROUP`), in which `dh` is the upper half. It is even: the odd
    /// one above is for links that are to be deleted at once.
    #[must_use]
    pub fn link_group(&self) -> u32 {
        let hash = self
            .to_string()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        0x6468_0000 | ((hash ^ (hash >> 16)) & 0xfffe)
    }

    fn joined(&self, base: &str, separator: char) -> String {
        match self.0 {
            None => base.to_owned(),
            Some(_) => format!("{base}{separator}{self}"),
        }
    }
}

impl fmt::Display for RootTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(bytes) => f.write_str(&crate::digest::hex(&bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_has_plain_names() {
        assert_eq!(RootTag::DEFAULT.dashed("dhow"), "dhow");
    }

    #[test]
    fn roots_differ_in_every_name() {
        let (a, b) = (RootTag::of_path(b"/tmp/a"), RootTag::of_path(b"/tmp/b"));
        assert_ne!(a.dashed("dhow"), b.dashed("dhow"));
        assert_eq!(a.underscored("dhow").len(), "dhow_".len() + 6);
    }
}
