//! `--docker` of `context create` and `context update`: a server, in words of `key=value`.

use super::keep::Endpoint;
use crate::argv::hosts::{ClientTls, Target};
use crate::error::os_error;
use crate::parse::csv;
use std::collections::BTreeMap;

/// What can be said about a server.
const KEYS: [&str; 6] = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];

/// Reads the words of all of these flags; files that they name are read at once, and the server of another
/// context is asked of `other`.
pub(crate) fn parse(
    flags: &[String],
    other: impl FnOnce(&str) -> Result<Endpoint, String>,
) -> Result<Endpoint, String> {
    let words = words(flags)?;
    let word = |key: &str| words.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if let Some(name) = word("from") {
        return other(name);
    }
    let file = |key: &str| match word(key) {
        Some(path) => match std::fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(format!("open {path}: {}", os_error(&error))),
        },
        None => Ok(None),
    };
    let skip_tls_verify = match word("skip-tls-verify") {
        None => false,
        Some(text) => model::boolean::boolean(text)
            .ok_or_else(|| format!("skip-tls-verify: {text:?} is neither true nor false"))?,
    };
    let endpoint = Endpoint {
        host: word("host").unwrap_or_default().to_owned(),
        skip_tls_verify,
        tls: [file("ca")?, file("cert")?, file("key")?],
    };
    if !endpoint.host.is_empty() {
        Target::parse(&endpoint.host, Some(ClientTls::default()))?;
    }
    Ok(endpoint)
}

fn words(flags: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut words = BTreeMap::new();
    for flag in flags {
        for pair in csv::fields(flag)? {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("{pair} must be formatted as key=value"))?;
            if !KEYS.contains(&key) {
                return Err(format!(
                    "{key}: unrecognized config key, it is one of {}",
                    KEYS.join(", ")
                ));
            }
            words.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flag: &str) -> Result<Endpoint, String> {
        let other = |name: &str| match name {
            "known" => Ok(Endpoint { host: "unix:///k".to_owned(), ..Endpoint::default() }),
            name => Err(format!("context {name:?}: context not found")),
        };
        parse(&[flag.to_owned()], other)
    }

    #[test]
    fn words_are_read_and_what_is_none_is_named() {
        let endpoint = read("host=tcp://h:1,skip-tls-verify=true").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.skip_tls_verify), ("tcp://h:1", true));
        assert_eq!(read("from=known").unwrap().host, "unix:///k");
        for (flag, want) in [
            ("nonsense", "nonsense must be formatted as key=value"),
            ("port=1", "port: unrecognized config key, it is one of"),
            ("host=zz", "unable to parse docker host `zz`"),
            ("ca=/no/such", "open /no/such: no such file or directory"),
            ("skip-tls-verify=x", "skip-tls-verify: \"x\" is neither"),
            ("from=other", "context \"other\": context not found"),
        ] {
            let refused = read(flag).unwrap_err();
            assert!(refused.starts_with(want), "{refused}");
        }
    }
}
