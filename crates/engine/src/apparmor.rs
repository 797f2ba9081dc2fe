//! AppArmor profiles: those that the host has loaded, chosen by name.
//!
//! dhow loads none, since policy is compiled by a program of AppArmor's own: a container that names no
//! profile has none.

use std::path::Path;

use model::container::SecuritySpec;

use crate::EngineError;
use crate::container::read_own;

/// Whether the kernel has it turned on.
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// A line for each profile, with its mode behind it.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// What a profile is called that confines nothing.
pub(crate) const UNCONFINED: &str = "unconfined";

/// Refuses a profile that would not be applied.
///
/// # Errors
/// The host has no AppArmor, or not this profile.
pub(crate) fn check(security: &SecuritySpec) -> Result<(), EngineError> {
    let Some(profile) = &security.apparmor else { return Ok(()) };
    let enabled = read_own(Path::new(ENABLED))?.unwrap_or_default();
    if !enabled.starts_with('Y') {
        return Err(EngineError::Invalid(format!(
            "--security-opt apparmor={profile}: AppArmor is not enabled on this host"
        )));
    }
    // Where the list cannot be read, the kernel says so when the profile is applied.
    match read_own(Path::new(LOADED))? {
        Some(list) if !is_loaded(&list, profile) => Err(EngineError::Invalid(format!(
            "--security-opt apparmor={profile}: there is no such profile on this host; \
             load it with apparmor_parser, or use one of {LOADED}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Lines are `name (mode)`.
fn is_loaded(list: &str, profile: &str) -> bool {
    let names = list.lines().filter_map(|line| line.rsplit_once(" (").map(|(name, _)| name));
    profile == UNCONFINED || names.into_iter().any(|name| name == profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_told_by_their_whole_name() {
        let list = "docker-default (enforce)\n/usr/bin/man (complain)\nlsb release (enforce)\n";
        for loaded in ["docker-default", "/usr/bin/man", "lsb release", "unconfined"] {
            assert!(is_loaded(list, loaded), "{loaded}");
        }
        for other in ["docker", "default", "", "docker-default (enforce)"] {
            assert!(!is_loaded(list, other), "{other}");
        }
    }
}
