//! A network that a client wants: its addresses and options are judged here. Pure.

use std::net::IpAddr;

use docker_api::types::Map;
use docker_api::types::networks::{Ipam, IpamConfig, NetworkCreate};
use model::address::{Cidr, Family, Subnet};
use model::boolean::boolean;
use model::network::{
    BadOption, BridgeOptions, Configuration, Driver, FAMILIES, Inside, Ipv4, Ipv6, NetworkWish,
    Pool,
};
use model::vlan::VlanOptions;

use super::text;
use super::{LowerError, Unsupported};

/// Drivers that Docker has and this version does not.
const LATER: [&str; 1] = ["overlay"];

/// A network that cannot be made so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum WishError {
    #[error("invalid network name: {0:?}")]
    Name(String),
    #[error("only one instance of \"{0}\" network is allowed")]
    OnlyOne(String),
    #[error("plugin {0:?} not found")]
    NoDriver(String),
    #[error("invalid network config:\n{0}")]
    Pools(String),
    #[error("bridge driver doesn't support multiple subnets")]
    ManySubnets,
    #[error(
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
    )]
    ConfigurationOperates,
    #[error("a configuration network cannot depend on another configuration network")]
    ConfigurationOfConfiguration,
    #[error(
        "user specified configurations are not supported if the network depends on a configuration network"
    )]
    BesideConfiguration,
    #[error(transparent)]
    Option(#[from] BadOption),
    #[error(transparent)]
    Lower(#[from] LowerError),
}

impl From<Unsupported> for WishError {
    fn from(error: Unsupported) -> Self {
        Self::Lower(error.into())
    }
}

/// Lowers a request for a network.
pub(crate) fn network(request: NetworkCreate) -> Result<NetworkWish, WishError> {
    name(&request.name)?;
    let driver = driver(&request.driver)?;
    let [ipv4, ipv6] = FAMILIES.map(|key| family_option(&request, key));
    let request = NetworkCreate {
        enable_ipv4: request.enable_ipv4.or(ipv4?),
        enable_ipv6: request.enable_ipv6.or(ipv6?),
        ..request
    };
    refuse(&request)?;
    let configuration = configuration(&request)?;
    text::labels(request.labels.as_ref()).map_err(LowerError::from)?;
    let options = request.options.unwrap_or_default();
    check_options(driver, &options, (&configuration, Inside::of(request.internal)))?;
    let configs = request.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    // What a network is made from says so of it.
    let is_own = !matches!(configuration, Configuration::From(_));
    let ipv6 = match request.enable_ipv6.filter(|_| is_own) {
        None => Ipv6::WhereThere,
        Some(true) => Ipv6::On,
        Some(false) => Ipv6::Off,
    };
    let ipv4 = match request.enable_ipv4.filter(|_| is_own) {
        Some(false) => Ipv4::Off,
        Some(true) | None => Ipv4::On,
    };
    let bridge = (driver == Driver::Bridge).then_some(&configuration);
    let mut pools = pools(&configs, (bridge, ipv6))?;
    pools.retain(|pool| ipv4 == Ipv4::On || pool.family() == Family::V6);
    Ok(NetworkWish {
        name: request.name,
        driver,
        ipv4,
        ipv6,
        pools,
        options,
        labels: request.labels.unwrap_or_default(),
        internal: request.internal,
        attachable: request.attachable,
        configuration,
    })
}

/// What an option says of a family (Docker); the field of the request goes before it.
fn family_option(request: &NetworkCreate, key: &str) -> Result<Option<bool>, BadOption> {
    let Some(value) = request.options.as_ref().and_then(|options| options.get(key)) else {
        return Ok(None);
    };
    let (key, value) = (key.to_owned(), value.clone());
    let read = boolean(&value);
    read.map(Some).ok_or(BadOption::Value { key, value, why: "invalid syntax" })
}

/// A name that can be asked for again: `--network` takes a colon and a comma for something else.
fn name(name: &str) -> Result<(), WishError> {
    let strange = |c: char| c.is_control() || matches!(c, '/' | ':' | ',' | '=');
    if name.is_empty() || name.trim() != name || name.len() > 255 || name.contains(strange) {
        return Err(WishError::Name(name.to_owned()));
    }
    Ok(())
}

fn driver(driver: &str) -> Result<Driver, WishError> {
    match driver {
        "" | "default" => Ok(Driver::Bridge),
        "host" | "null" => Err(WishError::OnlyOne(driver.to_owned())),
        later if LATER.contains(&later) => Err(Unsupported::new(format!("driver {later}")).into()),
        other => Driver::of(other).ok_or_else(|| WishError::NoDriver(other.to_owned())),
    }
}

/// A configuration is of no driver: it may be one of any, which is named by what is made from it.
fn check_options(
    driver: Driver,
    options: &Map<String>,
    (configuration, inside): (&Configuration, Inside),
) -> Result<(), BadOption> {
    let judged = |driver| match VlanOptions::parse(driver, options) {
        Some(parsed) => parsed.map(|_| ()),
        None => BridgeOptions::parse(options, inside).map(|_| ()),
    };
    let own = judged(driver);
    let is_only = *configuration == Configuration::Only;
    let others = [Driver::Bridge, Driver::Macvlan, Driver::Ipvlan];
    if is_only && others.into_iter().any(|driver| judged(driver).is_ok()) {
        return Ok(());
    }
    own
}

/// What this version does not have, by name.
fn refuse(request: &NetworkCreate) -> Result<(), Unsupported> {
    let none = Ipam::default();
    let ipam = request.ipam.as_ref().unwrap_or(&none);
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(Unsupported::new(format!("IPAM driver {}", ipam.driver)));
    }
    let asked = [
        ("Scope", !matches!(request.scope.as_str(), "" | "local")),
        ("Ingress", request.ingress),
        (
            "EnableIPv4=false of a configuration",
            request.enable_ipv4 == Some(false) && request.config_only,
        ),
        ("IPAM.Options", ipam.options.as_ref().is_some_and(|options| !options.is_empty())),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(Unsupported::new(*name)),
        None => Ok(()),
    }
}

