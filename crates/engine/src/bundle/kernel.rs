//! What a container has of the kernel: its namespaces, whose users they have, its parameters.

use std::collections::HashMap;

use model::container::{ContainerSpec, NamespaceSpec, NetworkMode};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType,
};
use sys::userns::IdMap;

/// Users and groups of a user namespace, which are the same.
pub(super) fn id_maps(users: Option<IdMap>) -> Result<Vec<LinuxIdMapping>, OciSpecError> {
    let map = |map: IdMap| {
        let builder = LinuxIdMappingBuilder::default().container_id(0_u32);
        builder.host_id(map.first).size(map.count).build()
    };
    users.map(map).into_iter().collect()
}

/// Those of other containers are among them: their descriptors come along and take precedence.
pub(super) fn namespaces(
    wished: &ContainerSpec,
    users: Option<IdMap>,
) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let security = &wished.security;
    let named = [
        (LinuxNamespaceType::Pid, &security.pid),
        (LinuxNamespaceType::Ipc, &security.ipc),
        (LinuxNamespaceType::Uts, &security.uts),
        (LinuxNamespaceType::Cgroup, &security.cgroup),
    ];
    let mut kinds = vec![LinuxNamespaceType::Mount];
    kinds.extend(users.map(|_| LinuxNamespaceType::User));
    kinds.extend(
        named.into_iter().filter(|(_, from)| **from != NamespaceSpec::Host).map(|(kind, _)| kind),
    );
    if wished.network.mode != NetworkMode::Host {
        kinds.push(LinuxNamespaceType::Network);
    }
    kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build()).collect()
}

/// Docker lets every user of a container that has its own network use low ports and ping.
const NETWORK_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// `groups` is how many the network's owner has, if not all that there are.
pub(super) fn sysctls(wished: &ContainerSpec, groups: Option<u32>) -> HashMap<String, String> {
    let own_network = matches!(
        wished.network.mode,
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Named(_)
    );
    let defaults = NETWORK_SYSCTLS.iter().filter(|_| own_network);
    let mut all: HashMap<String, String> =
        defaults.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    // The kernel takes groups that there are.
    if let (Some(count), true) = (groups, own_network) {
        let groups = format!("0 {}", count.saturating_sub(1));
        all.insert("net.ipv4.ping_group_range".to_owned(), groups);
    }
    all.extend(wished.security.sysctls.clone());
    all
}
