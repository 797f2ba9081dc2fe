//! A server at an address, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cli::{ClientTls, TcpHost};
use docker_api::Transport;
use docker_api::transport::Io;
use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an address may take to answer, and then to agree on TLS: as in Docker's client.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long of silence the server's machine is asked whether it is still there: as in Go's.
const PROBE: Duration = Duration::from_secs(15);

/// What it takes to connect.
struct Way {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The way to a server, whose certificates are read now.
pub(super) fn transport(host: &TcpHost) -> anyhow::Result<Transport> {
    let tls = match &host.tls {
        Some(tls) => {
            let name = ServerName::try_from(host.host.clone())
                .with_context(|| format!("{host}: no certificate can be for that name"))?;
            Some((TlsConnector::from(Arc::new(config(tls)?)), name))
        }
        None => None,
    };
    let way = Arc::new(Way { host: host.host.clone(), port: host.port, tls });
    Ok(Transport::remote(host.to_string(), move || {
        let way = way.clone();
        Box::pin(async move { way.connect().await })
    }))
}

impl Way {
    async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = self.reach().await?;
        // Without these its end would only be seen later.
        let _ = prepare(&stream);
        let Some((connector, name)) = &self.tls else { return Ok(Box::new(stream)) };
        let agreed = tokio::time::timeout(PATIENCE, connector.connect(name.clone(), stream)).await;
        Ok(Box::new(agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?))
    }

    /// Connects to the first address that answers.
    async fn reach(&self) -> io::Result<TcpStream> {
        let host = self.host.clone();
        let found = tokio::task::spawn_blocking(move || registry::addresses(&host)).await?;
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in found.map_err(io::Error::other)? {
            let address = SocketAddr::new(address, self.port);
            let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn prepare(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE)
}

fn config(tls: &ClientTls) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = if tls.trusts_anyone {
        let verifier = Arc::new(registry::Unverified::new(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(tls.authority.as_deref())?)
    };
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("read the key {}", key.display()))?;
            let used = || format!("use {} with {}", certificate.display(), key.display());
            builder.with_client_auth_cert(chain, secret).with_context(used)
        }
        (Some(one), None) => anyhow::bail!("{} has no key: name it", one.display()),
        (None, Some(one)) => anyhow::bail!("{} has no certificate: name it", one.display()),
    }
}

/// Who may vouch for the server: those in the file alone, or those that this machine trusts.
fn roots(authority: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authority else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("use {}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let failed = || format!("read the certificates of {}", path.display());
    let read = CertificateDer::pem_file_iter(path).with_context(failed)?;
    let found = read.collect::<Result<Vec<_>, _>>().with_context(failed)?;
    anyhow::ensure!(!found.is_empty(), "{} has no certificate in it", path.display());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_its_key_is_told_of() {
        let with = |certificate: Option<&str>, key: Option<&str>| {
            let [certificate, key] = [certificate, key].map(|path| path.map(Into::into));
            let tls = ClientTls { trusts_anyone: true, authority: None, certificate, key };
            config(&tls).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(with(None, None), Ok(()));
        assert_eq!(with(Some("/c"), None), Err("/c has no key: name it".to_owned()));
        assert_eq!(with(None, Some("/k")), Err("/k has no certificate: name it".to_owned()));
        let missing = with(Some("/no/such"), Some("/k")).unwrap_err();
        assert_eq!(missing, "read the certificates of /no/such");
    }
}
