//! Search by words: Docker Hub's, and that of registries which have kept the first protocol.

use http::HeaderMap;
use model::reference::search_term;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use store::oci::DOCUMENT_MAX;

use crate::credentials::Credentials;
use crate::pull::Registry;
use crate::session::{Access, RequestError};
use crate::transport::{Ask, Method, TransportError};

/// Who searches Docker Hub.
pub const HUB_INDEX: &str = "index.docker.io";

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Search<'s> {
    /// Words; `HOST/WORDS` for another registry than Docker Hub.
    pub term: &'s str,
    /// How many results at most.
    pub limit: usize,
    /// Who asks.
    pub credentials: Credentials,
}

/// One that was found. All is text of the registry's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The repository.
    pub name: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// How many people like it.
    pub star_count: i64,
    /// Whether it is one of Docker's own.
    pub is_official: bool,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No words.
    #[error("{0:?} has no words to search for")]
    NoTerm(String),
    /// The registry cannot be asked.
    #[error("search {registry}: {source}")]
    Request {
        /// The registry.
        registry: String,
        /// Why.
        source: Box<RequestError>,
    },
    /// The answer is something else.
    #[error("search {registry}: it is no list of results: {source}")]
    NotAList {
        /// The registry.
        registry: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Before any request.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    results: Option<Vec<Found>>,
}

impl Registry {
    /// Searches a registry. Blocks.
    ///
    /// # Errors
    /// It cannot be asked, or answers something else.
    pub fn search(&self, search: &Search<'_>) -> Result<Vec<Found>, SearchError> {
        let (domain, words) = search_term(search.term);
        let domain = domain.unwrap_or(HUB_INDEX);
        if words.is_empty() {
            return Err(SearchError::NoTerm(search.term.to_owned()));
        }
        let session = self.session_at((domain, ""), &Access::Enter, search.credentials.clone())?;
        let mut caller = session.caller()?;
        let words = utf8_percent_encode(words, NON_ALPHANUMERIC);
        let url = session.top(&format!("/v1/search?q={words}&n={}", search.limit));
        let registry = || domain.to_owned();
        let failed =
            |source| SearchError::Request { registry: registry(), source: Box::new(source) };
        let answer = caller.ask(&Ask { url, headers: HeaderMap::new(), method: Method::Get });
        let body = answer.map_err(failed)?.body;
        let bytes = body.document(DOCUMENT_MAX, session.limits().document);
        let bytes = bytes.map_err(|error| failed(error.into()))?;
        let Results { results } = serde_json::from_slice(&bytes)
            .map_err(|source| SearchError::NotAList { registry: registry(), source })?;
        let mut results = results.unwrap_or_default();
        results.truncate(search.limit);
        Ok(results)
    }
}
