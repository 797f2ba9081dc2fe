//! What leads out of a network namespace.

use std::net::IpAddr;

use crate::address::Family;

/// What leads out of a namespace in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Somebody who passes packets on.
    Gateway(IpAddr),
    /// The link itself: who is behind it knows what to do.
    Link(Family),
}

impl Way {
    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Gateway(gateway) => Family::of(gateway),
            Self::Link(family) => family,
        }
    }

    /// Who passes packets on, if it is somebody.
    #[must_use]
    pub const fn gateway(self) -> Option<IpAddr> {
        match self {
            Self::Gateway(gateway) => Some(gateway),
            Self::Link(_) => None,
        }
    }
}
