//! Images made from the static busybox of Debian.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

const PROGRAM: &str = "/bin/busybox";

/// Applets that tests call by name.
const APPLETS: [&str; 40] = [
    "sh", "ash", "cat", "echo", "ls", "ps", "id", "env", "true", "false", "sleep", "kill", "mount",
    "stat", "head", "tail", "grep", "wc", "dd", "mkdir", "rm", "touch", "ln", "test", "hostname",
    "pwd", "printf", "nc", "wget", "httpd", "ip", "ping", "stty", "tty", "yes", "seq", "chmod",
    "chown", "trap", "date",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nwww:x:33:\nextra:x:77:www\nnogroup:x:65534:\n";

/// An image to be loaded or pulled.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    layers: Vec<Vec<u8>>,
    /// What its configuration says of containers, beside or in place of the usual.
    says: serde_json::Map<String, serde_json::Value>,
}

impl Image {
    /// `busybox:latest`.
    ///
    /// # Errors
    /// `busybox-static` is not installed.
    pub fn busybox() -> Result<Self> {
        let layer = layer()
            .with_context(|| format!("make a layer of {PROGRAM}; is busybox-static installed?"))?;
        Ok(Self::of_layer("busybox:latest", layer))
    }

    /// An image of one layer, a plain tar.
    pub(crate) fn of_layer(name: &str, layer: Vec<u8>) -> Self {
        Self { name: name.to_owned(), layers: vec![layer], says: serde_json::Map::new() }
    }

    /// The same under another name, whose configuration says this of containers: an object, as
    /// `{"User": "www"}`.
    #[must_use]
    pub fn saying(mut self, name: &str, config: &serde_json::Value) -> Self {
        name.clone_into(&mut self.name);
        self.says.extend(config.as_object().cloned().unwrap_or_default());
        self
    }

    /// The same under another name with one more layer, of files in `/data`.
    ///
    /// # Errors
    /// None that a test can cause.
    pub fn with_files(mut self, name: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        let mut layer = tar::Builder::new(Vec::new());
        for (file, content) in files {
            append(&mut layer, &format!("data/{file}"), 0o644, content)?;
        }
        self.layers.push(layer.into_inner()?);
        name.clone_into(&mut self.name);
        Ok(self)
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| digest(layer)).collect();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let history = serde_json::json!({
            "created": "2026-01-01T00:00:00Z", "created_by": "testkit",
        });
        let mut said = serde_json::Map::new();
        said.insert("Cmd".to_owned(), serde_json::json!(["sh"]));
        said.insert("Env".to_owned(), serde_json::json!([path]));
        said.extend(self.says.clone());
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": said,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": vec![history; self.layers.len()],
        });
        config.to_string().into_bytes()
    }

    /// Its layers, plain tars, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Vec<u8>] {
        &self.layers
    }

    /// Writes it as a docker-archive.
    ///
    /// # Errors
    /// The disk is full.
    pub fn archive(&self, dir: &Path) -> Result<PathBuf> {
        let names: Vec<String> = (0..self.layers.len()).map(|at| format!("{at}.tar")).collect();
        let manifest = serde_json::json!([{
            "Config": "config.json", "RepoTags": [self.name], "Layers": names,
        }]);
        let path = dir.join(format!("{}.tar", self.name.split(':').next().unwrap_or_default()));
        let mut archive = tar::Builder::new(std::fs::File::create(&path)?);
        append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
        append(&mut archive, "config.json", 0o644, &self.config())?;
        for (name, layer) in names.iter().zip(&self.layers) {
            append(&mut archive, name, 0o644, layer)?;
        }
        archive.finish()?;
        Ok(path)
    }
}

/// A docker-archive of `busybox:latest`.
///
/// # Errors
/// `busybox-static` is not installed, or the disk is full.
pub fn busybox_archive(dir: &Path) -> Result<PathBuf> {
    Image::busybox()?.archive(dir)
}

fn layer() -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin/", 0o755),
        ("etc/", 0o755),
        ("home/", 0o755),
        ("root/", 0o700),
        ("tmp/", 0o1777),
        ("var/", 0o755),
        ("var/www/", 0o755),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        layer.append_data(&mut header, folder, std::io::empty())?;
    }
    append(&mut layer, "bin/busybox", 0o755, &std::fs::read(PROGRAM)?)?;
    for applet in APPLETS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    append(&mut layer, "etc/passwd", 0o644, PASSWD.as_bytes())?;
    append(&mut layer, "etc/group", 0o644, GROUP.as_bytes())?;
    Ok(layer.into_inner()?)
}

pub(crate) fn append(
    archive: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, u64::try_from(content.len())?);
    Ok(archive.append_data(&mut header, name, content)?)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_767_225_600);
    header
}

/// As manifests name content.
pub(crate) fn digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(content).iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
