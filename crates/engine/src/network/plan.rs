//! Which addresses a new network has: its subnets and their gateways.
//!
//! Pure: what is in use is passed in, and so is what was drawn.

use std::net::IpAddr;

use model::address::{Family, Subnet};
use model::network::{BridgeOptions, GatewayMode, Inside, Ipv4, Ipv6, NetworkWish, Pool};
use model::vlan::VlanOptions;
use net::host::Stack;
use net::ipam;

use super::error::NetworkError;

/// How many holders of pools an error names.
const NAMED: usize = 8;

/// What is there already.
#[derive(Debug)]
pub(super) struct Ground {
    /// Subnets of networks, with the networks' names.
    pub(super) networks: Vec<(Subnet, String)>,
    /// Subnets that the host has addresses in or routes to.
    pub(super) host: Vec<Subnet>,
    /// What the host has.
    pub(super) stack: Stack,
    /// For a prefix of its own (RFC 4193).
    pub(super) random: [u8; 32],
}

/// The pools of a network: those that it names, completed, and one for each family that it has
/// besides.
pub(super) fn pools(wish: &NetworkWish, ground: &Ground) -> Result<Vec<Pool>, NetworkError> {
    let is_vlan = VlanOptions::parse(wish.driver, &wish.options).transpose()?.is_some();
    let options = match is_vlan {
        true => BridgeOptions::default(),
        false => BridgeOptions::parse(&wish.options, Inside::of(wish.internal))?,
    };
    let named = |family| -> Vec<Pool> {
        wish.pools.iter().filter(|pool| pool.family() == family).cloned().collect()
    };
    // Its own address is the way out of each, and a container is on one of them.
    let is_several = |family| named(family).len() > 1;
    if !is_vlan && [Family::V4, Family::V6].into_iter().any(is_several) {
        return Err(NetworkError::ManySubnets);
    }
    let mut pools = match (wish.ipv4, named(Family::V4)) {
        (Ipv4::Off, _) => Vec::new(),
        (Ipv4::On, none) if none.is_empty() => vec![Pool::of(free(ground)?)],
        (Ipv4::On, named) => apart(named, (ground, &wish.name))?,
    };
    let has_v6 = match wish.ipv6 {
        Ipv6::On => true,
        Ipv6::Off => false,
        // What is right on a link of the host's is known to who has it (Docker).
        Ipv6::WhereThere if is_vlan => !named(Family::V6).is_empty(),
        Ipv6::WhereThere => ground.stack == Stack::Dual || !named(Family::V6).is_empty(),
    };
    if has_v6 {
        pools.extend(match named(Family::V6) {
            none if none.is_empty() => vec![Pool::of(unique_local(ground)?)],
            named => apart(named, (ground, &wish.name))?,
        });
    }
    if pools.is_empty() {
        return Err(NetworkError::NoFamily);
    }
    for pool in &mut pools {
        let isolated = options.gateway_mode(pool.family()) == GatewayMode::Isolated;
        // The host is none on a link of its own, and who is has to be named (Docker 29).
        if pool.gateway.is_none() && !isolated && !is_vlan {
            pool.gateway = Some(gateway(pool)?);
        }
    }
    Ok(pools)
}

/// What a user names may not be in part another network's, nor twice its own. What the host uses is the user's to know.
fn apart(named: Vec<Pool>, (ground, own): (&Ground, &str)) -> Result<Vec<Pool>, NetworkError> {
    for (index, pool) in named.iter().enumerate() {
        let wanted = pool.subnet;
        let before = named.iter().take(index).map(|pool| (pool.subnet, own));
        let others = ground.networks.iter().map(|(held, by)| (*held, by.as_str()));
        if let Some((held, by)) = others.chain(before).find(|(held, _)| held.overlaps(wanted)) {
            return Err(NetworkError::Overlap { wanted, held, by: by.to_owned() });
        }
    }
    Ok(named)
}

fn in_use(ground: &Ground) -> Vec<Subnet> {
    let networks = ground.networks.iter().map(|(subnet, _)| *subnet);
    networks.chain(ground.host.iter().copied()).collect()
}

