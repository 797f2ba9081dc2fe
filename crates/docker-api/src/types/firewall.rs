//! The reply of `GET /dhow/firewall`, which is dhow's own: what is open to whom.

use serde::{Deserialize, Serialize};

/// What is open to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Firewall {
    /// `bypass`: the host's rules for its own ports say nothing of published ones; `respect`: they hold.
    pub host_rules: String,
    /// The name of dhow's nftables tables; empty for an ordinary user, who has none.
    pub table: String,
    /// Whether they have all of their rules.
    pub intact: bool,
    pub ports: Vec<OpenPort>,
    pub networks: Vec<OpenNetwork>,
    /// Chains of other programs that see packets to the host, and through it.
    pub other_chains: Vec<OtherChain>,
    /// Whether there are rules of the former kernel interface of iptables, which cannot be seen.
    pub legacy_tables: bool,
    /// dhow's own chains.
    pub chains: Vec<OwnChain>,
}

/// A published port, or a range of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OpenPort {
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    pub container: String,
    pub protocol: String,
    #[serde(rename = "HostIP")]
    pub host_ip: String,
    pub host_port: u16,
    #[serde(rename = "ContainerIP")]
    pub container_ip: String,
    pub container_port: u16,
    /// How many ports, each of which leads to the one at its place.
    pub count: u16,
    /// `host`, `neighbours` or `anyone`.
    pub reach: String,
    /// The addresses of the host where it is reached.
    pub at: Vec<Place>,
    /// Chains of others that refuse what they do not know, and are not asked about this port.
    pub bypasses: Vec<String>,
    /// Chains of others that refuse what they do not know, and may keep packets from this port.
    pub asks: Vec<String>,
}

/// An address of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Place {
    pub link: String,
    #[serde(rename = "IP")]
    pub ip: String,
}

/// A network of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OpenNetwork {
    pub name: String,
    pub bridge: String,
    pub subnets: Vec<String>,
    /// Nothing leads out of it.
    pub internal: bool,
    /// Its containers may not talk to each other.
    pub isolated: bool,
    /// Its packets leave the host under the host's address.
    pub masqueraded: bool,
}

/// A chain of another program's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OtherChain {
    /// Family, table and name.
    pub chain: String,
    /// `input` or `forward`.
    pub hook: String,
    pub priority: i32,
    /// Whether it refuses what none of its rules decides about.
    pub refuses: bool,
    /// Bridges of dhow's whose packets it lets pass all the same, by rules that dhow has added.
    pub passing: Vec<String>,
    /// Whether only the program that has made it may change it.
    pub owned: bool,
}

/// A chain of dhow's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OwnChain {
    pub name: String,
    /// Empty: other chains call it.
    pub hook: String,
    pub priority: i32,
    pub does: String,
}
