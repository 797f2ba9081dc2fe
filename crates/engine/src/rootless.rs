//! What an ordinary user cannot have: what is refused, and what the user is told that the host lacks.

use std::path::Path;

use cgroup::{Ability, Hierarchies};
use model::container::{ContainerSpec, NetworkMode, UserNamespace};

use crate::EngineError;

/// Where systemd-logind notes whose processes outlive their sessions.
const LINGER: &str = "/var/lib/systemd/linger";

/// Refuses what only root can make.
///
/// # Errors
/// The specification asks for that.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), EngineError> {
    if !sys::rootless::is_member() {
        return Ok(());
    }
    if spec.network.mode == NetworkMode::Bridge && spec.network.mac_address.is_some() {
        return Err(EngineError::Invalid(
            "--mac-address: the default network of an ordinary user has a link address of its own"
                .to_owned(),
        ));
    }
    match spec.security.userns {
        UserNamespace::Host => Ok(()),
        UserNamespace::Auto => Err(EngineError::Invalid(
            "--userns=auto: only root gives containers ids of their own; those of an ordinary user share the \
             user's namespace"
                .to_owned(),
        )),
    }
}

/// Refuses a checkpoint.
///
/// # Errors
/// It is an ordinary user's.
pub(crate) fn check_checkpoint() -> Result<(), EngineError> {
    if sys::rootless::is_member() {
        let why = "checkpoints need root: criu looks into and makes what only root may";
        return Err(EngineError::Invalid(why.to_owned()));
    }
    Ok(())
}

/// What the host lacks, and what that costs.
pub(crate) fn warnings(run: &Path, hierarchies: &Hierarchies) -> Vec<String> {
    if !sys::rootless::is_member() {
        return Vec::new();
    }
    let network = match net::user::Kind::installed() {
        Some(net::user::Kind::Pasta) => None,
        Some(net::user::Kind::Slirp) => Some(
            "WARNING: pasta is not installed: containers use slirp4netns, which is slower and hides who connects \
             (package passt)",
        ),
        None => Some(
            "WARNING: Neither pasta nor slirp4netns is installed: containers have no network of their own (package \
             passt)",
        ),
    };
    let limits = [Ability::Memory, Ability::Pids, Ability::CpuQuota];
    let lacking = limits.into_iter().filter(|ability| !hierarchies.can(*ability)).count();
    let limits = match (hierarchies.is_delegated(), lacking) {
        (true, 0) => None,
        (true, _) => Some(
            "WARNING: systemd delegates not all of the controllers cpu, memory and pids: those limits are discarded \
             (Delegate= of user@.service)",
        ),
        (false, _) => Some(
            "WARNING: No control group is delegated to this process: limits are discarded, containers cannot be \
             paused, stats shows nothing (cgroup v2: systemd-run --user --scope dhow ..., or a user service)",
        ),
    };
    let linger = is_session_bound(run).then_some(
        "WARNING: Containers end with the last session of this user: loginctl enable-linger",
    );
    network.into_iter().chain(limits).chain(linger).map(str::to_owned).collect()
}

/// Whether systemd-logind takes the runtime root away when the user logs out.
fn is_session_bound(run: &Path) -> bool {
    // The namespace's root is the user.
    let Ok(run) = run.strip_prefix("/run/user") else { return false };
    let Some(uid) = run.iter().next().and_then(|uid| uid.to_str()?.parse::<u32>().ok()) else {
        return false;
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = sys::rootless::ids::User::find(uid, uid, &passwd, None);
    Path::new("/run/systemd/system").exists() && !Path::new(LINGER).join(user.to_string()).exists()
}
