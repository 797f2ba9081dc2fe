//! What systemd as a container's first process needs of the host: control groups that it may
//! write to without gaining anything.

use cgroup::Hierarchies;
use model::ContainerId;
use model::container::{NamespaceSpec, SecuritySpec};
use model::systemd::{FirstProcess, OWN_TMPFS, SystemdMode};
use oci_spec::OciSpecError;
use oci_spec::runtime::Mount;

use crate::bundle::mount;
use crate::container::read_own;
use crate::reconcile::hierarchies;
use crate::record::Record;
use crate::resolve::variable_name;
use crate::{Engine, EngineError};

/// Where a container's systemd keeps its units' control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Groups {
    /// In the one hierarchy of version 2.
    Unified,
    /// In the named hierarchy of version 1, which has no controllers: its limits stay out of reach.
    Named,
}

/// What is mounted in a container for its systemd.
pub(crate) const NAMED: &str = "/sys/fs/cgroup/systemd";

/// The name of systemd's hierarchy, as mount(8) has it.
const NAME: &str = "name=systemd";

/// What decides whether a container can lift its own limits by its control group.
const DELEGATES: &str = "nsdelegate";

/// The same for an ordinary user.
const NOT_DELEGATED: &str = "systemd needs a control group for itself, and none is delegated to this process \
     (cgroup v2: systemd-run --user --scope dhow ..., or a user service); --systemd=false starts it as any other program";

/// What systemd would stop at, in the words of who can change it.
const NO_HIERARCHY: &str = "systemd needs a hierarchy of control groups for itself, and this host has none: \
     mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd";

impl Engine {
    /// Where the systemd of a container that starts keeps its control groups; `None` if it has none.
    /// The host's mounts may be others than when the container was made, so they are asked again.
    pub(crate) fn systemd_groups(record: &Record) -> Result<Option<Groups>, EngineError> {
        if record.resolved.first == FirstProcess::Program {
            return Ok(None);
        }
        let groups = groups(&hierarchies()?)?;
        let mode = record.spec.process.systemd;
        let lifts = mode == SystemdMode::Auto && lifts_limits(groups, &own_mounts()?);
        Ok((!lifts).then_some(groups))
    }
}

fn groups(hierarchies: &Hierarchies) -> Result<Groups, EngineError> {
    if !hierarchies.is_delegated() {
        return Err(EngineError::Invalid(NOT_DELEGATED.to_owned()));
    }
    let legacy = hierarchies.legacy();
    if legacy.is_empty() {
        return Ok(Groups::Unified);
    }
    let is_named = legacy.iter().any(|legacy| legacy.options == NAME);
    is_named.then_some(Groups::Named).ok_or_else(|| EngineError::Invalid(NO_HIERARCHY.to_owned()))
}

/// A container that is only told by its command gets no control groups to write to where that would
/// let it lift its own limits: the command may be an image's. What its user should know then.
pub(crate) fn settle(record: &mut Record) -> Result<Option<String>, EngineError> {
    let is_guessed = record.spec.process.systemd == SystemdMode::Auto;
    if record.resolved.first == FirstProcess::Program || !is_guessed {
        return Ok(None);
    }
    let mounts_now = own_mounts()?;
    // Where there are no groups for it, its start says so.
    if !groups(&hierarchies()?).is_ok_and(|groups| lifts_limits(groups, &mounts_now)) {
        return Ok(None);
    }
    record.resolved.first = FirstProcess::Program;
    Ok(Some(
        "The command is systemd's, but the control groups of this host are not mounted with nsdelegate, \
         so the container could lift its own limits. Use --systemd=always to prepare it for systemd all the same."
            .to_owned(),
    ))
}

/// systemd asks these two what it runs in and what the machine is called.
pub(crate) fn tell(mut variables: Vec<String>, id: &ContainerId) -> Vec<String> {
    // A machine's has half of the length of a container's.
    let id = id.to_string();
    let uuid = id.get(..32).unwrap_or_default();
    for variable in ["container=oci".to_owned(), format!("container_uuid={uuid}")] {
        let name = variable_name(&variable);
        if variables.iter().all(|given| variable_name(given) != name) {
            variables.push(variable);
        }
    }
    variables
}

/// systemd writes to the hierarchy of version 2 as a whole, which shows it no more than its own part.
pub(crate) fn writes_cgroups(security: &SecuritySpec, systemd: Option<Groups>) -> bool {
    let by_default = security.privileged
        || systemd == Some(Groups::Unified) && security.cgroup == NamespaceSpec::Private;
    security.writable_cgroups.unwrap_or(by_default)
}

/// What Podman mounts for systemd, each filled with what the image has there.
pub(crate) fn mounts(security: &SecuritySpec, groups: Groups) -> Result<Vec<Mount>, OciSpecError> {
    let is_own = security.cgroup == NamespaceSpec::Private;
    let named = match groups {
        Groups::Named if is_own => {
            let options = ["nosuid", "noexec", "nodev", "rw", "name=systemd"];
            Some(mount("cgroup", "cgroup", NAMED, &options))
        }
        Groups::Named | Groups::Unified => None,
    };
    let tmpfs = OWN_TMPFS.into_iter().map(|(place, mode)| {
        mount("tmpfs", "tmpfs", place, &["nosuid", "nodev", "tmpcopyup", mode])
    });
    named.into_iter().chain(tmpfs).collect()
}

fn own_mounts() -> Result<String, EngineError> {
    Ok(read_own("/proc/self/mounts".as_ref())?.unwrap_or_default())
}

/// Whether who may write to these groups can lift the limits of the container.
fn lifts_limits(groups: Groups, mounts: &str) -> bool {
    groups == Groups::Unified && !delegates(mounts)
}

/// Whether the kernel keeps who is in a control group namespace from changing the limits of its root.
fn delegates(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(2);
        fields.next() == Some("cgroup2")
            && fields.next().is_some_and(|options| options.split(',').any(|o| o == DELEGATES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delegation_is_an_option_of_the_mount() {
        let systemds =
            "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate,memory_recursiveprot 0 0\n";
        assert!(delegates(systemds));
        assert!(!delegates(
            "none /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /nsdelegate tmpfs nsdelegate 0 0\n"
        ));
    }

    #[test]
    fn only_the_one_hierarchy_without_delegation_lifts_limits() {
        let plain = "none /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert!(lifts_limits(Groups::Unified, plain));
        assert!(lifts_limits(Groups::Unified, ""));
        assert!(!lifts_limits(Groups::Unified, "none /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"));
        assert!(!lifts_limits(Groups::Named, plain));
    }
}
