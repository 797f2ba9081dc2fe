//! The OCI's validation programs: Debian's source of runtime-tools, built with Debian's Go.
//!
//! A program tests one part of the specification and says in the Test Anything Protocol what it found. What each
//! is expected to find with dhow stands in `validation.txt`, with the reason where it is not all good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use anyhow::{Context, Result};

use super::expected::Expected;
use super::facts::Host;
use super::runtime::Runtime;
use super::sources::{self, Source, text};
use crate::{host, packages};

const SOURCE: Source = Source {
    package: "golang-github-opencontainers-runtime-tools",
    version: "0.9.0.109.ge931285-1",
    releases: &["trixie", "sid"],
};

/// What builds them.
pub(crate) const PACKAGES: &[&str] = &[
    "golang-github-blang-semver-dev",
    "golang-github-google-uuid-dev",
    "golang-github-hashicorp-go-multierror-dev",
    "golang-github-mrunalp-fileutils-dev",
    "golang-github-opencontainers-selinux-dev",
    "golang-github-opencontainers-specs-dev",
    "golang-github-sirupsen-logrus-dev",
    "golang-github-urfave-cli-dev",
    "golang-github-xeipuuv-gojsonschema-dev",
    "golang-gocapability-dev",
    "golang-go",
    "xz-utils",
];

/// The library that the programs speak by, which Debian does not have: as much of it as they call.
const TAP: &str = include_str!("tap.go");

/// The result of a program that has found nothing wrong.
pub(super) const PASS: &str = "pass";

/// The result of one that says neither results nor how many there are.
const SILENT: &str = "says no number of results";
/// Programs that say nothing where a runtime refuses a container, as it has to.
const SILENT_IF_GOOD: [&str; 2] = ["process_capabilities_fail", "process_rlimits_fail"];

/// Seconds that a program may take: the longest waits ten twice for what must not happen.
const LIMIT: u32 = 120;

/// Programs that ask for control groups of the same path run one after the other, the rest beside them.
const ALONE: [&str; 3] = ["linux_cgroups", "delete", "config_updates"];
/// Held by the run against a runtime that goes on.
const LOCK: &str = "/run/lock/oci-suite-";

/// What a program found: `pass`, or each thing that is not good.
pub(crate) type Results = BTreeMap<String, BTreeSet<String>>;

/// Runs them against dhow and compares.
///
/// # Errors
/// They cannot be built, or any has another result than is expected.
pub(crate) fn check(dhow: &Path) -> Result<()> {
    let _alone = alone_with("dhow")?;
    let runtime = Runtime::new("dhow", &[text(dhow), "oci".to_owned()])?;
    let host = Host::this()?;
    let expected = Expected::on(&host)?;
    let results = run(&runtime);
    runtime.clean()?;
    let passed = expected.compare(&results?)?;
    if let Some(told) = expected.not_judged(&host) {
        host::say(&told);
    }
    host::say(&format!("validation programs: {passed} pass"));
    Ok(())
}

/// Whether a program has found nothing wrong.
fn is_good(name: &str, found: &BTreeSet<String>) -> bool {
    let is_silent = || SILENT_IF_GOOD.contains(&name) && found.iter().eq([SILENT]);
    found.contains(PASS) || is_silent()
}

/// The one file of this suite.
pub(super) fn files() -> Result<Vec<String>> {
    packages::install(PACKAGES)?;
    Ok(vec!["programs".to_owned()])
}

/// What they find, a case for each program.
pub(super) fn tap(runtime: &Runtime, _: &str) -> Result<String> {
    let results = run(runtime)?;
    let mut text = format!("1..{}\n", results.len());
    for (number, (name, found)) in (1..).zip(&results) {
        let verdict = if is_good(name, found) { "ok" } else { "not ok" };
        let _ = writeln!(text, "{verdict} {number} - {name}");
        for what in found {
            let _ = writeln!(text, "# {what}");
        }
    }
    Ok(text)
}

/// Runs them against a runtime.
fn run(runtime: &Runtime) -> Result<Results> {
    let programs = built()?;
    let names = names(&programs)?;
    let (alone, beside): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| ALONE.iter().any(|begin| name.starts_with(begin)));
    let (results, beside) = (Mutex::new(Results::new()), Mutex::new(beside));
    let one = |name: String| {
        let found = found(runtime, &programs, &name);
        results.lock().map(|mut all| drop(all.insert(name, found))).unwrap_or_default();
    };
    let next = || beside.lock().ok().and_then(|mut names| names.pop());
    let rest = || std::iter::from_fn(next).for_each(one);
    std::thread::scope(|scope| {
        scope.spawn(|| alone.into_iter().for_each(one));
        scope.spawn(rest);
        scope.spawn(rest);
    });
    results.into_inner().ok().context("a thread has failed")
}

/// What a runtime's tests make has fixed names: two runs against it at once would find each other's.
pub(super) fn alone_with(runtime: &str) -> Result<fs::File> {
    let path = format!("{LOCK}{runtime}");
    let lock = fs::File::create(&path).with_context(|| format!("open {path}"))?;
    lock.lock()?;
    Ok(lock)
}

fn names(programs: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(programs)?.flatten();
    let all = entries.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(all.filter(|name| name != "runtimetest" && !name.contains('.')).collect())
}

fn found(runtime: &Runtime, programs: &Path, name: &str) -> BTreeSet<String> {
    let program = text(&programs.join(name));
    let mut command = runtime.test(LIMIT, &[&program]);
    let output = command.current_dir(programs).stdin(Stdio::null()).output();
    match output {
        Ok(output) => judge(&String::from_utf8_lossy(&output.stdout), output.status.code()),
        Err(error) => BTreeSet::from([format!("does not start: {error}")]),
    }
}

