//! A real registry on this machine, with an image of ten layers in it.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engines::Engine;
use super::inputs::{self, Noise};
use crate::{host, images};

const ADDRESS: &str = "127.0.0.1:15000";
/// What is pulled.
pub(crate) const IMAGE: &str = "127.0.0.1:15000/ten:latest";
/// Layers of the image.
const LAYERS: u64 = 10;
/// Unpacked bytes of the image.
pub(crate) const BYTES: u64 = 1 << 30;

/// Debian's docker-registry, with storage of its own.
pub(crate) struct Registry(Child);

impl Registry {
    /// Starts it and pushes the image by `docker`.
    ///
    /// # Errors
    /// It does not listen, or the image cannot be pushed.
    pub(crate) fn start(dir: &Path, docker: &Engine) -> Result<Self> {
        let log = File::create(dir.join("registry.log"))?;
        let mut command =
            host::command("docker-registry", &["serve", "/etc/docker/registry/config.yml"]);
        command.env("REGISTRY_HTTP_ADDR", ADDRESS);
        command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", dir.join("registry"));
        command.env("REGISTRY_AUTH", "");
        let child = command
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start docker-registry")?;
        let registry = Self(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(ADDRESS).is_err() {
            if Instant::now() > deadline {
                bail!("docker-registry does not listen at {ADDRESS}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        push(dir, docker)?;
        Ok(registry)
    }
}

fn push(dir: &Path, docker: &Engine) -> Result<()> {
    host::say("pushing an image of ten layers");
    let mut noise = Noise::new();
    let mut layers = Vec::new();
    for number in 0..LAYERS {
        let tree = dir.join("ten");
        inputs::fill(&tree.join(format!("l{number}")), BYTES / LAYERS, &mut noise)?;
        let layer = dir.join(format!("ten{number}.tar"));
        host::run(
            "tar",
            &["-C", &inputs::text(&tree), "--sort=name", "-cf", &inputs::text(&layer), "."],
        )?;
        std::fs::remove_dir_all(tree)?;
        layers.push(layer);
    }
    let archive = dir.join("ten.archive.tar");
    images::pack_all(dir, &layers, IMAGE, &["true"], &archive)?;
    docker.ok(&["load", "-q", "-i", &inputs::text(&archive)])?;
    docker.ok(&["push", "-q", IMAGE])?;
    docker.ok(&["rmi", IMAGE])?;
    Ok(std::fs::remove_file(archive)?)
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