fn free(ground: &Ground) -> Result<Subnet, NetworkError> {
    let free = ipam::free_network_pool(&in_use(ground));
    free.ok_or_else(|| NetworkError::NoPool(holders(ground, Family::V4)))
}

fn unique_local(ground: &Ground) -> Result<Subnet, NetworkError> {
    let free = ipam::unique_local(&ground.random, &in_use(ground));
    free.ok_or_else(|| NetworkError::NoPool(holders(ground, Family::V6)))
}

/// Who has what of a family, as far as there is room for it: networks first, which somebody can remove.
fn holders(ground: &Ground, family: Family) -> String {
    let of_family = |subnet: &Subnet| subnet.family() == family;
    let networks = ground.networks.iter().filter(|(subnet, _)| of_family(subnet));
    let mut held: Vec<String> =
        networks.map(|(subnet, by)| format!("{subnet} is network {by}'s")).collect();
    let is_networks = |subnet: &&Subnet| ground.networks.iter().any(|(held, _)| held == *subnet);
    // An address of the host and the route to its subnet are two of one.
    let mut of_host: Vec<&Subnet> =
        ground.host.iter().filter(|subnet| of_family(subnet) && !is_networks(subnet)).collect();
    of_host.sort_unstable();
    of_host.dedup();
    held.extend(of_host.into_iter().map(|subnet| format!("{subnet} is the host's")));
    let more = held.len().saturating_sub(NAMED);
    held.truncate(NAMED);
    if more > 0 {
        held.push(format!("and {more} more are taken"));
    }
    held.join(", ")
}

