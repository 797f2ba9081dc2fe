//! What a container sees of networks: which it is on, what it asks of each, its ports and names.

use serde::{Deserialize, Serialize};

use crate::id::NameOrId;
use crate::network::Attachment;
use crate::port::{ContainerPort, PortBinding};

/// What a container sees of networks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Which network.
    pub mode: NetworkMode,
    /// `None`: the short id, or the host's on the host's network.
    pub hostname: Option<String>,
    /// Appended to the hostname in `/etc/hosts`.
    pub domainname: Option<String>,
    /// Ports that the image or user names without publishing them.
    #[serde(with = "crate::port::runs::exposed")]
    pub exposed: Vec<ContainerPort>,
    /// `-p`
    #[serde(with = "crate::port::runs::bindings")]
    pub published: Vec<PortBinding>,
    /// `-P`: every exposed port at a random host port.
    pub publish_all: bool,
    /// `--dns`
    pub dns: Vec<std::net::IpAddr>,
    /// `--dns-option`
    pub dns_options: Vec<String>,
    /// `--dns-search`
    pub dns_search: Vec<String>,
    /// `--add-host`: `name:address`, where the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    /// `--mac-address`
    pub mac_address: Option<[u8; 6]>,
    /// What it asks of the network that its mode names, and the others that it is on; in the first records
    /// there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Whether it is on the network that its mode names; in the first records it always was.
    #[serde(default, skip_serializing_if = "Membership::is_kept")]
    pub membership: Membership,
}

/// Whether a container is on the network that its mode names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Membership {
    /// It is.
    #[default]
    Kept,
    /// It was disconnected.
    Left,
}

impl Membership {
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

impl NetworkSpec {
    /// The networks that it is to be on, each with what it asks there: that of its mode first, then by name.
    /// None if it has no network of its own.
    #[must_use]
    pub fn places(&self) -> Vec<Attachment> {
        let own = self.mode.network();
        let is_own = |place: &&Attachment| own.is_some_and(|own| is_same(own, &place.network));
        let mut places: Vec<Attachment> =
            self.attachments.iter().filter(|place| !is_own(place)).cloned().collect();
        places.sort_by(|a, b| a.network.cmp(&b.network));
        if let Some(own) = own.filter(|_| self.membership == Membership::Kept) {
            let asked = self.attachments.iter().find(is_own).cloned();
            let mut first = asked.unwrap_or_else(|| Attachment::of(own));
            // It may have been typed as `default` there.
            first.network = own.to_owned();
            first.mac = first.mac.or(self.mac_address);
            places.insert(0, first);
        }
        places
    }

    /// Puts it on another network, or on that of its mode again.
    pub fn join(&mut self, place: Attachment) {
        if self.mode.network().is_some_and(|own| is_same(own, &place.network)) {
            self.membership = Membership::Kept;
        }
        self.leave_asked(&place.network);
        self.attachments.push(place);
    }

    /// Takes it from a network, by the name that its place has.
    pub fn leave(&mut self, network: &str) {
        if self.mode.network().is_some_and(|own| is_same(own, network)) {
            self.membership = Membership::Left;
        }
        self.leave_asked(network);
    }

    /// Takes what it calls another on the default network away, and says whether there was such a link.
    pub fn unlink(&mut self, alias: &str) -> bool {
        let mut was_there = false;
        let asked = self.attachments.iter_mut();
        for place in asked.filter(|place| is_same(&place.network, "bridge")) {
            let before = place.links.len();
            place.links.retain(|link| link.alias != alias);
            was_there |= place.links.len() < before;
        }
        was_there
    }

    fn leave_asked(&mut self, network: &str) {
        self.attachments.retain(|place| !is_same(&place.network, network));
    }
}

/// Whether two names mean the same network whatever there is; ids are another matter.
fn is_same(one: &str, other: &str) -> bool {
    let default = |name: &str| matches!(name, "default" | "bridge");
    one == other || (default(one) && default(other))
}

/// Which network a container is on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The default bridge.
    Bridge,
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
    /// Another container's.
    Container(NameOrIdText),
    /// A network by name or id.
    Named(String),
}

impl NetworkMode {
    /// The network that it names, if a container can be on it and on others.
    #[must_use]
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some("bridge"),
            Self::Named(name) => Some(name),
            Self::Host | Self::None | Self::Container(_) => None,
        }
    }
}

/// A name or id as typed, kept in a specification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameOrIdText(pub String);

impl NameOrIdText {
    /// For a look-up.
    #[must_use]
    pub fn name_or_id(&self) -> NameOrId {
        NameOrId::new(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Link;

    fn spec(mode: NetworkMode) -> NetworkSpec {
        NetworkSpec {
            mode,
            hostname: None,
            domainname: None,
            exposed: Vec::new(),
            published: Vec::new(),
            publish_all: false,
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: Vec::new(),
            mac_address: Some([2; 6]),
            attachments: Vec::new(),
            membership: Membership::Kept,
        }
    }

    fn names(spec: &NetworkSpec) -> String {
        spec.places().iter().map(|place| place.network.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_container_joins_and_leaves_networks() {
        let mut one = spec(NetworkMode::Named("m".to_owned()));
        for network in ["z", "a"] {
            one.join(Attachment::of(network));
        }
        assert_eq!(names(&one), "m a z");
        let macs: Vec<_> = one.places().iter().map(|place| place.mac).collect();
        assert_eq!(macs, [Some([2; 6]), None, None], "it is asked of the first");
        one.leave("m");
        one.leave("z");
        assert_eq!(names(&one), "a");
        one.join(Attachment { priority: 5, ..Attachment::of("m") });
        assert_eq!(names(&one), "m a");
        assert_eq!(one.places()[0].priority, 5);
        assert_eq!(one.places()[0].mac, Some([2; 6]));
    }

    #[test]
    fn links_of_the_default_network_alone_go() {
        let link = |alias: &str| Link { to: "other".to_owned(), alias: alias.to_owned() };
        let mut one = spec(NetworkMode::Bridge);
        for network in ["default", "n"] {
            one.join(Attachment { links: vec![link("a"), link("b")], ..Attachment::of(network) });
        }
        assert!(one.unlink("a"));
        assert!(!one.unlink("a"));
        let links = |at: usize| one.places()[at].links.clone();
        assert_eq!((links(0), links(1)), (vec![link("b")], vec![link("a"), link("b")]));
    }

    #[test]
    fn the_default_network_has_two_names() {
        let mut one = spec(NetworkMode::Bridge);
        one.join(Attachment { priority: 1, ..Attachment::of("default") });
        assert_eq!(one.places().len(), 1);
        assert_eq!(one.places()[0].priority, 1);
        one.leave("bridge");
        assert_eq!(names(&one), "");
        for mode in [NetworkMode::Host, NetworkMode::None] {
            assert_eq!(names(&spec(mode)), "");
        }
    }
}
