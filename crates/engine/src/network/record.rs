//! What a network's row keeps, and what follows from it for the kernel.

use jiff::Timestamp;
use model::NetworkId;
use model::address::{Family, Subnet};
use model::network::{
    BRIDGE_NAME, BridgeOptions, Configuration, Driver, GatewayMode, Inside, Pool,
};
use model::vlan::{PARENT, VlanOptions};
use net::address::{BadLinkName, Cidr, LinkName};
use net::bridge::{self, BridgePlan};
use net::host::Stack;
use net::names::{self, Names};
use net::nft;
use net::parent::{Origin, ParentPlan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::NetworkRow;

use super::error::NetworkError;
use super::{Terms, net_error};
use crate::EngineError;

/// The driver of networks that are only a configuration.
pub(crate) const NULL: &str = "null";

/// What a network's row keeps, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkRecord {
    pub(crate) driver: String,
    pub(crate) created: Timestamp,
    /// What somebody wished; the built-in networks, which were once all there were, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<Made>,
}

/// A network that somebody made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// With their gateways.
    pub(crate) pools: Vec<Pool>,
    /// As typed.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) configuration: Configuration,
    /// What its bridge had that somebody else has made; a bridge of its own has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<FoundBridge>,
}

/// A bridge as it was before a network was put on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoundBridge {
    /// With their prefixes.
    addresses: Vec<String>,
    localnet: bool,
    /// Which one; an earlier dhow has not noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    which: Option<WhichBridge>,
}

/// One link of one start of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichBridge {
    index: u32,
    boot: String,
}

impl From<bridge::Found> for FoundBridge {
    fn from(found: bridge::Found) -> Self {
        let addresses = found.addresses.iter().map(ToString::to_string).collect();
        let which = found.which.map(|bridge::Which { index, boot }| WhichBridge { index, boot });
        Self { addresses, localnet: found.localnet, which }
    }
}

impl FoundBridge {
    /// As it is given back. An address that cannot be read would be taken away with the network's.
    fn as_found(&self, network: &str) -> Result<bridge::Found, NetworkError> {
        let parsed = |text: &String| {
            text.parse().map_err(|_| NetworkError::FoundAddress {
                name: network.to_owned(),
                address: text.clone(),
            })
        };
        let addresses = self.addresses.iter().map(parsed).collect::<Result<_, _>>()?;
        let which = self.which.clone();
        let which = which.map(|WhichBridge { index, boot }| bridge::Which { index, boot });
        Ok(bridge::Found { addresses, localnet: self.localnet, which })
    }
}

/// A network, read.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: NetworkId,
    pub(crate) name: String,
    pub(crate) record: NetworkRecord,
}

/// A network of the driver `bridge` as the kernel should have it.
#[derive(Clone, Debug)]
pub(crate) struct Laid {
    pub(crate) plan: BridgePlan,
    pub(crate) rules: nft::Network,
}

/// What of a network is in another's way: read from its row even if a newer dhow has written it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outline {
    pub(super) name: String,
    pub(super) bridge: LinkName,
    pub(super) subnets: Vec<Subnet>,
    /// The network that is its configuration.
    pub(super) from: Option<String>,
    /// The host's link that it names.
    pub(super) parent: Option<String>,
    /// What it does with that, if it means anything.
    pub(super) vlan: Option<VlanOptions>,
}

/// The part of a record that an outline needs; what else it has is passed over.
#[derive(Deserialize)]
struct Outlined {
    driver: String,
    made: Option<OutlinedMade>,
}

#[derive(Deserialize)]
struct OutlinedMade {
    #[serde(default)]
    pools: Vec<OutlinedPool>,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Deserialize)]
struct OutlinedPool {
    subnet: Subnet,
}

impl Outline {
    /// `None` of one that has no bridge of its own: it is always there, or only a configuration.
    pub(super) fn read(row: &NetworkRow) -> Result<Option<Self>, NetworkError> {
        let bad = |source| NetworkError::Record { name: row.name.clone(), source };
        let outlined: Outlined = serde_json::from_str(&row.record).map_err(bad)?;
        let Some(made) = outlined.made else { return Ok(None) };
        let from = match made.configuration {
            Configuration::Only => return Ok(None),
            Configuration::Own => None,
            Configuration::From(name) => Some(name),
        };
        let named = made.options.get(BRIDGE_NAME).and_then(|name| name.parse().ok());
        let vlan = Driver::of(&outlined.driver)
            .and_then(|driver| VlanOptions::parse(driver, &made.options)?.ok());
        Ok(Some(Self {
            parent: made.options.get(PARENT).filter(|parent| !parent.is_empty()).cloned(),
            vlan,
            name: row.name.clone(),
            bridge: named.unwrap_or_else(|| names::network_bridge(&row.id)),
            subnets: made.pools.into_iter().map(|pool| pool.subnet).collect(),
            from,
        }))
    }
}

