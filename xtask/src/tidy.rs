//! Rules that no compiler checks: which crate may name which, what every file opens with, how
//! long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::host;

/// The edges that the design allows. `testkit` may be named by tests alone.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("model", &[]),
    ("docker-api", &[]),
    ("cgroup", &["sys"]),
    ("store", &["sys", "model"]),
    ("net", &["sys", "model"]),
    ("runtime", &["cgroup", "sys", "model"]),
    ("registry", &["store", "model"]),
    ("shim", &["runtime", "cgroup", "net", "sys", "model"]),
    ("engine", &["shim", "runtime", "net", "registry", "store", "cgroup", "sys", "model"]),
    ("docker-server", &["engine", "docker-api", "model"]),
    ("cli", &["docker-api", "model"]),
    ("testkit", &["sys", "model"]),
    ("xtask", &[]),
];

/// Crates that must start without an asynchronous runtime.
const SYNCHRONOUS: &[&str] = &["sys", "model", "cgroup", "runtime", "shim", "store", "net"];

/// Lines of a file up to its tests.
const MAX_LINES: usize = 500;

/// Files over the limit, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Checks every rule.
///
/// # Errors
/// Lists all that is broken, a line each.
pub(crate) fn check() -> Result<()> {
    let root = host::workspace();
    let mut broken = edges(&metadata()?);
    for file in rust_files(&root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        broken.extend(file_rules(&name, &text));
    }
    if broken.is_empty() { Ok(()) } else { bail!("{}", broken.join("\n")) }
}

fn metadata() -> Result<Metadata> {
    let output =
        host::output("cargo", &["metadata", "--no-deps", "--format-version", "1", "--offline"])?;
    Ok(serde_json::from_str(&output)?)
}

fn edges(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, to)| (*name, to.iter().copied().collect())).collect();
    let mut broken = Vec::new();
    for package in &metadata.packages {
        let may = allowed.get(package.name.as_str());
        for dependency in &package.dependencies {
            broken.extend(edge(package, dependency, may));
        }
    }
    broken
}

/// What is wrong with one edge, if anything.
fn edge(
    package: &Package,
    dependency: &Dependency,
    may: Option<&BTreeSet<&str>>,
) -> Option<String> {
    let (from, to) = (&package.name, &dependency.name);
    let is_ours = dependency.path.is_some();
    let is_for_tests = dependency.kind.as_deref() == Some("dev");
    if !is_ours {
        let needs_runtime = SYNCHRONOUS.contains(&from.as_str()) && to == "tokio" && !is_for_tests;
        return needs_runtime.then(|| format!("{from} must not need tokio"));
    }
    if to == "testkit" {
        return (!is_for_tests).then(|| format!("{from} names testkit outside its tests"));
    }
    // The binary wires everything; it alone has no list.
    let allowed =
        from == "dhow" || is_for_tests || may.is_some_and(|may| may.contains(to.as_str()));
    (!allowed).then(|| format!("{from} must not name {to}"))
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn file_rules(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!("{name}: must open with //! and say what it owns"));
    }
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
    let is_excused = LONG_FILES.iter().any(|(file, _)| *file == name);
    if lines > MAX_LINES && !is_test && !is_excused {
        broken.push(format!("{name}: {lines} lines before its tests, {MAX_LINES} allowed"));
    }
    let is_root = name.ends_with("/src/lib.rs") || name.ends_with("/src/main.rs");
    if is_root
        && name != "crates/sys/src/lib.rs"
        && !name.starts_with("xtask")
        && !text.contains("#![forbid(unsafe_code)]")
    {
        broken.push(format!("{name}: must forbid unsafe code"));
    }
    if !name.starts_with("crates/sys/") && !is_test && text.contains(concat!("#[", "allow(")) {
        broken.push(format!("{name}: use #[expect] with a reason, not allow"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_its_rules() {
        if let Err(broken) = check() {
            panic!("{broken:#}");
        }
    }

    #[test]
    fn a_client_that_names_the_engine_is_caught() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"packages":[{"name":"cli","dependencies":[
                {"name":"engine","kind":null,"path":"/x"},{"name":"docker-api","kind":null,"path":"/x"},
                {"name":"testkit","kind":"dev","path":"/x"},{"name":"clap","kind":null,"path":null}]}]}"#,
        )
        .unwrap();
        assert_eq!(edges(&metadata), ["cli must not name engine"]);
    }

    #[test]
    fn a_file_without_its_sentence_is_caught() {
        assert_eq!(file_rules("crates/x/src/a.rs", "fn a() {}").len(), 1);
        assert_eq!(file_rules("crates/x/src/a.rs", &("//!\n".repeat(501))).len(), 1);
        assert!(file_rules("crates/x/src/a.rs", "//! A.\n").is_empty());
    }
}
