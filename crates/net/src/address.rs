//! Names of links; the addresses that go with them are the model's.
//!
//! Pure; nothing here asks the kernel.

use std::fmt;
use std::str::FromStr;

pub use model::address::{AddressError, Cidr, Family, Mac, Subnet, from_octets, octets};

/// Not a name of a link: empty, longer than 15 bytes, or with a byte that they do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid interface name: {0:?}")]
pub struct BadLinkName(pub String);

/// A name of a network interface: 1 to 15 bytes, as the kernel takes them. No `%`, by which the
/// kernel would number the name itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkName(String);

impl LinkName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that this crate derives and knows to be valid; bytes beyond the 15th are dropped.
    pub(crate) fn known(mut text: String) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        text.truncate(15);
        Self(text)
    }

    /// 16 bytes, as nftables compares names.
    pub(crate) fn padded(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(self.0.bytes()) {
            *to = from;
        }
        bytes
    }
}

impl FromStr for LinkName {
    type Err = BadLinkName;

    fn from_str(text: &str) -> Result<Self, BadLinkName> {
        let fits = (1..16).contains(&text.len()) && text != "." && text != "..";
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
        if fits && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadLinkName(text.to_owned()))
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_are_what_the_kernel_takes() {
        assert!("dhow0".parse::<LinkName>().is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "eth%d", "a:b", "sixteen-bytes-xx"] {
            assert!(bad.parse::<LinkName>().is_err(), "{bad}");
        }
    }
}
