//! From a reference to the documents of one image: manifest, perhaps by way of an index, and
//! configuration. Each is verified before it is read (I10).

use http::{HeaderMap, HeaderValue, header};
use model::image::{Descriptor, ImageConfig, Index, Manifest, media_type};
use model::shown::shown;
use model::{Digest, Platform, Reference};
use serde::Deserialize;
use store::Store;
use store::oci::{self, DOCUMENT_MAX, Document, DocumentError, INDEX_DEPTH_MAX, LayerSpec};

use crate::pull::PullError;
use crate::session::{Caller, Received, RequestError};

/// What is understood. Schema 1 is asked for by nobody, but old registries send it all the same.
const ACCEPT: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_LIST,
    media_type::DOCKER_MANIFEST,
];
/// Most manifests that are fetched until one suits: a hostile index could offer a thousand.
const FETCHES_MAX: u32 = 32;

/// The documents of one image, all verified.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    /// Lowest first.
    pub(crate) layers: Vec<LayerSpec>,
}

/// One search for an image.
pub(crate) struct Search<'a, 's> {
    pub(crate) store: &'a Store,
    pub(crate) caller: &'a mut Caller<'s>,
    pub(crate) reference: &'a Reference,
    /// `None`: this machine's, or whatever the only one is for.
    pub(crate) platform: Option<&'a Platform>,
    fetches: u32,
}

/// What the reference names itself: a manifest or an index.
pub(crate) struct Top {
    pub(crate) digest: Digest,
    /// As the registry has it.
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) document: Document,
}

/// Whether one entry of an index is what is wanted.
enum Fit {
    Found(Box<Image>),
    No,
}

impl<'a, 's> Search<'a, 's> {
    pub(crate) fn new(
        store: &'a Store,
        caller: &'a mut Caller<'s>,
        reference: &'a Reference,
        platform: Option<&'a Platform>,
    ) -> Self {
        Self { store, caller, reference, platform, fetches: 0 }
    }

