//! What `login` keeps of somebody, and `logout` forgets: with a credential helper, or in the file.

use super::{Config, CredentialHelper, HelperCall, Spoken, TOKEN_USER, UNKNOWN, hostname};
use crate::config::UserConfig;
use crate::error::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_api::json::Tree;
use docker_api::types::images::AuthConfig;
use model::shown::shown;
use serde_json::json;

/// Where credentials are kept in the file.
const AUTHS: &str = "auths";

/// Where somebody's credentials are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// With a helper.
    Helper,
    /// In the file, where whoever reads it reads them.
    File(std::path::PathBuf),
}

impl UserConfig {
    /// Keeps credentials under their `serveraddress`. Helpers are started where that may take its time.
    pub(crate) async fn keep(
        &self,
        auth: &AuthConfig,
        helper: CredentialHelper,
    ) -> Result<Kept, Failure> {
        let config = self.identity()?.clone();
        let key = auth.serveraddress.as_str();
        if config.chosen(key).is_some() {
            let input = secret(auth);
            ask(config, key.to_owned(), ("store", "storing"), (helper, input)).await?;
            // Docker's client finds out by this entry that there is something.
            self.edit(|pairs| put(pairs, key, Tree::Object(Vec::new())))?;
            return Ok(Kept::Helper);
        }
        self.edit(|pairs| put(pairs, key, entry(auth)))?;
        let file = self.directory().map(|directory| directory.join(crate::config::FILE));
        Ok(Kept::File(file.unwrap_or_default()))
    }

    /// Forgets what is kept under a key. `false`: nothing was.
    pub(crate) async fn forget(
        &self,
        key: &str,
        helper: CredentialHelper,
    ) -> Result<bool, Failure> {
        let config = self.identity()?.clone();
        let is_known = config.auths.keys().any(|known| is_same(known, key));
        let has_helper = config.chosen(key).is_some();
        if has_helper {
            let input = key.as_bytes().to_vec();
            ask(config, key.to_owned(), ("erase", "erasing"), (helper, input)).await?;
        }
        if is_known {
            self.edit(|pairs| {
                change_auths(pairs, |all| all.retain(|(known, _)| !is_same(known, key)));
            })?;
        }
        Ok(is_known || has_helper)
    }
}

/// Old files keep registries by their URL.
fn is_same(known: &str, key: &str) -> bool {
    known == key || hostname(known) == hostname(key)
}

/// As helpers take it.
fn secret(auth: &AuthConfig) -> Vec<u8> {
    let (user, secret) = match auth.identitytoken.as_str() {
        "" => (auth.username.as_str(), auth.password.as_str()),
        token => (TOKEN_USER, token),
    };
    json!({ "ServerURL": auth.serveraddress, "Username": user, "Secret": secret })
        .to_string()
        .into_bytes()
}

async fn ask(
    config: Config,
    key: String,
    (verb, doing): (&'static str, &'static str),
    (helper, input): (CredentialHelper, Vec<u8>),
) -> Result<(), Failure> {
    let asked = tokio::task::spawn_blocking(move || {
        let Some(chosen) = config.chosen(&key) else { return Ok(()) };
        let failed = |why: &str| config.helper_failed((doing, &key), chosen, why);
        let call = HelperCall { name: chosen.checked().map_err(failed)?, verb, input: &input };
        match helper(&call).map_err(|error| failed(&error.to_string()))? {
            Spoken::Answer(_) => Ok(()),
            Spoken::Refusal(bytes) => match String::from_utf8_lossy(&bytes).trim() {
                // What is not there need not be erased.
                UNKNOWN => Ok(()),
                why => Err(failed(&shown(why))),
            },
        }
    });
    asked.await.map_err(|e| Failure::error(e.to_string()))?.map_err(Failure::error)
}

/// An entry of `auths`.
fn entry(auth: &AuthConfig) -> Tree {
    let text = |text: String| Tree::String(text);
    if !auth.identitytoken.is_empty() {
        // The user's name stays beside it, without a password.
        let user = STANDARD.encode(format!("{}:", auth.username));
        return Tree::Object(vec![
            ("auth".to_owned(), text(user)),
            ("identitytoken".to_owned(), text(auth.identitytoken.clone())),
        ]);
    }
    let pair = STANDARD.encode(format!("{}:{}", auth.username, auth.password));
    Tree::Object(vec![("auth".to_owned(), text(pair))])
}

