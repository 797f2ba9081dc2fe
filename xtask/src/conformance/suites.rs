//! runc's suite, which is for bats, and crun's, which is Python: Debian's sources of the two, and what their tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::runtime::Runtime;
use super::sources::{self, Source, text};
use super::tap::{self, Cases};
use crate::host;

const RUNC: Source =
    Source { package: "runc", version: "1.1.5+ds1-1+deb12u1", releases: &["bookworm"] };
const CRUN: Source =
    Source { package: "crun", version: "1.8.1-1+deb12u1", releases: &["bookworm"] };

/// What they are built with, and what their tests run.
pub(super) const PACKAGES: &[&str] = &[
    "bats",
    "bsdutils",
    "busybox-static",
    "crun",
    "gawk",
    "gcc",
    "golang-github-containerd-console-dev",
    "golang-github-cyphar-filepath-securejoin-dev",
    "golang-github-seccomp-libseccomp-golang-dev",
    "jq",
    "libc6-dev",
    "libseccomp-dev",
    "python3",
    "runc",
    "uidmap",
];

/// Seconds that a file of tests may take. Some wait for ever for what a runtime does not do.
const LIMIT: u32 = 120;

/// A root file system with all of busybox's applets as files of their own, as docker-library's image has them.
const IMAGE: &str = r#"set -eu
root=$(mktemp -d); mkdir -p "$1" "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/home" "$root/dev" "$root/usr/bin"
cp /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do ln -f "$root/bin/busybox" "$root/bin/$applet" 2>/dev/null || true; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$root/etc/group"
for image in busybox debian; do tar -C "$root" -czf "$1/$image-amd64.tar.xz" .; done
rm -r "$root"
"#;

/// runc's suite.
pub(super) fn of_runc(runtime: &Runtime) -> Result<Cases> {
    let tree = sources::unpacked(RUNC)?;
    let images = tree.join("tests/integration/testdata");
    if !images.join("debian-amd64.tar.xz").exists() {
        host::say("building what runc's suite runs");
        build_helpers(&tree)?;
        host::run("sh", &["-c", IMAGE, "sh", &text(&images)])?;
    }
    let mut cases = Cases::new();
    for file in files(&tree.join("tests/integration"), "bats")? {
        // The tests want a terminal that is theirs.
        let bats = format!("bats --tap tests/integration/{file}");
        let mut command = runtime.test(LIMIT, &["script", "-qefc", &bats, "/dev/null"]);
        command.current_dir(&tree).env("RUNC", &runtime.program);
        tap::add(&mut cases, &file, &heard(command)?);
    }
    Ok(cases)
}

fn build_helpers(tree: &Path) -> Result<()> {
    let path = sources::kept().join("go-runc");
    let place = path.join("src/github.com/opencontainers");
    fs::create_dir_all(&place)?;
    if !place.join("runc").exists() {
        std::os::unix::fs::symlink(tree, place.join("runc"))?;
    }
    for helper in ["recvtty", "seccompagent"] {
        let (to, from) =
            (format!("contrib/cmd/{helper}/{helper}"), format!("./contrib/cmd/{helper}"));
        let words = ["build", "-o", &to, &from];
        let mut go = host::command("go", &words);
        go.current_dir(place.join("runc"))
            .env("PWD", place.join("runc"))
            .env("GO111MODULE", "off")
            .env("GOPATH", format!("{}:/usr/share/gocode", path.display()))
            .env("GOCACHE", path.join("cache"));
        host::finish(go, "go", &words)?;
    }
    Ok(())
}

/// crun's suite.
pub(super) fn of_crun(runtime: &Runtime) -> Result<Cases> {
    let tree = sources::unpacked(CRUN)?;
    let init = tree.join("tests/init");
    if !init.exists() {
        host::say("building what crun's suite runs");
        fs::write(tree.join("tests/config.h"), "")?;
        let (program, source) = (text(&init), text(&tree.join("tests/init.c")));
        let include = format!("-I{}", text(&tree.join("tests")));
        host::run("gcc", &["-static", "-o", &program, &include, &source, "-lseccomp"])?;
    }
    let mut cases = Cases::new();
    for file in files(&tree.join("tests"), "py")?.iter().filter(|name| name.starts_with("test_")) {
        let python = format!("python3 tests/{file}");
        let mut command = runtime.test(LIMIT, &["script", "-qefc", &python, "/dev/null"]);
        command.current_dir(&tree).env("OCI_RUNTIME", &runtime.program).env("INIT", &init);
        tap::add(&mut cases, file, &heard(command)?);
    }
    Ok(cases)
}

fn files(directory: &Path, end: &str) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let paths = paths.filter(|path: &PathBuf| path.extension().is_some_and(|found| found == end));
    let names = paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

/// What it writes. Its standard input is open for as long as it runs, and nothing comes from there.
fn heard(mut command: Command) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("start a suite")?;
    let silence = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(silence);
    Ok(String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}
