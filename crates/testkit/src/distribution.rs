//! A real registry: Debian's `docker-registry`, with a directory and a port of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Name and password of whoever is let in: `me`, `hunter2`.
const HTPASSWD: &str = "me:$2y$05$dhowdhowdhowdhowdhowduh0fSjbsr.URfIChGLUaVOSaSRsNAZjm\n";

/// What it says when it takes connections.
const LISTENING: &str = "listening on ";

/// A registry that ends with its handle.
#[derive(Debug)]
pub struct Distribution {
    /// Where it listens, in plain HTTP.
    pub address: SocketAddr,
    child: Child,
    directory: tempfile::TempDir,
}

impl Distribution {
    /// For everybody.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// For `me`, whose password is `hunter2`.
    #[must_use]
    pub fn start_for_me() -> Self {
        Self::start_with("auth:\n  htpasswd:\n    realm: test\n    path: HERE/htpasswd\n")
    }

    #[expect(clippy::disallowed_methods, reason = "tests need a registry that is not ours")]
    fn start_with(auth: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for a registry");
        let here = directory.path().display().to_string();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: HERE/data\nhttp:\n  addr: 127.0.0.1:0\n{auth}"
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config.replace("HERE", &here)).expect("write a registry's settings");
        fs::write(directory.path().join("htpasswd"), HTPASSWD).expect("write a password");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start docker-registry, of Debian's package of this name");
        let address = address(&mut child);
        Self { address, child, directory }
    }

    /// Where its blobs lie.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2/blobs/sha256")
    }

    /// How many blobs it has, manifests among them.
    #[must_use]
    pub fn count(&self) -> usize {
        let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        list(&self.blobs()).flat_map(|shard| list(&shard.path())).count()
    }
}

/// From its log, which is read on, so that it never waits for a reader.
fn address(child: &mut Child) -> SocketAddr {
    let log = child.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(log).lines();
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once(LISTENING)?;
        rest.split(['"', ',', ' ']).next()?.parse().ok()
    });
    std::thread::spawn(move || lines.for_each(drop));
    found.expect("a registry that says where it listens")
}

impl Drop for Distribution {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
