//! What lies at an address, outside of any registry: the archive of an import.

use std::io::{self, Read};

use http::{HeaderMap, StatusCode};

use crate::hosts::Host;
use crate::limits::Limits;
use crate::transport::{Ask, Body, Http, Method, Net, TransportError};
use crate::url::{BadUrl, Origin, Url};

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No address.
    #[error("{url:?}: {source}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        source: BadUrl,
    },
    /// The server says no.
    #[error("failed to GET from {server}: status {status}")]
    Status {
        /// Who answered, after redirects.
        server: Origin,
        /// Its answer.
        status: StatusCode,
    },
    /// On the way.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// The bytes of an answer. An answer that breaks off is an error, never an end.
#[derive(Debug)]
pub struct Download(Body);

/// Asks for what lies at `url`, anonymously, and goes where redirects lead.
///
/// # Errors
/// It is no address, or the server does not give it.
pub fn download(url: &str, limits: &Limits) -> Result<Download, DownloadError> {
    let bad = |source| DownloadError::Url { url: url.to_owned(), source };
    let url = Url::parse(url).map_err(bad)?;
    let net = Net::new(limits.clone(), Host::default(), url.origin.clone());
    let ask = Ask { url, headers: HeaderMap::new(), method: Method::Get };
    let answer = Http::new(&net)?.follow(&ask)?;
    if answer.status != StatusCode::OK {
        let (server, status) = (answer.origin, answer.status);
        return Err(DownloadError::Status { server, status });
    }
    Ok(Download(answer.body))
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.some(out).map_err(io::Error::other)
    }
}
