//! runc's suite, which is for bats, and crun's, which is Python: Debian's sources of the two, and what their tests run.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::runtime::Runtime;
use super::sources::{self, Source, text};
use super::{PACKAGES as GO, peers};
use crate::{host, images, packages};

const RUNC: Source = Source { package: "runc", version: "1.3.6+ds1-1", releases: &["sid"] };
const CRUN: Source = Source { package: "crun", version: "1.21-1", releases: &["trixie"] };

/// What they are built with, and what their tests run.
const PACKAGES: &[&str] = &[
    "bats",
    "bsdutils",
    "busybox-static",
    "gawk",
    "gcc",
    "jq",
    "libc6-dev",
    "libseccomp-dev",
    "python3",
    "uidmap",
];

/// Seconds that a file of tests may take.
const FILE_LIMIT: u32 = 600;
/// Seconds that a test may take: some wait for ever for what a runtime does not do.
const TEST_LIMIT: &str = "60";

/// After so long without a word a test is overdue: it has been ended, and what it left behind keeps it.
const OVERDUE: Duration = Duration::from_secs(80);
/// The same of a file: it has been ended.
const WHOLE: Duration = Duration::from_secs(FILE_LIMIT as u64 + 30);

/// The last line of what a file says.
const DONE: &str = "# that is all";

const DRIVER: &str = include_str!("driver.py");
/// A library without which a file has no case.
const LIBMOUNT: &str = include_str!("libmount.py");

/// A root file system with all of busybox's applets as files of their own, as docker-library's image has them, and
/// Debian's, which is the one layer of an image.
const IMAGES: &str = r#"set -eu
root=$(mktemp -d)
for place in bin dev etc home root tmp usr/bin usr/sbin var/spool var/www; do mkdir -p "$root/$place"; done
chmod 755 "$root"
chmod 1777 "$root/tmp"
cp /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do ln -f "$root/bin/busybox" "$root/bin/$applet" 2>/dev/null || true; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$root/etc/group"
tar -C "$root" -czf "$1/busybox-$3.tar.xz" .
rm -r "$root"
mkdir "$root.debian"
# Each test that wants it has a copy.
tar -xOf "$2" layer0.tar | tar -xC "$root.debian" --exclude='*/usr/share/*' --exclude='*/perl*' --exclude='*/gconv/*' --exclude='*/var/lib/*' --exclude='*/var/cache/*'
tar -C "$root.debian" -czf "$1/debian.new" .
rm -r "$root.debian"
mv "$1/debian.new" "$1/debian-$3.tar.xz"
"#;

/// The files of runc's suite.
pub(super) fn runc_files() -> Result<Vec<String>> {
    packages::install(&[GO, PACKAGES].concat())?;
    let tree = sources::unpacked(RUNC)?;
    let data = tree.join("tests/integration/testdata");
    let machine = host::output("go", &["env", "GOARCH"])?;
    if !data.join(format!("debian-{}.tar.xz", machine.trim())).exists() {
        host::say("making what runc's suite runs");
        let helpers = tree.join("tests/cmd/_bin");
        fs::create_dir_all(&helpers)?;
        for name in peers::HELPERS {
            fs::copy(peers::program(name)?, helpers.join(name))?;
        }
        let debian = images::make(&host::workspace().join("target/images"))?.debian;
        let words = ["-c", IMAGES, "sh", &text(&data), &text(&debian), machine.trim()];
        host::run("sh", &words)?;
    }
    names(&tree.join("tests/integration"), "bats")
}

/// What a file of runc's suite says of a runtime.
pub(super) fn of_runc(runtime: &Runtime, file: &str) -> Result<String> {
    let tree = sources::unpacked(RUNC)?;
    let bats = format!("bats --tap tests/integration/{file}.bats; echo '{DONE}'");
    let mut command = runtime.test(FILE_LIMIT, &["script", "-qefc", &bats, "/dev/null"]);
    command.current_dir(&tree).env("RUNC", &runtime.program);
    let path = tree.join("tests/integration").join(format!("{file}.bats"));
    let tests = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    // What ends a test that takes too long is a child of the shell that runs it, and is waited for there.
    if !tests.lines().any(|line| line.split_whitespace().take(2).eq(["wait", "#"])) {
        command.env("BATS_TEST_TIMEOUT", TEST_LIMIT);
    }
    heard(command, runtime)
}

/// The files of crun's suite.
pub(super) fn crun_files() -> Result<Vec<String>> {
    packages::install(PACKAGES)?;
    let tests = sources::unpacked(CRUN)?.join("tests");
    let init = tests.join("init");
    if !init.exists() {
        host::say("building what crun's suite runs");
        fs::write(tests.join("config.h"), "")?;
        let (source, include) = (text(&tests.join("init.c")), format!("-I{}", text(&tests)));
        host::run("gcc", &["-static", "-w", "-o", &text(&init), &include, &source, "-lseccomp"])?;
    }
    let mut files = names(&tests, "py")?;
    files.retain(|name| name.starts_with("test_"));
    Ok(files)
}

/// What a file of crun's suite says of a runtime.
pub(super) fn of_crun(runtime: &Runtime, file: &str) -> Result<String> {
    let tests = sources::unpacked(CRUN)?.join("tests");
    let driver = runtime.dir.join("driver.py");
    fs::write(&driver, DRIVER)?;
    fs::write(runtime.dir.join("libmount.py"), LIBMOUNT)?;
    let file = tests.join(format!("{file}.py"));
    let python = format!("python3 {} {}; echo '{DONE}'", text(&driver), text(&file));
    let mut command = runtime.test(FILE_LIMIT, &["script", "-qefc", &python, "/dev/null"]);
    // The tests make their containers in the directory that they are called in.
    command
        .current_dir(runtime.dir.join("tmp"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", &runtime.dir)
        .env("OCI_RUNTIME", &runtime.program)
        .env("INIT", tests.join("init"))
        .env("TEST_LIMIT", TEST_LIMIT);
    heard(command, runtime)
}

fn names(directory: &Path, ending: &str) -> Result<Vec<String>> {
    let name = |path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    Ok(sources::with_ending(directory, ending)?.iter().filter_map(name).collect())
}

/// What it writes to its terminal until it says that it is done: what a test has left may keep the terminal open.
/// Nothing comes from there: its input is open for as long as it runs.
///
/// A test that is overdue waits for what is frozen, which its suite's own limit does not end, so that is ended; a file
/// that is overdue is ended with all that it has made.
fn heard(mut command: Command, runtime: &Runtime) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("start a suite")?;
    let silence = child.stdin.take();
    let output = child.stdout.take().context("a suite has no output")?;
    let (tell, told) = mpsc::channel();
    // It is not joined: who holds the terminal may outlive the suite.
    std::thread::spawn(move || pass_on(output, &tell));
    let began = Instant::now();
    let mut text = String::new();
    loop {
        match told.recv_timeout(OVERDUE) {
            Ok(line) if line.trim() == DONE => break,
            Ok(line) => text.push_str(&line),
            Err(RecvTimeoutError::Timeout) if began.elapsed() < WHOLE => runtime.end_frozen()?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    // It hands the signal on, and what is in the sandbox ends with that.
    let _ = host::command("kill", &[&child.id().to_string()]).output();
    runtime.end_all()?;
    child.wait()?;
    drop(silence);
    Ok(text.replace('\r', ""))
}

/// Passes lines on until there are no more, or nobody wants them.
fn pass_on(output: impl Read, tell: &mpsc::Sender<String>) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if tell.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
        line.clear();
    }
}
