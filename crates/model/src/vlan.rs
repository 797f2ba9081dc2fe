//! Networks whose containers are on a link of the host's themselves: the options of the drivers `macvlan` and
//! `ipvlan`, and the text of those.
//!
//! Pure. Whether the host has the link is asked elsewhere.

use std::collections::BTreeMap;

use crate::boolean::boolean;
use crate::network::{BadOption, Driver, FAMILIES, LINK_NAME, link_name};

/// The option that names the link of the host's.
pub const PARENT: &str = "parent";
/// The numbers of 802.1Q that are networks'; 0 means none and 4095 is reserved.
const TAGS: std::ops::RangeInclusive<u16> = 1..=4094;

/// What a container's link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// It has a hardware address of its own.
    Macvlan(MacvlanMode),
    /// It shares that of the host's link.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

impl Layer {
    /// Whether a container's link has a hardware address of its own; else it has its parent's.
    #[must_use]
    pub const fn has_own_mac(self) -> bool {
        match self {
            Self::Macvlan(MacvlanMode::Passthru) | Self::Ipvlan(..) => false,
            Self::Macvlan(MacvlanMode::Bridge | MacvlanMode::Vepa | MacvlanMode::Private) => true,
        }
    }
}

/// Who a container reaches through a macvlan link.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum MacvlanMode {
    /// The others on the host's link at once.
    #[default]
    Bridge,
    /// The others if the switch outside sends back what came from there.
    Vepa,
    /// No other on the host's link.
    Private,
    /// It has the host's link alone, and its hardware address.
    Passthru,
}

/// By what an ipvlan link tells packets apart.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum IpvlanMode {
    /// It asks for neighbours itself.
    #[default]
    L2,
    /// The host's routes lead its packets.
    L3,
    /// The same, and the host's firewall sees them.
    L3s,
}

/// Who a container reaches through an ipvlan link.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum IpvlanFlag {
    /// The others on the host's link at once.
    #[default]
    Bridge,
    /// None of them.
    Private,
    /// They, if the switch outside sends back what came from there.
    Vepa,
}

/// The options of the drivers `macvlan` and `ipvlan`, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlanOptions {
    /// The host's link; without one the network is alone on one of its own.
    pub parent: Option<String>,
    /// What links of containers are.
    pub layer: Layer,
}

impl VlanOptions {
    /// Understands options as typed; `None` for a driver that has others.
    ///
    /// # Errors
    /// One is unknown, or its value makes no sense.
    pub fn parse(
        driver: Driver,
        options: &BTreeMap<String, String>,
    ) -> Option<Result<Self, BadOption>> {
        let layer = match driver {
            Driver::Bridge => return None,
            Driver::Macvlan => Layer::Macvlan(MacvlanMode::default()),
            Driver::Ipvlan => Layer::Ipvlan(IpvlanMode::default(), IpvlanFlag::default()),
        };
        let mut parsed = Self { parent: None, layer };
        let set = options.iter().try_for_each(|(key, value)| parsed.set(driver, (key, value)));
        Some(set.map(|()| parsed))
    }

    fn set(&mut self, driver: Driver, (key, value): (&str, &str)) -> Result<(), BadOption> {
        let bad = |why| BadOption::Value { key: key.to_owned(), value: value.to_owned(), why };
        match (key, &mut self.layer) {
            // As where none is named (Docker).
            (PARENT, _) if value.is_empty() => self.parent = None,
            (PARENT, _) if value == "lo" => return Err(bad("loopback is nobody's parent")),
            (PARENT, _) => self.parent = Some(link_name(value).ok_or_else(|| bad(LINK_NAME))?),
            ("macvlan_mode", Layer::Macvlan(mode)) => {
                *mode = match value {
                    "" | "bridge" => MacvlanMode::Bridge,
                    "vepa" => MacvlanMode::Vepa,
                    "private" => MacvlanMode::Private,
                    "passthru" => MacvlanMode::Passthru,
                    _ => return Err(bad("one of bridge, vepa, private and passthru")),
                };
            }
            ("ipvlan_mode", Layer::Ipvlan(mode, _)) => {
                *mode = match value {
                    "" | "l2" => IpvlanMode::L2,
                    "l3" => IpvlanMode::L3,
                    "l3s" => IpvlanMode::L3s,
                    _ => return Err(bad("one of l2, l3 and l3s")),
                };
            }
            ("ipvlan_flag", Layer::Ipvlan(_, flag)) => {
                *flag = match value {
                    "" | "bridge" => IpvlanFlag::Bridge,
                    "private" => IpvlanFlag::Private,
                    "vepa" => IpvlanFlag::Vepa,
                    _ => return Err(bad("one of bridge, private and vepa")),
                };
            }
            // As of a bridge.
            (_, _) if FAMILIES.contains(&key) => {
                boolean(value).ok_or_else(|| bad("invalid syntax"))?;
            }
            (_, _) => return Err(BadOption::Unknown { key: key.to_owned(), driver }),
        }
        Ok(())
    }

