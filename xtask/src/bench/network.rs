//! Networks beside Docker's: ways to a server in a container, names, a second network, many on one, many ports.
//!
//! Docker's daemon runs twice, with its proxy for published ports and without, since both cannot share a host's
//! rules; dhow is measured in turn with each. A busy machine takes from both alike, so what counts is the ratio of
//! what was measured in the same round.

mod paths;
mod ports;
mod works;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::engines::{Docker, Engine, Proxy};
use super::table::Tables;
use super::{inputs, installed};
use crate::{demo, host, images, packages};
use paths::Outside;

/// What the comparison needs from Debian.
const PACKAGES: &[&str] =
    &["busybox-static", "docker.io", "iproute2", "iptables", "nftables", "wrk"];
/// Where the probe is in a container.
const PROBE: &str = "/netprobe";
/// Where it listens there.
const INSIDE: &str = "8080";
/// What it serves from.
const SERVER: &str = "bench-server";
/// The network of most cases.
const NETWORK: &str = "bench-net";

/// Measures `rounds` times with each of Docker's two ways.
///
/// # Errors
/// A program is missing, or an engine fails at its work.
pub(crate) fn run(rounds: u32, program: &Path) -> Result<()> {
    packages::install(PACKAGES)?;
    host::run("cargo", &["build", "--release", "--package", "xtask", "--example", "netprobe"])?;
    let dir = PathBuf::from(format!("/var/tmp/dhow-bench-net-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let dhow = Engine::dhow(installed(program, &dir)?, &dir);
    let tables = measure(&dir, rounds, &dhow);
    let cleaned = dhow.clean();
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    host::say(&tables?.print());
    cleaned
}

/// What the cases share.
struct Bench {
    probe: String,
    _outside: Outside,
}

fn measure(dir: &Path, rounds: u32, dhow: &Engine) -> Result<Tables> {
    let probe = dir.join("netprobe");
    let built = demo::profile("release")?.join("examples/netprobe");
    std::fs::copy(&built, &probe).with_context(|| format!("copy {}", built.display()))?;
    let probe = inputs::text(&probe);
    let archive = images::make_busybox_only(&host::workspace().join("target/images"))?;
    let archive = inputs::text(&archive);
    dhow.ok(&["load", "-q", "-i", &archive])?;
    let mut tables = Tables::default();
    let bench = Bench { probe, _outside: Outside::make()? };
    for proxy in [Proxy::Used, Proxy::Unused] {
        let docker = Docker::start_with(dir, proxy)?;
        let peer = docker.engine();
        peer.ok(&["load", "-q", "-i", &archive])?;
        tables.versions = vec![
            dhow.ok(&["--version"])?,
            peer.ok(&["version", "-f", "dockerd {{.Server.Version}}"])?,
        ];
        tables.begin("dhow", &peer.name);
        beside(&bench, [dhow, &peer], rounds, &mut tables)?;
    }
    ports::measure(dhow, rounds, &mut tables)?;
    Ok(tables)
}

/// Where to note a value: of which of the two that are compared.
type Side<'a> = (usize, &'a mut Tables);

/// All cases of dhow and of one of Docker's ways, in turn.
fn beside(bench: &Bench, engines: [&Engine; 2], rounds: u32, tables: &mut Tables) -> Result<()> {
    for engine in engines {
        engine.ok(&["network", "create", NETWORK])?;
    }
    paths::measure(bench, engines, rounds, tables)?;
    works::measure(bench, engines, rounds, tables)?;
    // Docker refuses to remove a network of which many containers have gone at once; its next daemon has none.
    engines[0].ok(&["network", "rm", NETWORK]).map(drop)
}

/// A container with the probe in it, and what it does there.
fn probe(engine: &Engine, bench: &Bench, flags: &[&str], words: &[&str]) -> Result<String> {
    let volume = format!("{}:{PROBE}:ro", bench.probe);
    engine.ok(&[&["run", "-v", &volume], flags, &["busybox", PROBE], words].concat())
}