fn put(pairs: &mut Vec<(String, Tree)>, key: &str, entry: Tree) {
    change_auths(pairs, |all| {
        // An old entry would keep an old password in plain text.
        all.retain(|(known, _)| !is_same(known, key));
        all.push((key.to_owned(), entry));
    });
}

/// Changes the entries; something else in their place is nothing that a client could have read.
fn change_auths(pairs: &mut Vec<(String, Tree)>, change: impl FnOnce(&mut Vec<(String, Tree)>)) {
    let place = pairs.iter().position(|(name, _)| name == AUTHS);
    let mut entries = match place.map(|place| pairs.remove(place).1) {
        Some(Tree::Object(entries)) => entries,
        _ => Vec::new(),
    };
    change(&mut entries);
    let place = place.unwrap_or(pairs.len());
    pairs.insert(place, (AUTHS.to_owned(), Tree::Object(entries)));
}

#[cfg(test)]
mod tests {
    use super::super::HelperError;
    use super::*;

    fn auth(user: &str, password: &str) -> AuthConfig {
        AuthConfig {
            username: user.to_owned(),
            password: password.to_owned(),
            serveraddress: "r.io".to_owned(),
            ..AuthConfig::default()
        }
    }

    fn none(_: &HelperCall<'_>) -> Result<Spoken, HelperError> {
        Err(HelperError::Failed("not to be asked".to_owned()))
    }

    fn helpful(call: &HelperCall<'_>) -> Result<Spoken, HelperError> {
        let input = String::from_utf8_lossy(call.input);
        match (call.verb, input.as_ref()) {
            ("store", r#"{"Secret":"p","ServerURL":"r.io","Username":"u"}"#)
            | ("erase", "r.io") => Ok(Spoken::Answer(Vec::new())),
            _ => Ok(Spoken::Refusal(format!("{} {input}", call.verb).into_bytes())),
        }
    }

    /// A directory with this file.
    fn user(text: &str) -> (tempfile::TempDir, UserConfig) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let user = UserConfig::new(Some(dir.path().to_owned()));
        (dir, user)
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn text(dir: &tempfile::TempDir) -> serde_json::Value {
        let text = std::fs::read(dir.path().join("config.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn without_a_helper_the_file_keeps_and_forgets() {
        let (dir, user) = user(r#"{"x":1,"auths":{"a.io":{"auth":"YTpi"},"r.io":{"auth":"old"}}}"#);
        let kept = block(user.keep(&auth("u", "p"), none)).unwrap();
        assert_eq!(kept, Kept::File(dir.path().join("config.json")));
        let expected =
            json!({ "x": 1, "auths": { "a.io": { "auth": "YTpi" }, "r.io": { "auth": "dTpw" } } });
        assert_eq!(text(&dir), expected);
        let again = UserConfig::new(Some(dir.path().to_owned()));
        assert!(block(again.forget("r.io", none)).unwrap());
        assert_eq!(text(&dir), json!({ "x": 1, "auths": { "a.io": { "auth": "YTpi" } } }));
        assert!(!block(again.forget("other.io", none)).unwrap());
    }

    #[test]
    fn a_helper_keeps_what_the_file_must_not_have() {
        let (dir, user) = user(r#"{"credsStore":"h"}"#);
        assert_eq!(block(user.keep(&auth("u", "p"), helpful)).unwrap(), Kept::Helper);
        assert_eq!(text(&dir)["auths"], json!({ "r.io": {} }));
        let told = block(user.keep(&auth("u", "wrong"), helpful)).unwrap_err().message.unwrap();
        assert!(
            told.contains("error storing credentials for r.io from docker-credential-h"),
            "{told}"
        );
        assert!(block(user.forget("r.io", helpful)).unwrap());
    }

    #[test]
    fn a_token_is_kept_as_a_token() {
        let token = AuthConfig { identitytoken: "t".to_owned(), ..auth("u", "") };
        let (dir, user) = user("");
        block(user.keep(&token, none)).unwrap();
        assert_eq!(text(&dir)["auths"]["r.io"], json!({ "auth": "dTo=", "identitytoken": "t" }));
        let told = String::from_utf8(secret(&token)).unwrap();
        assert_eq!(told, r#"{"Secret":"t","ServerURL":"r.io","Username":"<token>"}"#);
    }
}
