//! The suites below `tests/`: real clients against a `dhow serve` of their own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::{demo, host};
use anyhow::{Context, Result, bail};

/// What the suites need of Debian.
pub(crate) const PACKAGES: [&str; 4] = ["busybox-static", "nftables", "python3", "python3-venv"];

/// Runs a suite's tests; `arguments` choose among them.
///
/// # Errors
/// A test does not come to what is written down.
pub(crate) fn docker_py(arguments: &[&str]) -> Result<()> {
    host::say("docker-py's tests");
    let binary = demo::built("debug")?;
    let roots = std::env::temp_dir().join(format!("dhow-clients-{}", std::process::id()));
    std::fs::create_dir_all(&roots).with_context(|| format!("create {}", roots.display()))?;
    let service = Service::start(&binary, &roots)?;
    let cache = host::workspace().join("target/docker-py");
    let script = host::workspace().join("tests/docker-py/run.py");
    let words = [&[text(&script), text(&cache)], arguments].concat();
    let mut command = host::command("python3", &words);
    command.env("DOCKER_HOST", format!("unix://{}", roots.join("run/dhow.sock").display()));
    let ran = host::finish(command, "python3", &words);
    service.end()?;
    let words = ["system", "reset", "--force"];
    let reset = host::finish(host::dhow(&binary, &roots, &words), "dhow", &words);
    std::fs::remove_dir_all(&roots).with_context(|| format!("remove {}", roots.display()))?;
    ran.and(reset)
}

/// A service that listens.
struct Service(Child);

impl Service {
    fn start(binary: &Path, roots: &Path) -> Result<Self> {
        let log = std::fs::File::create(host::workspace().join("target/docker-py-serve.log"))?;
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
