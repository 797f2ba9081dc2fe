//! Measures dhow beside Docker and beside the kernel's floor, in turn, on one machine in one run.
//!
//! Prints medians and ratios as a table, and with `--json FILE` as JSON. Nothing here fails
//! because something was slow.

mod cases;
mod engines;
pub(crate) mod inputs;
mod network;
pub(crate) mod oci;
mod registry;
mod report;
pub(crate) mod rootless;
mod service;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{demo, host, packages};
use cases::Case;
use engines::{Docker, Engine};
use registry::Registry;
use report::Report;

/// What the comparison needs from Debian.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "docker.io",
    "docker-registry",
    "iproute2",
    "iptables",
    "nftables",
    "procps",
];

/// What is asked for.
pub(crate) struct Options<'a> {
    /// How often each case is measured.
    pub(crate) rounds: u32,
    /// Which cases.
    pub(crate) only: &'a str,
    /// Where all samples are written.
    pub(crate) json: Option<&'a str>,
    /// What is measured; else a release is built.
    pub(crate) program: Option<&'a str>,
}

/// Runs the cases whose name contains `only`, `rounds` times each; `oci` is the runtime alone, beside others,
/// `rootless` an ordinary user's commands beside Podman's, `network` what is done on networks, and `service`
/// `dhow serve` beside Docker's daemon.
///
/// # Errors
/// A program is missing, or an engine fails at its work.
pub(crate) fn run(options: &Options<'_>) -> Result<()> {
    let program = program(options)?;
    let (rounds, only) = (options.rounds, options.only);
    match only {
        "oci" => return oci::run(rounds, &program),
        "rootless" => return rootless::run(rounds, &program),
        "network" => return network::run(rounds, &program),
        "service" => return service::run(rounds, &program),
        _ => {}
    }
    packages::install(PACKAGES)?;
    host::run("cargo", &["build", "--release", "--package", "sys", "--example", "floor"])?;
    let dir = PathBuf::from(format!("/var/tmp/dhow-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let report = measure(&dir, &program, rounds, only);
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    let report = report?;
    host::say(&report.table());
    if let Some(path) = options.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// A copy of the program, as an installation makes one.
///
/// How a file came into the page cache decides what a start of it costs: what the linker wrote
/// piece by piece lies there in small folios, which are mapped one by one, and a table measured
/// with it differed from the next by a fifth although the program had not changed.
fn installed(program: &Path, dir: &Path) -> Result<PathBuf> {
    let copy = dir.join("dhow");
    std::fs::copy(program, &copy)
        .with_context(|| format!("copy the program to {}", copy.display()))?;
    Ok(copy)
}

/// What is to be measured.
fn program(options: &Options<'_>) -> Result<PathBuf> {
    if let Some(program) = options.program {
        return std::fs::canonicalize(program).with_context(|| format!("find {program}"));
    }
    host::say("building");
    host::run("cargo", &["build", "--release", "--package", "dhow"])?;
    demo::binary()
}

fn measure(dir: &Path, program: &Path, rounds: u32, only: &str) -> Result<Report> {
    let inputs = inputs::make(dir)?;
    let docker = Docker::start(dir)?;
    let engines = [Engine::dhow(installed(program, dir)?, dir), docker.engine()];
    for engine in &engines {
        engine.ok(&["load", "-q", "-i", &inputs.busybox])?;
    }
    let mut report = Report::new(&engines)?;
    let wanted = |case: &&Case| case.name.contains(only);
    for case in cases::all().iter().filter(wanted) {
        let registry =
            case.needs_registry().then(|| Registry::start(dir, &engines[1])).transpose()?;
        host::say(&format!("measuring: {}", case.name));
        for _ in 0..case.rounds(rounds) {
            if let Some(seconds) = case.floor(&inputs)? {
                report.add(case, "floor", seconds);
            }
            for engine in &engines {
                report.add_all(case, &engine.name, (case.run)(engine, &inputs)?);
            }
        }
        drop(registry);
    }
    for engine in &engines {
        engine.clean()?;
    }
    Ok(report)
}
