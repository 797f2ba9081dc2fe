//! Which address, which subnet: pure choices.
//!
//! Owns no memory of what was given out: the caller passes what is in use.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::{Cidr, Subnet};

/// A route to more than this many addresses is a default route in disguise (VPNs route two
/// halves of the address space); no subnet would be left if it counted as in use.
const WIDEST_ROUTE: u8 = 8;

/// The first address of a subnet that a host can have: Docker's choice for the gateway.
#[must_use]
pub fn default_gateway(subnet: Subnet) -> Option<IpAddr> {
    let (first, _) = subnet.hosts();
    subnet.nth(first)
}

/// The lowest address that is neither the gateway nor taken. Docker gives out the lowest as well,
/// so `.2` comes back at once.
#[must_use]
pub fn lowest_free(
    subnet: Subnet,
    gateway: Option<IpAddr>,
    taken: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    lowest_within(subnet, subnet, gateway, taken)
}

/// The same in a part of the subnet.
#[must_use]
pub fn lowest_within(
    subnet: Subnet,
    range: Subnet,
    gateway: Option<IpAddr>,
    taken: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let (first, last) = subnet.hosts();
    let mut place = first.max(subnet.place_of(range.first())?);
    let last = last.min(subnet.place_of(range.last())?);
    let used = taken.range(range.first()..).copied().map_while(|ip| subnet.place_of(ip));
    let mut used = used.peekable();
    let gateway = gateway.and_then(|gateway| subnet.place_of(gateway));
    while place <= last {
        while used.next_if(|used| *used < place).is_some() {}
        if used.peek() != Some(&place) && gateway != Some(place) {
            return subnet.nth(place);
        }
        place = place.checked_add(1)?;
    }
    None
}

/// The address in `to` at the same place as `address` in `from`: one lease gives a container both
/// of its addresses on the default bridge.
#[must_use]
pub fn mirror(address: IpAddr, from: Subnet, to: Subnet) -> Option<IpAddr> {
    to.nth(from.place_of(address)?)
}

/// Docker's default pools in its order: 172.17 to 172.31 as /16, then 192.168 as /20.
pub fn default_pools() -> impl Iterator<Item = Subnet> {
    let wide = (17..32).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let narrow = (0..16).map(|third| (Ipv4Addr::new(192, 168, third * 16, 0), 20));
    wide.chain(narrow)
        .filter_map(|(ip, prefix)| Cidr::new(ip.into(), prefix).ok().map(Cidr::subnet))
}

/// What networks that name no subnet get, in this order: the /24s of Docker's pools, but for the pool that
/// the default bridge takes first. A network has few containers, and a host many networks; Docker's own,
/// of /16, end at the thirtieth.
pub fn network_pools() -> impl Iterator<Item = Subnet> {
    default_pools().skip(1).flat_map(|pool| {
        let count = 1_u128 << (24 - pool.prefix().min(24));
        (0..count)
            .filter_map(move |number| Cidr::new(pool.nth(number << 8)?, 24).ok().map(Cidr::subnet))
    })
}

/// The first of those in which nothing is in use.
#[must_use]
pub fn free_network_pool(in_use: &[Subnet]) -> Option<Subnet> {
    network_pools().find(|pool| is_free(*pool, in_use))
}

/// The first of Docker's pools in which nothing is in use.
#[must_use]
pub fn free_pool(in_use: &[Subnet]) -> Option<Subnet> {
    default_pools().find(|pool| is_free(*pool, in_use))
}

fn is_free(subnet: Subnet, in_use: &[Subnet]) -> bool {
    let mut counted = in_use.iter().filter(|used| used.prefix() >= WIDEST_ROUTE);
    !counted.any(|used| used.overlaps(subnet))
}

