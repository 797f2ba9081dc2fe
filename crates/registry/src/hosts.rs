//! Which address a registry's name means, and whether plain HTTP will do.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

use crate::url::{Origin, Scheme};

/// Docker Hub's name in references, and the host that speaks for it.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// What is configured about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `host` or `host:port` of registries that are spoken to in plain HTTP, besides those at
    /// loopback addresses.
    pub insecure: Vec<String>,
    /// Authorities that are trusted besides the machine's own, each an X.509 certificate in DER.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Hosts {
    /// Where the registry of a reference's domain is. The domain is valid, as references are.
    pub(crate) fn origin(&self, domain: &str) -> Origin {
        let domain = if domain == HUB.0 { HUB.1 } else { domain };
        let (host, port) = split(domain);
        let is_plain = is_loopback(host) || self.insecure.iter().any(|name| name == domain);
        let scheme = if is_plain { Scheme::Http } else { Scheme::Https };
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(scheme.port());
        Origin { scheme, host: host.to_ascii_lowercase(), port }
    }
}

/// Host without brackets, and port.
fn split(domain: &str) -> (&str, Option<&str>) {
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
    fn only_loopback_and_configured_hosts_are_spoken_to_in_plain_http() {
        let hosts = Hosts { insecure: vec!["lab:5000".into(), "old".into()], ..Hosts::default() };
        for (domain, origin) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("localhost", "http://localhost"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.1.2.3:443", "http://127.1.2.3:443"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("[::1]", "http://[::1]"),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000"),
            ("Example.com", "https://example.com"),
            ("localhost.example", "https://localhost.example"),
            ("lab:5000", "http://lab:5000"),
            ("lab", "https://lab"),
            ("old", "http://old"),
            ("old:1", "https://old:1"),
        ] {
            assert_eq!(hosts.origin(domain).to_string(), origin, "{domain}");
        }
    }
}
