//! `~/.docker/config.json`: what Docker's users have told their client once and for all.
//!
//! Read are credentials kept in the file, default formats and detach keys. Credential helpers are
//! programs, and are not run.

use crate::error::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_api::types::images::AuthConfig;
use model::Reference;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The key that Docker Hub's credentials are kept under.
const HUB: &str = "https://index.docker.io/v1/";

/// The parts of the file that are used here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    auths: BTreeMap<String, Entry>,
    pub(crate) ps_format: String,
    pub(crate) images_format: String,
    pub(crate) networks_format: String,
    pub(crate) volumes_format: String,
    pub(crate) stats_format: String,
    pub(crate) detach_keys: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Entry {
    // Secrets do not reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
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
        Ok(text) => parse(&text)
            .map_err(|e| Failure::error(format!("parsing config file ({}): {e}", path.display()))),
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

impl Config {
    /// Credentials for the registry of an image.
    pub(crate) fn auth(&self, image: &Reference) -> Option<AuthConfig> {
        let host = image.domain();
        let key = if host == model::reference::DEFAULT_DOMAIN { HUB } else { host };
        let entry = self.auths.get(key).or_else(|| {
            // Old files keep registries by their URL.
            let same = |known: &&String| hostname(known) == host;
            self.auths.keys().find(same).and_then(|known| self.auths.get(known))
        })?;
        let (username, password) = match decode(&entry.auth) {
            Some(pair) => pair,
            None => (entry.username.clone(), entry.password.clone()),
        };
        Some(AuthConfig {
            username,
            password,
            serveraddress: key.to_owned(),
            identitytoken: entry.identitytoken.clone(),
            registrytoken: entry.registrytoken.clone(),
            ..AuthConfig::default()
        })
    }
}

fn hostname(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or(bare)
}

fn decode(auth: &str) -> Option<(String, String)> {
    if auth.is_empty() {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_registry() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpiOmM="},"reg.io:5000":{"username":"u","password":"p"},"https://old.io/v1/":{"identitytoken":"t"}},"psFormat":"{{.ID}}"}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.ps_format, "{{.ID}}");
        let of = |image: &str| config.auth(&image.parse().unwrap());
        let hub = of("debian").unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("a", "b:c"));
        assert_eq!(hub.serveraddress, HUB);
        assert_eq!(of("reg.io:5000/a").unwrap().username, "u");
        assert_eq!(of("old.io/a").unwrap().identitytoken, "t");
        assert!(of("other.io/a").is_none());
        assert!(parse(b" \n").unwrap().auth(&"debian".parse().unwrap()).is_none());
        assert!(parse(b"{").is_err());
    }
}
