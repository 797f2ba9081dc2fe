//! The engines that are compared, each on roots of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host;

/// Docker's bridge for the comparison, so that one of the machine's own is not touched.
const BRIDGE: &str = "dhow-bench0";
const BRIDGE_ADDRESS: &str = "10.209.0.1/16";

/// A command line that takes Docker's arguments.
pub(crate) struct Engine {
    /// For the report.
    pub(crate) name: String,
    program: String,
    before: Vec<String>,
    env: Vec<(String, PathBuf)>,
    /// Processes whose memory counts as the engine's, by name.
    pub(crate) guardians: &'static [&'static str],
}

impl Engine {
    /// dhow on its own roots.
    pub(crate) fn dhow(binary: PathBuf, dir: &Path) -> Self {
        Self {
            name: "dhow".to_owned(),
            program: binary.to_string_lossy().into_owned(),
            before: Vec::new(),
            env: vec![
                ("DHOW_ROOT".to_owned(), dir.join("dhow-root")),
                ("DHOW_RUN".to_owned(), dir.join("dhow-run")),
            ],
            guardians: &["dhow"],
        }
    }

    /// The command with these arguments, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut all: Vec<&str> = self.before.iter().map(String::as_str).collect();
        all.extend(arguments);
        let mut command = host::command(&self.program, &all);
        command.envs(self.env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Runs it; it must succeed. What it prints.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output =
            self.command(arguments).output().with_context(|| format!("start {}", self.program))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{} {}: {}", self.name, arguments.join(" "), error.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Seconds that a command takes.
    pub(crate) fn time(&self, arguments: &[&str]) -> Result<f64> {
        let start = Instant::now();
        self.ok(arguments)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Removes what it has.
    pub(crate) fn clean(&self) -> Result<()> {
        if self.name == "dhow" {
            self.ok(&["system", "reset", "--force"])?;
        }
        Ok(())
    }
}

/// What leads to published ports from the host's loopback.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Docker's own program, one for each port, as it comes.
    Used,
    /// The kernel alone.
    Unused,
}

/// A Docker daemon with a data root, a socket and a bridge of its own.
pub(crate) struct Docker {
    daemon: Child,
    socket: String,
    proxy: Proxy,
    /// What nftables had before the daemon came, which leaves its own behind.
    tables: String,
}

impl Docker {
    /// Starts it as it comes, and waits until it answers.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, Proxy::Used)
    }

    /// The same, with the proxy or without.
    pub(crate) fn start_with(dir: &Path, proxy: Proxy) -> Result<Self> {
        let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let tables = host::output("nft", &["list", "tables"])?;
        host::run("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
        host::run("ip", &["addr", "add", BRIDGE_ADDRESS, "dev", BRIDGE])?;
        host::run("ip", &["link", "set", BRIDGE, "up"])?;
        let socket = format!("unix://{}", path("docker.sock"));
        let log = std::fs::File::create(dir.join("dockerd.log"))?;
        let mut command = host::command(
            "dockerd",
            &[
                "-H",
                &socket,
                "--data-root",
                &path(match proxy {
                    Proxy::Used => "docker-root",
                    Proxy::Unused => "docker-root-without-proxy",
                }),
                "--exec-root",
                &path("docker-run"),
                "--pidfile",
                &path("docker.pid"),
                "--bridge",
                BRIDGE,
                match proxy {
                    Proxy::Used => "--userland-proxy=true",
                    Proxy::Unused => "--userland-proxy=false",
                },
            ],
        );
        let daemon =
            command.stdout(log.try_clone()?).stderr(log).spawn().context("start dockerd")?;
        let docker = Self { daemon, socket, proxy, tables };
        docker.wait_until_it_answers(dir)?;
        Ok(docker)
    }

    fn wait_until_it_answers(&self, dir: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.engine().ok(&["version"]).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(dir.join("dockerd.log")).unwrap_or_default();
                bail!("dockerd does not answer:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Its command line.
    pub(crate) fn engine(&self) -> Engine {
        Engine {
            name: match self.proxy {
                Proxy::Used => "docker",
                Proxy::Unused => "docker, no proxy",
            }
            .to_owned(),
            program: "docker".to_owned(),
            before: vec!["-H".to_owned(), self.socket.clone()],
            env: Vec::new(),
            guardians: &["containerd-shim"],
        }
    }
}

impl Drop for Docker {
    /// The daemon ends its containers itself when it is asked to. It leaves its bridges on the host.
    fn drop(&mut self) {
        let networks = self.engine().ok(&["network", "ls", "-q", "-f", "driver=bridge"]);
        let pid = self.daemon.id().to_string();
        let _ = host::command("kill", &["-TERM", &pid]).status();
        let _ = self.daemon.wait();
        let _ = host::command("ip", &["link", "delete", BRIDGE]).status();
        for id in networks.unwrap_or_default().lines() {
            let link = format!("br-{id}");
            let mut delete = host::command("ip", &["link", "delete", &link]);
            // That of a network that has none.
            let _ = delete.stderr(Stdio::null()).status();
        }
        for table in host::output("nft", &["list", "tables"]).unwrap_or_default().lines() {
            let words: Vec<&str> = table.split_whitespace().collect();
            let is_new = !self.tables.lines().any(|known| known == table);
            // dhow's own go with its reset.
            if let ["table", family, name] = words[..]
                && is_new
                && !name.starts_with("dhow")
            {
                let _ = host::command("nft", &["delete", "table", family, name]).status();
            }
        }
    }
}
