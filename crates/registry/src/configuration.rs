//! What the machine's administrator says about registries, read for one registry at a time.
//!
//! `<dhow's directory>/certs.d/HOST/` is laid out as containerd and Docker have it: `hosts.toml`,
//! authorities as `*.crt`, a client's certificate and key as `NAME.cert` and `NAME.key`. Docker's
//! own directory is read as well: `certs.d` and the `insecure-registries` of its `daemon.json`.
//! What these files mean for a request is the business of `hosts` and `transport`.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::hosts::{self, Host, Hosts, Identity, Server, Trust};
use crate::url::{BadUrl, Url};

/// Largest file that is read, in bytes. A bundle of all public authorities has a quarter of it.
const FILE_MAX: u64 = 1 << 20;

/// Where configuration lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDirs {
    /// dhow's own: `/etc/dhow`.
    pub own: PathBuf,
    /// Docker's, if it counts: `/etc/docker`.
    pub docker: Option<PathBuf>,
}

/// A file that is there but cannot be used. A pull from its registry fails: to go on without what
/// it says could mean to trust whom it does not.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not of its form.
    #[error("{}: line {line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Not of its form.
    #[error("{}: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        source: serde_json::Error,
    },
    /// `server` is no address of a registry.
    #[error("{}: server = {server:?}: {source}", .path.display())]
    Server {
        /// The file.
        path: PathBuf,
        /// As written.
        server: String,
        /// What is wrong with it.
        source: BadUrl,
    },
    /// `server` has a path.
    #[error("{}: server = {server:?}: paths are not supported, only scheme, host and port", .path.display())]
    ServerPath {
        /// The file.
        path: PathBuf,
        /// As written.
        server: String,
    },
    /// `[host.…]` tables.
    #[error("{}: [host] tables (mirrors) are not supported yet", .path.display())]
    Mirrors {
        /// The file.
        path: PathBuf,
    },
    /// No PEM certificate in it.
    #[error("{}: it holds no certificate in PEM form", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No PEM key in it.
    #[error("{}: it holds no private key in PEM form", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Only one can be shown.
    #[error("{}: there are several client certificates, one is supported", .path.display())]
    ManyIdentities {
        /// The file or directory that names them.
        path: PathBuf,
    },
}

/// What `hosts.toml` may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HostsFile {
    server: Option<String>,
    skip_verify: bool,
    ca: OneOrMany<PathBuf>,
    client: OneOrMany<OneOrPair>,
    host: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// A file with certificate and key, or a file for each.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrPair {
    One(PathBuf),
    Pair(PathBuf, PathBuf),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DaemonFile {
    #[serde(rename = "insecure-registries")]
    insecure: Vec<String>,
}

/// What is configured about the registry of a reference's domain.
///
/// # Errors
/// A file is there but cannot be used.
pub fn load(dirs: &ConfigDirs, domain: &str) -> Result<Hosts, ConfigError> {
    let mut host = Host::usual(domain);
    if let Some(docker) = &dirs.docker {
        daemon_file(&docker.join("daemon.json"), domain, &mut host)?;
        certificates(&docker.join("certs.d").join(domain), &mut host)?;
    }
    if let Some(own) = own_host(&dirs.own.join("certs.d").join(domain))? {
        host = overlay(host, own);
    }
    Ok(Hosts::one(domain, host))
}

/// What dhow's own directory says about a registry, if it says anything.
fn own_host(dir: &Path) -> Result<Option<Host>, ConfigError> {
    let mut host = Host::default();
    certificates(dir, &mut host)?;
    let file = hosts_file(dir, &mut host)?;
    let has_certificates = !host.authorities.is_empty() || host.identity.is_some();
    Ok((file.is_some() || has_certificates).then_some(host))
}

/// What dhow is told, over what Docker is: a registry that dhow knows is insecure only if dhow is
/// told so. Authorities of both count.
fn overlay(docker: Host, own: Host) -> Host {
    let server = match (own.server, own.trust) {
        (Server::Usual, Trust::Anyone) => docker.server,
        (server, Trust::Anyone | Trust::Verified) => server,
    };
    let mut authorities = docker.authorities;
    authorities.extend(own.authorities);
    Host { server, trust: own.trust, authorities, identity: own.identity.or(docker.identity) }
}

fn daemon_file(path: &Path, domain: &str, host: &mut Host) -> Result<(), ConfigError> {
    let Some(text) = read(path)? else { return Ok(()) };
    let failed = |source| ConfigError::Json { path: path.to_owned(), source };
    let file: DaemonFile = serde_json::from_slice(&text).map_err(failed)?;
    if file.insecure.iter().any(|entry| covers(entry, domain)) {
        host.server = Server::Either;
        host.trust = Trust::Anyone;
    }
    Ok(())
}

