//! Addresses of HTTP requests: parsed once, joined by the rules for `Location`, printed without
//! what may be secret.

use std::fmt;
use std::net::IpAddr;

/// With or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without.
    Http,
    /// With.
    Https,
}

/// What credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Lower case; an IPv6 address has no brackets.
    pub host: String,
    /// Never 0 in one that is spoken to.
    pub port: u16,
}

/// An absolute address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query.
    pub(crate) target: String,
}

/// The text is no address that dhow goes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not of the form of one.
    #[error("it is no absolute http or https URL")]
    Form,
    /// Neither http nor https.
    #[error("its scheme is {0:?}, only http and https are known")]
    Scheme(String),
    /// A name and password in the address.
    #[error("it carries a user name")]
    UserInfo,
}

impl Scheme {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// As the `Host` header has it: the port only if it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(_)) | Err(_) => self.host.clone(),
        };
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// An address at this origin. `target` begins with a slash.
    pub(crate) fn at(&self, target: String) -> Url {
        Url { origin: self.clone(), target }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.word(), self.authority())
    }
}

impl Url {
    /// Reads an absolute address.
    pub(crate) fn parse(text: &str) -> Result<Self, BadUrl> {
        let uri: http::Uri = text.parse().map_err(|_| BadUrl::Form)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(other) => return Err(BadUrl::Scheme(other.to_owned())),
            None => return Err(BadUrl::Form),
        };
        let authority = uri.authority().ok_or(BadUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(BadUrl::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(BadUrl::Form);
        }
        let port = authority.port_u16().unwrap_or(scheme.port());
        let origin = Origin { scheme, host: host.to_ascii_lowercase(), port };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(origin.at(target.to_owned()))
    }

    /// The address that a `Location` header means here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, BadUrl> {
        let path = self.path();
        let absolute = match location.as_bytes() {
            _ if location.contains("://") && !location.starts_with(['/', '?']) => {
                location.to_owned()
            }
            [b'/', b'/', ..] => format!("{}:{location}", self.origin.scheme.word()),
            [b'/', ..] => format!("{}{location}", self.origin),
            [b'?', ..] => format!("{}{path}{location}", self.origin),
            _ => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{}{folder}/{location}", self.origin)
            }
        };
        Self::parse(&absolute)
    }

    /// Adds to the query; names and values are already encoded.
    pub(crate) fn with_query(&self, query: &str) -> Self {
        let joint = if self.target.contains('?') { '&' } else { '?' };
        self.origin.at(format!("{}{joint}{query}", self.target))
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Without the query: that of a signed URL is a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_read_and_printed_without_their_query() {
        for (typed, printed, target) in [
            ("https://Auth.Example", "https://auth.example/", "/"),
            ("https://a:443/t?service=x", "https://a/t", "/t?service=x"),
            ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/", "/v2/"),
            ("http://a:443/", "http://a:443/", "/"),
        ] {
            assert_eq!(url(typed).to_string(), printed);
            assert_eq!(format!("{:?}", url(typed)), printed);
            assert_eq!(url(typed).target, target);
        }
        for (bad, why) in [
            ("", BadUrl::Form),
            ("/path", BadUrl::Form),
            ("https://", BadUrl::Form),
            ("https:///x", BadUrl::Form),
            ("https://a b/", BadUrl::Form),
            ("ftp://a/", BadUrl::Scheme("ftp".into())),
            ("https://me:secret@a/", BadUrl::UserInfo),
        ] {
            assert_eq!(Url::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn locations_are_relative_to_the_request() {
        let base = url("https://a:8443/v2/x/blobs/1?q=1");
        for (location, target) in [
            ("http://b/y?z", "http://b/y?z"),
            ("//b/y", "https://b/y"),
            ("/y?u=http://c/", "https://a:8443/y?u=http://c/"),
            ("2", "https://a:8443/v2/x/blobs/2"),
            ("?r", "https://a:8443/v2/x/blobs/1?r"),
        ] {
            assert_eq!(base.join(location), Ok(url(target)), "{location}");
        }
        assert!(base.join("/a\r\nX: y").is_err());
    }
}