fn configuration(request: &NetworkCreate) -> Result<Configuration, WishError> {
    let from = request.config_from.as_ref().map_or("", |from| from.network.as_str());
    if request.config_only {
        if request.internal || request.attachable {
            return Err(WishError::ConfigurationOperates);
        }
        if !from.is_empty() {
            return Err(WishError::ConfigurationOfConfiguration);
        }
        return Ok(Configuration::Only);
    }
    if from.is_empty() {
        return Ok(Configuration::Own);
    }
    let has_pools = request.ipam.iter().flat_map(|ipam| &ipam.config).flatten().next().is_some();
    let has_options = request.options.as_ref().is_some_and(|options| !options.is_empty());
    let families = request.enable_ipv6 == Some(true) || request.enable_ipv4 == Some(false);
    if has_pools || has_options || families {
        return Err(WishError::BesideConfiguration);
    }
    Ok(Configuration::From(from.to_owned()))
}

/// One of each family on a bridge; a configuration may be of any driver. Those of a family that the network does not
/// have are passed over (Docker).
fn pools(
    configs: &[IpamConfig],
    (bridge, ipv6): (Option<&Configuration>, Ipv6),
) -> Result<Vec<Pool>, WishError> {
    let mut wrong = Vec::new();
    let mut pools: Vec<Pool> =
        configs.iter().filter_map(|config| pool(config, &mut wrong)).collect();
    if !wrong.is_empty() {
        return Err(WishError::Pools(wrong.join("\n")));
    }
    pools.retain(|pool| ipv6 != Ipv6::Off || pool.family() == Family::V4);
    let of = |family| pools.iter().filter(|pool| pool.family() == family).count();
    let is_one = bridge.is_some_and(|configuration| *configuration != Configuration::Only);
    if is_one && (of(Family::V4) > 1 || of(Family::V6) > 1) {
        return Err(WishError::ManySubnets);
    }
    Ok(pools)
}

