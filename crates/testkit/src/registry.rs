//! A small registry in plain HTTP, for images that a test makes up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use serde_json::json;

use crate::Image;
use crate::busybox::{append, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A registry on a port of its own; it ends with its handle.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    contents: Mutex<Contents>,
    seen: Mutex<Vec<String>>,
    /// The `Authorization` header that lets somebody in.
    pass: Option<&'static str>,
    /// So many must ask for a tag before anyone gets one.
    together: Option<Barrier>,
    has_ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Contents {
    /// Media type and bytes by path.
    documents: BTreeMap<String, (&'static str, Vec<u8>)>,
    /// By repository.
    tags: BTreeMap<String, Vec<String>>,
}

impl Registry {
    /// For everybody.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None, None)
    }

    /// For those who show `pass` in the `Authorization` header.
    #[must_use]
    pub fn start_for(pass: &'static str) -> Self {
        Self::start_with(Some(pass), None)
    }

    /// Answers a question for a tag only when `count` of them have come.
    #[must_use]
    pub fn start_together(count: usize) -> Self {
        Self::start_with(None, Some(Barrier::new(count)))
    }

    fn start_with(pass: Option<&'static str>, together: Option<Barrier>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a registry");
        let address = listener.local_addr().expect("the port of a registry");
        let shared = Arc::new(Shared {
            contents: Mutex::default(),
            seen: Mutex::default(),
            pass,
            together,
            has_ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Holds an image of these layers, each with one file of so many bytes, and gives the paths
    /// that the layers are fetched from.
    ///
    /// # Panics
    /// Never for what tests ask.
    pub fn push(&self, repository: &str, tag: &str, layers: &[(&str, usize)]) -> Vec<String> {
        let layers: Vec<Vec<u8>> = layers.iter().map(|(name, size)| layer(name, *size)).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux", "config": { "Cmd": [format!("/{tag}")] },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|l| digest(l)).collect::<Vec<_>>() },
        })
        .to_string()
        .into_bytes();
        self.hold(repository, tag, layers, config)
    }

    /// Holds an image, and gives what to pull.
    ///
    /// # Panics
    /// Never for what tests ask.
    #[must_use]
    pub fn push_image(&self, image: &Image) -> String {
        self.hold("app", "latest", image.layers().to_vec(), image.config());
        format!("{}/app:latest", self.address)
    }

    fn hold(
        &self,
        repository: &str,
        tag: &str,
        layers: Vec<Vec<u8>>,
        config: Vec<u8>,
    ) -> Vec<String> {
        let described = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described(CONFIG, &config),
            "layers": layers.iter().map(|l| described(LAYER, l)).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes();
        let mut contents = self.shared.contents.lock().expect("no thread has panicked");
        contents.tags.entry(repository.to_owned()).or_default().push(tag.to_owned());
        for name in [tag.to_owned(), digest(&manifest)] {
            let path = format!("/v2/{repository}/manifests/{name}");
            contents.documents.insert(path, (MANIFEST, manifest.clone()));
        }
        let mut paths = Vec::new();
        for blob in layers.into_iter().chain([config]) {
            let path = format!("/v2/{repository}/blobs/{}", digest(&blob));
            contents.documents.insert(path.clone(), ("application/octet-stream", blob));
            paths.push(path);
        }
        paths.pop();
        paths
    }

    /// How often a path was asked for.
    ///
    /// # Panics
    /// A thread of the registry has.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let seen = self.shared.seen.lock().expect("no thread has panicked");
        seen.iter().filter(|target| *target == path).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if it has gone already, all is well.
        drop(TcpStream::connect(self.address));
    }
}

fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, name, 0o644, &vec![b'x'; size]).expect("a file into memory");
    archive.into_inner().expect("an archive in memory")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.has_ended.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // A client that goes in the middle is no fault of the registry.
        std::thread::spawn(move || drop(stream.and_then(|stream| serve(stream, &shared))));
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    if speaks_tls(&stream)? {
        return Ok(());
    }
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut out = stream;
    while let Some(first) = lines.next().transpose()? {
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut pass = None;
        while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("authorization")
            {
                pass = Some(value.to_owned());
            }
        }
        answer(shared, &target, pass.as_deref(), &mut out)?;
    }
    Ok(())
}

/// Whether somebody begins a handshake: at loopback addresses that is tried first.
fn speaks_tls(stream: &TcpStream) -> std::io::Result<bool> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    stream.peek(&mut first)?;
    Ok(first == [HANDSHAKE])
}

fn answer(
    shared: &Shared,
    target: &str,
    pass: Option<&str>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    shared.seen.lock().expect("no thread has panicked").push(target.to_owned());
    if shared.pass.is_some() && shared.pass != pass {
        let demand = "WWW-Authenticate: Basic realm=\"test\"\r\n";
        return send(out, ("401 Unauthorized", demand), ("application/json", b"{}"));
    }
    if let (Some(together), true) = (&shared.together, is_tag(target)) {
        together.wait();
    }
    let contents = shared.contents.lock().expect("no thread has panicked");
    let list = target.strip_prefix("/v2/").and_then(|rest| rest.split_once("/tags/list"));
    if let Some(tags) = list.and_then(|(repository, _)| contents.tags.get(repository)) {
        let body = json!({ "tags": tags }).to_string();
        return send(out, ("200 OK", ""), ("application/json", body.as_bytes()));
    }
    match contents.documents.get(target) {
        Some((kind, bytes)) => send(out, ("200 OK", ""), (kind, bytes)),
        None => {
            let code =
                if target.contains("/manifests/") { "MANIFEST_UNKNOWN" } else { "NAME_UNKNOWN" };
            let body = json!({ "errors": [{ "code": code, "message": "unknown" }] }).to_string();
            send(out, ("404 Not Found", ""), ("application/json", body.as_bytes()))
        }
    }
}

fn is_tag(target: &str) -> bool {
    target.contains("/manifests/") && !target.contains("/manifests/sha256:")
}

fn send(
    out: &mut impl Write,
    (status, headers): (&str, &str),
    (kind, body): (&str, &[u8]),
) -> std::io::Result<()> {
    let len = body.len();
    write!(
        out,
        "HTTP/1.1 {status}\r\n{headers}Content-Type: {kind}\r\nContent-Length: {len}\r\n\r\n"
    )?;
    out.write_all(body)?;
    out.flush()
}