    /// Whether another network may have the same link of the host's. The mode of ipvlan is the link's, and who
    /// passes all through has it alone.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.layer.has_own_mac() && other.layer.has_own_mac()
    }
}

/// The link and the number of 802.1Q that a name such as `eth0.50` means.
#[must_use]
pub fn tagged(name: &str) -> Option<(&str, u16)> {
    let (base, tag) = name.split_once('.')?;
    let tag: u16 = tag.parse().ok().filter(|tag| TAGS.contains(tag))?;
    // No `+5` or `05`: the name is looked for as it is written.
    (!base.is_empty() && name == format!("{base}.{tag}")).then_some((base, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: Driver, options: &[(&str, &str)]) -> Result<VlanOptions, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        VlanOptions::parse(driver, &options).unwrap().map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_understood() {
        let plain = parse(Driver::Macvlan, &[]).unwrap();
        assert_eq!(plain, parse(Driver::Macvlan, &[("parent", ""), ("macvlan_mode", "")]).unwrap());
        assert_eq!(plain.layer, Layer::Macvlan(MacvlanMode::Bridge));
        let named = parse(Driver::Macvlan, &[("parent", "eth0.5"), ("macvlan_mode", "vepa")]);
        let layer = Layer::Macvlan(MacvlanMode::Vepa);
        assert_eq!(named, Ok(VlanOptions { parent: Some("eth0.5".to_owned()), layer }));
        let l3s = parse(Driver::Ipvlan, &[("ipvlan_mode", "l3s"), ("ipvlan_flag", "private")]);
        assert_eq!(l3s.unwrap().layer, Layer::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Private));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (driver, key, value, says) in [
            (Driver::Macvlan, "macvlan_mode", "odd", "one of bridge, vepa, private and passthru"),
            (Driver::Macvlan, "parent", "lo", "loopback"),
            (Driver::Macvlan, "parent", "a/b", "invalid interface name"),
            (Driver::Macvlan, "ipvlan_mode", "l2", "the driver macvlan has none of this name"),
            (Driver::Ipvlan, "ipvlan_mode", "l4", "one of l2, l3 and l3s"),
            (Driver::Ipvlan, "ipvlan_flag", "odd", "one of bridge, private and vepa"),
            (Driver::Ipvlan, "macvlan_mode", "bridge", "the driver ipvlan has none of this name"),
        ] {
            let said = parse(driver, &[(key, value)]).unwrap_err();
            assert!(said.contains(says), "{key}={value}: {said}");
        }
    }

    #[test]
    fn a_subinterface_says_its_link_and_its_number() {
        assert_eq!(tagged("eth0.50"), Some(("eth0", 50)));
        assert_eq!(tagged("e.4094"), Some(("e", 4094)));
        for name in ["eth0", "eth0.", ".5", "eth0.0", "eth0.4095", "eth0.05", "eth0.+5", "a.b.5"] {
            assert_eq!(tagged(name), None, "{name}");
        }
    }

    #[test]
    fn who_needs_a_link_alone_shares_it_with_nobody() {
        let of = |driver, options: &[_]| parse(driver, options).unwrap();
        let bridge = of(Driver::Macvlan, &[]);
        let private = of(Driver::Macvlan, &[("macvlan_mode", "private")]);
        let alone = of(Driver::Macvlan, &[("macvlan_mode", "passthru")]);
        let ipvlan = of(Driver::Ipvlan, &[]);
        assert!(bridge.shares(&private));
        assert!(!bridge.shares(&alone) && !alone.shares(&bridge));
        assert!(!bridge.shares(&ipvlan) && !ipvlan.shares(&ipvlan));
    }
}
