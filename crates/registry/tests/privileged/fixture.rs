//! Images to be served, stores to pull into, and the pull itself.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use model::image::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use model::{Digest, Platform, Reference};
use registry::{Credentials, Event, Hosts, Limits, Pull, PullError, Pulled, Registry};
use serde_json::{Value, json};
use store::Store;
use store::oci::digest;

use crate::server::{Reply, Request, Server};

/// What a registry holds, in the one repository `app`.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    /// By tag and by digest: media type and bytes.
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

/// One image, with what a test wants to bend.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Value,
    pub(crate) config: Value,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    /// An image of layers that hold a file of about so many bytes each.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let layers: Vec<Layer> =
            sizes.iter().enumerate().map(|(at, size)| layer(at, *size)).collect();
        let diff_ids: Vec<String> =
            layers.iter().map(|layer| digest(&layer.tar).to_string()).collect();
        let config = json!({
            "architecture": Platform::host().architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let layers: Vec<Vec<u8>> = layers.into_iter().map(|layer| layer.gzip).collect();
        let described: Vec<Value> =
            layers.iter().map(|layer| descriptor(OCI_LAYER_GZIP, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config.to_string().as_bytes()),
            "layers": described,
        });
        Self { manifest, config, layers }
    }

    /// For another architecture.
    pub(crate) fn of(mut self, architecture: &str) -> Self {
        self.config["architecture"] = architecture.into();
        self.manifest["config"] = descriptor(OCI_CONFIG, self.config.to_string().as_bytes());
        self
    }

    pub(crate) fn layer(&self, at: usize) -> Digest {
        digest(&self.layers[at])
    }

    pub(crate) fn path(&self, at: usize) -> String {
        format!("/v2/app/blobs/{}", self.layer(at))
    }

    pub(crate) fn described(&self) -> Value {
        descriptor(OCI_MANIFEST, self.manifest.to_string().as_bytes())
    }

    pub(crate) fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        contents.add(self);
        contents.tag("latest", OCI_MANIFEST, &self.manifest);
        contents
    }
}

impl Contents {
    pub(crate) fn add(&mut self, image: &Image) {
        for blob in image.layers.iter().cloned().chain([image.config.to_string().into_bytes()]) {
            self.blobs.insert(digest(&blob).to_string(), blob);
        }
        self.manifest(OCI_MANIFEST, &image.manifest);
    }

    /// Holds a document under its digest.
    pub(crate) fn manifest(&mut self, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let described = descriptor(media_type, &bytes);
        self.manifests.insert(digest(&bytes).to_string(), (media_type.to_owned(), bytes));
        described
    }

    pub(crate) fn tag(&mut self, tag: &str, media_type: &str, document: &Value) {
        let bytes = document.to_string().into_bytes();
        self.manifests.insert(tag.to_owned(), (media_type.to_owned(), bytes));
    }

    pub(crate) fn index(&mut self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.manifest(OCI_INDEX, &index);
        index
    }

    /// As a registry should answer.
    pub(crate) fn serve(&self, request: &Request) -> Reply {
        let target = request.target.as_str();
        if let Some(name) = target.strip_prefix("/v2/app/manifests/") {
            return match self.manifests.get(name) {
                Some((kind, bytes)) => Reply::new(200, bytes.clone()).with("Content-Type", kind),
                None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        let blob = target.strip_prefix("/v2/app/blobs/").and_then(|name| self.blobs.get(name));
        let Some(blob) = blob else { return error(404, "BLOB_UNKNOWN", "blob unknown") };
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
        match range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok()) {
            None => Reply::new(200, blob.clone()),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                Reply::new(206, &blob[from..]).with("Content-Range", range)
            }
        }
    }

    pub(crate) fn start(self) -> Server {
        Server::start(move |request| self.serve(request))
    }
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reply::new(status, body.to_string())
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len()})
}

pub(crate) fn for_platform(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor
}

struct Layer {
    tar: Vec<u8>,
    gzip: Vec<u8>,
}

/// A layer with the one file `file-<at>` that does not compress.
fn layer(at: usize, size: usize) -> Layer {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (at as u64 + 1);
    let content: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, format!("file-{at}"), content.as_slice()).unwrap();
    let tar = builder.into_inner().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).unwrap();
    Layer { gzip: encoder.finish().unwrap(), tar }
}

/// A store of its own, and how it is pulled into.
pub(crate) struct Client {
    _dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) credentials: Credentials,
    pub(crate) platform: Option<Platform>,
    pub(crate) events: Mutex<Vec<Event>>,
}

impl Client {
    /// With limits that let a broken test fail soon.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            longest_retry_after: Duration::from_millis(1),
            ..Limits::default()
        };
        Self {
            store: Store::open(dir.path()).unwrap(),
            _dir: dir,
            registry: Registry { hosts: Hosts::default(), limits },
            credentials: Credentials::Anonymous,
            platform: None,
            events: Mutex::default(),
        }
    }

    pub(crate) fn pull(&self, reference: &str) -> Result<Pulled, PullError> {
        self.pull_telling(reference, &|_| ())
    }

    pub(crate) fn pull_telling(
        &self,
        reference: &str,
        tell: &(dyn Fn(&Event) + Sync),
    ) -> Result<Pulled, PullError> {
        let reference: Reference = reference.parse().unwrap();
        let pull = Pull {
            reference: &reference,
            platform: self.platform.as_ref(),
            credentials: self.credentials.clone(),
            now_ns: 1,
        };
        self.registry.pull(&self.store, &pull, &|event| {
            tell(&event);
            self.events.lock().unwrap().push(event);
        })
    }

    /// Pulls `app` from `server`.
    pub(crate) fn pull_from(&self, server: &Server) -> Result<Pulled, PullError> {
        self.pull(&format!("{}/app", server.address))
    }

    /// What a pull says that fails; nothing of it may be seen in the store.
    pub(crate) fn refusal(&self, server: &Server) -> String {
        let error = self.pull_from(server).unwrap_err().to_string();
        assert_eq!(self.store.images().list().unwrap(), [], "{error}");
        error.replace(&server.address.to_string(), "HOST")
    }

    /// Whether the image is here with all files of its layers.
    pub(crate) fn assert_has(&self, image: &Image, reference: &str) {
        let record = self.store.images().resolve(reference).unwrap();
        let blobs: Vec<Digest> = record.layers.iter().map(|layer| layer.blob).collect();
        let expected: Vec<Digest> = image.layers.iter().map(|layer| digest(layer)).collect();
        assert_eq!(blobs, expected);
        for (at, blob) in image.layers.iter().enumerate() {
            let max = blob.len() as u64;
            assert_eq!(self.store.blobs().read(&digest(blob), max).unwrap(), *blob);
            assert_ne!(self.unpacked(&format!("file-{at}")), 0, "file-{at}");
        }
    }

    /// In how many trees there is a file.
    fn unpacked(&self, name: &str) -> usize {
        let trees = std::fs::read_dir(self.store.root().join("snapshots")).unwrap();
        trees.filter(|tree| tree.as_ref().unwrap().path().join("fs").join(name).exists()).count()
    }
}
