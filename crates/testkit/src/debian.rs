//! What Debian's packages give: an image with systemd, and a criu. Made once and kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::Image;

/// Where it is kept, unless `DHOW_TEST_IMAGES` names another directory.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/images");

/// The Debian release that it is made of.
const SUITE: &str = "bookworm";

/// Files that are left out: nothing that boots needs them, and each test that loads the image would
/// wait for them.
const NEEDLESS: [&str; 7] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/zoneinfo/*",
    "/usr/lib/*/gconv/*",
    "/usr/lib/udev/hwdb.d/*",
];

/// Debian's program that merges `/usr` later needs all of Perl.
const MERGED: &str = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr";

/// A docker-archive of `systemd:latest`: a lean Debian whose `/sbin/init` is systemd. The first test
/// that asks makes it, which takes a minute.
///
/// # Errors
/// `mmdebstrap` is not installed or finds no packages; the disk is full.
pub fn systemd_archive() -> Result<PathBuf> {
    kept("systemd.tar", make_systemd)
}

/// The Debian release whose criu knows kernels of today: those before crash on their vDSO.
const CRIU_SUITE: &str = "sid";

/// Runs that criu with the libraries of its own release, wherever the directory is.
const CRIU: &str = r#"#!/bin/sh
tree=${0%/*}/tree
set -- "$tree"/usr/sbin/criu "$@"
for lib in "$tree"/usr/lib/*-linux-gnu; do set -- --library-path "$lib" "$@"; done
for loader in "$tree"/usr/lib*/ld-linux-*.so.*; do exec "$loader" "$@"; done
"#;

/// A criu that works on this kernel, whatever the host has. The first test that asks makes it, which
/// takes half a minute.
///
/// # Errors
/// As [`systemd_archive`].
pub fn criu() -> Result<PathBuf> {
    kept("criu", make_criu)?;
    Ok(criu_path())
}

/// Where that is, once it is made.
pub(crate) fn criu_path() -> PathBuf {
    directory().join("criu/criu")
}

fn directory() -> PathBuf {
    std::env::var_os("DHOW_TEST_IMAGES").map_or_else(|| PathBuf::from(KEPT), Into::into)
}

/// What is made once: by whoever comes first, since tests are processes and threads.
fn kept(name: &str, make: fn(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let dir = directory();
    let made = dir.join(name);
    if made.exists() {
        return Ok(made);
    }
    std::fs::create_dir_all(&dir)?;
    let lock = std::fs::File::create(made.with_extension("lock"))?;
    lock.lock()?;
    if !made.exists() {
        make(&dir, &made)?;
    }
    Ok(made)
}

fn make_criu(dir: &Path, made: &Path) -> Result<()> {
    let stage = tempfile::tempdir_in(dir)?;
    let words = [
        "--variant=extract",
        "--include=criu",
        "--dpkgopt=path-exclude=/usr/share/*",
        // A mirror that is some days behind will do.
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        CRIU_SUITE,
    ];
    mmdebstrap(&words, &stage.path().join("tree"))?;
    let program = stage.path().join("criu");
    std::fs::write(&program, CRIU)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    Ok(std::fs::rename(stage.keep(), made)?)
}

fn make_systemd(dir: &Path, archive: &Path) -> Result<()> {
    let made = tempfile::tempdir_in(dir)?;
    let tree = made.path().join("systemd.layer.tar");
    let lean = NEEDLESS.map(|files| format!("--dpkgopt=path-exclude={files}"));
    let lean: Vec<&str> = lean.iter().map(String::as_str).collect();
    let words = ["--variant=minbase", "--include=usr-is-merged,systemd-sysv", MERGED];
    mmdebstrap(&[&words[..], &lean, &[SUITE]].concat(), &tree)?;
    let image = Image::of_layer("systemd:latest", std::fs::read(&tree)?);
    // The name appears when the archive is whole.
    Ok(std::fs::rename(image.archive(made.path())?, archive)?)
}

fn mmdebstrap(words: &[&str], target: &Path) -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "Debian's packages are put together by Debian's program"
    )]
    let ended = Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root"])
        .args(words)
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .context("run mmdebstrap; is it installed?")?;
    ensure!(ended.success(), "mmdebstrap: {ended}");
    Ok(())
}