/// Reads a pool, and says all that is wrong with it.
fn pool(config: &IpamConfig, wrong: &mut Vec<String>) -> Option<Pool> {
    let typed = &config.subnet;
    let subnet = match prefix("subnet", typed, wrong) {
        Some(subnet) if subnet.prefix() == subnet.family().bits() => {
            wrong.push(format!("invalid subnet {typed}: it has no room for a gateway"));
            return None;
        }
        other => other?,
    };
    let range = range(&config.ip_range, subnet, wrong);
    let gateway = (!config.gateway.is_empty())
        .then(|| address("gateway", &config.gateway, &config.gateway, subnet))
        .and_then(|found| found.map_err(|what| wrong.push(what)).ok());
    let mut others = Map::new();
    for (name, text) in config.auxiliary_addresses.iter().flatten() {
        match address("auxiliary address", name, text, subnet) {
            Ok(address) => drop(others.insert(name.clone(), address)),
            Err(what) => wrong.push(what),
        }
    }
    Some(Pool { subnet, range, gateway, others })
}

/// A subnet without bits behind its prefix.
fn prefix(what: &str, typed: &str, wrong: &mut Vec<String>) -> Option<Subnet> {
    let Ok(cidr) = typed.parse::<Cidr>() else {
        wrong.push(format!("invalid {what} {typed}: invalid CIDR block notation"));
        return None;
    };
    let subnet = cidr.subnet();
    if subnet.first() != cidr.address() {
        wrong.push(format!("invalid {what} {typed}: it should be {subnet}"));
    }
    Some(subnet)
}

fn range(typed: &str, subnet: Subnet, wrong: &mut Vec<String>) -> Option<Subnet> {
    if typed.is_empty() {
        return None;
    }
    let range = prefix("ip-range", typed, wrong)?;
    let why = if range.family() != subnet.family() {
        format!("parent subnet is an {} block", family(subnet))
    } else if range.prefix() < subnet.prefix() {
        format!("CIDR block is bigger than its parent subnet {subnet}")
    } else if !subnet.contains(range.first()) {
        format!("parent subnet {subnet} doesn't contain ip-range")
    } else {
        return Some(range);
    };
    wrong.push(format!("invalid ip-range {typed}: {why}"));
    None
}

fn address(what: &str, name: &str, text: &str, subnet: Subnet) -> Result<IpAddr, String> {
    let bad = |why: String| format!("invalid {what} {name}: {why}");
    let address: IpAddr = text.parse().map_err(|_| bad("invalid address".to_owned()))?;
    if Family::of(address) != subnet.family() {
        return Err(bad(format!("parent subnet is an {} block", family(subnet))));
    }
    if !subnet.contains(address) {
        return Err(bad(format!("parent subnet {subnet} doesn't contain this address")));
    }
    // Docker says that they are in use already.
    if !subnet.is_hosts(address) {
        return Err(bad(
            "no host can have a network's own address, or that of broadcast".to_owned()
        ));
    }
    Ok(address)
}

