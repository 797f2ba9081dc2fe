//! From an archive's documents to its images.
//!
//! An OCI index is preferred where there is one, since it keeps manifests as their author wrote
//! them; `manifest.json` adds its tags.

use std::collections::BTreeMap;

use model::image::{Descriptor, ImageConfig, Index, Manifest};
use model::{Digest, Platform, Reference};

use super::LoadError;
use super::docker::{self, DockerImage, MANIFEST};
use super::members::Members;
use crate::images::{CONTAINERD_NAME, REF_NAME, manifest_for};
use crate::oci::{self, Document, DocumentError, INDEX_DEPTH_MAX, LayerSpec};

const INDEX: &str = "index.json";

/// An image as an archive describes it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<LayerSpec>,
    pub(super) tags: Vec<Reference>,
}

/// Every image of the archive, in its order.
pub(super) fn images(members: &Members, platform: &Platform) -> Result<Vec<Source>, LoadError> {
    let docker = match members.get(MANIFEST) {
        Some(_) => docker::parse(members.document(MANIFEST, "the format")?)?,
        None => Vec::new(),
    };
    let found = if members.get(INDEX).is_some() {
        from_index(members, platform, &docker)?
    } else if !docker.is_empty() {
        docker.iter().map(|image| from_docker(members, image)).collect::<Result<_, _>>()?
    } else if members.get("repositories").is_some() {
        return Err(LoadError::TooOld);
    } else {
        Vec::new()
    };
    if found.is_empty() { Err(LoadError::NotAnImage) } else { Ok(found) }
}

fn from_docker(members: &Members, image: &DockerImage) -> Result<Source, LoadError> {
    let bytes = members.document(&image.config, MANIFEST)?;
    let config = oci::parse_config(bytes).map_err(in_member(&image.config))?;
    let names = image.layers.as_deref().unwrap_or_default();
    let diff_ids = &config.rootfs.diff_ids;
    if names.len() != diff_ids.len() {
        let count = DocumentError::LayerCount { layers: names.len(), diff_ids: diff_ids.len() };
        return Err(in_member(MANIFEST)(count));
    }
    let layers = names
        .iter()
        .zip(diff_ids)
        .map(|(name, diff_id)| layer(members, name, diff_id, MANIFEST))
        .collect::<Result<Vec<_>, _>>()?;
    let tags = docker_tags(image)?;
    Ok(Source { manifest: manifest_for(bytes, &layers), config: bytes.to_vec(), layers, tags })
}

/// The layer in member `name`, which must be `diff_id`.
fn layer(
    members: &Members,
    name: &str,
    diff_id: &Digest,
    by: &'static str,
) -> Result<LayerSpec, LoadError> {
    let arrived = members.layer(name, by)?;
    if arrived.diff_id == *diff_id {
        return Ok(arrived.spec());
    }
    let (expected, actual) = (*diff_id, arrived.diff_id);
    Err(LoadError::WrongLayer { name: name.to_owned(), expected, actual })
}

fn docker_tags(image: &DockerImage) -> Result<Vec<Reference>, LoadError> {
    let tags = image.repo_tags.as_deref().unwrap_or_default();
    tags.iter().map(|tag| parse_tag(tag)).collect()
}

fn parse_tag(tag: &str) -> Result<Reference, LoadError> {
    let bad = |reason: String| LoadError::BadTag { tag: tag.to_owned(), reason };
    let reference: Reference = tag
        .parse()
        .map_err(|error: model::reference::ParseReferenceError| bad(error.to_string()))?;
    match (reference.tag(), reference.digest()) {
        (Some(_), None) => Ok(reference),
        _ => Err(bad("it is not of the form name:tag".to_owned())),
    }
}

