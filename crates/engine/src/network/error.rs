//! What can go wrong with a network as a whole.

use std::net::IpAddr;

use model::address::Subnet;
use model::network::BadOption;
use model::{ContainerId, NetworkId};

/// Why a network was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The name is another's.
    #[error("network with name {0} already exists")]
    Exists(String),
    /// The name is that of one that is always there.
    #[error("operation is not permitted on predefined {0} network")]
    Predefined(String),
    /// It is always there.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Permanent(String),
    /// Containers are on it.
    #[error(
        "error while removing network: network {name} has active endpoints ({})",
        listed(.endpoints)
    )]
    Active {
        /// Its name.
        name: String,
        /// They, with their names.
        endpoints: Vec<(ContainerId, String)>,
    },
    /// A prefix of several ids.
    #[error("network {0} is ambiguous (2 matches found based on ID prefix)")]
    Ambiguous(String),
    /// Somebody else has addresses of a subnet that was asked for.
    #[error(
        "invalid pool request: Pool overlaps with other one on this address space: {wanted} overlaps with {held} of network {by}"
    )]
    Overlap {
        /// Asked for.
        wanted: Subnet,
        /// What there is.
        held: Subnet,
        /// Whose.
        by: String,
    },
    /// A bridge that was named is another network's.
    #[error(
        "cannot create network {name} ({bridge}): conflicts with network {by} ({bridge}): networks have same bridge name"
    )]
    SameBridge {
        /// The network that is wished.
        name: String,
        /// The bridge.
        bridge: String,
        /// Whose it is.
        by: String,
    },
    /// A bridge that was named has a network of another state root.
    #[error(
        "bridge {bridge} has a network of another root of dhow's on this host (nftables table {table}): one bridge is one network's"
    )]
    BridgeElsewhere {
        /// The bridge.
        bridge: String,
        /// That root's table.
        table: String,
    },
    /// What a bridge had, as its network's record says.
    #[error(
        "the record of network {name} says that its bridge had the address {address:?}, which cannot be read: it cannot be given back as it was"
    )]
    FoundAddress {
        /// The network's name.
        name: String,
        /// As written.
        address: String,
    },
    /// Somebody else chooses a subnet, and does not come to an end.
    #[error(
        "another root of dhow's on this host has been choosing a subnet for {seconds} s: whoever has locked {} (fuser or lsof tell) hangs or is stopped",
        .lock.display()
    )]
    Chosen {
        /// The file.
        lock: std::path::PathBuf,
        /// For how long it was waited for.
        seconds: u64,
    },
    /// The link that is named is another network's, and one of the two needs it alone.
    #[error(
        "network {by} is already using parent interface {parent}: one of ipvlan, or of macvlan_mode=passthru, is one network's alone"
    )]
    ParentTaken {
        /// The link.
        parent: String,
        /// Whose it is.
        by: String,
    },
    /// A bridge has one subnet of each family (Docker).
    #[error("bridge driver doesn't support multiple subnets")]
    ManySubnets,
    /// It would have no addresses at all.
    #[error("IPv4 or IPv6 must be enabled")]
    NoFamily,
    /// All that it has is disabled.
    #[error("network {0} has IPv6 alone, which is disabled on this host")]
    NothingHere(String),
    /// Nobody answers a container's questions for names there.
    #[error(
        "--link on network {0} needs names: there are none with dhow.dns=off, nor on an ordinary user's default network"
    )]
    NoNames(String),
    /// The host's links are root's.
    #[error("an ordinary user has no networks of the driver {0}: the host's links are root's")]
    UsersDriver(&'static str),
    /// What carries its packets has no IPv6.
    #[error("an ordinary user's network cannot be without IPv4")]
    UsersFamily,
    /// The program that leads it out is started with it.
    #[error(
        "container {0} was started on no network: an ordinary user's gets its way out when it starts, so stop it, \
         connect it and start it"
    )]
    UsersLeft(String),
    /// Nobody outside reaches the addresses of its containers.
    #[error(
        "an ordinary user's network cannot have the option {key}={value}: nobody outside reaches its addresses"
    )]
    UsersOption {
        /// Which.
        key: String,
        /// As typed.
        value: String,
    },
    /// Its driver is unknown.
    #[error("network {name} has the driver {driver}, which this dhow does not have")]
    NoDriver {
        /// Its name.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// A container's link has the hardware address of its parent.
    #[error(
        "invalid endpoint settings:\nno hardware address can be chosen on network {0}: containers have that of its parent interface"
    )]
    ParentsMac(String),
    /// No default pool is free.
    #[error("all predefined address pools have been fully subnetted: {0}; name one with --subnet")]
    NoPool(String),
    /// There is no address in a subnet for the gateway.
    #[error("no available IP addresses for the gateway of {0}")]
    NoGateway(Subnet),
    /// What a network is made from is not there.
    #[error("could not find configuration network {0:?}: network {0} not found")]
    NoConfiguration(String),
    /// What a network is made from is no configuration.
    #[error("{0:?} is not a configuration network")]
    NotConfiguration(String),
    /// A network is made from it.
    #[error("configuration network {0:?} is in use")]
    ConfigurationInUse(String),
    /// Nothing can be on it.
    #[error("network {0} is a configuration: containers cannot be on it")]
    OnlyConfiguration(String),
    /// All addresses are given out.
    #[error("no available {family} addresses on this network's address pools: {name} ({id})")]
    Exhausted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Its name.
        name: String,
        /// Its id.
        id: NetworkId,
    },
    /// An address that was asked for is in no pool.
    #[error(
        "invalid config for network {name}: invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {address}"
    )]
    Outside {
        /// The network's name.
        name: String,
        /// Asked for.
        address: IpAddr,
    },
    /// A container is on it already.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyOn {
        /// The container's name.
        container: String,
        /// The network's.
        network: String,
    },
    /// A container is not on it.
    #[error("container {container} is not connected to network {network}")]
    NotOn {
        /// Which.
        container: ContainerId,
        /// The network's name, or as typed.
        network: String,
    },
    /// Who has the host's network has no other.
    #[error("container cannot be disconnected from host network or connected to host network")]
    HostNetwork,
    /// Who shares a network has no other.
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )]
    SharedNetwork,
    /// Who has none has no other.
    #[error(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    )]
    NoNetwork,
    /// The default network gives addresses as it likes.
    #[error(
        "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets"
    )]
    DefaultAddress,
    /// It has no names.
    #[error(
        "invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks"
    )]
    DefaultAliases,
    /// An address of IPv6 was asked for where the host has none.
    #[error(
        "invalid config for network {name}: invalid endpoint settings:\nIPv6 address {address} cannot be had: IPv6 is disabled on this host"
    )]
    NoIpv6 {
        /// The network's name.
        name: String,
        /// Asked for.
        address: IpAddr,
    },
    /// An address that was asked for is somebody's.
    #[error("Address already in use: {address} of network {name} belongs to {by}")]
    AddressTaken {
        /// The network's name.
        name: String,
        /// Asked for.
        address: IpAddr,
        /// Whose it is.
        by: String,
    },
    /// Options of a configuration, which were judged when it was made.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// Its record was written by another dhow.
    #[error("the record of network {name} cannot be read")]
    Record {
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Each container has its own.
    #[error(
        "the default network of an ordinary user is each container's own, which no other network goes with: use \
         networks that were made (dhow network create)"
    )]
    UsersDefault,
}

/// As Docker has it.
fn listed(list: &[(ContainerId, String)]) -> String {
    let one = |(id, name): &(ContainerId, String)| format!("name:{name:?} id:\"{}\"", id.short());
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}
