//! From a host's name to its addresses, without the C library: a static binary has no NSS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::TransportError;

/// The addresses of `host`, the preferred first; at least one.
pub(super) async fn addresses(host: &str) -> Result<Vec<IpAddr>, TransportError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let failed = |reason: String| TransportError::Lookup { host: host.to_owned(), reason };
    // Without a resolv.conf there still is /etc/hosts.
    let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        TokioResolver::builder_with_config(
            ResolverConfig::default(),
            TokioRuntimeProvider::default(),
        )
    });
    let resolver = builder.build().map_err(|error| failed(error.to_string()))?;
    let found = resolver.lookup_ip(host).await.map_err(|error| {
        let is_unknown = error.is_nx_domain() || error.is_no_records_found();
        failed(if is_unknown { "no such host".to_owned() } else { error.to_string() })
    })?;
    let found: Vec<IpAddr> = found.iter().collect();
    if found.is_empty() { Err(failed("no such host".to_owned())) } else { Ok(found) }
}
