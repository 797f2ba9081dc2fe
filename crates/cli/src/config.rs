//! `~/.docker/config.json`: what Docker's users have told their client once and for all.
//!
//! Default formats and detach keys are read here; who somebody is for a registry, in
//! `credentials`; which servers somebody has given a name, in `contexts`.

pub(crate) mod contexts;
pub(crate) mod credentials;

use crate::error::Failure;
use crate::template::json;
use credentials::Entry;
use docker_api::json::Tree;
use serde::Deserialize;
use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The parts of the file that are used here.
#[derive(Clone, Debug, Default, Deserialize)]
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
    pub(crate) current_context: String,
}

/// Why nothing can be taken from a file that is there.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("open {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("parsing config file ({path}): {source}")]
    Parse { path: PathBuf, source: serde_json::Error },
}

/// The user's directory, whose file is read once, when it is first asked for, and told of once.
pub(crate) struct UserConfig {
    directory: Option<PathBuf>,
    file: OnceCell<Result<Config, LoadError>>,
    empty: Config,
    told: Cell<bool>,
}

impl UserConfig {
    /// Without a directory nothing is configured.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        let empty = Config::default();
        Self { directory, file: OnceCell::new(), empty, told: Cell::new(false) }
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    fn file(&self) -> Result<&Config, &LoadError> {
        let read = || match &self.directory {
            Some(directory) => read(directory.join(FILE)),
            None => Ok(Config::default()),
        };
        self.file.get_or_init(read).as_ref()
    }

    /// Whether a credential helper is named. A file that says nothing that is understood names none.
    pub(crate) fn asks_helpers(&self) -> bool {
        self.file().is_ok_and(|file| !file.creds_store.is_empty() || !file.cred_helpers.is_empty())
    }

    /// For what nobody depends on: a file that is of no use is an empty one, with a warning.
    pub(crate) fn preferences(&self) -> &Config {
        self.file().unwrap_or_else(|error| self.warned(error))
    }

    /// For who somebody is: a file that says something that is not understood is an error. One
    /// that cannot be read may be nobody's business of ours; that gives a warning.
    pub(crate) fn identity(&self) -> Result<&Config, Failure> {
        match self.file() {
            Ok(config) => Ok(config),
            Err(error @ LoadError::Open { .. }) => Ok(self.warned(error)),
            Err(LoadError::Parse { .. }) if self.told.get() => {
                Err(Failure::error("the configuration does not say who you are for the registry"))
            }
            Err(error @ LoadError::Parse { .. }) => Err(Failure::error(error.to_string())),
        }
    }

    fn warned(&self, error: &LoadError) -> &Config {
        if !self.told.replace(true) {
            crate::cx::tell(&format!("WARNING: Error loading config file: {error}"));
        }
        &self.empty
    }

    /// Sets a text in the file and leaves everything else in it as it is; an empty one is removed.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        self.edit(|pairs| {
            pairs.retain(|(name, _)| name != key);
            if !value.is_empty() {
                pairs.push((key.to_owned(), Tree::String(value.to_owned())));
            }
        })
    }

    /// Changes the file, of which all else stays as it is.
    fn edit(&self, change: impl FnOnce(&mut Vec<(String, Tree)>)) -> Result<(), Failure> {
        let Some(directory) = &self.directory else {
            return Err(Failure::error("there is no directory for the configuration: set HOME"));
        };
        let path = directory.join(FILE);
        let changed = |text: &[u8]| {
            let tree = if text.trim_ascii().is_empty() { b"{}" } else { text };
            edited(tree, change).map_err(|why| {
                Failure::error(format!("parsing config file ({}): {why}", path.display()))
            })
        };
        let text = match std::fs::read(&path) {
            Ok(text) => changed(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => changed(b"")?,
            Err(error) => return Err(Failure::error(format!("open {}: {error}", path.display()))),
        };
        let written = replace(directory, &path, &text);
        written.map_err(|error| Failure::error(format!("write {}: {error}", path.display())))
    }
}

/// The file's name in its directory.
const FILE: &str = "config.json";

fn edited(text: &[u8], change: impl FnOnce(&mut Vec<(String, Tree)>)) -> Result<String, String> {
    let tree = Tree::parse(text).map_err(|error| error.to_string())?;
    let Tree::Object(mut pairs) = tree else { return Err("it is no object".to_owned()) };
    change(&mut pairs);
    Ok(format!("{}\n", json::indented(&Tree::Object(pairs), 0)))
}

/// Puts a whole file in the place of the old one, or where a link leads to; it may hold secrets.
fn replace(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let fresh = path.with_extension(format!("json{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)
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
    fn one_word_is_changed_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let user = UserConfig::new(Some(dir.path().join("new")));
        user.set("currentContext", "a").unwrap();
        let path = dir.path().join("new/config.json");
        std::fs::write(&path, r#"{"z":1,"currentContext":"a","auths":{}}"#).unwrap();
        user.set("currentContext", "b").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let want = "{\n    \"z\": 1,\n    \"auths\": {},\n    \"currentContext\": \"b\"\n}\n";
        assert_eq!(text, want);
        user.set("currentContext", "").unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains("currentContext"));
        std::fs::write(&path, "{").unwrap();
        assert!(user.set("currentContext", "c").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
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
