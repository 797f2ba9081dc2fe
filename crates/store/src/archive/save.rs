//! `save`: one archive that is a docker-archive and an OCI image layout at once.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Write};

use model::image::{Descriptor, DescriptorPlatform};
use model::{Digest, ImageId, Reference};

use super::docker::{DockerImage, MANIFEST};
use crate::blobs::BlobError;
use crate::db::{DbError, Text, Tx};
use crate::images::{
    CONTAINERD_NAME, ImageRecord, ManifestError, REF_NAME, ResolveError, index_bytes, load, resolve,
};
use crate::layer::HashReader;
use crate::operation::BeginError;
use crate::tar::{Entry, Kind, WriteError, Writer};
use crate::{Blobs, Images, Store, oci};

const BUFFER: usize = 1 << 18;
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Why images were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Which image.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// An image was removed in between.
    #[error("No such image: {0}")]
    Gone(ImageId),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A blob is lost or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The archive cannot be written.
    #[error("write the archive: {0}")]
    Write(#[from] WriteError),
    /// The output.
    #[error("write the archive: {0}")]
    Io(#[from] io::Error),
    /// The lease.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// An image and the names that it is saved under.
struct Chosen {
    image: ImageRecord,
    tags: Vec<Reference>,
}

impl Store {
    /// Writes images to an archive. A repository without a tag means all of its tags; an id means
    /// the image without a name.
    ///
    /// # Errors
    /// There is no such image; a blob is damaged; the output fails.
    pub fn save(&self, typed: &[&str], output: impl Write) -> Result<(), SaveError> {
        // What is being read is not collected meanwhile.
        let operation = self.begin()?;
        let chosen = self.inner.db.read("find the images to save", |tx| choose(tx, typed))?;
        let mut archive = Archive {
            store: self,
            writer: Writer::new(BufWriter::with_capacity(BUFFER, output)),
            written: BTreeSet::new(),
        };
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        let (mut docker, mut descriptors) = (Vec::new(), Vec::new());
        for one in &chosen {
            for digest in digests(&one.image) {
                operation.keep_blob(&digest)?;
                archive.blob(&digest)?;
            }
            docker.push(docker_image(one));
            descriptors.append(&mut self.descriptors(one)?);
        }
        archive.file("index.json", &index_bytes(descriptors))?;
        archive.file(MANIFEST, serde_json::json!(docker).to_string().as_bytes())?;
        archive.file("oci-layout", LAYOUT)?;
        archive.writer.finish()?.flush()?;
        Ok(())
    }

    /// The images that [`Store::save`] would write for these names.
    ///
    /// # Errors
    /// There is no such image.
    pub fn to_save(&self, typed: &[&str]) -> Result<Vec<ImageRecord>, SaveError> {
        let chosen = self.inner.db.read("find the images to save", |tx| choose(tx, typed))?;
        Ok(chosen.into_iter().map(|one| one.image).collect())
    }

    /// The entries of `index.json`: one for each tag, or one without a name.
    fn descriptors(&self, chosen: &Chosen) -> Result<Vec<Descriptor>, SaveError> {
        let (media_type, bytes) = Images { inner: &self.inner }.manifest(&chosen.image.id)?;
        let config = &chosen.image.config;
        let platform = DescriptorPlatform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        };
        let plain = Descriptor {
            media_type,
            digest: oci::digest(&bytes),
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            platform: Some(platform),
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
        };
        if chosen.tags.is_empty() {
            return Ok(vec![plain]);
        }
        Ok(chosen.tags.iter().map(|tag| named(plain.clone(), tag)).collect())
    }
}

fn named(mut descriptor: Descriptor, tag: &Reference) -> Descriptor {
    let short = tag.tag().unwrap_or_default().to_owned();
    descriptor.annotations.insert(CONTAINERD_NAME.to_owned(), tag.to_string());
    descriptor.annotations.insert(REF_NAME.to_owned(), short);
    descriptor
}

fn docker_image(chosen: &Chosen) -> DockerImage {
    let layers = chosen.image.layers.iter().map(|layer| blob_name(&layer.blob)).collect();
    let tags: Vec<String> = chosen.tags.iter().map(Reference::familiar).collect();
    DockerImage {
        config: blob_name(&chosen.image.id.0),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: Some(layers),
    }
}

fn digests(image: &ImageRecord) -> Vec<Digest> {
    let mut digests = vec![image.manifest, image.id.0];
    digests.extend(image.layers.iter().map(|layer| layer.blob));
    digests
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Several names of one image are one image with several tags.
fn choose(tx: &Tx<'_>, typed: &[&str]) -> Result<Vec<Chosen>, SaveError> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for text in typed {
        for (id, tag) in choose_one(tx, text)? {
            let place = chosen.iter().position(|one| one.image.id == id);
            let place = match place {
                Some(place) => place,
                None => {
                    let image = load(tx, &id)?.ok_or(SaveError::Gone(id))?;
                    chosen.push(Chosen { image, tags: Vec::new() });
                    chosen.len() - 1
                }
            };
            chosen[place].tags.extend(tag);
        }
    }
    Ok(chosen)
}

fn choose_one(tx: &Tx<'_>, typed: &str) -> Result<Vec<(ImageId, Option<Reference>)>, ResolveError> {
    let name = typed.parse::<Reference>().ok();
    if let Some(name) = name.as_ref().filter(|n| n.tag().is_none() && n.digest().is_none()) {
        let tags = tx.all(
            "SELECT image, reference FROM tags WHERE reference >= ?1 AND reference < ?2",
            // `;` follows the colon that begins the tag.
            (format!("{}:", name.name()), format!("{};", name.name())),
            |row| Ok((row.get::<_, Text<_>>(0)?.0, Some(row.get::<_, Text<_>>(1)?.0))),
        )?;
        if !tags.is_empty() {
            return Ok(tags);
        }
    }
    let id = resolve::id_of(tx, typed)?;
    let tag = match name {
        Some(name) if resolve::by_name(tx, &name)? == Some(id) && name.digest().is_none() => {
            Some(name.with_default_tag())
        }
        Some(_) | None => None,
    };
    Ok(vec![(id, tag)])
}

/// The archive that is being written.
struct Archive<'s, W: Write> {
    store: &'s Store,
    writer: Writer<BufWriter<W>>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<'_, W> {
    fn directory(&mut self, name: &str) -> Result<(), SaveError> {
        Ok(self.writer.begin(&entry(name, Kind::Directory, 0o755, 0))?)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
        self.writer.begin(&entry(name, Kind::File, 0o644, bytes.len() as u64))?;
        Ok(self.writer.data(bytes)?)
    }

    /// Copies a blob, once. What is damaged is found out here rather than by who loads it.
    fn blob(&mut self, digest: &Digest) -> Result<(), SaveError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let blobs = Blobs { inner: &self.store.inner };
        let file = blobs.open(digest)?;
        let size = file.metadata()?.len();
        self.writer.begin(&entry(&blob_name(digest), Kind::File, 0o644, size))?;
        let mut source = HashReader::new(file.take(size));
        let mut buffer = vec![0; BUFFER];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                read => self.writer.data(&buffer[..read])?,
            }
        }
        match source.finish().digest {
            actual if actual == *digest => Ok(()),
            actual => Err(BlobError::WrongContent { expected: *digest, actual }.into()),
        }
    }
}

fn entry(name: &str, kind: Kind, mode: u32, size: u64) -> Entry {
    Entry { name: name.as_bytes().to_vec(), kind, mode, size, ..Entry::default() }
}
