//! Image references: Docker's grammar and its normalisation (`debian` is
//! `docker.io/library/debian:latest`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, ParseDigestError};

/// The registry meant when a reference names none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag meant when a reference names none.
pub const DEFAULT_TAG: &str = "latest";
const OFFICIAL_PREFIX: &str = "library/";
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A normalised image reference: always with a domain and a full path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference; the words are Docker's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Anything outside the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper case in the path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// Over 255 bytes of domain and path.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    /// 64 hex digits would be taken for an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// A port that no host can have.
    #[error("invalid reference format: port {0} is not valid")]
    Port(String),
    /// A digest that cannot be verified.
    #[error("invalid reference format: {0}")]
    Digest(#[from] ParseDigestError),
}

impl Reference {
    /// Registry host, with its port if one was given: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository path within the registry: `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `docker.io/library/debian`: domain and path.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// `debian`: the name as people write it.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            Some(_) | None => self.path.clone(),
        }
    }

    /// `debian:latest`: the reference as people write it.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same reference, with `latest` where neither tag nor digest was given.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository at another tag.
    ///
    /// # Errors
    /// The tag is outside `[\w][\w.-]{0,127}`.
    pub fn at_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 64
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(ParseReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        let path = complete_path(domain, path);
        check(domain, &path, tag)?;
        let digest = digest.map(parse_digest).transpose()?;
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

/// The first component is a host if it has a dot, a colon or an upper-case letter, or is
/// `localhost`; else the reference is for the default registry.
fn split_domain(name: &str) -> (&str, &str) {
    let Some((first, rest)) = name.split_once('/') else {
        return (DEFAULT_DOMAIN, name);
    };
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase());
    match first {
        "index.docker.io" => (DEFAULT_DOMAIN, rest),
        _ if is_host => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn complete_path(domain: &str, path: &str) -> String {
    if domain == DEFAULT_DOMAIN && !path.contains('/') && !path.is_empty() {
        format!("{OFFICIAL_PREFIX}{path}")
    } else {
        path.to_owned()
    }
}

fn check(domain: &str, path: &str, tag: Option<&str>) -> Result<(), ParseReferenceError> {
    check_domain(domain)?;
    if path.bytes().any(|b| b.is_ascii_uppercase()) && is_path(&path.to_ascii_lowercase()) {
        return Err(ParseReferenceError::UpperCase(path.to_owned()));
    }
    if !is_path(path) || !tag.is_none_or(is_tag) {
        return Err(ParseReferenceError::Format);
    }
    if domain.len() + 1 + path.len() > NAME_MAX {
        return Err(ParseReferenceError::TooLong);
    }
    Ok(())
}

/// Whether a text can be the domain of a reference: a host's name or address, perhaps with a port.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    check_domain(text).is_ok()
}

/// What a search is for: the registry that the words begin with (`None`: Docker Hub), and the words, as Docker
/// takes them apart.
#[must_use]
pub fn search_term(term: &str) -> (Option<&str>, &str) {
    match term.split_once('/') {
        Some((DEFAULT_DOMAIN | "index.docker.io", words)) => (None, words),
        Some((domain, words)) if domain == "localhost" || domain.contains(['.', ':']) => {
            (Some(domain), words)
        }
        Some(_) | None => (None, term),
    }
}

fn check_domain(domain: &str) -> Result<(), ParseReferenceError> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(bracketed) => {
            let (address, after) = bracketed.split_once(']').ok_or(ParseReferenceError::Format)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| ParseReferenceError::Format)?;
            (None, after.strip_prefix(':').or(if after.is_empty() { None } else { Some("") }))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    if host.is_some_and(|host| !host.split('.').all(is_domain_component)) {
        return Err(ParseReferenceError::Format);
    }
    port.map_or(Ok(()), check_port)
}

