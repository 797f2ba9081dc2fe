//! What a container's row holds beside its keys: the wish, what was decided, and what the last
//! start was given.
//!
//! Records outlive the dhow that wrote them. They are read strictly, since what is not understood
//! may be a wish that must not be ignored; how a field is added, `docs/design/store.md` says.

mod salvage;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use jiff::Timestamp;
use model::address::{Cidr, Family};
use model::container::ContainerSpec;
use model::life::StartFailure;
use model::mount::{Mount, MountSource};
use model::port::ContainerPort;
use model::selinux::Labels;
use model::{ImageId, NetworkId};
use net::endpoint::Way;
use serde::{Deserialize, Serialize};

use crate::resolve::Resolved;

/// A container's record, kept as JSON in its row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What the user wishes.
    pub(crate) spec: ContainerSpec,
    /// What will run.
    pub(crate) resolved: Resolved,
    /// The image, if there is one.
    pub(crate) image: Option<ImageId>,
    /// Mounts with every volume named.
    pub(crate) mounts: Vec<NamedMount>,
    /// How far its making and its starts have come.
    pub(crate) progress: Progress,
    /// What SELinux calls it, where it does; the first records had no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<Labels>,
}

/// A mount whose volume has a name by now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedMount {
    /// As decided.
    pub(crate) mount: Mount,
    /// The volume's name, drawn for an anonymous one.
    pub(crate) volume: Option<String>,
    /// The image that is mounted; only mounts of images have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<ImageId>,
    /// Whether the volume still has to be filled from the image: an update has added it and was cut
    /// short. Those of the first records are filled.
    #[serde(default, skip_serializing_if = "Filling::is_done")]
    pub(crate) filling: Filling,
}

/// Whether a volume has what the image has at its place, if it is to have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Filling {
    /// It has.
    #[default]
    Done,
    /// The next start sees to it.
    Due,
}

impl Filling {
    fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

impl NamedMount {
    /// Whether the volume's name was drawn for this mount. One that the user named is the user's,
    /// however it came to its name.
    pub(crate) const fn is_drawn(&self) -> bool {
        matches!(self.mount.source, MountSource::Volume { name: None, .. })
    }
}

/// How far a container has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// Its volumes are being filled; without a living owner it is garbage.
    Creating,
    /// Never started.
    Ready,
    /// It has been started at least once.
    Started(Box<Start>),
}

/// What one start was given.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// When, taken before the launch: an exit record whose process began earlier belongs to an
    /// earlier run.
    pub(crate) at: Timestamp,
    /// What it has on the default bridge.
    pub(crate) endpoint: Option<Endpoint>,
    /// What an ordinary user's container has when it comes back, while it is where nothing is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<Kept>,
    /// Why this start failed, if it did.
    pub(crate) failed: Option<StartFailure>,
    /// How often its restart policy has started it since somebody did, this time included; records
    /// of before there were policies have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) restarts: u32,
    /// Why the next start by its policy failed; it stays as this run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again_failed: Option<StartFailure>,
    /// By what the kernel knows the user's mounts; what was started by an earlier dhow has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounted: Vec<Mounted>,
    /// Where the init has made a tmpfs that the user wished, whose number nobody has seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<PathBuf>,
    /// The slice in which systemd was asked for its cgroup; nothing if we have made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slice: Option<String>,
    /// The AppArmor profile that its process was given; `None` without AppArmor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) apparmor: Option<String>,
}

/// What a start says of the life that it began.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    /// As [`Start::at`].
    pub(crate) at: Timestamp,
    /// As [`Start::failed`].
    pub(crate) failed: Option<StartFailure>,
}

/// What the program of an ordinary user's container brings as long as it runs, whether it leads anywhere or not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// Where the container reaches the host.
    pub(crate) host4: Option<Ipv4Addr>,
    /// What was published. The ports of the networks' namespace that the program brings it to stay the shim's, or
    /// they would be somebody else's next.
    pub(crate) ports: Vec<PublishedPort>,
}

/// The link address of an [`Endpoint`] that has none that is known here.
pub(crate) const NO_MAC: [u8; 6] = [0; 6];

