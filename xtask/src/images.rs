//! Makes base images from Debian packages, since no public registry can be assumed: `busybox`
//! from `busybox-static`, `debian` by `mmdebstrap`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{host, packages};

/// Docker archives of the two images.
pub(crate) struct Images {
    /// `busybox:latest`
    pub(crate) busybox: PathBuf,
    /// `debian:latest`
    pub(crate) debian: PathBuf,
}

/// The Debian release that the image is made of.
const SUITE: &str = "bookworm";

/// Packages that the debian image has beside the essential ones: a real web server for the demo.
const DEBIAN_PACKAGES: &str = "nginx-light,ca-certificates";

/// Writes `busybox.tar` alone; it is kept if it exists.
///
/// # Errors
/// As [`make`].
pub(crate) fn make_busybox_only(dir: &Path) -> Result<PathBuf> {
    let archive = dir.join("busybox.tar");
    if !archive.exists() {
        packages::install(&["busybox-static"])?;
        make_busybox(dir, &archive)?;
    }
    Ok(archive)
}

/// Writes `busybox.tar` and `debian.tar` into `dir`; what exists is kept.
///
/// # Errors
/// A package cannot be installed, or the disk is full.
pub(crate) fn make(dir: &Path) -> Result<Images> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let images = Images { busybox: make_busybox_only(dir)?, debian: dir.join("debian.tar") };
    if !images.debian.exists() {
        packages::install(&["mmdebstrap"])?;
        make_debian(dir, &images.debian)?;
    }
    Ok(images)
}

fn make_busybox(dir: &Path, archive: &Path) -> Result<()> {
    let tree = dir.join("busybox.tree");
    remove_tree(&tree)?;
    for folder in [
        "bin",
        "dev",
        "etc",
        "home",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "usr/sbin",
        "var/spool",
        "var/www",
    ] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    for applet in
        host::output("/bin/busybox", &["--list"])?.lines().filter(|applet| *applet != "busybox")
    {
        symlink("busybox", tree.join("bin").join(applet))?;
    }
    fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    )?;
    fs::write(
        tree.join("etc/group"),
        "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n",
    )?;
    let layer = dir.join("busybox.layer.tar");
    let (tree_name, layer_name) = (text(&tree), text(&layer));
    host::run(
        "tar",
        &[
            "-C",
            &tree_name,
            "--sort=name",
            "--numeric-owner",
            "--owner=0",
            "--group=0",
            "-cf",
            &layer_name,
            ".",
        ],
    )?;
    remove_tree(&tree)?;
    pack(dir, &layer, "busybox:latest", &["sh"], archive)
}

fn make_debian(dir: &Path, archive: &Path) -> Result<()> {
    let layer = dir.join("debian.layer.tar");
    host::say("making the debian image (about a minute)");
    let include = format!("--include={DEBIAN_PACKAGES}");
    let layer_name = text(&layer);
    // Documentation and locales are half of the image and serve nobody in a container.
    let lean = [
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
    ];
    let mut arguments = vec!["--quiet", "--variant=minbase", "--mode=root", &include];
    arguments.extend(lean);
    arguments.extend([SUITE, &layer_name]);
    host::run("mmdebstrap", &arguments)?;
    pack(dir, &layer, "debian:latest", &["bash"], archive)
}

/// Wraps one layer as a docker-archive.
pub(crate) fn pack(
    dir: &Path,
    layer: &Path,
    tag: &str,
    command: &[&str],
    archive: &Path,
) -> Result<()> {
    pack_all(dir, &[layer.to_owned()], tag, command, archive)
}

/// Wraps layers, lowest first, as a docker-archive; they are moved into it.
pub(crate) fn pack_all(
    dir: &Path,
    layers: &[PathBuf],
    tag: &str,
    command: &[&str],
    archive: &Path,
) -> Result<()> {
    let stage = dir.join("stage");
    remove_tree(&stage)?;
    fs::create_dir_all(&stage)?;
    let (mut names, mut diff_ids) = (Vec::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        let digest = host::output("sha256sum", &[&text(layer)])?;
        let digest = digest.split_whitespace().next().context("sha256sum printed nothing")?;
        diff_ids.push(format!("sha256:{digest}"));
        names.push(format!("layer{number}.tar"));
        fs::rename(layer, stage.join(format!("layer{number}.tar")))?;
    }
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let step = serde_json::json!({ "created": "2026-01-01T00:00:00Z", "created_by": "cargo xtask images" });
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": { "Cmd": command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": vec![step; layers.len()],
    });
    fs::write(stage.join("config.json"), config.to_string())?;
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": names }]);
    fs::write(stage.join("manifest.json"), manifest.to_string())?;
    // The name appears when the archive is whole: an interrupted run is not taken for a finished one.
    let partial = archive.with_extension("partial");
    let (stage_name, partial_name) = (text(&stage), text(&partial));
    let mut arguments =
        vec!["-C", &stage_name, "-cf", &partial_name, "manifest.json", "config.json"];
    arguments.extend(names.iter().map(String::as_str));
    host::run("tar", &arguments)?;
    fs::rename(&partial, archive)?;
    remove_tree(&stage)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
