//! The container's cgroup: made by ourselves or by systemd, and removed again.
//!
//! Also the engine's way to remove one whose shim was killed.

use cgroup::{
    Cgroup, CgroupError, DeviceRules, Hierarchies, Keeper, Limits, Manager, Scope, SystemdError,
    Wished, own_socket,
};
use oci_spec::runtime::Spec;
use runtime::resources::{self, ResourceError};

use crate::protocol::CgroupName;

/// Why a container has no cgroup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// The specification asks for what cgroups do not have.
    #[error(transparent)]
    Resources(#[from] ResourceError),
    /// The kernel refuses.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// systemd does.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The engine has named what systemd does not have.
    #[error(transparent)]
    Scope(#[from] cgroup::BadScope),
}

/// Makes the cgroup. Who keeps its place is let go when the container's own process is in there.
pub(crate) fn make(
    hierarchies: &Hierarchies,
    place: &CgroupName,
    spec: &Spec,
) -> Result<(Cgroup, Option<Keeper>), GroupError> {
    let wished = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    let wished = wished.unwrap_or_default();
    let limits = resources::with_room(resources::limits(&wished)?);
    // Who may make no devices cannot forbid them either; what a container is shown is all that it has.
    let devices = if sys::rootless::is_nested() {
        DeviceRules::unrestricted()
    } else {
        resources::devices(&wished)?
    };
    match &place.slice {
        None => Ok((by_ourselves(hierarchies, place, &limits, &devices)?, None)),
        Some(slice) => {
            let scope = Scope::named(slice, place.name.clone())?;
            let wished = Wished { limits: &limits, devices: &devices, properties: &[] };
            let (cgroup, keeper) = by_systemd(hierarchies, &scope, wished)?;
            Ok((cgroup, Some(keeper)))
        }
    }
}

fn by_ourselves(
    hierarchies: &Hierarchies,
    place: &CgroupName,
    limits: &Limits,
    devices: &DeviceRules,
) -> Result<Cgroup, CgroupError> {
    let CgroupName { parent, name, .. } = place;
    let create = || Cgroup::create(hierarchies, parent, name, limits, devices);
    match create() {
        Err(CgroupError::Exists(_)) => {
            end_stale(hierarchies, parent, name)?;
            create()
        }
        made => made,
    }
}

fn by_systemd(
    hierarchies: &Hierarchies,
    scope: &Scope,
    wished: Wished<'_>,
) -> Result<(Cgroup, Keeper), SystemdError> {
    let mut manager = Manager::connect(&own_socket())?;
    match manager.create(hierarchies, scope, wished) {
        // It may also be one whose end systemd has not seen yet.
        Err(error) if error.is_taken() => {
            let parent = manager.parent(hierarchies, scope)?;
            end_stale(hierarchies, &parent, scope.unit())?;
            manager.end(scope.unit())?;
            manager.create(hierarchies, scope, wished)
        }
        made => made,
    }
}

/// Ends what the container's last shim has left, which was killed. We hold the lock, so whatever is in there is
/// nobody's.
fn end_stale(hierarchies: &Hierarchies, parent: &str, name: &str) -> Result<(), CgroupError> {
    match Cgroup::open(hierarchies, parent, name) {
        Ok(stale) => stale.kill().and_then(|()| stale.remove()),
        Err(CgroupError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes back the room that a container with few tasks was made in.
pub(crate) fn settle(cgroup: &Cgroup, place: &CgroupName, spec: &Spec) -> Result<(), GroupError> {
    let wished = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let limits = wished.map(resources::limits).transpose()?;
    let Some(limits) = limits.and_then(|limits| resources::without_room(&limits)) else {
        return Ok(());
    };
    if place.slice.is_some() {
        Manager::connect(&own_socket())?.update(cgroup, &place.name, &limits)?;
    } else {
        cgroup.update(&limits)?;
    }
    Ok(())
}

/// Removes a cgroup that nobody is in any more, and has systemd forget its scope.
///
/// systemd is not waited for, and may be past speaking to: it sees for itself that nobody is in there, unless
/// the directory goes first.
///
/// # Errors
/// Somebody is in there.
pub fn remove_group(cgroup: &Cgroup, place: &CgroupName) -> Result<(), CgroupError> {
    if place.slice.is_some() {
        let _ = Manager::connect(&own_socket()).and_then(|mut manager| manager.let_go(&place.name));
    }
    cgroup.remove()
}