impl Known {
    pub(crate) fn read(row: NetworkRow) -> Result<Self, EngineError> {
        let NetworkRow { id, name, record } = row;
        match serde_json::from_str(&record) {
            Ok(record) => Ok(Self { id, name, record }),
            Err(source) => Err(NetworkError::Record { name, source }.into()),
        }
    }

    /// The options of one on a link of the host's own; `None` of any other.
    pub(crate) fn vlan(&self) -> Result<Option<VlanOptions>, NetworkError> {
        let Some(made) = &self.record.made else { return Ok(None) };
        if made.configuration == Configuration::Only {
            return Ok(None);
        }
        let Some(driver) = Driver::of(&self.record.driver) else {
            let (name, driver) = (self.name.clone(), self.record.driver.clone());
            return Err(NetworkError::NoDriver { name, driver });
        };
        Ok(VlanOptions::parse(driver, &made.options).transpose()?)
    }

    /// Whether nothing leads out of it: it is internal, or has no link of the host's to lead out by.
    pub(crate) fn inside(&self) -> Result<Inside, NetworkError> {
        let is_alone = self.vlan()?.is_some_and(|options| options.parent.is_none());
        Ok(Inside::of(is_alone || self.record.made.as_ref().is_some_and(|made| made.internal)))
    }

    /// Whether ports are published there. Containers on a link of the host's have addresses that others reach
    /// (Docker publishes nothing there either).
    pub(crate) fn has_ports(&self) -> Result<bool, NetworkError> {
        Ok(self.vlan()?.is_none() && self.inside()? == Inside::No)
    }

    /// How ports are published there, where they are.
    pub(crate) fn terms(&self, stack: Stack) -> Result<Terms, NetworkError> {
        match (&self.record.made, self.has_ports()?) {
            (Some(made), true) => Ok(Terms::with(stack, Inside::No, &made.bridge_options()?)),
            (None, true) => Ok(Terms::plain(stack)),
            (_, false) => Ok(Terms { inside: Inside::Only, ..Terms::plain(stack) }),
        }
    }

    /// The host's link that the kernel should have for it.
    pub(crate) fn parent(&self, names: &Names) -> Result<Option<ParentPlan>, EngineError> {
        let Some(options) = self.vlan()? else { return Ok(None) };
        let (name, origin) = match &options.parent {
            Some(name) => {
                (name.parse().map_err(|error: BadLinkName| net_error(error))?, Origin::Named)
            }
            None => (names::network_parent(&self.id), Origin::Own),
        };
        Ok(Some(ParentPlan { name, origin, group: names.group() }))
    }

    /// What its bridge had before, if somebody else has made that.
    pub(super) fn found(&self) -> Result<Option<bridge::Found>, NetworkError> {
        let found = self.record.made.as_ref().and_then(|made| made.found.as_ref());
        found.map(|found| found.as_found(&self.name)).transpose()
    }

    /// What the kernel should have of it in these families; nothing of one that has no bridge of its own.
    pub(crate) fn laid(&self, names: &Names, stack: Stack) -> Result<Option<Laid>, EngineError> {
        let Some(made) = &self.record.made else { return Ok(None) };
        if made.configuration == Configuration::Only || self.vlan()?.is_some() {
            return Ok(None);
        }
        let options = made.bridge_options()?;
        let name = match &options.name {
            Some(name) => name.parse().map_err(|error: BadLinkName| net_error(error))?,
            None => names::network_bridge(&self.id),
        };
        let pools = || made.pools.iter().filter(|pool| stack.families().contains(&pool.family()));
        let addresses = pools().filter_map(|pool| bridge_address(pool, &options)).collect();
        Ok(Some(Laid {
            rules: nft::Network {
                bridge: name.clone(),
                subnets: pools().map(|pool| pool.subnet).collect(),
                source: [Family::V4, Family::V6].map(|family| options.source(family)),
                gateways: options.gateways,
                trusted: trusted(&options)?,
                mutual: options.mutual,
                inside: Inside::of(made.internal),
                members: match made.found {
                    Some(_) => nft::Members::Anybody,
                    None => nft::Members::Ours,
                },
            },
            plan: BridgePlan { name, addresses, mtu: options.mtu, group: names.group() },
        }))
    }
}

fn trusted(options: &BridgeOptions) -> Result<Vec<LinkName>, EngineError> {
    let parsed = options.trusted.iter().map(|name| name.parse());
    parsed.collect::<Result<_, BadLinkName>>().map_err(net_error)
}

impl Made {
    pub(crate) fn bridge_options(&self) -> Result<BridgeOptions, NetworkError> {
        Ok(BridgeOptions::parse(&self.options, Inside::of(self.internal))?)
    }
}

