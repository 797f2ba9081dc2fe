//! Somebody who listens behind TLS, with certificates that no host trusts by itself.
//!
//! They are for `localhost` and 127.0.0.1, made by `authority.pem`, whose key nobody has any more.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Who may speak to whoever listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Everybody.
    Anyone,
    /// Those with a certificate of the authority's.
    Known,
}

/// Who listens.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

/// One connection.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl TlsListener {
    /// Listens at a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is none.
    pub fn bind(clients: Clients) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match clients {
            Clients::Anyone => builder.with_no_client_auth(),
            Clients::Known => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(include_bytes!("tls/authority.pem"))?)?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem"))?];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key"))?;
        let config = Arc::new(builder.with_single_cert(chain, key)?);
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        Ok(Self { listener, config })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Waits for a client. TLS is agreed on by what is read and written.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn accept(&self) -> io::Result<TlsStream> {
        let (socket, _) = self.listener.accept()?;
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, socket))
    }

    /// Writes `authority.pem` and the certificates and keys of `client` and `server` into a directory.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn certificates(dir: &Path) -> io::Result<()> {
        for (name, text) in [
            ("authority.pem", include_str!("tls/authority.pem")),
            ("client.pem", include_str!("tls/client.pem")),
            ("client.key", include_str!("tls/client.key")),
            ("server.pem", include_str!("tls/server.pem")),
            ("server.key", include_str!("tls/server.key")),
        ] {
            fs::write(dir.join(name), text)?;
        }
        Ok(())
    }
}
