//! `--subnet`, `--ip-range`, `--gateway` and `--aux-address` of a network: what belongs together.

use docker_api::types::Map;
use docker_api::types::networks::IpamConfig;
use model::address::{Cidr, Subnet};
use std::net::IpAddr;
use std::str::FromStr;

/// One `--gateway`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressFlag(IpAddr);

impl FromStr for AddressFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("invalid string being converted to IP address: {text}");
        text.trim().parse().map(Self).map_err(bad)
    }
}

/// One `--ip-range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeFlag(Cidr);

impl FromStr for RangeFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("invalid string being converted to CIDR: {text}");
        text.trim().parse().map(Self).map_err(bad)
    }
}

/// Puts each range, gateway and other address to the subnet that it lies in.
pub(crate) fn pools(
    subnets: &[String],
    ranges: &[RangeFlag],
    gateways: &[AddressFlag],
    others: &Map<String>,
) -> Result<Vec<IpamConfig>, String> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<(Subnet, IpamConfig)> = Vec::new();
    for text in subnets {
        let subnet: Subnet =
            text.trim().parse().map_err(|_| format!("invalid CIDR address: {text}"))?;
        if pools.iter().any(|(other, _)| other.overlaps(subnet)) {
            return Err("multiple overlapping subnet configuration is not supported".to_owned());
        }
        pools.push((subnet, IpamConfig { subnet: text.clone(), ..IpamConfig::default() }));
    }
    for RangeFlag(range) in ranges {
        let pool = pool_of(&mut pools, range.address())
            .ok_or(format!("no matching subnet for range {range}"))?;
        once(&mut pool.ip_range, range.to_string(), "ranges", &pool.subnet)?;
    }
    for AddressFlag(gateway) in gateways {
        let none = format!("no matching subnet for gateway {gateway}");
        let pool = pool_of(&mut pools, *gateway).ok_or(none)?;
        once(&mut pool.gateway, gateway.to_string(), "gateways", &pool.subnet)?;
    }
    for (name, text) in others {
        let address = text.parse().map_err(|_| format!("invalid aux-address {name}: {text}"))?;
        let none = format!("no matching subnet for aux-address {text}");
        let pool = pool_of(&mut pools, address).ok_or(none)?;
        pool.auxiliary_addresses.get_or_insert_default().insert(name.clone(), text.clone());
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

fn pool_of(pools: &mut [(Subnet, IpamConfig)], address: IpAddr) -> Option<&mut IpamConfig> {
    let found = pools.iter_mut().find(|(subnet, _)| subnet.contains(address));
    found.map(|(_, pool)| pool)
}

fn once(slot: &mut String, value: String, what: &str, subnet: &str) -> Result<(), String> {
    if !slot.is_empty() {
        let error = format!(
            "cannot configure multiple {what} ({value}, {slot}) on the same subnet ({subnet})"
        );
        return Err(error);
    }
    *slot = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(
        subnets: &[&str],
        ranges: &[&str],
        gateways: &[&str],
        others: &[&str],
        expected: &Expect,
    ) {
        let subnets: Vec<String> = subnets.iter().map(|s| (*s).to_owned()).collect();
        let ranges: Vec<_> = ranges.iter().map(|s| s.parse().unwrap()).collect();
        let gateways: Vec<_> = gateways.iter().map(|s| s.parse().unwrap()).collect();
        let others = others.iter().map(|s| s.split_once('=').unwrap());
        let others = others.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let text = match pools(&subnets, &ranges, &gateways, &others) {
            Ok(pools) => {
                pools.iter().map(|pool| serde_json::to_string(pool).unwrap() + "\n").collect()
            }
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn each_goes_to_its_subnet() {
        check(
            &["10.1.0.0/16", "fd00::/64"],
            &["10.1.5.0/24"],
            &["fd00::1", "10.1.5.1"],
            &["r=10.1.5.2"],
            &expect![[r#"
                {"Subnet":"10.1.0.0/16","IPRange":"10.1.5.0/24","Gateway":"10.1.5.1","AuxiliaryAddresses":{"r":"10.1.5.2"}}
                {"Subnet":"fd00::/64","Gateway":"fd00::1"}
            "#]],
        );
    }

    #[test]
    fn what_belongs_nowhere_is_refused() {
        let alone = expect![[r#"
            every ip-range or gateway must have a corresponding subnet
        "#]];
        check(&[], &[], &["10.1.0.1"], &[], &alone);
        let strange = expect![[r#"
            no matching subnet for gateway 10.2.0.1
        "#]];
        check(&["10.1.0.0/16"], &[], &["10.2.0.1"], &[], &strange);
        let twice = expect![[r#"
            multiple overlapping subnet configuration is not supported
        "#]];
        check(&["10.1.0.0/16", "10.1.2.0/24"], &[], &[], &[], &twice);
        let two = expect![[r#"
            cannot configure multiple gateways (10.1.0.2, 10.1.0.1) on the same subnet (10.1.0.0/16)
        "#]];
        check(&["10.1.0.0/16", "10.2.0.0/16"], &[], &["10.1.0.1", "10.1.0.2"], &[], &two);
        let other = expect![[r#"
            no matching subnet for aux-address 10.9.0.1
        "#]];
        check(&["10.1.0.0/16"], &[], &[], &["a=10.9.0.1"], &other);
    }
}
