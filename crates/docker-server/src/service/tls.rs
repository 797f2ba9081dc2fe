//! TLS for connections from other machines: who the service is, and whom it lets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::pages::Pages;

/// Where the service's own certificate is, and who vouches for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificates of who may vouch for clients; without any, everybody is let in.
    pub clients: Option<PathBuf>,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM file of what it should be.
    #[error("read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: PemError,
    },
    /// No certificate is in a file.
    #[error("{} has no certificate in it", .0.display())]
    Empty(PathBuf),
    /// What is read makes no sense together.
    #[error("use {}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What clients from other machines have to show.
#[derive(Debug, Clone)]
pub struct Guard {
    config: Option<Arc<ServerConfig>>,
    pages: Option<Arc<Pages>>,
}

impl Guard {
    /// Nothing, and whoever is on the way hears what is said.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { config: None, pages: None }
    }

    /// The same; of pages that browsers show, these alone may ask.
    #[must_use]
    pub fn for_pages(self, pages: Pages) -> Self {
        Self { pages: Some(Arc::new(pages)), ..self }
    }

    /// What these files say.
    ///
    /// # Errors
    /// One cannot be read, or they do not fit together.
    pub fn tls(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unfit(&files.certificate))?;
        let builder = match &files.clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(unfit(path))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(unfit(path))?)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|source| TlsError::File { path: files.key.clone(), source })?;
        let config = builder
            .with_single_cert(certificates(&files.certificate)?, key)
            .map_err(unfit(&files.certificate))?;
        Ok(Self { config: Some(Arc::new(config)), pages: None })
    }

    pub(super) fn config(&self) -> Option<Arc<ServerConfig>> {
        self.config.clone()
    }

    pub(super) fn pages(&self) -> Option<Arc<Pages>> {
        self.pages.clone()
    }
}

fn unfit<E>(path: &Path) -> impl FnOnce(E) -> TlsError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = path.to_owned();
    move |source| TlsError::Unfit { path, source: Box::new(source) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        std::fs::write(&key, "").unwrap();
        let files = TlsFiles { certificate: certificate.clone(), key, clients: None };
        let told = |files: &TlsFiles| Guard::tls(files).unwrap_err().to_string();
        assert!(told(&files).ends_with("key.pem"), "{}", told(&files));
        std::fs::write(&certificate, "no PEM\n").unwrap();
        let clients = TlsFiles { clients: Some(certificate), ..files };
        assert!(told(&clients).ends_with("cert.pem has no certificate in it"));
    }
}
