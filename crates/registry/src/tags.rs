//! What a repository offers: its tags, and the way to its registry.

use std::time::{Duration, Instant};

use http::{HeaderMap, header};
use model::Reference;
use model::shown::shown;
use serde::Deserialize;
use store::oci::DOCUMENT_MAX;

use crate::credentials::Credentials;
use crate::hosts::{Host, Server};
use crate::pull::{PullError, Registry};
use crate::session::{Access, Caller, RequestError, Session};
use crate::transport::{Http, Net, TransportError};
use crate::url::Url;

/// How many tags are asked for at once.
const PAGE: usize = 1000;
/// What a list may come to: a registry could go on for ever.
const MOST: Most = Most { pages: 1000, bytes: 16 << 20, time: Duration::from_mins(10) };

/// How much of a list is taken.
#[derive(Debug, Clone, Copy)]
struct Most {
    pages: usize,
    bytes: u64,
    time: Duration,
}

/// What is wrong with a list of tags.
#[derive(Debug, thiserror::Error)]
pub enum TagsError {
    /// A page is something else.
    #[error("it is no list of tags: {0}")]
    NotAList(serde_json::Error),
    /// No tag at all.
    #[error("{0:?} is no tag")]
    BadTag(String),
    /// It goes on and on.
    #[error("it has more than {0} pages")]
    ManyPages(usize),
    /// It goes on and on.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It goes on and on.
    #[error("it did not come within {} s", .0.as_secs())]
    TooSlow(Duration),
}

/// A repository, and who asks for it.
#[derive(Debug, Clone)]
pub struct Repository<'r> {
    /// Its name; a tag or digest does not matter.
    pub name: &'r Reference,
    /// Who asks.
    pub credentials: Credentials,
}

#[derive(Deserialize)]
struct Page {
    /// Some registries say `null` for none. They have to say something.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

/// A list that comes page by page.
#[derive(Debug)]
struct Listing<'r> {
    repository: &'r Reference,
    most: Most,
    begun: Instant,
    tags: Vec<String>,
    pages: usize,
    bytes: u64,
}

impl<'r> Listing<'r> {
    fn new(repository: &'r Reference, most: Most) -> Self {
        Self { repository, most, begun: Instant::now(), tags: Vec::new(), pages: 0, bytes: 0 }
    }

    /// Takes one page; gives the number of its tags.
    fn take(&mut self, page: &[u8]) -> Result<usize, TagsError> {
        let Most { pages, bytes, time } = self.most;
        self.pages += 1;
        self.bytes += page.len() as u64;
        if self.pages > pages {
            return Err(TagsError::ManyPages(pages));
        }
        if self.bytes > bytes {
            return Err(TagsError::TooLarge(bytes));
        }
        if self.begun.elapsed() > time {
            return Err(TagsError::TooSlow(time));
        }
        let page: Page = serde_json::from_slice(page).map_err(TagsError::NotAList)?;
        let tags = page.tags.unwrap_or_default();
        if let Some(bad) = tags.iter().find(|tag| self.repository.at_tag(tag).is_err()) {
            return Err(TagsError::BadTag(shown(bad)));
        }
        let count = tags.len();
        self.tags.extend(tags);
        Ok(count)
    }
}

impl Registry {
    /// All tags of a repository, in the registry's order. Blocks.
    ///
    /// # Errors
    /// The registry does not have the repository or does not give it; what it gives is no list of
    /// tags, or endless.
    pub fn tags(&self, repository: &Repository<'_>) -> Result<Vec<String>, PullError> {
        let session =
            self.session(repository.name, &Access::Pull, repository.credentials.clone())?;
        let mut caller = session.caller()?;
        let registry = repository.name.domain();
        let bad = |source| PullError::Tags {
            registry: registry.to_owned(),
            name: repository.name.familiar_name(),
            source: Box::new(source),
        };
        let mut listing = Listing::new(repository.name, MOST);
        let mut next = Some(format!("tags/list?n={PAGE}"));
        while let Some(path) = next.take() {
            let (page, following) = page(&mut caller, &path)
                .map_err(|error| PullError::refused(repository.name, registry, error))?;
            let count = listing.take(&page).map_err(bad)?;
            // A page without tags has no successor, whatever it says: that could be a circle.
            next = following.filter(|_| count > 0);
        }
        Ok(listing.tags)
    }