/// The bridge's own address, which is the gateway unless somebody else is that.
fn bridge_address(pool: &Pool, options: &BridgeOptions) -> Option<Cidr> {
    let inhibited = pool.family() == Family::V4 && options.inhibit_ipv4;
    let isolated = options.gateway_mode(pool.family()) == GatewayMode::Isolated;
    if inhibited || isolated {
        return None;
    }
    pool.subnet.with(pool.gateway?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// What was written before networks were made is read for ever.
    #[test]
    fn records_of_built_in_networks_are_read() {
        let first = r#"{"driver":"bridge","created":"2026-01-01T00:00:00Z"}"#;
        let record: NetworkRecord = serde_json::from_str(first).unwrap();
        assert_eq!((record.driver.as_str(), &record.made), ("bridge", &None));
        assert_eq!(serde_json::to_string(&record).unwrap(), first);
    }

    /// A newer dhow's network is in the way of others all the same.
    #[test]
    fn what_is_in_the_way_is_read_from_any_record() {
        let outline = |made: &str| {
            let id = NetworkId::from_random([0xab; 32]);
            let record = format!(r#"{{"driver":"bridge","strange":1,"made":{made}}}"#);
            let row = NetworkRow { id, name: "n".to_owned(), record };
            assert!(Known::read(row.clone()).is_err());
            Outline::read(&row).unwrap()
        };
        let plain = outline(r#"{"pools":[{"subnet":"10.1.0.0/24","new":2}],"more":[]}"#).unwrap();
        assert_eq!(plain.bridge.as_str(), "br-abababababab");
        assert_eq!(plain.subnets, ["10.1.0.0/24".parse().unwrap()]);
        let named =
            r#"{"options":{"com.docker.network.bridge.name":"mine"},"configuration":{"From":"c"}}"#;
        let named = outline(named).unwrap();
        assert_eq!((named.bridge.as_str(), named.from.as_deref()), ("mine", Some("c")));
        assert_eq!(outline(r#"{"configuration":"Only"}"#), None);
        assert_eq!(outline("null"), None);
    }

    /// What a bridge had is given back whole, or not at all.
    #[test]
    fn what_a_bridge_had_is_read_whole() {
        let read = |found: &str| {
            let made = format!(
                r#"{{"pools":[],"options":{{}},"labels":{{}},"internal":false,"attachable":false,"configuration":"Own","found":{found}}}"#
            );
            let created = "2026-01-01T00:00:00Z";
            let record = format!(r#"{{"driver":"bridge","created":"{created}","made":{made}}}"#);
            let id = NetworkId::from_random([0xab; 32]);
            Known::read(NetworkRow { id, name: "n".to_owned(), record }).unwrap().found()
        };
        let first = read(r#"{"addresses":["10.9.0.1/24","fd00::1/64"],"localnet":true}"#);
        let first = first.unwrap().unwrap();
        assert_eq!((first.addresses.len(), first.localnet, &first.which), (2, true, &None));
        let which = bridge::Which { index: 7, boot: "b".to_owned() };
        let found = bridge::Found { which: Some(which), ..first };
        let written = serde_json::to_string(&FoundBridge::from(found.clone())).unwrap();
        assert_eq!(read(&written).unwrap(), Some(found));
        let strange = read(r#"{"addresses":["10.9.0.1/24","ten"],"localnet":false}"#);
        let said = strange.unwrap_err().to_string();
        assert!(said.contains("\"ten\"") && said.contains("network n"), "{said}");
    }

    #[test]
    fn the_bridge_follows_from_the_record() {
        let pool = |subnet: &str, gateway: &str| Pool {
            gateway: gateway.parse().ok(),
            ..Pool::of(subnet.parse().unwrap())
        };
        let made = Made {
            pools: vec![pool("10.1.0.0/24", "10.1.0.1"), pool("fd00:1::/64", "fd00:1::1")],
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            internal: false,
            attachable: false,
            configuration: Configuration::Own,
            found: None,
        };
        let id = NetworkId::from_random([0xab; 32]);
        let laid = |made: &Made, stack| {
            let record = NetworkRecord {
                driver: Driver::Bridge.name().to_owned(),
                created: Timestamp::UNIX_EPOCH,
                made: Some(made.clone()),
            };
            let known = Known { id, name: "n".to_owned(), record };
            let laid = known.laid(&Names::of(&model::RootTag::DEFAULT), stack).unwrap();
            laid.map(|Laid { plan, rules }| {
                let addresses: Vec<_> = plan.addresses.iter().map(Cidr::to_string).collect();
                format!("{} {addresses:?} {:?} {:?}\n", plan.name, rules.source, rules.inside)
            })
        };
        let mut said = laid(&made, Stack::Dual).unwrap();
        said += &laid(&made, Stack::V4).unwrap();
        let mut other = Made { internal: true, ..made };
        let options = [
            ("com.docker.network.bridge.name", "mine"),
            ("com.docker.network.bridge.inhibit_ipv4", "1"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
        ];
        other.options = options.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        said += &laid(&other, Stack::Dual).unwrap();
        expect![[r#"
            br-abababababab ["10.1.0.1/24", "fd00:1::1/64"] [Host, Host] No
            br-abababababab ["10.1.0.1/24"] [Host, Host] No
            mine ["fd00:1::1/64"] [Own, Own] Only
        "#]]
        .assert_eq(&said);
        other.configuration = Configuration::Only;
        assert_eq!(laid(&other, Stack::Dual), None);
    }
}
