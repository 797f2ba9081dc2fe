//! What a container publishes, as its shim is told.

use std::net::SocketAddr;

use model::RootTag;
use model::port::Protocol;
use net::nft::PortRule;
use net::user::Forward;
use serde::{Deserialize, Serialize};

/// The ports that a container publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Names the firewall's tables.
    pub tag: RootTag,
    /// Each one.
    pub ports: Vec<PublishedPort>,
}

/// Ports of the host that lead to as many of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Their protocol.
    pub protocol: Protocol,
    /// The host's side with its first port; an unspecified address is every address of the family.
    pub host: SocketAddr,
    /// The container's side, of the same family.
    pub container: SocketAddr,
    /// How many; an earlier dhow asks for single ones.
    #[serde(default = "one")]
    pub count: u16,
}

const fn one() -> u16 {
    1
}

impl From<&PortRule> for PublishedPort {
    fn from(rule: &PortRule) -> Self {
        let PortRule { protocol, host, container, count, .. } = *rule;
        Self { protocol, host, container, count }
    }
}

impl PublishedPort {
    /// The rule that publishes it.
    #[must_use]
    pub const fn rule(&self, owner: model::ContainerId) -> PortRule {
        let Self { protocol, host, container, count } = *self;
        PortRule { owner, protocol, host, container, count }
    }

    /// What the program of an ordinary user's network forwards.
    #[must_use]
    pub const fn forward(&self) -> Forward {
        let Self { protocol, host, container, count } = *self;
        Forward { protocol, host, container: container.port(), count }
    }
}