fn check_port(port: &str) -> Result<(), ParseReferenceError> {
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseReferenceError::Format);
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(ParseReferenceError::Port(port.to_owned())),
    }
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(|b| plain(*b)) || !bytes.last().is_some_and(|b| plain(*b)) {
        return false;
    }
    bytes.split(|b| plain(*b)).all(|gap| {
        gap.is_empty() || matches!(gap, b"." | b"_" | b"__") || gap.iter().all(|b| *b == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn parse_digest(text: &str) -> Result<Digest, ParseReferenceError> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(ParseDigestError::UnsupportedAlgorithm(name)) => {
            Err(ParseDigestError::UnsupportedAlgorithm(name).into())
        }
        Err(ParseDigestError::NoAlgorithm(_) | ParseDigestError::BadHex(_)) => {
            Err(ParseReferenceError::Format)
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_search_may_name_its_registry() {
        for (term, expected) in [
            ("busybox", (None, "busybox")),
            ("library/busy box", (None, "library/busy box")),
            ("Foo/bar", (None, "Foo/bar")),
            ("docker.io/busybox", (None, "busybox")),
            ("localhost:5000/a/b", (Some("localhost:5000"), "a/b")),
            ("evil.io/my app", (Some("evil.io"), "my app")),
            ("localhost/a", (Some("localhost"), "a")),
        ] {
            assert_eq!(search_term(term), expected);
        }
        for (text, expected) in [
            ("r.io", true),
            ("r.io:5000", true),
            ("[::1]:5", true),
            ("r.io:99999", false),
            ("..", false),
            ("", false),
            ("a/b", false),
        ] {
            assert_eq!(is_domain(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (typed, canonical, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("index.docker.io/a", "docker.io/library/a:latest", "a:latest"),
            ("docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/a/b:t.1", "localhost:5000/a/b:t.1", "localhost:5000/a/b:t.1"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("Host/x", "Host/x:latest", "Host/x:latest"),
            ("a__b/c-d---e.f_g", "docker.io/a__b/c-d---e.f_g:latest", "a__b/c-d---e.f_g:latest"),
        ] {
            let reference = typed.parse::<Reference>().unwrap().with_default_tag();
            assert_eq!(reference.to_string(), canonical, "{typed}");
            assert_eq!(reference.familiar(), familiar, "{typed}");
        }
    }

    #[test]
    fn tag_and_digest_may_stand_together() {
        let text = format!("docker.io/library/a:1@sha256:{HEX}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!((reference.tag(), reference.digest().is_some()), (Some("1"), true));
        assert_eq!(reference.to_string(), text);
    }

    #[test]
    fn bad_references_are_refused_with_dockers_words() {
        let long_tag = format!("a:{}", "t".repeat(129));
        let long_name = "a/".repeat(150) + "b";
        let plain = "invalid reference format";
        for (typed, message) in [
            ("", plain),
            ("-x", plain),
            ("x:", plain),
            ("x:..", plain),
            ("a//b", plain),
            ("a..b", plain),
            ("../a", plain),
            ("a/", plain),
            ("/a", plain),
            (" a", plain),
            ("a b", plain),
            ("a@", plain),
            ("a@sha256:abc", plain),
            ("a___b", plain),
            ("a._b", plain),
            ("é", plain),
            ("a\n", plain),
            (long_tag.as_str(), plain),
            ("a@sha256:../../x", plain),
            ("Bad", "invalid reference format: repository name (library/Bad) must be lowercase"),
            ("localhost:99999/x", "invalid reference format: port 99999 is not valid"),
            ("localhost:0/x", "invalid reference format: port 0 is not valid"),
            (
                HEX,
                &format!(
                    "invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"
                ),
            ),
            (&long_name, "repository name must not be more than 255 characters"),
            (
                "a@md5:d41d8cd98f00b204e9800998ecf8427e",
                "invalid reference format: unsupported digest algorithm \"md5\": only sha256 is supported",
            ),
        ] {
            match typed.parse::<Reference>() {
                Ok(parsed) => panic!("{typed:?} was read as {parsed}"),
                Err(error) => assert_eq!(error.to_string(), message, "{typed:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn printing_a_reference_reads_back(
            domain in "(docker\\.io|localhost|h[a-z]{0,5}\\.example(:[1-9][0-9]{0,3})?)",
            path in "[a-z0-9]{1,8}(/[a-z0-9]+((__|[._]|-{1,3})[a-z0-9]{1,4}){0,2}){0,3}",
            tag in proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}"),
        ) {
            let text = format!("{domain}/{path}{}", tag.map(|t| format!(":{t}")).unwrap_or_default());
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
            prop_assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
            let _ = text.parse::<Reference>();
        }
    }
}
