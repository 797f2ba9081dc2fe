//! The names of what this state root has in the kernel.
//!
//! Owns the naming alone, so that what exists can be recognised after any crash.

use model::{ContainerId, NetworkId, RootTag};

use crate::address::LinkName;

/// Hexadecimal digits of the container in the name of its link: 44 bits.
const LINK_DIGITS: usize = 11;
const LINK_PREFIX: &str = "vh";
/// Hexadecimal digits of a network in the name of its bridge.
const BRIDGE_DIGITS: usize = 12;

/// The names that belong to one state root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    bridge: LinkName,
    table: String,
    group: u32,
}

impl Names {
    /// The names of the root with this tag.
    #[must_use]
    pub fn of(tag: &RootTag) -> Self {
        let bridge = match tag.to_string().as_str() {
            "" => "dhow0".to_owned(),
            _ => tag.dashed("dhow"),
        };
        let table = tag.underscored("dhow");
        Self { bridge: LinkName::known(bridge), table, group: tag.link_group() }
    }

    /// The default bridge: `dhow0`, or `dhow-` and the tag.
    #[must_use]
    pub fn bridge(&self) -> &LinkName {
        &self.bridge
    }

    /// The nftables tables, one per family: `dhow`, or `dhow_` and the tag.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The group of this root's links (`IFLA_GROUP`).
    #[must_use]
    pub const fn group(&self) -> u32 {
        self.group
    }

    /// The group that links are moved to in order to be deleted by one request.
    #[must_use]
    pub(crate) const fn doomed_group(&self) -> u32 {
        self.group | 1
    }
}

/// Whether a table of nftables is of a state root, by its name.
pub(crate) fn is_table(name: &str) -> bool {
    name == "dhow" || name.starts_with("dhow_")
}

/// The host's side of a container's link: `vh` and 11 digits of its id.
#[must_use]
pub fn host_link(container: &ContainerId) -> LinkName {
    let digits: String = container.to_string().chars().take(LINK_DIGITS).collect();
    LinkName::known(format!("{LINK_PREFIX}{digits}"))
}

/// The bridge of a network that does not name it: `br-` and 12 digits of its id, as Docker's.
#[must_use]
pub fn network_bridge(network: &NetworkId) -> LinkName {
    let digits: String = network.to_string().chars().take(BRIDGE_DIGITS).collect();
    LinkName::known(format!("br-{digits}"))
}

/// The link that a network of the drivers macvlan and ipvlan is on that names none: `dm-` and 12 digits of its
/// id, as Docker's.
#[must_use]
pub fn network_parent(network: &NetworkId) -> LinkName {
    let digits: String = network.to_string().chars().take(BRIDGE_DIGITS).collect();
    LinkName::known(format!("dm-{digits}"))
}

/// The next name for the same link: while the network namespace of a container's last life is
/// being torn down by the kernel, its link still has the first name.
pub(crate) fn alternative(link: &LinkName, attempt: u8) -> LinkName {
    let base: String = link.as_str().chars().take(14).collect();
    LinkName::known(format!("{base}{}", char::from(b'a' + attempt % 26)))
}

/// Whether a link of this name belongs to the container.
#[must_use]
pub fn is_link_of(name: &str, container: &ContainerId) -> bool {
    name.starts_with(host_link(container).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_derive_from_the_tag() {
        let names = Names::of(&RootTag::DEFAULT);
        assert_eq!((names.bridge().as_str(), names.table()), ("dhow0", "dhow"));
        let other = Names::of(&RootTag::of_path(b"/tmp/x"));
        assert!(other.bridge().as_str().starts_with("dhow-") && other.table().starts_with("dhow_"));
        assert_ne!(other.group(), names.group());
        assert_eq!((names.group() & 1, names.doomed_group() & 1), (0, 1));
    }

    #[test]
    fn a_link_is_recognised_in_all_its_lives() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        let link = host_link(&id);
        assert_eq!(link.as_str(), "vh0123456789a");
        assert_eq!(alternative(&link, 1).as_str(), "vh0123456789ab");
        assert!(is_link_of(alternative(&link, 25).as_str(), &id));
        assert!(!is_link_of("vh1", &id));
    }
}
