//! Names of containers: what they are called on each network, and the answers to questions about that.
//!
//! Deciding is pure: a question comes as bytes, and what goes back is bytes ([`answer`], [`upstream`]). Where the
//! names are kept is [`files`], where the questions come in is [`sockets`]. The loop that carries both is the shim's.

pub mod answer;
pub mod files;
mod plain;
pub mod record;
pub mod sockets;
pub mod upstream;
pub mod zone;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where every container asks, as with Docker.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The port of all resolvers.
pub const PORT: u16 = 53;
/// What the host is called, from every container.
pub const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.dhow.internal"];

/// Most servers of a list that are asked, as resolv.conf(5) and Docker have it.
pub const MAX_SERVERS: usize = 3;

/// The servers that a resolv.conf(5) names.
///
/// Those with a zone (`fe80::1%eth0`) are left out: the zone is a number of another namespace.
#[must_use]
pub fn servers_in(resolv_conf: &str) -> Vec<SocketAddr> {
    let words = resolv_conf.lines().map(str::split_whitespace);
    let named =
        words.filter_map(|mut words| (words.next() == Some("nameserver")).then(|| words.next()));
    let addresses = named.flatten().filter_map(|word| word.parse::<IpAddr>().ok());
    addresses.take(MAX_SERVERS).map(|ip| SocketAddr::new(ip, PORT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_that_can_be_asked() {
        let text = "# x\nsearch a\nnameserver 127.0.0.53 # here\nnameserver nobody\n nameserver\t::1\n\
                    nameserver fe80::1%eth0\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n";
        let servers: Vec<String> = servers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[::1]:53", "9.9.9.9:53"]);
    }
}
