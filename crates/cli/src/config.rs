//! `~/.docker/config.json`: what Docker's users have told their client once and for all.
//!
//! Default formats and detach keys are read here; who somebody is for a registry, in
//! `credentials`.

pub(crate) mod credentials;

use crate::cx::Cx;
use crate::error::Failure;
use credentials::Entry;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
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
    pub(crate) prune_filters: Vec<String>,
}

/// Why nothing can be taken from a file that is there.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("parsing config file ({path}): {source}")]
    Parse { path: PathBuf, source: serde_json::Error },
}

/// The file, for what nobody depends on: one that is of no use is an empty one, with a warning.
pub(crate) fn preferences(cx: &Cx) -> Config {
    find().unwrap_or_else(|error| warned(cx, &error))
}

/// The file, for who somebody is: one that says something that is not understood is an error. One
/// that cannot be read may be nobody's business of ours; that gives a warning.
pub(crate) fn load(cx: &Cx) -> Result<Config, Failure> {
    match find() {
        Ok(config) => Ok(config),
        Err(error @ LoadError::Open { .. }) => Ok(warned(cx, &error)),
        Err(error @ LoadError::Parse { .. }) => Err(Failure::error(error.to_string())),
    }
}

fn warned(cx: &Cx, error: &LoadError) -> Config {
    cx.warn(&format!("WARNING: Error loading config file: {error}"));
    Config::default()
}

fn find() -> Result<Config, LoadError> {
    let directory = std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(directory) = directory.map(PathBuf::from).or_else(home) else {
        return Ok(Config::default());
    };
    read(directory.join("config.json"))
}

/// One that does not exist is an empty one.
fn read(path: PathBuf) -> Result<Config, LoadError> {
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(source) => return Err(LoadError::Open { path, source }),
    };
    match parse(&text) {
        Ok(config) => Ok(Config { path, ..config }),
        Err(source) => Err(LoadError::Parse { path, source }),
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
    fn a_file_that_is_of_no_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(read(path.clone()).unwrap().path, PathBuf::new());
        std::fs::write(&path, "{").unwrap();
        let broken = read(path.clone()).unwrap_err().to_string();
        assert!(broken.starts_with(&format!("parsing config file ({}): ", path.display())));
        // Nobody can read a directory.
        let error = read(dir.path().to_owned()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("open {}: ", dir.path().display())), "{error}");
    }

    #[test]
    fn what_is_said_once_and_for_all_is_read() {
        let config = parse(br#"{"psFormat":"{{.ID}}","detachKeys":"ctrl-x","other":1}"#).unwrap();
        assert_eq!(config.ps_format, "{{.ID}}");
        assert_eq!(config.detach_keys.as_deref(), Some("ctrl-x"));
        assert_eq!(parse(b" \n").unwrap().ps_format, "");
        assert!(parse(b"{").is_err());
    }
}