    /// What the reference names.
    pub(crate) fn top(&mut self) -> Result<Top, PullError> {
        let name = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(model::reference::DEFAULT_TAG).to_owned(),
        };
        let received = self.fetch(&name).map_err(|error| self.refused(error))?;
        let digest = oci::digest(&received.bytes);
        if let Some(expected) = self.reference.digest()
            && *expected != digest
        {
            let (expected, actual) = (*expected, digest);
            return Err(self.bad(DocumentError::Digest { what: "manifest", expected, actual }));
        }
        let document = self.parse(&received)?;
        Ok(Top { digest, media_type: received.media_type, bytes: received.bytes, document })
    }

    /// The image that `top` means on the wanted platform.
    pub(crate) fn image(&mut self, top: Top) -> Result<Image, PullError> {
        let index = match top.document {
            Document::Index(index) => index,
            Document::Manifest(manifest) => return self.only(top.bytes, &manifest),
        };
        let wanted = self.platform.cloned().unwrap_or_else(Platform::host);
        match self.in_index(&index, &wanted, 1)? {
            Fit::Found(image) => Ok(*image),
            Fit::No => {
                let (wanted, available) = (wanted.to_string(), oci::available(&index));
                Err(PullError::NoPlatform { wanted, available })
            }
        }
    }

    /// What the configuration of an image says that it is for.
    pub(crate) fn platform_of(&mut self, manifest: &Manifest) -> Result<Platform, PullError> {
        let bytes = self.config(&manifest.config)?;
        let config = oci::parse_config(&bytes).map_err(|error| self.bad(error))?;
        Ok(platform(&config))
    }

    /// An image without any choice. On request, it has to be for the platform asked for.
    fn only(&mut self, bytes: Vec<u8>, manifest: &Manifest) -> Result<Image, PullError> {
        let (image, config) = self.complete(bytes, manifest)?;
        let actual = platform(&config);
        match self.platform {
            Some(wanted) if actual.suits(wanted).is_none() => Err(PullError::WrongPlatform {
                reference: self.reference.familiar(),
                wanted: wanted.to_string(),
                actual: shown(&actual.to_string()),
            }),
            Some(_) | None => Ok(image),
        }
    }

    fn in_index(
        &mut self,
        index: &Index,
        wanted: &Platform,
        depth: usize,
    ) -> Result<Fit, PullError> {
        if depth > INDEX_DEPTH_MAX {
            return Err(self.bad(DocumentError::TooDeep));
        }
        for descriptor in oci::candidates(index, wanted) {
            self.fetches += 1;
            if self.fetches > FETCHES_MAX {
                break;
            }
            if let Fit::Found(image) = self.entry(descriptor, wanted, depth)? {
                return Ok(Fit::Found(image));
            }
        }
        Ok(Fit::No)
    }

    fn entry(
        &mut self,
        descriptor: &Descriptor,
        wanted: &Platform,
        depth: usize,
    ) -> Result<Fit, PullError> {
        let bytes = self.manifest(descriptor)?;
        match oci::parse(&bytes).map_err(|error| self.bad(error))? {
            Document::Index(index) => self.in_index(&index, wanted, depth + 1),
            Document::Manifest(manifest) => {
                let (image, config) = self.complete(bytes, &manifest)?;
                // An entry that says what it is for is believed: many configurations of images
                // for other platforms are wrong about that.
                let suits =
                    descriptor.platform.is_some() || platform(&config).suits(wanted).is_some();
                Ok(if suits { Fit::Found(Box::new(image)) } else { Fit::No })
            }
        }
    }

    fn complete(
        &mut self,
        bytes: Vec<u8>,
        manifest: &Manifest,
    ) -> Result<(Image, ImageConfig), PullError> {
        let kind = &manifest.config.media_type;
        if !matches!(kind.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
            let (what, found) = ("an image configuration", kind.clone());
            return Err(self.bad(DocumentError::MediaType { what, found }));
        }
        let config_bytes = self.config(&manifest.config)?;
        let config = oci::parse_config(&config_bytes).map_err(|error| self.bad(error))?;
        let layers = oci::layers(manifest, &config).map_err(|error| self.bad(error))?;
        Ok((Image { manifest: bytes, config: config_bytes, layers }, config))
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        self.described("manifest", descriptor, |this| {
            this.fetch(&descriptor.digest.to_string()).map(|received| received.bytes)
        })
    }

    fn config(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        self.described("configuration", descriptor, |this| {
            let path = format!("blobs/{}", descriptor.digest);
            let received = this.caller.document(&path, &HeaderMap::new(), DOCUMENT_MAX);
            received.map(|received| received.bytes)
        })
    }

    /// From the store if it is there, else by `fetch`.
    fn described(
        &mut self,
        what: &'static str,
        descriptor: &Descriptor,
        fetch: impl FnOnce(&mut Self) -> Result<Vec<u8>, RequestError>,
    ) -> Result<Vec<u8>, PullError> {
        let size = oci::document_size(what, descriptor).map_err(|error| self.bad(error))?;
        let blobs = self.store.blobs();
        if let Ok(Some(_)) = blobs.size(&descriptor.digest)
            && let Ok(bytes) = blobs.read(&descriptor.digest, size)
        {
            return Ok(bytes);
        }
        let bytes = fetch(self).map_err(|source| {
            let registry = self.caller.session.registry.clone();
            let (digest, source) = (descriptor.digest, Box::new(source));
            PullError::Blob { registry, digest, source }
        })?;
        oci::verify(what, descriptor, &bytes).map_err(|error| self.bad(error))?;
        Ok(bytes)
    }

    fn fetch(&mut self, name: &str) -> Result<Received, RequestError> {
        let accept = ACCEPT.map(HeaderValue::from_static).map(|value| (header::ACCEPT, value));
        let mut headers = HeaderMap::new();
        for (name, value) in accept {
            headers.append(name, value);
        }
        self.caller.document(&format!("manifests/{name}"), &headers, DOCUMENT_MAX)
    }

    /// The document, if it is what the registry says that it is.
    fn parse(&self, received: &Received) -> Result<Document, PullError> {
        if is_schema_1(received) {
            return Err(PullError::SchemaOne(self.reference.familiar()));
        }
        let document = oci::parse(&received.bytes).map_err(|error| self.bad(error))?;
        let found = received.media_type.clone();
        match (&document, received.media_type.as_str()) {
            (Document::Manifest(_), media_type::OCI_INDEX | media_type::DOCKER_LIST) => {
                Err(self.bad(DocumentError::MediaType { what: "an image manifest", found }))
            }
            (Document::Index(_), media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => {
                Err(self.bad(DocumentError::MediaType { what: "an image index", found }))
            }
            (Document::Manifest(_) | Document::Index(_), _) => Ok(document),
        }
    }

    fn bad(&self, source: DocumentError) -> PullError {
        let registry = self.caller.session.registry.clone();
        PullError::Document {
            registry,
            reference: self.reference.familiar(),
            source: Box::new(source),
        }
    }

    /// What it means that the reference itself cannot be had.
    fn refused(&self, error: RequestError) -> PullError {
        PullError::refused(self.reference, &self.caller.session.registry, error)
    }
}

fn is_schema_1(received: &Received) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        schema_version: u32,
    }
    let says_so =
        received.media_type.starts_with("application/vnd.docker.distribution.manifest.v1");
    let probe = serde_json::from_slice::<Probe>(&received.bytes);
    says_so || probe.is_ok_and(|probe| probe.schema_version == 1)
}

fn platform(config: &ImageConfig) -> Platform {
    let variant = config.variant.as_deref().unwrap_or_default();
    Platform::normal(&config.os, &config.architecture, variant)
}