/// Several entries of an index may name one image, each with another tag.
fn from_index(
    members: &Members,
    platform: &Platform,
    docker: &[DockerImage],
) -> Result<Vec<Source>, LoadError> {
    let index = parse_index(INDEX, members.document(INDEX, "the format")?)?;
    let mut found: Vec<Source> = Vec::new();
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for descriptor in &index.manifests {
        if is_attestation(descriptor) {
            continue;
        }
        let mut source = from_descriptor(members, descriptor, platform, 0)?;
        source.tags.extend(index_tag(descriptor));
        match places.get(&source.manifest) {
            Some(&place) => found[place].tags.append(&mut source.tags),
            None => {
                places.insert(source.manifest.clone(), found.len());
                found.push(source);
            }
        }
    }
    for source in &mut found {
        add_docker_tags(source, docker)?;
        source.tags.sort();
        source.tags.dedup();
    }
    Ok(found)
}

fn from_descriptor(
    members: &Members,
    descriptor: &Descriptor,
    platform: &Platform,
    depth: usize,
) -> Result<Source, LoadError> {
    let name = blob_name(&descriptor.digest);
    if depth > INDEX_DEPTH_MAX {
        return Err(in_member(&name)(DocumentError::TooDeep));
    }
    let bytes = members.document(&name, INDEX)?;
    oci::verify("manifest", descriptor, bytes).map_err(in_member(&name))?;
    match oci::parse(bytes).map_err(in_member(&name))? {
        Document::Manifest(manifest) => from_manifest(members, bytes, &manifest),
        Document::Index(index) => from_nested(members, &index, platform, depth),
    }
}

/// The best platform that the archive has: Docker saves one of many, with the index of all.
fn from_nested(
    members: &Members,
    index: &Index,
    platform: &Platform,
    depth: usize,
) -> Result<Source, LoadError> {
    let candidates = oci::candidates(index, platform);
    let there = |d: &&&Descriptor| members.get(&blob_name(&d.digest)).is_some();
    let chosen = candidates.iter().find(there).or(candidates.first());
    match chosen {
        Some(descriptor) => from_descriptor(members, descriptor, platform, depth + 1),
        None => {
            oci::choose(index, platform).map_err(in_member("the archive's index"))?;
            Err(LoadError::NotAnImage)
        }
    }
}

fn from_manifest(
    members: &Members,
    bytes: &[u8],
    manifest: &Manifest,
) -> Result<Source, LoadError> {
    let name = blob_name(&manifest.config.digest);
    let config_bytes = members.document(&name, "the manifest")?;
    oci::verify("configuration", &manifest.config, config_bytes).map_err(in_member(&name))?;
    let config: ImageConfig = oci::parse_config(config_bytes).map_err(in_member(&name))?;
    let layers =
        oci::layers(manifest, &config).map_err(in_member(&oci::digest(bytes).to_string()))?;
    for spec in &layers {
        let name = blob_name(&spec.blob);
        let arrived = layer(members, &name, &spec.diff_id, "the manifest")?;
        if arrived.size != spec.size {
            let (digest, expected) = (spec.blob, spec.size);
            let wrong = crate::BlobError::WrongSize { digest, expected, actual: arrived.size };
            return Err(wrong.into());
        }
    }
    Ok(Source { manifest: bytes.to_vec(), config: config_bytes.to_vec(), layers, tags: Vec::new() })
}

fn parse_index(name: &str, bytes: &[u8]) -> Result<Index, LoadError> {
    match oci::parse(bytes).map_err(in_member(name))? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => {
            let found = "a manifest".to_owned();
            Err(in_member(name)(DocumentError::MediaType { what: "an image index", found }))
        }
    }
}

/// containerd's name is whole; the specification's may be a tag without a repository, which names
/// nothing here.
fn index_tag(descriptor: &Descriptor) -> Option<Reference> {
    let whole = descriptor.annotations.get(CONTAINERD_NAME);
    let part = descriptor.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    parse_tag(whole.or(part)?).ok()
}

fn add_docker_tags(source: &mut Source, docker: &[DockerImage]) -> Result<(), LoadError> {
    let config = blob_name(&oci::digest(&source.config));
    for image in docker.iter().filter(|image| image.config == config) {
        source.tags.append(&mut docker_tags(image)?);
    }
    Ok(())
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotations.contains_key("vnd.docker.reference.type")
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn in_member(name: &str) -> impl FnOnce(DocumentError) -> LoadError + use<> {
    let name = name.to_owned();
    move |source| LoadError::Document { name, source: Box::new(source) }
}
