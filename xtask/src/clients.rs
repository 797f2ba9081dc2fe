//! The suites below `tests/`: real clients against a `dhow serve` of their own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::{demo, host, images};
use anyhow::{Context, Result, bail};

/// What the suites need of Debian.
pub(crate) const PACKAGES: [&str; 11] = [
    "busybox-static",
    "chromium",
    "curl",
    "docker-registry",
    "docker.io",
    "fonts-dejavu-core",
    "nftables",
    "podman",
    "python3",
    "python3-venv",
    "tmux",
];

/// The suites, in the order in which they run. Each is a folder below `tests/` that has a `run.py`.
const SUITES: [&str; 13] = [
    "aiodocker",
    "bollard",
    "compose",
    "dashboard",
    "devcontainers",
    "docker-cli",
    "docker-py",
    "dockerode",
    "lazydocker",
    "podman",
    "schemathesis",
    "testcontainers",
    "wire",
];

/// Runs every suite, or the one that the first word names; the words after it are for its program.
///
/// # Errors
/// There is no such suite, or something does not come to what is written down.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let [suite, arguments @ ..] = words else {
        return SUITES.iter().try_for_each(|suite| run_one(suite, &[]));
    };
    if !SUITES.contains(suite) {
        bail!("there is no suite {suite}: name one of {}", SUITES.join(", "));
    }
    run_one(suite, arguments)
}

/// Runs a suite against a service of its own; with `--record` against the Docker Engine that `DOCKER_HOST` names,
/// whose answers are written down.
fn run_one(suite: &str, arguments: &[&str]) -> Result<()> {
    host::say(&format!("the client suite {suite}"));
    let cache = host::workspace().join("target/clients").join(suite);
    std::fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let started = Instant::now();
    let ran = if arguments.contains(&"--record") {
        let engine = std::env::var("DOCKER_HOST")
            .context("--record asks the Docker Engine that DOCKER_HOST names (unix:///…)")?;
        program(suite, &cache, &engine, arguments)
    } else {
        beside_a_service(suite, &cache, arguments)
    };
    host::say(&format!("{suite}: {:.0} s", started.elapsed().as_secs_f64()));
    ran.with_context(|| format!("the suite {suite}"))
}

/// Runs a suite against a service with roots of its own, and removes all that it has made.
fn beside_a_service(suite: &str, cache: &Path, arguments: &[&str]) -> Result<()> {
    let binary = demo::built("debug")?;
    let roots = std::env::temp_dir().join(format!("dhow-clients-{}", std::process::id()));
    std::fs::create_dir_all(&roots).with_context(|| format!("create {}", roots.display()))?;
    let service = Service::start(&binary, &roots, &cache.join("serve.log"))?;
    let socket = format!("unix://{}", roots.join("run/dhow.sock").display());
    let ran = program(suite, cache, &socket, arguments);
    let ended = service.end();
    let words = ["system", "reset", "--force"];
    let reset = host::finish(host::dhow(&binary, &roots, &words), "dhow", &words);
    std::fs::remove_dir_all(&roots).with_context(|| format!("remove {}", roots.display()))?;
    ran.and(ended).and(reset)
}

/// Runs a suite's program to its end.
fn program(suite: &str, cache: &Path, engine: &str, arguments: &[&str]) -> Result<()> {
    let script = host::workspace().join("tests").join(suite).join("run.py");
    let words = [&[text(&script), text(cache)], arguments].concat();
    let mut command = host::command("python3", &words);
    command
        .env("DOCKER_HOST", engine)
        .env("SUITE_BUSYBOX", busybox(cache)?)
        .env("SUITE_DHOW", demo::built("debug")?)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    host::finish(command, "python3", &words)
}

/// The archive of the image that all suites use.
fn busybox(cache: &Path) -> Result<PathBuf> {
    images::make_busybox_only(cache.parent().context("a directory of the workspace")?)
}

/// A service that listens.
struct Service(Child);

impl Service {
    fn start(binary: &Path, roots: &Path, log: &Path) -> Result<Self> {
        let log = std::fs::File::create(log)?;
        let mut command = host::dhow(binary, roots, &["serve"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("a pipe")?);
        let mut line = String::new();
        while !line.contains("msg=listening") {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                bail!("dhow serve does not start");
            }
        }
        // What it says from now on is for whoever looks for a reason.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut { log }));
        Ok(Self(child))
    }

    fn end(mut self) -> Result<()> {
        host::run("kill", &["-TERM", &self.0.id().to_string()])?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { bail!("dhow serve: {status}") }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
