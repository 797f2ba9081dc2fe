//! The newest runc and crun of Debian, beside the machine's own packages, and the programs that runc's tests call.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::sources::{self, text};
use crate::{host, packages};

const RELEASE: &str = "sid";
/// The two, and the libraries that they are linked with.
const NAMES: [&str; 8] =
    ["runc", "crun", "libblake3-0", "libc6", "libcap2", "libjson-c5", "libseccomp2", "libsystemd0"];
/// What makes them find those.
const PACKAGES: &[&str] = &["patchelf"];

/// Programs of runc's package that its tests call.
pub(super) const HELPERS: [&str; 6] =
    ["fs-idmap", "pidfd-kill", "recvtty", "remap-rootfs", "sd-helper", "seccompagent"];

/// Where a program of theirs is.
///
/// # Errors
/// Debian's packages cannot be had.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    packages::install(PACKAGES)?;
    let tree = sources::packages("peers", RELEASE, &NAMES)?;
    let found = ["usr/sbin", "usr/bin"].map(|place| tree.join(place).join(name));
    let found = found.into_iter().find(|path| path.exists());
    let found = found.with_context(|| format!("no package of {RELEASE} has a program {name}"))?;
    let own = sources::kept().join("peers.bin").join(name);
    if !own.exists() {
        fs::create_dir_all(sources::kept().join("peers.bin"))?;
        let stage = own.with_extension("new");
        fs::copy(&found, &stage)?;
        link(&tree, &stage)?;
        fs::rename(&stage, &own)?;
    }
    Ok(own)
}

/// Makes a program find the libraries of its own release.
fn link(tree: &Path, program: &Path) -> Result<()> {
    let program = text(program);
    let asked = host::command("patchelf", &["--print-interpreter", &program]).output()?;
    // One that is linked statically has none.
    let Some(loader) = asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout))
    else {
        return Ok(());
    };
    let loader = tree.join("usr").join(loader.trim().trim_start_matches('/'));
    let loader = fs::canonicalize(&loader).with_context(|| format!("find {}", loader.display()))?;
    let libraries = loader.parent().unwrap_or(tree);
    host::run(
        "patchelf",
        &[
            "--set-interpreter",
            &text(&loader),
            "--force-rpath",
            "--set-rpath",
            &text(libraries),
            &program,
        ],
    )
}

/// What a runtime calls itself: the first line of what it says of its version.
pub(super) fn version(words: &[String]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (program, rest) = words.split_first().context("a runtime without words")?;
    let told = host::output(program, &[rest, &["--version"]].concat())?;
    Ok(told.lines().next().unwrap_or_default().to_owned())
}
