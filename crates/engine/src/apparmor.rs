//! AppArmor: the profile that a container gets, and dhow's own, which is loaded where it is missing.
//!
//! Policy is compiled by AppArmor's own program. Where that is not installed containers have no profile
//! unless they name one; `info` and `doctor` say so.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use model::container::SecuritySpec;
use sys::helper::{self, Bounds, Helper};
use sys::rootless::find_helper;

use crate::container::{read_own, write_own};
use crate::{Engine, EngineError};

/// Whether the kernel has it turned on.
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// Where its policy is looked at and changed; engines in containers do not see it, and have none.
const POLICY: &str = "/sys/kernel/security/apparmor";
/// A line for each profile, with its mode behind it.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// Which rules exist is fixed by this file, where there is one: later kinds of rules, as of user namespaces, would
/// deny what the profile does not name.
const RULES: &str = "/etc/apparmor.d/abi/3.0";

/// What a profile is called that confines nothing.
const UNCONFINED: &str = "unconfined";
/// The profile of a container that names none.
const DEFAULT: &str = "dhow-default";
/// It, in AppArmor's language.
const PROFILE: &str = include_str!("../data/apparmor.profile");
/// What compiles it.
const COMPILER: &str = "apparmor_parser";
/// How long that may take, and how much it may say.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), output: 1 << 16 };

/// What is to be done about the default profile.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The kernel has it.
    Use,
    /// It is missing, or another dhow's.
    Load(PathBuf),
    /// It is missing, and nobody can load it.
    DoWithout,
}

impl Engine {
    /// The profile of a container that is about to start; `None` without AppArmor, or without a way to load
    /// the default.
    ///
    /// # Errors
    /// The default profile cannot be loaded, though there is what loads it.
    pub(crate) fn profile(&self, security: &SecuritySpec) -> Result<Option<String>, EngineError> {
        let asked = asked(security);
        if let Some(name) = asked.filter(|name| !matches!(*name, DEFAULT | UNCONFINED)) {
            return Ok(Some(name.to_owned()));
        }
        if asked == Some(UNCONFINED) {
            return Ok(is_on()?.then(|| UNCONFINED.to_owned()));
        }
        let is_there = is_on()? && self.load_default()?;
        // Who has named it is not to run without: where it is not, the kernel says so.
        Ok((is_there || asked.is_some()).then(|| DEFAULT.to_owned()))
    }

