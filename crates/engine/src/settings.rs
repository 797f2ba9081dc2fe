//! What the administrator has settled for the whole engine: `dhow.toml` in the configuration directory.
//!
//! Owns the file's form. Read when something depends on it, so that a change needs no restart of anything. A
//! word that is not known is an error: it may be one that somebody relies on.

use net::nft::Entry;
use serde::Deserialize;

use crate::container::read_own;
use crate::{Engine, EngineError, Paths};

/// The file, in the configuration directory.
const NAME: &str = "dhow.toml";

/// What the file says; nothing if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Who makes the containers' cgroups; by default whoever owns the place.
    pub(crate) cgroup_driver: Option<CgroupDriver>,
    /// Whether the host's rules for its own ports hold for published ones; by default they do not.
    #[serde(default)]
    pub(crate) firewall: HostRules,
}

/// What the host's rules for packets to itself are to what is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostRules {
    /// Nothing, as with Docker: what is published is passed on before they are asked.
    #[default]
    Bypass,
    /// They hold: what they refuse does not reach a published port either.
    Respect,
}

impl HostRules {
    /// What the tables are to do.
    pub(crate) fn entry(self) -> Entry {
        match self {
            Self::Bypass => Entry::Direct,
            Self::Respect => Entry::Admitted,
        }
    }
}

/// Who makes cgroups, in Docker's words (`native.cgroupdriver`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CgroupDriver {
    /// We, by the kernel's files.
    Cgroupfs,
    /// systemd, which is asked for a scope.
    Systemd,
}

impl Engine {
    /// What is settled now.
    pub(crate) fn settings(&self) -> Result<Settings, EngineError> {
        read(self.paths())
    }
}

/// The same without an engine.
pub(crate) fn read(paths: &Paths) -> Result<Settings, EngineError> {
    let path = paths.config().own.join(NAME);
    let Some(text) = read_own(&path)? else { return Ok(Settings::default()) };
    let invalid = |problem| EngineError::Invalid(format!("{}: {problem}", path.display()));
    parse(&text).map_err(invalid)
}

fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled() {
        assert_eq!(parse(""), Ok(Settings::default()));
        let of = |text: &str| parse(text).unwrap().cgroup_driver;
        assert_eq!(of("cgroup-driver = 'systemd'"), Some(CgroupDriver::Systemd));
        assert_eq!(of("# here\ncgroup-driver = \"cgroupfs\"\n"), Some(CgroupDriver::Cgroupfs));
        let rules = |text: &str| parse(text).unwrap().firewall;
        assert_eq!(rules("cgroup-driver = 'systemd'"), HostRules::Bypass);
        assert_eq!(rules("firewall = 'bypass'"), HostRules::Bypass);
        assert_eq!(rules("firewall = 'respect'"), HostRules::Respect);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "cgroup-driver = 'sytemd'",
            "cgroup-drivers = 'systemd'",
            "cgroup-driver",
            "cgroup-driver = 1",
            "firewall = 'off'",
            "firewall = true",
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with("TOML parse error at line 1"), "{problem}");
        }
    }
}
