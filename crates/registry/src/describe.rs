//! What a registry has under a name, without fetching it: `docker manifest`'s and buildx's question.

use model::image::DescriptorPlatform;
use model::{Digest, Platform, Reference};
use store::Store;
use store::oci::Document;

use crate::credentials::Credentials;
use crate::documents::Search;
use crate::pull::{PullError, Registry};
use crate::session::Access;

/// What is asked about, and who asks.
#[derive(Debug, Clone)]
pub struct Subject<'s> {
    /// With a tag or a digest; with neither, `latest` is meant.
    pub reference: &'s Reference,
    /// Who asks.
    pub credentials: Credentials,
}

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Of a manifest or an index.
    pub media_type: String,
    /// Of the same.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What it is for; an index has several.
    pub platforms: Vec<Platform>,
}

impl Registry {
    /// Asks what a registry has under a name. Documents that `store` has are not asked for. Blocks.
    ///
    /// # Errors
    /// It has nothing, or gives it to nobody; what it gives is no image.
    pub fn describe(&self, store: &Store, of: &Subject<'_>) -> Result<Description, PullError> {
        let reference = of.reference.clone().with_default_tag();
        let session = self.session(&reference, &Access::Pull, of.credentials.clone())?;
        let mut caller = session.caller()?;
        let mut search = Search::new(store, &mut caller, &reference, None);
        let top = search.top()?;
        let platforms = match &top.document {
            Document::Index(index) => {
                let platforms = index.manifests.iter().filter_map(|one| one.platform.as_ref());
                platforms.map(DescriptorPlatform::platform).collect()
            }
            Document::Manifest(manifest) => vec![search.platform_of(manifest)?],
        };
        let size = top.bytes.len() as u64;
        Ok(Description { media_type: top.media_type, digest: top.digest, size, platforms })
    }
}
