//! Who somebody is for a registry: from `DOCKER_AUTH_CONFIG`, from a credential helper, or from
//! `auths` of the configuration file. What `login` keeps is `keep`'s.
//!
//! Helpers are programs, `docker-credential-NAME`; whoever runs the command line starts them. Which
//! one is asked for what, and what its answer means, is decided here, as Docker's client does.

mod keep;

pub(crate) use keep::Kept;

use super::Config;
use crate::error::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_api::types::images::AuthConfig;
use model::shown::shown;
use serde::Deserialize;

/// The key that Docker Hub's credentials are kept under.
const HUB: &str = "https://index.docker.io/v1/";
/// Other names that users give Docker Hub in `credHelpers`.
const HUB_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];
/// What helpers say about a registry that they do not know.
const UNKNOWN: &str = "credentials not found in native keychain";
/// The user's name that stands for an identity token.
const TOKEN_USER: &str = "<token>";

/// Starts `docker-credential-NAME`.
pub type CredentialHelper = fn(&HelperCall<'_>) -> Result<Spoken, HelperError>;

/// What a credential helper is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelperCall<'c> {
    /// Without `docker-credential-`; a file name.
    pub name: &'c str,
    /// `get`, `store`, `erase`
    pub verb: &'c str,
    /// Its standard input.
    pub input: &'c [u8],
}

/// What a helper wrote to its standard output.
#[derive(Clone, PartialEq, Eq)]
pub enum Spoken {
    /// It succeeded.
    Answer(Vec<u8>),
    /// It failed, and said why.
    Refusal(Vec<u8>),
}

impl std::fmt::Debug for Spoken {
    // Secrets do not reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Answer(_) => "Answer",
            Self::Refusal(_) => "Refusal",
        })
    }
}

/// Why a helper said nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// The program is not in `PATH`.
    #[error("it is not in $PATH")]
    Missing,
    /// It did not come to its end.
    #[error("{0}")]
    Failed(String),
}

/// An entry of `auths`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
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

/// What a helper answers to `get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// A helper, and what made it be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chosen<'c> {
    name: &'c str,
    by: &'static str,
}

impl<'c> Chosen<'c> {
    /// It is the end of a program's name.
    fn checked(self) -> Result<&'c str, &'static str> {
        if self.name.contains('/') {
            Err("the name of a helper has no slash")
        } else {
            Ok(self.name)
        }
    }
}

impl Config {
    /// Credentials for a registry, named as references name it; `None` if there are none.
    ///
    /// `environment` is `DOCKER_AUTH_CONFIG`. Helpers are started where that may take its time.
    pub(crate) async fn auth(
        self,
        domain: &str,
        environment: Option<String>,
        helper: CredentialHelper,
    ) -> Result<Option<AuthConfig>, Failure> {
        let key = key(domain).to_owned();
        let asked = tokio::task::spawn_blocking(move || self.ask(&key, environment, helper)).await;
        asked.map_err(|e| Failure::error(e.to_string()))?.map_err(Failure::error)
    }

    fn ask(
        &self,
        key: &str,
        environment: Option<String>,
        helper: CredentialHelper,
    ) -> Result<Option<AuthConfig>, String> {
        if let Some(text) = environment.filter(|text| !text.is_empty()) {
            let config = super::parse(text.as_bytes())
                .map_err(|e| format!("parsing DOCKER_AUTH_CONFIG: {e}"))?;
            if let Some(auth) = config.in_file(key) {
                return Ok(Some(auth));
            }
        }
        match self.chosen(key) {
            Some(chosen) => self.ask_helper(chosen, key, helper),
            None => Ok(self.in_file(key)),
        }
    }

    /// The helper for one registry, else the one for all. An empty name means the file.
    fn chosen(&self, key: &str) -> Option<Chosen<'_>> {
        let names: &[&str] = if key == HUB { &HUB_NAMES } else { &[] };
        let own = [key].iter().chain(names).find_map(|name| self.cred_helpers.get(*name));
        let chosen = match own {
            Some(name) => Chosen { name, by: "credHelpers" },
            None => Chosen { name: &self.creds_store, by: "credsStore" },
        };
        Some(chosen).filter(|chosen| !chosen.name.is_empty())
    }

    fn ask_helper(
        &self,
        chosen: Chosen<'_>,
        key: &str,
        helper: CredentialHelper,
    ) -> Result<Option<AuthConfig>, String> {
        let failed = |why: &str| self.helper_failed(("getting", key), chosen, why);
        let call = HelperCall {
            name: chosen.checked().map_err(failed)?,
            verb: "get",
            input: key.as_bytes(),
        };
        match helper(&call).map_err(|error| failed(&error.to_string()))? {
            Spoken::Answer(bytes) => {
                let answer: Answer = serde_json::from_slice(&bytes)
                    .map_err(|error| failed(&format!("its answer is no JSON: {error}")))?;
                Ok(Some(answer.into_auth(key)))
            }
            Spoken::Refusal(bytes) => match String::from_utf8_lossy(&bytes).trim() {
                UNKNOWN => Ok(None),
                why => Err(failed(&shown(why))),
            },
        }
    }

    /// Names the helper, and who asked for it.
    fn helper_failed(&self, (doing, key): (&str, &str), chosen: Chosen<'_>, why: &str) -> String {
        let Chosen { name, by } = chosen;
        let file = self.path.display();
        format!(
            "error {doing} credentials for {key} from docker-credential-{name}, \
             which {by} in {file} asks for: {why}"
        )
    }

    fn in_file(&self, key: &str) -> Option<AuthConfig> {
        let entry = self.auths.get(key).or_else(|| {
            // Old files keep registries by their URL.
            let host = hostname(key);
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

/// What is kept under a key, whatever the environment says. Helpers are started where that may take its time.
pub(crate) async fn stored(
    config: Config,
    key: String,
    helper: CredentialHelper,
) -> Result<Option<AuthConfig>, Failure> {
    let asked = tokio::task::spawn_blocking(move || config.ask(&key, None, helper)).await;
    asked.map_err(|e| Failure::error(e.to_string()))?.map_err(Failure::error)
}

impl Answer {
    fn into_auth(self, key: &str) -> AuthConfig {
        let serveraddress = key.to_owned();
        if self.username == TOKEN_USER {
            let identitytoken = self.secret;
            return AuthConfig { identitytoken, serveraddress, ..AuthConfig::default() };
        }
        let (username, password) = (self.username, self.secret);
        AuthConfig { username, password, serveraddress, ..AuthConfig::default() }
    }
}

/// What a registry's credentials are kept under.
pub(crate) fn key(domain: &str) -> &str {
    if domain == model::reference::DEFAULT_DOMAIN { HUB } else { domain }
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
mod tests;