/// Whether an entry of `insecure-registries` means this registry: by name and port, as they are in
/// references, or as a block of addresses, whose ports are all meant.
fn covers(entry: &str, domain: &str) -> bool {
    let (name, _) = hosts::split(domain);
    let entry = entry.trim_start_matches("http://").trim_start_matches("https://");
    entry == domain || in_block(entry, name).unwrap_or(false)
}

/// Whether a host that is written as an address lies in a block like `10.0.0.0/8`.
fn in_block(block: &str, host: &str) -> Option<bool> {
    let (base, length) = block.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let (base, host, bits) = match (base.parse().ok()?, host.parse().ok()?) {
        (IpAddr::V4(base), IpAddr::V4(host)) => {
            (u128::from(u32::from(base)), u128::from(u32::from(host)), 32)
        }
        (IpAddr::V6(base), IpAddr::V6(host)) => (u128::from(base), u128::from(host), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let shift = u32::checked_sub(bits, length)?;
    Some(base.checked_shr(shift).unwrap_or(0) == host.checked_shr(shift).unwrap_or(0))
}

/// Docker's form of a directory: authorities end in `.crt`, a client's files in `.cert`, `.key`.
fn certificates(dir: &Path, host: &mut Host) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::Read { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let ending = |path: &PathBuf, wanted: &str| path.extension().is_some_and(|end| end == wanted);
    for path in paths.iter().filter(|path| ending(path, "crt")) {
        host.authorities.extend(chain(path)?);
    }
    let mut own = paths.iter().filter(|path| ending(path, "cert"));
    if let Some(path) = own.next() {
        host.identity = Some(identity(path, &path.with_extension("key"))?);
    }
    if own.next().is_some() {
        return Err(ConfigError::ManyIdentities { path: dir.to_owned() });
    }
    Ok(())
}

/// `None` if there is no such file.
fn hosts_file(dir: &Path, host: &mut Host) -> Result<Option<()>, ConfigError> {
    let path = dir.join("hosts.toml");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let file = parse(&path, &bytes)?;
    if file.host.is_some() {
        return Err(ConfigError::Mirrors { path });
    }
    if let Some(server) = file.server {
        host.server = Server::At(origin(&path, server)?);
    }
    if file.skip_verify {
        host.trust = Trust::Anyone;
    }
    for authority in file.ca.into_vec() {
        host.authorities.extend(chain(&dir.join(authority))?);
    }
    let mut clients = file.client.into_vec().into_iter();
    if let Some(client) = clients.next() {
        host.identity = Some(match client {
            OneOrPair::One(both) => identity(&dir.join(&both), &dir.join(&both))?,
            OneOrPair::Pair(certificate, key) => identity(&dir.join(certificate), &dir.join(key))?,
        });
    }
    if clients.next().is_some() {
        return Err(ConfigError::ManyIdentities { path });
    }
    Ok(Some(()))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<HostsFile, ConfigError> {
    let path = path.to_owned();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = line(&bytes[..error.valid_up_to()]);
            return Err(ConfigError::Syntax { path, line, message: "no UTF-8".to_owned() });
        }
    };
    toml::from_str(text).map_err(|error| {
        let line = line(&bytes[..error.span().map_or(0, |span| span.start)]);
        let message = error.message().replace('\n', ", ");
        ConfigError::Syntax { path, line, message }
    })
}

/// The number of the line that follows on `before`.
fn line(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn origin(path: &Path, server: String) -> Result<crate::url::Origin, ConfigError> {
    let path = path.to_owned();
    match Url::parse(&server) {
        Ok(url) if matches!(url.target.as_str(), "/" | "/v2" | "/v2/") => Ok(url.origin),
        Ok(_) => Err(ConfigError::ServerPath { path, server }),
        Err(source) => Err(ConfigError::Server { path, server, source }),
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let bytes = required(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => Err(ConfigError::NoCertificate { path: path.to_owned() }),
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, ConfigError> {
    let chain = chain(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&required(key)?)
        .map_err(|_| ConfigError::NoKey { path: key.to_owned() })?;
    Ok(Identity::new(chain, secret))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn required(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    read(path)?.ok_or_else(|| ConfigError::Read { path: path.to_owned(), source: missing() })
}

/// A file's bytes; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(failed(io::Error::other(format!("more than {FILE_MAX} bytes"))));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
