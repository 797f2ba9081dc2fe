//! What a shim knows of names, besides the files that they are in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::NetworkId;
use serde::{Deserialize, Serialize};

/// How a container's questions for names are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// The networks that it is on, in the order in which they are asked.
    pub networks: Vec<NamedNetwork>,
    /// Where it reaches the host.
    pub host4: Option<Ipv4Addr>,
    /// The same by IPv6.
    pub host6: Option<Ipv6Addr>,
    /// The servers that somebody has chosen for it, which are asked from where it is. None: the host's, which
    /// are asked from where the host is.
    pub servers: Vec<IpAddr>,
    /// Of names of one label that are nobody's.
    pub bare: BareNames,
    /// Whether the host's servers are asked for it.
    pub outside: Outside,
    /// What it alone calls others, with a name of each.
    #[serde(default)]
    pub links: Vec<(String, String)>,
}

/// A network that has names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedNetwork {
    /// Which.
    pub id: NetworkId,
    /// What may follow the names of those on it.
    pub name: String,
}

/// What becomes of a name of one label that is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BareNames {
    /// The servers are asked.
    Forwarded,
    /// There is none: whoever asks goes on with a search domain.
    Refused,
}

/// Whether something leads out of a container's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outside {
    /// One of them leads out.
    Reached,
    /// All are internal: by no question anything gets out, and by no answer in.
    Unreached,
}