/// A mount that a start has made, or an update since.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mounted {
    /// Where, as it was asked for.
    pub(crate) target: PathBuf,
    /// Its number in the list of mounts. No other mount has it while this one lives.
    pub(crate) id: u64,
    /// Its number that no other mount will ever have, where the kernel gives such (6.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unique: Option<u64>,
    /// Device and inode of its root, where the kernel does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<(u64, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A container's place on a bridge.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    /// Its address; the unspecified one where the network has no IPv4.
    pub(crate) ipv4: Ipv4Addr,
    /// Its prefix length.
    pub(crate) ipv4_prefix: u8,
    /// The bridge's address.
    pub(crate) gateway4: Ipv4Addr,
    /// Its address, where the host has IPv6.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// Its prefix length.
    pub(crate) ipv6_prefix: u8,
    /// The bridge's address.
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// Its link address, or [`NO_MAC`].
    pub(crate) mac: [u8; 6],
    /// Where it reaches the host, if not at the gateway: an ordinary user's network has none of the host's
    /// there. Records of before there was that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host4: Option<Ipv4Addr>,
    /// What is published.
    pub(crate) ports: Vec<PublishedPort>,
    /// The network; none is the default bridge, which was once the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<JoinedNetwork>,
    /// What its link is called; what was started by an earlier dhow does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<Links>,
    /// The network with the highest is the way out.
    #[serde(default, skip_serializing_if = "is_zero_priority")]
    pub(crate) priority: i64,
    /// By what it leads out.
    #[serde(default, skip_serializing_if = "Out::is_gateway")]
    pub(crate) out: Out,
    /// Its places on other networks, none of which has others: this one is where its ports are published, and
    /// the way out if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<Endpoint>,
}

/// The two sides of a container's link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Links {
    /// In the container, which may call it something else by now.
    pub(crate) inside: String,
    /// On the host; one on a link of the host's own (macvlan, ipvlan) has no side there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
}

/// By what a place leads out, if it does.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Out {
    /// Its gateways.
    #[default]
    Gateway,
    /// The link itself: behind it is a host that routes (`ipvlan_mode` `l3`).
    Link,
}

impl Out {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_gateway(&self) -> bool {
        matches!(self, Self::Gateway)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero_priority(number: &i64) -> bool {
    *number == 0
}

impl Endpoint {
    /// All places of the container.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.beside)
    }

    /// Them as a list, each by itself. The ports stay with the one that they are published at.
    pub(crate) fn into_all(mut self) -> Vec<Self> {
        let beside = std::mem::take(&mut self.beside);
        std::iter::once(self).chain(beside).collect()
    }

    /// What its network is called.
    pub(crate) fn network_name(&self) -> &str {
        self.network.as_ref().map_or(crate::network::BRIDGE, |network| &network.name)
    }

    /// Its address of IPv4, where its network has that.
    pub(crate) fn v4(&self) -> Option<Ipv4Addr> {
        Some(self.ipv4).filter(|ip| !ip.is_unspecified())
    }

    /// What leads out of its network in a family.
    pub(crate) fn way(&self, family: Family) -> Option<Way> {
        let has_family = || self.addresses().iter().any(|cidr| cidr.family() == family);
        match self.out {
            Out::Gateway => self.gateway(family).map(Way::Gateway),
            Out::Link => has_family().then_some(Way::Link(family)),
        }
    }

    /// Whether its link is on one of the host's own, where the host is not reached.
    pub(crate) fn is_on_parent(&self) -> bool {
        self.links.as_ref().is_some_and(|links| links.host.is_none())
    }

    /// The gateway of its network in a family.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => Some(self.gateway4).filter(|ip| !ip.is_unspecified()).map(IpAddr::V4),
            Family::V6 => self.gateway6.map(IpAddr::V6),
        }
    }

    /// Its addresses.
    pub(crate) fn addresses(&self) -> Vec<Cidr> {
        let v4 = self.v4().and_then(|ip| Cidr::new(ip.into(), self.ipv4_prefix).ok());
        let v6 = self.ipv6.and_then(|ip| Cidr::new(ip.into(), self.ipv6_prefix).ok());
        v4.into_iter().chain(v6).collect()
    }
}

/// The network that a start has put a container on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinedNetwork {
    /// Which.
    pub(crate) id: NetworkId,
    /// What it was called.
    pub(crate) name: String,
}

/// Ports of the host that lead to as many of the container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedPort {
    /// Inside, the first.
    pub(crate) container: ContainerPort,
    /// Outside.
    pub(crate) host_ip: std::net::IpAddr,
    /// Outside, the first; 0 where the host does not lead there, and it is reached at the container's own address.
    pub(crate) host_port: u16,
    /// The port of the namespace that an ordinary user's networks are in by which it leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inner: Option<u16>,
    /// How many; once there were no ranges.
    #[serde(default = "one_port", skip_serializing_if = "is_one_port")]
    pub(crate) count: u16,
}

const fn one_port() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one_port(count: &u16) -> bool {
    *count == 1
}