/// The first free /64 of a unique local prefix (RFC 4193) that derives from `seed`, so that it is
/// the same at each start and differs between roots.
#[must_use]
pub fn unique_local(seed: &[u8], in_use: &[Subnet]) -> Option<Subnet> {
    let hash = seed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    let word = |high, low| u16::from_be_bytes([high, low]);
    (0..=u16::MAX)
        .filter_map(|number| {
            let ip = Ipv6Addr::new(word(0xfd, a), word(b, c), word(d, e), number, 0, 0, 0, 0);
            Cidr::new(ip.into(), 64).ok().map(Cidr::subnet)
        })
        .find(|subnet| is_free(*subnet, in_use))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(subnet: &str, gateway: &str, taken: &[&str], expected: Option<&str>) {
        let taken = taken.iter().map(|ip| ip.parse().unwrap()).collect();
        let free = lowest_free(subnet.parse().unwrap(), gateway.parse().ok(), &taken);
        assert_eq!(free.map(|ip| ip.to_string()).as_deref(), expected, "{subnet}");
    }

    #[test]
    fn the_lowest_address_is_given_again() {
        check("172.17.0.0/16", "172.17.0.1", &[], Some("172.17.0.2"));
        check("172.17.0.0/16", "172.17.0.1", &["172.17.0.2", "172.17.0.3"], Some("172.17.0.4"));
        check("172.17.0.0/16", "172.17.0.1", &["172.17.0.3", "10.0.0.1"], Some("172.17.0.2"));
        check("172.17.0.0/16", "172.17.0.2", &["172.17.0.1"], Some("172.17.0.3"));
        check("10.0.0.0/30", "10.0.0.1", &["10.0.0.2"], None);
        check("10.0.0.0/31", "10.0.0.0", &[], Some("10.0.0.1"));
        check("10.0.0.9/32", "10.0.0.1", &[], Some("10.0.0.9"));
        check("fd00::/64", "fd00::1", &["fd00::2"], Some("fd00::3"));
        check("0.0.0.0/0", "", &["0.0.0.1"], Some("0.0.0.2"));
    }

    #[test]
    fn a_range_bounds_what_is_given_out() {
        let within = |range: &str, taken: &[&str]| {
            let taken = taken.iter().map(|ip| ip.parse().unwrap()).collect();
            let (subnet, range) = ("10.0.0.0/16".parse().unwrap(), range.parse().unwrap());
            lowest_within(subnet, range, "10.0.0.1".parse().ok(), &taken).map(|ip| ip.to_string())
        };
        assert_eq!(within("10.0.5.0/31", &[]).as_deref(), Some("10.0.5.0"));
        assert_eq!(within("10.0.5.0/31", &["10.0.5.0"]).as_deref(), Some("10.0.5.1"));
        assert_eq!(within("10.0.5.0/31", &["10.0.5.0", "10.0.5.1"]), None);
        assert_eq!(within("10.0.0.0/30", &[]).as_deref(), Some("10.0.0.2"), "no network address");
        assert_eq!(within("10.0.255.254/31", &["10.0.255.254"]), None, "no broadcast address");
    }

    #[test]
    fn networks_get_small_pools_that_nobody_uses() {
        assert_eq!(network_pools().count(), 14 * 256 + 256);
        let used = |used: &[&str]| {
            let used: Vec<Subnet> = used.iter().map(|s| s.parse().unwrap()).collect();
            free_network_pool(&used).map(|pool| pool.to_string())
        };
        assert_eq!(used(&[]).as_deref(), Some("172.18.0.0/24"));
        assert_eq!(used(&["172.18.0.0/24"]).as_deref(), Some("172.18.1.0/24"));
        assert_eq!(used(&["172.16.0.0/12"]).as_deref(), Some("192.168.0.0/24"));
        assert_eq!(used(&["172.18.0.0/15", "172.20.0.77/32"]).as_deref(), Some("172.20.1.0/24"));
        assert_eq!(used(&["172.16.0.0/12", "192.168.0.0/16"]), None);
        assert_eq!(used(&["0.0.0.0/1"]).as_deref(), Some("172.18.0.0/24"), "a VPN's default route");
    }

    #[test]
    fn both_addresses_have_one_place() {
        let (v4, v6) = ("172.18.0.0/16".parse().unwrap(), "fd01:2::/64".parse().unwrap());
        let mirrored = mirror("172.18.1.4".parse().unwrap(), v4, v6).unwrap();
        assert_eq!(mirrored.to_string(), "fd01:2::104");
    }

    #[test]
    fn pools_skip_what_the_host_uses() {
        let used = |list: &[&str]| list.iter().map(|s| s.parse().unwrap()).collect::<Vec<_>>();
        let check = |list: &[&str], expected: &str| {
            assert_eq!(free_pool(&used(list)).unwrap().to_string(), expected);
        };
        check(&[], "172.17.0.0/16");
        check(&["172.17.5.0/24", "172.18.0.0/15", "10.0.0.0/8"], "172.20.0.0/16");
        check(&["172.16.0.0/12"], "192.168.0.0/20");
        check(&["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20");
        check(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"], "172.17.0.0/16");
        assert_eq!(free_pool(&used(&["172.16.0.0/12", "192.168.0.0/16"])), None);
        assert_eq!(default_pools().count(), 31);
    }

    #[test]
    fn the_unique_local_subnet_is_stable_and_free() {
        let first = unique_local(b"", &[]).unwrap();
        assert_eq!(unique_local(b"", &[]), Some(first));
        assert_ne!(unique_local(b"abc", &[]), Some(first));
        let next = unique_local(b"", &[first]).unwrap();
        assert!(!next.overlaps(first) && first.prefix() == 64);
        assert!(first.to_string().starts_with("fd"));
    }

    proptest! {
        #[test]
        fn the_answer_is_free_and_the_lowest(
            prefix in 24_u8..=30,
            taken in proptest::collection::btree_set(0_u32..256, 0..256),
        ) {
            let base = u32::from(Ipv4Addr::new(10, 1, 2, 0));
            let subnet = Cidr::new(Ipv4Addr::from(base).into(), prefix).unwrap().subnet();
            let taken: BTreeSet<IpAddr> =
                taken.into_iter().map(|n| Ipv4Addr::from(base + n).into()).collect();
            let gateway = default_gateway(subnet);
            let (first, last) = subnet.hosts();
            let expected = (first..=last)
                .filter_map(|place| subnet.nth(place))
                .find(|ip| Some(*ip) != gateway && !taken.contains(ip));
            prop_assert_eq!(lowest_free(subnet, gateway, &taken), expected);
        }
    }
}
