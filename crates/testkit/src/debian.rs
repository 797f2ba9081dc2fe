//! An image of Debian with systemd, made once and kept.

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
    let dir = std::env::var_os("DHOW_TEST_IMAGES").map_or_else(|| PathBuf::from(KEPT), Into::into);
    let archive = dir.join("systemd.tar");
    if archive.exists() {
        return Ok(archive);
    }
    std::fs::create_dir_all(&dir)?;
    // Tests are processes and threads; one of them makes it.
    let lock = std::fs::File::create(dir.join("systemd.lock"))?;
    lock.lock()?;
    if !archive.exists() {
        make(&dir, &archive)?;
    }
    Ok(archive)
}

fn make(dir: &Path, archive: &Path) -> Result<()> {
    let made = tempfile::tempdir_in(dir)?;
    let tree = made.path().join("systemd.layer.tar");
    let lean = NEEDLESS.map(|files| format!("--dpkgopt=path-exclude={files}"));
    #[expect(
        clippy::disallowed_methods,
        reason = "Debian's packages are put together by Debian's program"
    )]
    let ended = Command::new("mmdebstrap")
        .args([
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            "--include=usr-is-merged,systemd-sysv",
            MERGED,
        ])
        .args(lean)
        .arg(SUITE)
        .arg(&tree)
        .stdin(Stdio::null())
        .status()
        .context("run mmdebstrap; is it installed?")?;
    ensure!(ended.success(), "mmdebstrap: {ended}");
    let image = Image::of_layer("systemd:latest", std::fs::read(&tree)?);
    // The name appears when the archive is whole.
    Ok(std::fs::rename(image.archive(made.path())?, archive)?)
}