/// The first address of the part that containers get theirs from: what is outside of it is others'.
fn gateway(pool: &Pool) -> Result<IpAddr, NetworkError> {
    let others = pool.others.values().copied().collect();
    let range = pool.range.unwrap_or(pool.subnet);
    let first = ipam::lowest_within(pool.subnet, range, None, &others);
    first.ok_or(NetworkError::NoGateway(pool.subnet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use model::network::{Configuration, Driver};
    use std::collections::BTreeMap;

    fn wish() -> NetworkWish {
        NetworkWish {
            name: "n".to_owned(),
            driver: Driver::Bridge,
            ipv4: Ipv4::On,
            ipv6: Ipv6::WhereThere,
            pools: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            internal: false,
            attachable: false,
            configuration: Configuration::Own,
        }
    }

    fn ground(networks: &[&str], host: &[&str]) -> Ground {
        Ground {
            networks: networks.iter().map(|s| (s.parse().unwrap(), format!("of-{s}"))).collect(),
            host: host.iter().map(|s| s.parse().unwrap()).collect(),
            stack: Stack::Dual,
            random: [7; 32],
        }
    }

    fn check(wish: &NetworkWish, ground: &Ground, expected: &Expect) {
        let text = match pools(wish, ground) {
            Ok(pools) => pools.iter().fold(String::new(), |text, pool| {
                format!("{text}{} by {:?}\n", pool.subnet, pool.gateway)
            }),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn what_is_free_is_taken() {
        check(
            &wish(),
            &ground(&["172.18.0.0/24"], &["172.18.1.0/24"]),
            &expect![[r#"
                172.18.2.0/24 by Some(172.18.2.1)
                fdf1:60fd:8b6::/64 by Some(fdf1:60fd:8b6::1)
            "#]],
        );
        let v4 = NetworkWish { ipv6: Ipv6::Off, ..wish() };
        check(
            &v4,
            &ground(&[], &[]),
            &expect![[r#"
                172.18.0.0/24 by Some(172.18.0.1)
            "#]],
        );
    }

    #[test]
    fn a_network_has_one_family_at_least() {
        let v6 = NetworkWish { ipv4: Ipv4::Off, ..wish() };
        check(
            &v6,
            &ground(&[], &[]),
            &expect![[r#"
                fdf1:60fd:8b6::/64 by Some(fdf1:60fd:8b6::1)
            "#]],
        );
        check(
            &NetworkWish { ipv6: Ipv6::Off, ..v6 },
            &ground(&[], &[]),
            &expect![[r#"
                IPv4 or IPv6 must be enabled
            "#]],
        );
    }

    #[test]
    fn on_a_link_of_the_hosts_only_what_is_named_leads_out() {
        let plain = NetworkWish { driver: Driver::Macvlan, ..wish() };
        check(
            &plain,
            &ground(&[], &[]),
            &expect![[r#"
                172.18.0.0/24 by None
            "#]],
        );
        let mut v6 = Pool::of("fd00:9::/64".parse().unwrap());
        v6.gateway = "fd00:9::9".parse().ok();
        check(
            &NetworkWish { driver: Driver::Ipvlan, pools: vec![v6], ..wish() },
            &ground(&[], &[]),
            &expect![[r#"
                172.18.0.0/24 by None
                fd00:9::/64 by Some(fd00:9::9)
            "#]],
        );
    }

    #[test]
    fn on_a_link_of_the_hosts_a_family_may_have_several_subnets() {
        let pool = |text: &str| Pool::of(text.parse().unwrap());
        let several = |pools: &[&str]| NetworkWish {
            driver: Driver::Macvlan,
            pools: pools.iter().map(|text| pool(text)).collect(),
            ..wish()
        };
        let three = several(&["10.1.0.0/24", "fd00:9::/64", "10.2.0.0/24"]);
        check(
            &three,
            &ground(&[], &[]),
            &expect![[r#"
                10.1.0.0/24 by None
                10.2.0.0/24 by None
                fd00:9::/64 by None
            "#]],
        );
        check(
            &three,
            &ground(&["10.2.0.0/16"], &[]),
            &expect![[r#"
                invalid pool request: Pool overlaps with other one on this address space: 10.2.0.0/24 overlaps with 10.2.0.0/16 of network of-10.2.0.0/16
            "#]],
        );
        check(
            &several(&["10.1.0.0/24", "10.1.0.128/25"]),
            &ground(&[], &[]),
            &expect![[r#"
                invalid pool request: Pool overlaps with other one on this address space: 10.1.0.128/25 overlaps with 10.1.0.0/24 of network n
            "#]],
        );
        // One that is made from a configuration says its driver.
        check(
            &NetworkWish { driver: Driver::Bridge, ..three },
            &ground(&[], &[]),
            &expect![[r#"
                bridge driver doesn't support multiple subnets
            "#]],
        );
    }

    #[test]
    fn an_exhausted_pool_says_who_has_what() {
        check(
            &wish(),
            &ground(
                &["172.16.0.0/12", "fd00:1::/64"],
                &["192.168.0.0/16", "172.16.0.0/12", "fd00:2::/64", "192.168.0.0/16"],
            ),
            &expect![[r#"
                all predefined address pools have been fully subnetted: 172.16.0.0/12 is network of-172.16.0.0/12's, 192.168.0.0/16 is the host's; name one with --subnet
            "#]],
        );
    }

    #[test]
    fn what_is_named_is_taken_unless_a_network_has_it() {
        let mut pool = Pool::of("10.1.0.0/16".parse().unwrap());
        pool.range = "10.1.5.0/24".parse().ok();
        pool.others = BTreeMap::from([("router".to_owned(), "10.1.5.0".parse().unwrap())]);
        let named = NetworkWish { pools: vec![pool], ipv6: Ipv6::Off, ..wish() };
        let gateway = expect![[r#"
            10.1.0.0/16 by Some(10.1.5.1)
        "#]];
        check(&named, &ground(&[], &["10.1.0.0/24"]), &gateway);
        check(
            &named,
            &ground(&["10.1.2.0/24"], &[]),
            &expect![[r#"
                invalid pool request: Pool overlaps with other one on this address space: 10.1.0.0/16 overlaps with 10.1.2.0/24 of network of-10.1.2.0/24
            "#]],
        );
        let isolated = BTreeMap::from([(
            "com.docker.network.bridge.gateway_mode_ipv4".to_owned(),
            "isolated".to_owned(),
        )]);
        let isolated = NetworkWish { options: isolated, internal: true, ..named };
        let none = expect![[r#"
            10.1.0.0/16 by None
        "#]];
        check(&isolated, &ground(&[], &[]), &none);
    }
}