impl PublishedPort {
    /// Each port by itself.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.count).map_while(|index| self.part(index, 1))
    }

    /// Some of them, from the n-th on.
    pub(crate) fn part(&self, index: u16, count: u16) -> Option<Self> {
        let port = self.container.port.checked_add(index)?;
        let container = ContainerPort { port, ..self.container };
        let host_port = match self.host_port {
            0 => 0,
            first => first.checked_add(index)?,
        };
        Some(Self { container, host_port, count, ..*self })
    }

    /// What stays of them without these ports of the container.
    pub(crate) fn without(&self, gone: &std::collections::BTreeSet<ContainerPort>) -> Vec<Self> {
        let first = self.container;
        let last = ContainerPort { port: first.port.saturating_add(self.count - 1), ..first };
        let of_this = gone.iter().filter(|port| {
            port.protocol == first.protocol && (first.port..=last.port).contains(&port.port)
        });
        let (mut parts, mut next) = (Vec::new(), 0);
        for port in of_this {
            let index = port.port - first.port;
            parts.extend(self.part(next, index - next).filter(|part| part.count > 0));
            next = index + 1;
        }
        if next < self.count {
            parts.extend(self.part(next, self.count - next));
        }
        parts
    }
}

impl Record {
    /// The last start, to be changed.
    pub(crate) fn last_start_mut(&mut self) -> Option<&mut Start> {
        match &mut self.progress {
            Progress::Started(start) => Some(start),
            Progress::Creating | Progress::Ready => None,
        }
    }

    /// The AppArmor profile that its processes have, or will have as far as it is known before a start. What an
    /// earlier dhow has started has the one that was asked for.
    pub(crate) fn profile(&self) -> Option<&str> {
        let given = self.last_start().and_then(|start| start.apparmor.as_deref());
        given.or(self.spec.security.apparmor.as_deref())
    }

    /// What the last start says of the life that it began, if there was one.
    pub(crate) fn begun(&self) -> Option<Begun> {
        self.last_start().map(|start| Begun { at: start.at, failed: start.failed.clone() })
    }

    /// The last start, if there was one.
    pub(crate) fn last_start(&self) -> Option<&Start> {
        match &self.progress {
            Progress::Started(start) => Some(start),
            Progress::Creating | Progress::Ready => None,
        }
    }
}

#[cfg(test)]
mod tests {

    use model::ContainerId;
    use model::container::HealthSpec;
    use serde_json::Value;
    use store::ContainerRow;

    use crate::container::{Container, to_json};

    /// A record of the first builds, and never changed: every later dhow reads it.
    const FIRST: &str = include_str!("record/first.json");

    fn read(record: &str) -> Result<Container, String> {
        let row = ContainerRow {
            id: ContainerId::from_random([7; 32]),
            name: "web".parse().unwrap(),
            image: None,
            created_ns: 1,
            auto_remove: false,
            record: record.to_owned(),
        };
        Container::read(row).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_records_are_read() {
        let first = read(FIRST).unwrap().record;
        assert_eq!(first.spec.files.asked, Vec::<String>::new());
        assert_eq!(first.spec.limits.nano_cpus, Some(500_000_000));
        assert_eq!(first.spec.process.health, HealthSpec::FromImage);
        // Nothing else was added or is left out.
        let written: Value = serde_json::from_str(&to_json(&first)).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(FIRST).unwrap());
    }

    /// Maps of names that are the user's.
    const FREE: [&str; 5] = ["labels", "annotations", "options", "tmpfs", "sysctls"];

    /// Every object of a record, each with a field that nobody knows.
    fn strange(record: &Value) -> Vec<(String, Value)> {
        let mut paths = Vec::new();
        walk(record, String::new(), &mut paths);
        let insert = |path: &String| {
            let mut strange = record.clone();
            let object = strange.pointer_mut(path).unwrap().as_object_mut().unwrap();
            object.insert("landlock".to_owned(), true.into());
            (path.clone(), strange)
        };
        paths.iter().map(insert).collect()
    }

    fn walk(value: &Value, path: String, paths: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in
                    fields.iter().filter(|(name, _)| !FREE.contains(&name.as_str()))
                {
                    walk(field, format!("{path}/{name}"), paths);
                }
                paths.push(path);
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(n, item)| walk(item, format!("{path}/{n}"), paths));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn no_part_of_a_record_has_a_field_that_is_passed_over() {
        let strange = strange(&serde_json::from_str(FIRST).unwrap());
        assert!(strange.len() > 20);
        let is_read = |(_, record): &&(String, Value)| read(&record.to_string()).is_ok();
        let passed: Vec<&String> = strange.iter().filter(is_read).map(|(path, _)| path).collect();
        assert_eq!(passed, Vec::<&String>::new());
    }

    #[test]
    fn a_record_that_is_not_understood_is_named_with_its_field() {
        let mut newer: Value = serde_json::from_str(FIRST).unwrap();
        newer["spec"]["security"]["landlock"] = true.into();
        let refused = read(&newer.to_string()).unwrap_err();
        let begin = "the record of container web (070707070707) cannot be read, it may be of a newer dhow: unknown field `landlock`";
        assert!(refused.starts_with(begin), "{refused}");
        let mut older: Value = serde_json::from_str(FIRST).unwrap();
        older["spec"].as_object_mut().unwrap().remove("security");
        let refused = read(&older.to_string()).unwrap_err();
        assert!(refused.contains("container web") && refused.contains("missing field `security`"));
    }
}