    /// The way to the registry of a reference.
    pub(crate) fn session(
        &self,
        reference: &Reference,
        access: &Access,
        credentials: Credentials,
    ) -> Result<Session, TransportError> {
        self.session_at((reference.domain(), reference.path()), access, credentials)
    }

    /// The way to a registry, by its domain, and to one of its repositories.
    pub(crate) fn session_at(
        &self,
        (domain, path): (&str, &str),
        access: &Access,
        credentials: Credentials,
    ) -> Result<Session, TransportError> {
        let host = self.hosts.host(domain);
        let mut origin = host.origin(domain);
        let may_be_plain = host.server == Server::Either;
        let net = Net::new(self.limits.clone(), host, origin.clone());
        if may_be_plain && !Http::new(&net)?.speaks_tls(&origin)? {
            origin = Host::plain_origin(domain);
        }
        Ok(Session::new(net, origin, (domain, path), access, credentials))
    }
}

/// The bytes of a page, and where the next is.
fn page(caller: &mut Caller<'_>, path: &str) -> Result<(Vec<u8>, Option<String>), RequestError> {
    let answer = caller.get(path, HeaderMap::new())?;
    let base = answer.origin.at("/".to_owned());
    let links = answer.headers.get_all(header::LINK).iter();
    let next = links.filter_map(|link| next_page(link.to_str().ok()?, &base)).next();
    let bytes = answer.body.document(DOCUMENT_MAX, caller.session.limits().document)?;
    Ok((bytes, next))
}

/// The path of the next page below the repository. Where it lies otherwise does not matter: a
/// registry is not followed to another host here.
fn next_page(link: &str, base: &Url) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.replace([' ', '"'], "").contains("rel=next") {
        return None;
    }
    let target = base.join(target).ok()?.target;
    let (_, query) = target.split_once("/tags/list?")?;
    Some(format!("tags/list?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Most = Most { pages: 2, bytes: 1000, time: Duration::MAX };

    /// What the last of these pages comes to.
    fn listed(most: Most, pages: &[&str]) -> Result<Vec<String>, String> {
        let name = "r/a".parse().unwrap();
        let mut listing = Listing::new(&name, most);
        for page in pages {
            listing.take(page.as_bytes()).map_err(|error| error.to_string())?;
        }
        Ok(listing.tags)
    }

    #[test]
    fn a_list_of_tags_is_one_and_ends() {
        let list = |pages: &[&str]| listed(SOME, pages);
        assert_eq!(list(&[r#"{"tags":["b"]}"#, r#"{"tags":["a"]}"#]).unwrap(), ["b", "a"]);
        assert!(list(&[r#"{"tags":null}"#]).unwrap().is_empty());
        for page in ["<html>", "{}", r#"{"tags":"a"}"#] {
            assert!(list(&[page]).unwrap_err().starts_with("it is no list of tags: "), "{page}");
        }
        let bad = list(&[r#"{"tags":["a","../\u001b"]}"#]).unwrap_err();
        assert_eq!(bad, r#""../" is no tag"#);
        let long = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(129));
        assert!(list(&[&long]).unwrap_err().ends_with("is no tag"));
        let page = r#"{"tags":["a"]}"#;
        assert_eq!(list(&[page; 3]).unwrap_err(), "it has more than 2 pages");
        let small = Most { bytes: 20, ..SOME };
        assert_eq!(listed(small, &[page; 2]).unwrap_err(), "it has more than 20 bytes");
        let late = Most { time: Duration::ZERO, ..SOME };
        assert_eq!(listed(late, &[page]).unwrap_err(), "it did not come within 0 s");
    }

    #[test]
    fn the_next_page_stays_with_its_repository() {
        let base = Url::parse("https://r/").unwrap();
        for (link, next) in [
            ("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("tags/list?n=2&last=b")),
            ("<https://elsewhere/v2/x/tags/list?last=b>; rel=next", Some("tags/list?last=b")),
            ("</v2/a/tags/list?n=2>; rel=\"prev\"", None),
            ("/v2/a/tags/list?n=2; rel=next", None),
            ("</v2/a/blobs/x>; rel=next", None),
        ] {
            assert_eq!(next_page(link, &base).as_deref(), next, "{link}");
        }
    }
}
