//! What a repository offers: its tags, and the way to its registry.

use http::{HeaderMap, header};
use model::Reference;
use serde::Deserialize;
use store::oci::DOCUMENT_MAX;

use crate::credentials::Credentials;
use crate::hosts::{Host, Server};
use crate::pull::{PullError, Registry};
use crate::session::{Caller, RequestError, Session};
use crate::transport::{Http, Net, TransportError};
use crate::url::Url;

/// How many tags are asked for at once.
const PAGE: usize = 1000;
/// Most tags that are taken from one repository: a registry could go on for ever.
const TAGS_MAX: usize = 100_000;

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
    /// Some registries say `null` for none.
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags of a repository, in the registry's order. Blocks.
    ///
    /// # Errors
    /// The registry does not have the repository or does not give it.
    pub fn tags(&self, repository: &Repository<'_>) -> Result<Vec<String>, PullError> {
        let session = self.session(repository.name, repository.credentials.clone())?;
        let mut caller = session.caller()?;
        let mut tags = Vec::new();
        let mut next = Some(format!("tags/list?n={PAGE}"));
        while let Some(path) = next.take().filter(|_| tags.len() < TAGS_MAX) {
            let (page, following) = page(&mut caller, &path).map_err(|error| {
                PullError::refused(repository.name, repository.name.domain(), error)
            })?;
            // A page without tags has no successor, whatever it says: that could be a circle.
            next = following.filter(|_| !page.is_empty());
            tags.extend(page);
        }
        tags.truncate(TAGS_MAX);
        Ok(tags)
    }

    /// The way to the registry of a reference.
    pub(crate) fn session(
        &self,
        reference: &Reference,
        credentials: Credentials,
    ) -> Result<Session, TransportError> {
        let domain = reference.domain();
        let host = self.hosts.host(domain);
        let mut origin = host.origin(domain);
        let may_be_plain = host.server == Server::Either;
        let net = Net::new(self.limits.clone(), host, origin.clone());
        if may_be_plain && !Http::new(&net)?.speaks_tls(&origin)? {
            origin = Host::plain_origin(domain);
        }
        Ok(Session::new(net, origin, reference, credentials))
    }
}

/// Some tags, and where the next are.
fn page(
    caller: &mut Caller<'_>,
    path: &str,
) -> Result<(Vec<String>, Option<String>), RequestError> {
    let answer = caller.get(path, HeaderMap::new())?;
    let base = answer.origin.at("/".to_owned());
    let links = answer.headers.get_all(header::LINK).iter();
    let next = links.filter_map(|link| next_page(link.to_str().ok()?, &base)).next();
    let bytes = answer.body.document(DOCUMENT_MAX, caller.session.limits().document)?;
    let page = serde_json::from_slice(&bytes).unwrap_or(Page { tags: None });
    Ok((page.tags.unwrap_or_default(), next))
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
