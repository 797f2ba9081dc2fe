//! Images that the machine pulls: files that any web server shows as a registry (distribution specification,
//! "Pulling manifests" and "Pulling blobs").

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::host;

/// Where the machine's own web server listens.
pub(super) const ADDRESS: &str = "127.0.0.1:5000";

/// What a layer has beside its line, so that a pull takes a while.
const FILLER: usize = 1 << 20;

const TYPES: &str = "application/vnd.oci.image";

/// What one of a round is called, and the line that is in it.
pub(super) fn image(round: usize) -> (String, String) {
    (format!("{ADDRESS}/p:{round}"), format!("p{round}"))
}

/// A repository `p` with an image for each round, below `share`.
pub(super) struct Repository {
    root: PathBuf,
    base: Value,
}

impl Repository {
    /// Makes it, with the layer that all images have: busybox's.
    pub(super) fn make(share: &Path, busybox: &Path) -> Result<Self> {
        let root = share.join("registry/v2/p");
        for part in ["manifests", "blobs", "made"] {
            fs::create_dir_all(root.join(part))?;
        }
        let made = root.join("made");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        host::run("tar", &["-xf", &text(busybox), "-C", &text(&made), "layer0.tar"])
            .context("take busybox's layer")?;
        let mut repository = Self { root, base: Value::Null };
        repository.base = repository.blob(&made.join("layer0.tar"), "layer.v1.tar")?;
        Ok(repository)
    }

    /// Adds the image of a round.
    pub(super) fn add(&self, round: usize) -> Result<()> {
        let made = self.root.join("made");
        let (_, line) = image(round);
        fs::write(made.join("kept"), format!("{line}\n"))?;
        // No two layers are the same, and none is small on the disk.
        let filler = format!("{line} ").repeat(FILLER / (line.len() + 1));
        fs::write(made.join("filler"), filler)?;
        let (layer, text) =
            (made.join("own.tar"), |path: &Path| path.to_string_lossy().into_owned());
        host::run("tar", &["-C", &text(&made), "-cf", &text(&layer), "kept", "filler"])?;
        let own = self.blob(&layer, "layer.v1.tar")?;
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [self.base["digest"], own["digest"]] },
        });
        let place = made.join("config.json");
        fs::write(&place, config.to_string())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": format!("{TYPES}.manifest.v1+json"),
            "config": self.blob(&place, "config.v1+json")?, "layers": [self.base, own],
        });
        Ok(fs::write(self.root.join("manifests").join(round.to_string()), manifest.to_string())?)
    }

    /// Shows a file as a blob; its descriptor.
    fn blob(&self, file: &Path, kind: &str) -> Result<Value> {
        let sum = host::output("sha256sum", &[&*file.to_string_lossy()])?;
        let digest = format!("sha256:{}", sum.split(' ').next().unwrap_or_default());
        let size = fs::copy(file, self.root.join("blobs").join(&digest))?;
        Ok(json!({ "mediaType": format!("{TYPES}.{kind}"), "digest": digest, "size": size }))
    }
}