    /// Sees to it that a profile which a container has been given is there still: whoever reloads the host's
    /// policy may have removed the one that is in none of its files.
    pub(crate) fn keep_profile(&self, name: Option<&str>) -> Result<(), EngineError> {
        match name {
            Some(DEFAULT) => self.load_default().map(drop),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a profile that would not be applied.
    ///
    /// # Errors
    /// The host has no AppArmor, or not this profile.
    pub(crate) fn check_profile(&self, security: &SecuritySpec) -> Result<(), EngineError> {
        let refused = |name: &str, why: &str| {
            Err(EngineError::Invalid(format!("--security-opt apparmor={name}: {why}")))
        };
        let Some(name) = asked(security).filter(|name| *name != UNCONFINED) else { return Ok(()) };
        if !is_enabled()? {
            return refused(name, "AppArmor is not enabled on this host");
        }
        if name == DEFAULT && is_on()? && self.step()? != Step::DoWithout {
            return Ok(());
        }
        // Where the list cannot be read, the kernel says so when the profile is applied.
        match read_own(Path::new(LOADED))? {
            Some(list) if !is_loaded(&list, name) => refused(
                name,
                &format!(
                    "there is no such profile on this host; load it with {COMPILER}, or use one of {LOADED}"
                ),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether containers that name no profile have one; `None` without AppArmor.
    pub(crate) fn default_profile(&self) -> Result<Option<bool>, EngineError> {
        if !is_on()? {
            return Ok(None);
        }
        Ok(Some(self.step()? != Step::DoWithout))
    }

    /// Whether the default profile is there, which is loaded if need be.
    fn load_default(&self) -> Result<bool, EngineError> {
        match self.step()? {
            Step::Use => Ok(true),
            Step::DoWithout => Ok(false),
            Step::Load(compiler) => {
                load(&compiler)?;
                write_own(&self.noted(), PROFILE)?;
                Ok(true)
            }
        }
    }

    fn step(&self) -> Result<Step, EngineError> {
        let list = read_own(Path::new(LOADED))?.unwrap_or_default();
        let noted = read_own(&self.noted())?;
        Ok(step(is_loaded(&list, DEFAULT), noted.as_deref(), || find_helper(COMPILER)))
    }

    /// What this root has loaded since the host has booted: the kernel does not give the text back.
    pub(crate) fn noted(&self) -> PathBuf {
        self.paths().run().join("apparmor")
    }
}

/// What who asks for `info` should know, where containers could have a profile and have none.
pub(crate) fn warning() -> String {
    format!(
        "WARNING: AppArmor is on, but {COMPILER} is not installed: containers have no profile (package apparmor)"
    )
}

fn step(is_loaded: bool, noted: Option<&str>, compiler: impl FnOnce() -> Option<PathBuf>) -> Step {
    if is_loaded && noted == Some(PROFILE) {
        return Step::Use;
    }
    match compiler() {
        Some(compiler) => Step::Load(compiler),
        None if is_loaded => Step::Use,
        None => Step::DoWithout,
    }
}

/// What a container's wish comes to: `None` for the default. Who is privileged is never confined (Docker).
fn asked(security: &SecuritySpec) -> Option<&str> {
    // The first records did not tell an `unconfined` from nothing but in the words that were typed.
    let is_typed = |option: &String| option.strip_prefix("apparmor") == Some("=unconfined");
    if security.privileged
        || (security.apparmor.is_none() && security.security_opt.iter().any(is_typed))
    {
        return Some(UNCONFINED);
    }
    security.apparmor.as_deref()
}

/// Whether containers can have profiles, and this process can load them. In a user namespace the host's are
/// out of reach.
fn is_on() -> Result<bool, EngineError> {
    Ok(is_enabled()? && Path::new(POLICY).exists() && !sys::rootless::is_nested())
}

fn is_enabled() -> Result<bool, EngineError> {
    Ok(read_own(Path::new(ENABLED))?.unwrap_or_default().starts_with('Y'))
}

/// Lines are `name (mode)`.
fn is_loaded(list: &str, profile: &str) -> bool {
    let names = list.lines().filter_map(|line| line.rsplit_once(" (").map(|(name, _)| name));
    profile == UNCONFINED || names.into_iter().any(|name| name == profile)
}

fn load(compiler: &Path) -> Result<(), EngineError> {
    let mut command = helper::command(Helper::AppArmor(compiler));
    command
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .current_dir("/")
        .stderr(Stdio::piped());
    helper::alone(&mut command);
    let rules = if Path::new(RULES).is_file() { "abi <abi/3.0>,\n" } else { "" };
    let ran = helper::run(&mut command, format!("{rules}{PROFILE}").as_bytes(), BOUNDS);
    let said = match ran {
        Ok(ran) if ran.status.success() => return Ok(()),
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
            if said.is_empty() { ran.status.to_string() } else { said }
        }
        Err(error) => error.to_string(),
    };
    Err(EngineError::Invalid(format!(
        "AppArmor is on, but its profile {DEFAULT} cannot be loaded ({}: {said}); --security-opt \
         apparmor=unconfined does without",
        compiler.display()
    )))
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

    #[test]
    fn the_default_is_loaded_once_and_when_it_has_changed() {
        let compiler = || Some(PathBuf::from("/sbin/compiler"));
        let load = || Step::Load(PathBuf::from("/sbin/compiler"));
        assert_eq!(step(true, Some(PROFILE), || panic!("not looked for")), Step::Use);
        assert_eq!(step(false, Some(PROFILE), compiler), load(), "somebody has removed it");
        assert_eq!(step(true, Some("older"), compiler), load());
        assert_eq!(step(true, None, compiler), load());
        assert_eq!(step(true, None, || None), Step::Use, "another's is better than none");
        assert_eq!(step(false, None, || None), Step::DoWithout);
    }

    #[test]
    fn the_profile_has_the_name_that_is_asked_for() {
        assert!(PROFILE.contains(&format!("\nprofile {DEFAULT} ")));
    }
}
