//! Sources of Debian's packages, by apt, verified by apt's signatures and digests, kept under `target/`.
//!
//! They come from where the machine's own packages do. Its list of sources is left alone: apt is given one of ours,
//! and a directory for what it knows.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::mirror::{self, Mirror};
use crate::host;

/// One source package, of a version that the expected results are of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Debian's releases that have it. A mirror need not have all of them.
    pub(crate) releases: &'static [&'static str],
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

/// Debian's packages of a release, unpacked beside the machine's own, under a name.
///
/// # Errors
/// No mirror has them.
pub(crate) fn packages(name: &str, release: &str, wanted: &[&str]) -> Result<PathBuf> {
    let done = kept().join(name);
    if done.exists() {
        return Ok(done);
    }
    host::say(&format!("fetching {} of {release}", wanted.join(", ")));
    let stage = kept().join(format!("{name}.new"));
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("tree"))?;
    let mut missed = String::new();
    for mirror in mirror::of_this_machine()? {
        let apt = apt(&mirror.binaries(release), &stage)?;
        let apt: Vec<&str> = apt.iter().map(String::as_str).collect();
        match downloaded(&apt, wanted, &stage)? {
            Ok(()) => {
                let tree = stage.join("tree");
                for archive in with_ending(&stage, "deb")? {
                    host::run("dpkg-deb", &["-x", &text(&archive), &text(&tree)])?;
                }
                fs::rename(tree, &done)?;
                fs::remove_dir_all(&stage)?;
                return Ok(done);
            }
            Err(why) => drop(write!(missed, "\n  {} {release}: {why}", mirror.uri)),
        }
    }
    bail!("no repository that this machine's apt knows has {}:{missed}", wanted.join(", "))
}

/// Whether apt gives these packages, or why not.
fn downloaded(apt: &[&str], wanted: &[&str], dir: &Path) -> Result<Result<(), String>> {
    for words in
        [vec!["update", "-q", "-q", "--error-on=any"], [&["download", "-q", "-q"], wanted].concat()]
    {
        let output = host::command("apt-get", &[apt, &words].concat()).current_dir(dir).output()?;
        if !output.status.success() {
            return Ok(Err(complaint(&output.stderr)));
        }
    }
    Ok(Ok(()))
}

/// The files of a directory whose names end so, in order.
pub(super) fn with_ending(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// Downloads the archive of the authors, from the first repository and release that have it.
fn archive(source: Source, dir: &Path) -> Result<PathBuf> {
    let mut missed = String::new();
    for mirror in mirror::of_this_machine()? {
        for release in source.releases {
            match from(&mirror, release, source, dir)? {
                Ok(archive) => return Ok(archive),
                Err(why) => {
                    let _ = write!(missed, "\n  {} {release}: {why}", mirror.uri);
                }
            }
        }
    }
    let Source { package, version, .. } = source;
    bail!(
        "no repository that this machine's apt knows has the source of {package} {version}:{missed}"
    )
}

/// The archive, or why this release of the mirror cannot give it.
fn from(
    mirror: &Mirror,
    release: &str,
    source: Source,
    dir: &Path,
) -> Result<Result<PathBuf, String>> {
    let apt = apt(&mirror.entry(release), dir)?;
    let apt: Vec<&str> = apt.iter().map(String::as_str).collect();
    let words = [&apt[..], &["update", "-q", "-q", "--error-on=any"]].concat();
    let update = host::command("apt-get", &words).output().context("start apt-get")?;
    if !update.status.success() {
        return Ok(Err(complaint(&update.stderr)));
    }
    let wanted = format!("{}={}", source.package, source.version);
    let words = [&apt[..], &["source", "--download-only", "-q", "-q", &wanted]].concat();
    // It fails where the mirror lacks any of the files; only one of them is wanted.
    let failure = host::command("apt-get", &words).current_dir(dir).output()?.stderr;
    let found = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".orig.tar.") && !name.ends_with(".asc")
    });
    let Some(found) = found else { return Ok(Err(complaint(&failure))) };
    let shown = host::output("apt-cache", &[&apt[..], &["showsrc", source.package]].concat())?;
    let sum = host::output("sha256sum", &[&text(&found)])?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_signed = shown.lines().any(|line| line.contains(sum) && line.ends_with(&name));
    if is_signed { Ok(Ok(found)) } else { bail!("{name} is not what Debian has signed") }
}

/// What apt calls an error, on one line.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    if errors.is_empty() { "apt-get does not say why".to_owned() } else { errors.join("; ") }
}

/// What keeps apt away from the machine's own state.
fn apt(entry: &str, dir: &Path) -> Result<Vec<String>> {
    let list = dir.join("one.sources");
    fs::write(&list, entry).with_context(|| format!("write {}", list.display()))?;
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