const fn family(subnet: Subnet) -> &'static str {
    match subnet.family() {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn config(subnet: &str, range: &str, gateway: &str, other: &str) -> IpamConfig {
        let others = (!other.is_empty()).then(|| Map::from([("a".to_owned(), other.to_owned())]));
        IpamConfig {
            subnet: subnet.to_owned(),
            ip_range: range.to_owned(),
            gateway: gateway.to_owned(),
            auxiliary_addresses: others,
        }
    }

    fn request(configs: &[IpamConfig]) -> NetworkCreate {
        let ipam = Ipam { config: Some(configs.to_vec()), ..Ipam::default() };
        NetworkCreate { name: "n".to_owned(), ipam: Some(ipam), ..NetworkCreate::default() }
    }

    fn check(request: NetworkCreate, expected: &Expect) {
        let text = match network(request) {
            Ok(wish) => format!("{:?} {:?}\n", wish.ipv6, wish.configuration),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn all_that_is_wrong_with_a_pool_is_said() {
        check(
            request(&[
                config("10.10.10.0/24", "2001:db8::/32", "2001:db8::1", "2001:db8::1"),
                config("foobar", "", "", ""),
                config("10.10.10.0/24", "10.0.0.0/8", "1001.10.5.3", "dummy"),
                config("10.0.0.0/8", "192.168.0.1/24", "192.168.0.1", "192.168.0.1"),
                config("10.10.10.0/8", "", "", ""),
                config("10.1.1.1/32", "", "", ""),
                config("10.1.0.0/24", "", "10.1.0.0", "10.1.0.255"),
            ]),
            &expect![[r#"
                invalid network config:
                invalid ip-range 2001:db8::/32: parent subnet is an IPv4 block
                invalid gateway 2001:db8::1: parent subnet is an IPv4 block
                invalid auxiliary address a: parent subnet is an IPv4 block
                invalid subnet foobar: invalid CIDR block notation
                invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.10.10.0/24
                invalid gateway 1001.10.5.3: invalid address
                invalid auxiliary address a: invalid address
                invalid ip-range 192.168.0.1/24: it should be 192.168.0.0/24
                invalid ip-range 192.168.0.1/24: parent subnet 10.0.0.0/8 doesn't contain ip-range
                invalid gateway 192.168.0.1: parent subnet 10.0.0.0/8 doesn't contain this address
                invalid auxiliary address a: parent subnet 10.0.0.0/8 doesn't contain this address
                invalid subnet 10.10.10.0/8: it should be 10.0.0.0/8
                invalid subnet 10.1.1.1/32: it has no room for a gateway
                invalid gateway 10.1.0.0: no host can have a network's own address, or that of broadcast
                invalid auxiliary address a: no host can have a network's own address, or that of broadcast
            "#]],
        );
    }

    #[test]
    fn each_family_has_one_pool() {
        let two = [config("10.1.0.0/16", "", "", ""), config("10.2.0.0/16", "", "", "")];
        check(
            request(&two),
            &expect![[r#"
            bridge driver doesn't support multiple subnets
        "#]],
        );
        let both = [config("10.1.0.0/16", "", "", ""), config("fd00::/64", "", "", "")];
        let dual = network(request(&both)).unwrap();
        assert_eq!(dual.pools.len(), 2);
        let off = NetworkCreate { enable_ipv6: Some(false), ..request(&both) };
        assert_eq!(network(off).unwrap().pools.len(), 1);
    }

    #[test]
    fn options_say_what_families_a_network_has_unless_the_request_does() {
        let with = |key: &str, value: &str| {
            let key = format!("com.docker.network.enable_{key}");
            NetworkCreate { options: Some(Map::from([(key, value.to_owned())])), ..request(&[]) }
        };
        assert_eq!(network(with("ipv6", "false")).unwrap().ipv6, Ipv6::Off);
        assert_eq!(network(with("ipv6", "1")).unwrap().ipv6, Ipv6::On);
        assert_eq!(network(with("ipv4", "0")).unwrap().ipv4, Ipv4::Off);
        let asked = NetworkCreate { enable_ipv6: Some(true), ..with("ipv6", "false") };
        assert_eq!(network(asked).unwrap().ipv6, Ipv6::On);
        let vlan = NetworkCreate { driver: "macvlan".to_owned(), ..with("ipv6", "true") };
        assert_eq!(network(vlan).unwrap().ipv6, Ipv6::On);
        let said = network(with("ipv6", "odd")).unwrap_err().to_string();
        assert!(said.contains("enable_ipv6 value: odd (invalid syntax)"), "{said}");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let plain = || request(&[]);
        let none = Some(Map::from([("x".to_owned(), "y".to_owned())]));
        let ipam = Some(Ipam { driver: "null".to_owned(), ..Ipam::default() });
        for (request, says) in [
            (NetworkCreate { name: String::new(), ..plain() }, "invalid network name: \"\""),
            (NetworkCreate { name: "a:b".to_owned(), ..plain() }, "invalid network name: \"a:b\""),
            (
                NetworkCreate { driver: "overlay".to_owned(), ..plain() },
                "not supported yet: driver overlay",
            ),
            (
                NetworkCreate { driver: "host".to_owned(), ..plain() },
                "only one instance of \"host\"",
            ),
            (
                NetworkCreate { driver: "nosuch".to_owned(), ..plain() },
                "plugin \"nosuch\" not found",
            ),
            (NetworkCreate { ingress: true, ..plain() }, "not supported yet: Ingress"),
            (NetworkCreate { scope: "swarm".to_owned(), ..plain() }, "not supported yet: Scope"),
            (
                NetworkCreate { enable_ipv4: Some(false), config_only: true, ..plain() },
                "not supported yet: EnableIPv4=false of a configuration",
            ),
            (NetworkCreate { ipam, ..plain() }, "not supported yet: IPAM driver null"),
            (NetworkCreate { options: none, ..plain() }, "invalid option \"x\""),
        ] {
            let said = network(request).unwrap_err().to_string();
            assert!(said.starts_with(says), "{said}");
        }
    }

    #[test]
    fn options_are_those_of_the_driver() {
        let parent = Some(Map::from([("parent".to_owned(), "eth0".to_owned())]));
        let with = |driver: &str, config_only| NetworkCreate {
            driver: driver.to_owned(),
            options: parent.clone(),
            config_only,
            ..request(&[])
        };
        assert_eq!(network(with("macvlan", false)).unwrap().driver, Driver::Macvlan);
        assert_eq!(network(with("ipvlan", false)).unwrap().driver, Driver::Ipvlan);
        let said = network(with("bridge", false)).unwrap_err().to_string();
        assert!(said.contains("the driver bridge has none of this name"), "{said}");
        // What is made from a configuration says the driver.
        assert!(network(with("", true)).is_ok());
        let two = [config("10.1.0.0/16", "", "", ""), config("10.2.0.0/16", "", "", "")];
        let many = NetworkCreate { driver: "macvlan".to_owned(), ..request(&two) };
        assert_eq!(network(many).unwrap().pools.len(), 2);
        let only = NetworkCreate { config_only: true, ..request(&two) };
        assert_eq!(network(only).unwrap().pools.len(), 2);
    }

    #[test]
    fn a_configuration_stands_alone() {
        let only = NetworkCreate { config_only: true, ..request(&[]) };
        check(
            only.clone(),
            &expect![[r#"
            WhereThere Only
        "#]],
        );
        let operating = NetworkCreate { internal: true, ..only.clone() };
        assert_eq!(network(operating), Err(WishError::ConfigurationOperates));
        let from = docker_api::types::networks::ConfigReference { network: "c".to_owned() };
        let of_another = NetworkCreate { config_from: Some(from.clone()), ..only };
        assert_eq!(network(of_another), Err(WishError::ConfigurationOfConfiguration));
        // Docker's command line sends false where nothing was asked for.
        for enable_ipv6 in [None, Some(false)] {
            let config_from = Some(from.clone());
            check(
                NetworkCreate { config_from, enable_ipv6, ..request(&[]) },
                &expect![[r#"
                WhereThere From("c")
            "#]],
            );
        }
        let config_from = Some(from.clone());
        let asked = NetworkCreate { config_from, enable_ipv6: Some(true), ..request(&[]) };
        assert_eq!(network(asked), Err(WishError::BesideConfiguration));
        let beside = request(&[config("10.1.0.0/16", "", "", "")]);
        let beside = NetworkCreate { config_from: Some(from), ..beside };
        assert_eq!(network(beside), Err(WishError::BesideConfiguration));
    }
}
