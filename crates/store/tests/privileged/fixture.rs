//! Archives made for the tests, and what a store has on disk.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use model::image::{Compression, Descriptor, DescriptorPlatform, media_type};
use model::{Digest, Platform};
use serde_json::{Value, json};
use store::oci;
use store::tar::{Entry, Kind, Writer};
use store::{LoadError, LoadOptions, Loaded, Store};

/// A data root of its own.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dhow-store-").tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self { dir, store }
    }

    pub(crate) fn load(&self, archive: Vec<u8>) -> Result<Vec<Loaded>, LoadError> {
        self.store.load(Cursor::new(archive), &options(), &mut |_| ())
    }

    /// How many entries each directory of the root has.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        counts(self.dir.path())
    }

    /// Nothing but an empty store.
    pub(crate) fn assert_empty(&self, what: &str) {
        assert!(self.store.images().list().unwrap().is_empty(), "{what}: an image is listed");
        let left: Vec<_> = self.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        assert!(left.is_empty(), "{what}: left on disk: {left:?}");
    }
}

pub(crate) fn options() -> LoadOptions {
    LoadOptions { platform: "linux/amd64".parse::<Platform>().unwrap(), now_ns: 1 }
}

pub(crate) fn counts(root: &Path) -> BTreeMap<&'static str, usize> {
    ["images/blobs/sha256", "ingest", "staging", "snapshots", "containers", "trash", "leases"]
        .into_iter()
        .map(|dir| (dir, std::fs::read_dir(root.join(dir)).unwrap().count()))
        .collect()
}

/// A tar of files; a name that ends in `/` is a directory.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, content) in files {
        let kind = if name.ends_with('/') { Kind::Directory } else { Kind::File };
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let size = content.len() as u64;
        let entry = Entry { name: name.as_bytes().to_vec(), kind, mode, size, ..Entry::default() };
        writer.begin(&entry).unwrap();
        writer.data(content).unwrap();
    }
    writer.finish().unwrap()
}

/// A tar with one symlink after the files.
pub(crate) fn tar_with_link(files: &[(&str, &[u8])], name: &str, target: &str) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let link = Entry {
        name: name.as_bytes().to_vec(),
        link: target.as_bytes().to_vec(),
        kind: Kind::Symlink,
        mode: 0o777,
        ..Entry::default()
    };
    writer.begin(&link).unwrap();
    for (name, content) in files {
        let size = content.len() as u64;
        let entry = Entry { name: name.as_bytes().to_vec(), mode: 0o644, size, ..Entry::default() };
        writer.begin(&entry).unwrap();
        writer.data(content).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Two layers: the second replaces one file of the first and hides another.
pub(crate) fn two_layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[("etc/", b""), ("etc/kept", b"below"), ("etc/changed", b"old"), ("gone", b"x")]),
        tar(&[("etc/", b""), ("etc/changed", b"new"), (".wh.gone", b"")]),
    ]
}

pub(crate) fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| oci::digest(layer)).collect();
    json!({
        "architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": layers.iter().map(|_| json!({"created_by": "test"})).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes()
}

/// The members of a docker-archive as Docker 1.10 to 24 writes it, layers first.
pub(crate) fn docker_members(layers: &[Vec<u8>], tags: &[&str]) -> Vec<(String, Vec<u8>)> {
    let config = config_of(layers);
    let config_name = format!("{}.json", oci::digest(&config).hex());
    let mut members = Vec::new();
    let mut names = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        members.push((format!("{n:064x}/VERSION"), b"1.0".to_vec()));
        members.push((format!("{n:064x}/json"), b"{\"id\":\"x\"}".to_vec()));
        names.push(format!("{n:064x}/layer.tar"));
        members.push((format!("{n:064x}/layer.tar"), layer.clone()));
    }
    members.push((config_name.clone(), config));
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    members.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    members.push(("repositories".to_owned(), b"{\"x\":{}}".to_vec()));
    members
}

pub(crate) fn pack(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> =
        members.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    tar(&files)
}

pub(crate) fn docker_archive(layers: &[Vec<u8>], tags: &[&str]) -> Vec<u8> {
    pack(&docker_members(layers, tags))
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: oci::digest(bytes),
        size: i64::try_from(bytes.len()).unwrap(),
        platform: None,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
    }
}

/// An OCI archive with a nested index, as `docker buildx` writes it: amd64, an entry for arm64
/// that is not in the archive, and an attestation.
pub(crate) struct OciArchive {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) members: Vec<(String, Vec<u8>)>,
}

pub(crate) fn oci_archive(layers: &[Vec<u8>], compression: Compression, name: &str) -> OciArchive {
    let blobs: Vec<Vec<u8>> = layers
        .iter()
        .map(|layer| match compression {
            Compression::Plain => layer.clone(),
            Compression::Gzip => gzip(layer),
            Compression::Zstd => zstd(layer),
        })
        .collect();
    let config = config_of(layers);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG, &config),
        "layers": blobs.iter().map(|b| descriptor(compression.media_type(), b)).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let mut here = descriptor(media_type::OCI_MANIFEST, &manifest);
    here.platform = platform("linux", "amd64");
    let mut elsewhere = descriptor(media_type::OCI_MANIFEST, b"not in the archive");
    elsewhere.platform = platform("linux", "arm64");
    let mut attestation = descriptor(media_type::OCI_MANIFEST, b"not in the archive either");
    attestation.platform = platform("unknown", "unknown");
    let nested = index(vec![json!(attestation), json!(elsewhere), json!(here)]);
    let mut entry = descriptor(media_type::OCI_INDEX, &nested);
    entry.annotations.insert("io.containerd.image.name".into(), name.into());
    entry.annotations.insert("org.opencontainers.image.ref.name".into(), "v1".into());
    let mut members: Vec<(String, Vec<u8>)> =
        vec![("index.json".into(), index(vec![json!(entry)]))];
    members.push(("oci-layout".into(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
    for blob in [nested, manifest.clone(), config.clone()].into_iter().chain(blobs) {
        members.push((blob_name(&blob), blob));
    }
    OciArchive { manifest, config, members }
}

pub(crate) fn blob_name(content: &[u8]) -> String {
    format!("blobs/sha256/{}", oci::digest(content).hex())
}

fn platform(os: &str, architecture: &str) -> Option<DescriptorPlatform> {
    Some(DescriptorPlatform { os: os.into(), architecture: architecture.into(), variant: None })
}

fn index(manifests: Vec<Value>) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
        .to_string()
        .into_bytes()
}