/// What the output of a program comes to. Some give results, some only explain what is wrong, some end with
/// another code than 0. One that ends well has said how many results there are, and given them.
fn judge(output: &str, code: Option<i32>) -> BTreeSet<String> {
    let is_result = |line: &str| line.starts_with("ok ") || line.starts_with("not ok ");
    let bad =
        output.lines().filter(|line| line.starts_with("not ok ") && !line.contains(" # TODO "));
    let mut found: BTreeSet<String> = bad.map(|line| format!("not ok: {}", told(line))).collect();
    if !output.lines().any(is_result) {
        found.extend(output.lines().filter_map(wrong));
    }
    match code {
        Some(0) => {
            found.extend(short(output, output.lines().filter(|line| is_result(line)).count()))
        }
        Some(code) => drop(found.insert(format!("ends with {code}"))),
        None => drop(found.insert("is ended by a signal".to_owned())),
    }
    if found.is_empty() {
        found.insert(PASS.to_owned());
    }
    found
}

/// What is wrong with the number of results. A program may hand on the output of another, with a plan of its own.
fn short(output: &str, results: usize) -> Option<String> {
    let plan = |line: &str| line.strip_prefix("1..")?.parse::<usize>().ok();
    match output.lines().filter_map(plan).reduce(|all, more| all + more) {
        Some(planned) if planned == results => None,
        Some(planned) => Some(format!("{results} results of {planned}")),
        None => Some(SILENT.to_owned()),
    }
}

/// The first line of an explained error.
fn wrong(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix(r#""error": ""#)?.split(r"\n").next()?;
    Some(format!("error: {}", text.trim_end_matches(['"', ','])))
}

/// `not ok 7 - text`: the text.
fn told(line: &str) -> &str {
    line.splitn(4, ' ').nth(3).unwrap_or_default().trim_start_matches("- ").trim()
}

/// The directory with the programs, and what they want beside them.
fn built() -> Result<PathBuf> {
    let done = sources::kept().join("validation");
    if done.exists() {
        return Ok(done);
    }
    let source = sources::unpacked(SOURCE)?;
    host::say("building the OCI's validation programs");
    let path = sources::kept().join("go");
    let tree = path.join("src/github.com/opencontainers/runtime-tools");
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir_all(tree.parent().unwrap_or(&path))?;
    host::run("cp", &["-a", &text(&source), &text(&tree)])?;
    let tap = path.join("src/github.com/mndrix/tap-go");
    fs::create_dir_all(&tap)?;
    fs::write(tap.join("tap.go"), TAP)?;
    adapt(&tree.join("cmd/runtimetest/main.go"))?;
    let stage = sources::kept().join("validation.new");
    fs::create_dir_all(&stage)?;
    build(&path, &tree, &stage)?;
    let archives = fs::read_dir(&tree)?.flatten().map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|end| end == "gz")) {
        fs::copy(&archive, stage.join(archive.file_name().unwrap_or_default()))?;
    }
    fs::remove_dir_all(&path)?;
    fs::rename(&stage, &done)?;
    Ok(done)
}

/// Debian's library of SELinux is a version ahead of the source.
fn adapt(program: &Path) -> Result<()> {
    let text = fs::read_to_string(program)?;
    let text = text.replace("label.FileLabel", "selinux.FileLabel");
    let text = text.replace(
        "opencontainers/selinux/go-selinux/label\"",
        "opencontainers/selinux/go-selinux\"",
    );
    Ok(fs::write(program, text)?)
}

fn build(path: &Path, tree: &Path, to: &Path) -> Result<()> {
    let words =
        ["build", "-o", &text(to), "-ldflags", "-s -w", "./cmd/runtimetest", "./validation/..."];
    let mut go = host::command("go", &words);
    go.current_dir(tree)
        .env("GO111MODULE", "off")
        .env("GOPATH", format!("{}:/usr/share/gocode", path.display()))
        .env("GOCACHE", path.join("cache"))
        // A program runs in a root file system that has no libraries.
        .env("CGO_ENABLED", "0");
    host::finish(go, "go", &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(output: &str, code: i32) -> Vec<String> {
        judge(output, Some(code)).into_iter().collect()
    }

    #[test]
    fn a_program_is_judged_by_all_that_it_says() {
        assert_eq!(judged("TAP version 13\nok 1 - a\nok 2 # SKIP b\n1..2\n", 0), ["pass"]);
        assert_eq!(
            judged("ok 1 - a\nnot ok 2 - b - c\nnot ok 3 # TODO d\n1..3\n", 0),
            ["not ok: b - c"]
        );
        assert_eq!(judged("TAP version 13\n1..0\n", 0), ["pass"]);
        let explained =
            "  ---\n  {\n    \"error\": \"this MUST be\\nRefer to\"\n  }\n  ...\n1..0\n";
        assert_eq!(judged(explained, 0), ["error: this MUST be"]);
        assert_eq!(judged(&format!("1..1\nok 1 - refused\n{explained}"), 0), ["pass"]);
        assert_eq!(judged("ok 1 - a\n", 1), ["ends with 1"]);
        assert_eq!(judged("1..2\nok 1 - a\n", 0), ["1 results of 2"]);
        assert_eq!(judged("", 0), ["says no number of results"]);
        assert_eq!(judge("", None).into_iter().collect::<Vec<_>>(), ["is ended by a signal"]);
    }
}
