//! What every process of a container has around it: the first one, and those that `exec` adds.

use oci_spec::runtime::{
    Linux, LinuxIdMapping, LinuxMemoryPolicy, LinuxNamespaceType, LinuxPersonalityDomain,
    MemoryPolicyFlagType, MemoryPolicyModeType,
};
use sys::process::Namespaces;
use sys::userns::{IdMaps, IdRange};

use super::{PlanError, lists};
use crate::step::{Conduct, Groups, MemoryPolicy, Step};

/// What a specification says of all processes of its container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The maps of its user namespace, if it has one.
    pub users: Option<IdMaps>,
    /// Whether its mount namespace is none of its own.
    pub shares_mounts: bool,
    /// What becomes of the supplementary groups of whoever starts a process in it.
    pub(super) groups: Groups,
    /// Its time namespace, or none.
    time: Namespaces,
    personality: Option<u32>,
    memory: Option<MemoryPolicy>,
}

impl Surroundings {
    /// Reads them.
    ///
    /// # Errors
    /// It asks for what there is not.
    pub fn of(linux: &Linux) -> Result<Self, PlanError> {
        let mut namespaces = linux.namespaces().iter().flatten();
        let has_time = namespaces.any(|one| one.typ() == LinuxNamespaceType::Time);
        Ok(Self {
            users: id_maps(linux)?,
            groups: Groups::Dropped,
            shares_mounts: super::shares_mounts(linux),
            time: if has_time { Namespaces::TIME } else { Namespaces::NONE },
            personality: linux.personality().as_ref().map(personality).transpose()?,
            memory: linux.memory_policy().as_ref().map(memory_policy).transpose()?,
        })
    }

    /// The same, with another fate of the groups.
    #[must_use]
    pub fn with_groups(self, groups: Groups) -> Self {
        Self { groups, ..self }
    }

    /// What one enters of it besides what every container has.
    pub(super) fn entered(&self) -> Namespaces {
        let user = if self.users.is_some() { Namespaces::USER } else { Namespaces::NONE };
        self.time | user
    }

    /// What is set for a program.
    pub(super) fn steps(&self) -> Vec<Step> {
        let personality = self.personality.map(Conduct::Personality);
        let memory = self.memory.clone().map(Conduct::MemoryPolicy);
        personality.into_iter().chain(memory).map(Step::Conduct).collect()
    }
}

/// The maps of a container's user namespace.
fn id_maps(linux: &Linux) -> Result<Option<IdMaps>, PlanError> {
    let ranges =
        |maps: &Option<Vec<LinuxIdMapping>>| id_ranges(maps.as_deref().unwrap_or_default());
    let maps = IdMaps { users: ranges(linux.uid_mappings()), groups: ranges(linux.gid_mappings()) };
    match (maps.users.is_empty(), maps.groups.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => return Err(PlanError::Missing("linux.uidMappings")),
        (false, true) => return Err(PlanError::Missing("linux.gidMappings")),
        (false, false) => {}
    }
    // Its root makes the mounts, and enters it for every other process.
    if maps.user(0).is_none() || maps.group(0).is_none() {
        return Err(PlanError::Missing("a mapping of 0 in linux.uidMappings and gidMappings"));
    }
    Ok(Some(maps))
}

/// Ranges as a specification has them.
pub(super) fn id_ranges(mappings: &[LinuxIdMapping]) -> Vec<IdRange> {
    let range = |map: &LinuxIdMapping| IdRange {
        inside: map.container_id(),
        outside: map.host_id(),
        count: map.size(),
    };
    mappings.iter().map(range).collect()
}

fn personality(wished: &oci_spec::runtime::LinuxPersonality) -> Result<u32, PlanError> {
    if wished.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(PlanError::Unsupported("linux.personality.flags"));
    }
    Ok(match wished.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// Numbers of linux/mempolicy.h.
fn memory_policy(wished: &LinuxMemoryPolicy) -> Result<MemoryPolicy, PlanError> {
    let mode = match wished.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = wished.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    });
    let nodes = wished.nodes().as_deref().unwrap_or_default();
    let nodes = lists::numbers("linux.memoryPolicy.nodes", nodes, MOST_NODES)?;
    let mut mask = Vec::new();
    for node in nodes {
        mask.resize(mask.len().max(node / 64 + 1), 0_u64);
        mask[node / 64] |= 1 << (node % 64);
    }
    Ok(MemoryPolicy { mode: flags.fold(mode, |all, flag| all | flag), nodes: mask })
}

/// `MAX_NUMNODES` of the largest kernels.
const MOST_NODES: usize = 1024;
