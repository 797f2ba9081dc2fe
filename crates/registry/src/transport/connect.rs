//! Connections: TCP to the first address that answers, TLS where the scheme asks for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::unverified::Unverified;
use super::{Outgoing, Sender, TransportError, dns};
use crate::hosts::{Host, Identity, Trust};
use crate::limits::Limits;
use crate::url::{Origin, Scheme};

/// Largest head of an answer, in bytes, and most fields in it.
const HEAD_MAX: usize = 64 << 10;
const FIELDS_MAX: usize = 200;

/// What all threads of one pull share.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) limits: Limits,
    host: Host,
    /// The registry. What is configured about it is not for others.
    origin: Origin,
    registry_tls: OnceLock<Arc<ClientConfig>>,
    other_tls: OnceLock<Arc<ClientConfig>>,
    addresses: Mutex<HashMap<String, Vec<IpAddr>>>,
}

impl Net {
    /// For a pull from the registry at `origin`, about which `host` says what is configured.
    pub(crate) fn new(limits: Limits, host: Host, origin: Origin) -> Self {
        Self {
            limits,
            host,
            origin,
            registry_tls: OnceLock::new(),
            other_tls: OnceLock::new(),
            addresses: Mutex::default(),
        }
    }

    /// Made by the first connection that needs it: reading the authorities takes milliseconds.
    fn tls(&self, origin: &Origin) -> Result<Arc<ClientConfig>, TransportError> {
        let Host { trust, authorities, identity, .. } = &self.host;
        let is_special = *trust == Trust::Anyone || identity.is_some();
        let (made, trust, identity) = if is_special && *origin == self.origin {
            (&self.registry_tls, *trust, identity.as_ref())
        } else {
            (&self.other_tls, Trust::Verified, None)
        };
        if let Some(config) = made.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls_config(authorities, trust, identity)?);
        Ok(Arc::clone(made.get_or_init(|| config)))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, TransportError> {
        let known = || self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known().get(host) {
            return Ok(addresses.clone());
        }
        let looked_up = tokio::time::timeout(self.limits.connect, dns::addresses(host)).await;
        let addresses = looked_up.unwrap_or_else(|_| {
            let (host, reason) = (host.to_owned(), "no name server has answered".to_owned());
            Err(TransportError::Lookup { host, reason })
        })?;
        known().insert(host.to_owned(), addresses.clone());
        Ok(addresses)
    }
}

fn tls_config(
    authorities: &[CertificateDer<'static>],
    trust: Trust,
    identity: Option<&Identity>,
) -> Result<ClientConfig, TransportError> {
    let failed = |error: rustls::Error| TransportError::TlsSetup(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match trust {
        Trust::Verified => builder.with_root_certificates(roots(authorities)?),
        Trust::Anyone => {
            let verifier = Arc::new(Unverified::new(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.parts();
            builder.with_client_auth_cert(chain, key).map_err(failed)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    // One certificate that cannot be read does not spoil the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for authority in authorities {
        let added = roots.add(authority.clone());
        added.map_err(|error| TransportError::TlsSetup(error.to_string()))?;
    }
    Ok(roots)
}

/// A connection that is ready for a request.
pub(super) async fn connect(net: &Net, origin: &Origin) -> Result<Sender, TransportError> {
    let limit = net.limits.connect;
    let addresses = net.addresses(&origin.host).await?;
    let tcp = connect_tcp(&addresses, origin, limit).await?;
    // Requests are written in one go; waiting for more would only cost time.
    let _ = tcp.set_nodelay(true);
    match origin.scheme {
        Scheme::Http => start(tcp, origin).await,
        Scheme::Https => {
            let failed = |source| TransportError::Tls { host: origin.authority(), source };
            let name = ServerName::try_from(origin.host.clone())
                .map_err(|error| failed(io::Error::other(error)))?;
            let handshake = TlsConnector::from(net.tls(origin)?).connect(name, tcp);
            let tls = tokio::time::timeout(limit, handshake).await;
            let tls = tls.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            start(tls.map_err(failed)?, origin).await
        }
    }
}

async fn connect_tcp(
    addresses: &[IpAddr],
    origin: &Origin,
    limit: Duration,
) -> Result<TcpStream, TransportError> {
    let mut failed =
        TransportError::Lookup { host: origin.host.clone(), reason: "no address".to_owned() };
    for address in addresses {
        let address = SocketAddr::new(*address, origin.port);
        let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok(stream),
            Err(cause) => {
                let host = origin.authority();
                failed = TransportError::Connect { host, address, cause };
            }
        }
    }
    Err(failed)
}

async fn start<T>(stream: T, origin: &Origin) -> Result<Sender, TransportError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |source| TransportError::Broken { host: origin.authority(), source };
    let (sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_MAX)
        .handshake::<_, Outgoing>(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Its errors reach whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
