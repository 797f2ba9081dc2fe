//! `~/.docker/config.json`: what Docker's users have told their client once and for all.
//!
//! Default formats and detach keys are read here; who somebody is for a registry, in
//! `credentials`.

pub(crate) mod credentials;

use crate::error::Failure;
use credentials::Entry;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The parts of the file that are used here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    /// The file; empty if there is none.
    #[serde(skip)]
    path: PathBuf,
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
    pub(crate) ps_format: String,
    pub(crate) images_format: String,
    pub(crate) networks_format: String,
    pub(crate) volumes_format: String,
    pub(crate) stats_format: String,
    pub(crate) detach_keys: Option<String>,
}

/// Reads the file; one that does not exist is an empty one.
pub(crate) fn load() -> Result<Config, Failure> {
    let directory = std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(directory) = directory.map(PathBuf::from).or_else(home) else {
        return Ok(Config::default());
    };
    let path = directory.join("config.json");
    match std::fs::read(&path) {
        Ok(text) => match parse(&text) {
            Ok(config) => Ok(Config { path, ..config }),
            Err(e) => Err(Failure::error(format!("parsing config file ({}): {e}", path.display()))),
        },
        // As for the directory, it may be nobody's business of ours to read it.
        Err(_) => Ok(Config::default()),
    }
}

fn parse(text: &[u8]) -> Result<Config, serde_json::Error> {
    if text.trim_ascii().is_empty() {
        return Ok(Config::default());
    }
    serde_json::from_slice(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_once_and_for_all_is_read() {
        let config = parse(br#"{"psFormat":"{{.ID}}","detachKeys":"ctrl-x","other":1}"#).unwrap();
        assert_eq!(config.ps_format, "{{.ID}}");
        assert_eq!(config.detach_keys.as_deref(), Some("ctrl-x"));
        assert_eq!(parse(b" \n").unwrap().ps_format, "");
        assert!(parse(b"{").is_err());
    }
}
