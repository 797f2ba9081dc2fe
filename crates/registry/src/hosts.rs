//! Which address a registry's name means, whether plain HTTP will do, and whom TLS trusts there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::url::{Origin, Scheme};

/// Docker Hub's name in references, and the host that speaks for it.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What is configured about registries, by the domain of a reference: `host` or `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(pub BTreeMap<String, Host>);

/// What is configured about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub server: Server,
    /// Whom its TLS must convince.
    pub trust: Trust,
    /// Authorities that are trusted besides the machine's own, each an X.509 certificate in DER.
    /// Its token service may need them as well, so they serve for a whole pull.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who this client is, for the registry alone.
    pub identity: Option<Identity>,
}

/// How a registry is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Server {
    /// By TLS under its own name.
    #[default]
    Usual,
    /// At this address, whatever its name.
    At(Origin),
    /// By TLS if it speaks that, else in plain HTTP, as Docker's `insecure-registries`.
    Either,
}

/// Whom a registry's TLS must convince.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities.
    #[default]
    Verified,
    /// Nobody: encryption without knowing with whom.
    Anyone,
}

/// A client's certificates, its own first, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>);

impl Identity {
    /// Takes both. Whether they fit is seen when TLS uses them.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self(Arc::new((chain, key)))
    }

    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.0.0.clone(), self.0.1.clone_key())
    }
}

impl Hosts {
    /// One registry, configured so.
    #[must_use]
    pub fn one(domain: &str, host: Host) -> Self {
        Self(BTreeMap::from([(domain.to_owned(), host)]))
    }

    /// What is configured about the registry of a reference's domain.
    pub(crate) fn host(&self, domain: &str) -> Host {
        self.0.get(domain).cloned().unwrap_or_else(|| Host::usual(domain))
    }
}

impl Host {
    /// What holds for a registry about which nothing is configured. One on this machine is asked
    /// for TLS, whoever it is, and then for plain HTTP, as Docker does.
    pub(crate) fn usual(domain: &str) -> Self {
        match is_loopback(split(domain).0) {
            true => Self { server: Server::Either, trust: Trust::Anyone, ..Self::default() },
            false => Self::default(),
        }
    }

    /// Where the registry of a reference's domain is. The domain is valid, as references are.
    pub(crate) fn origin(&self, domain: &str) -> Origin {
        let name = if domain == HUB.0 { HUB.1 } else { domain };
        let (host, port) = split(name);
        match &self.server {
            Server::At(origin) => origin.clone(),
            Server::Usual | Server::Either => at(Scheme::Https, host, port),
        }
    }

    /// The same in plain HTTP.
    pub(crate) fn plain_origin(domain: &str) -> Origin {
        let (host, port) = split(domain);
        at(Scheme::Http, host, port)
    }
}

fn at(scheme: Scheme, host: &str, port: Option<&str>) -> Origin {
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(scheme.port());
    Origin { scheme, host: host.to_ascii_lowercase(), port }
}

/// Host without brackets, and port.
pub(crate) fn split(domain: &str) -> (&str, Option<&str>) {
    match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_configured_hosts_may_be_spoken_to_in_plain_http() {
        let plain = |address: &str| {
            let origin = crate::url::Url::parse(address).unwrap().origin;
            Host { server: Server::At(origin), ..Host::default() }
        };
        let hosts = Hosts(BTreeMap::from([
            ("lab:5000".to_owned(), plain("http://lab:5000")),
            ("old".to_owned(), plain("http://elsewhere:81")),
            ("localhost:443".to_owned(), plain("https://localhost")),
        ]));
        for (domain, origin) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("localhost", "https://localhost or http://localhost"),
            ("localhost:5000", "https://localhost:5000 or http://localhost:5000"),
            ("localhost:443", "https://localhost"),
            ("127.1.2.3:443", "https://127.1.2.3 or http://127.1.2.3:443"),
            ("[::1]:5000", "https://[::1]:5000 or http://[::1]:5000"),
            ("[::1]", "https://[::1] or http://[::1]"),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000"),
            ("Example.com", "https://example.com"),
            ("localhost.example", "https://localhost.example"),
            ("lab:5000", "http://lab:5000"),
            ("lab", "https://lab"),
            ("old", "http://elsewhere:81"),
            ("old:1", "https://old:1"),
        ] {
            let host = hosts.host(domain);
            let mut reached = host.origin(domain).to_string();
            if host.server == Server::Either {
                reached = format!("{reached} or {}", Host::plain_origin(domain));
            }
            assert_eq!(reached, origin, "{domain}");
            assert_eq!(host.trust == Trust::Anyone, host.server == Server::Either, "{domain}");
        }
    }
}
