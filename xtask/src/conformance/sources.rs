//! Sources of Debian's packages, by apt, verified by apt's signatures and digests, kept under `target/`.
//!
//! The machine's own list of sources is left alone: apt is given one of ours, and a directory for what it knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host;

/// Debian's releases that have sources of what is wanted. A mirror need not have all files of all of them.
const RELEASES: [&str; 3] = ["bookworm", "trixie", "sid"];
const MIRROR: &str = "http://deb.debian.org/debian";

/// One source package, of a version that the expected results are of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
}

/// Where suites and peers are kept.
pub(crate) fn kept() -> PathBuf {
    host::workspace().join("target/oci-suites")
}

/// The unpacked source, as its authors released it, without Debian's changes.
///
/// # Errors
/// No mirror has it, or it is not what Debian has signed.
pub(crate) fn unpacked(source: Source) -> Result<PathBuf> {
    let name = format!("{}-{}", source.package, source.version);
    let done = kept().join(&name);
    if done.exists() {
        return Ok(done);
    }
    host::say(&format!("fetching the source of {name}"));
    let stage = kept().join(format!("{name}.new"));
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("tree"))?;
    let archive = archive(source, &stage)?;
    let (archive, tree) = (text(&archive), text(&stage.join("tree")));
    host::run("tar", &["-xf", &archive, "-C", &tree, "--strip-components=1"])?;
    fs::rename(stage.join("tree"), &done)?;
    fs::remove_dir_all(&stage)?;
    Ok(done)
}

/// Downloads the archive of the authors.
fn archive(source: Source, dir: &Path) -> Result<PathBuf> {
    let apt = apt(dir)?;
    let apt: Vec<&str> = apt.iter().map(String::as_str).collect();
    host::run("apt-get", &[&apt[..], &["update", "-q", "-q"]].concat())?;
    let wanted = format!("{}={}", source.package, source.version);
    let words = [&apt[..], &["source", "--download-only", "-q", "-q", &wanted]].concat();
    // It fails where the mirror lacks any of the files; only one of them is wanted.
    let complaint = host::command("apt-get", &words).current_dir(dir).output()?.stderr;
    let found = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".orig.tar.") && !name.ends_with(".asc")
    });
    let Some(found) = found else {
        bail!("apt-get source {wanted}: {}", String::from_utf8_lossy(&complaint).trim());
    };
    let shown = host::output("apt-cache", &[&apt[..], &["showsrc", source.package]].concat())?;
    let sum = host::output("sha256sum", &[&text(&found)])?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_signed = shown.lines().any(|line| line.contains(sum) && line.ends_with(&name));
    if is_signed { Ok(found) } else { bail!("{name} is not what Debian has signed") }
}

/// What keeps apt away from the machine's own state.
fn apt(dir: &Path) -> Result<Vec<String>> {
    let list = dir.join("sources.list");
    let lines = RELEASES.map(|release| format!("deb-src {MIRROR} {release} main\n")).concat();
    fs::write(&list, lines).with_context(|| format!("write {}", list.display()))?;
    let lists = kept().join("apt");
    fs::create_dir_all(lists.join("partial"))?;
    let options = [
        format!("Dir::Etc::SourceList={}", text(&list)),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", text(&lists)),
        "APT::Sandbox::User=root".to_owned(),
        // A mirror that is some days behind will do.
        "Acquire::Check-Valid-Until=false".to_owned(),
    ];
    Ok(options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect())
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
