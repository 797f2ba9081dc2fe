//! Contexts as they are kept: made, changed, removed, and carried elsewhere as archives, in Docker's own layout.
//!
//! `contexts/meta/ID/meta.json` tells of one, `contexts/tls/ID/ENDPOINT/` has its certificates; the id is the
//! SHA-256 of the name.

use super::{DEFAULT, TLS_FILES};
use crate::template::json;
use docker_api::json::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The most that a file of an archive may have, as in Docker.
const LARGEST: u64 = 10 << 20;

/// What fills the last block of an archive, and ends it.
const PADDING: u64 = 3 * 512;

/// The endpoint that there is.
const DOCKER: &str = "docker";

/// What tells of a context.
const META: &str = "meta.json";

/// A server, and what it takes to be sure of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) skip_tls_verify: bool,
    /// What is in `ca.pem`, `cert.pem` and `key.pem`.
    pub(crate) tls: [Option<Vec<u8>>; 3],
}

/// A context: what its file says, and its certificates by `ENDPOINT/FILE`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    meta: Tree,
    tls: BTreeMap<String, Vec<u8>>,
}

/// Refuses what is no name for a context.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let goes_on =
        letters.len() > 0 && letters.all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b));
    if name.is_empty() {
        Err("context name cannot be empty".to_owned())
    } else if name == DEFAULT {
        Err(format!("{DEFAULT:?} is a reserved context name"))
    } else if begins && goes_on {
        Ok(())
    } else {
        Err(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))
    }
}

/// The directories of a context below that of the configuration: of what tells of it, and of its certificates.
fn places(directory: &Path, name: &str) -> [PathBuf; 2] {
    let id: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    ["meta", "tls"].map(|kind| directory.join("contexts").join(kind).join(&id))
}

/// Whether there is one of this name.
pub(crate) fn exists(directory: &Path, name: &str) -> bool {
    places(directory, name)[0].join(META).exists()
}

/// Takes a context away. One that is not there is none.
pub(crate) fn remove(directory: &Path, name: &str) -> Result<(), String> {
    for place in places(directory, name) {
        match std::fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("remove {}: {error}", place.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Kept {
    /// One that knows no server.
    pub(crate) fn new() -> Self {
        let empty = || Tree::Object(Vec::new());
        let pairs =
            [("Name", Tree::String(String::new())), ("Metadata", empty()), ("Endpoints", empty())];
        let meta = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { meta: Tree::Object(meta), tls: BTreeMap::new() }
    }

    /// The one of this name.
    pub(crate) fn read(directory: &Path, name: &str) -> Result<Self, String> {
        let [meta, tls] = places(directory, name);
        let file = meta.join(META);
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("context {name:?}: context not found"));
            }
            Err(error) => return Err(format!("open {}: {error}", file.display())),
        };
        let meta = parsed(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        let certificates = read_tls(&tls).map_err(|e| format!("read {}: {e}", tls.display()))?;
        Ok(Self { meta, tls: certificates })
    }

    /// Describes it.
    pub(crate) fn describe(&mut self, description: &str) {
        let metadata = field(&mut self.meta, "Metadata");
        *field(metadata, "Description") = Tree::String(description.to_owned());
    }

    /// Gives it a server in the place of the one it knew.
    pub(crate) fn set_docker(&mut self, endpoint: Endpoint) {
        let docker = field(field(&mut self.meta, "Endpoints"), DOCKER);
        *docker = Tree::Object(vec![
            ("Host".to_owned(), Tree::String(endpoint.host)),
            ("SkipTLSVerify".to_owned(), Tree::Bool(endpoint.skip_tls_verify)),
        ]);
        self.tls.retain(|path, _| !path.starts_with("docker/"));
        for (name, content) in TLS_FILES.iter().zip(endpoint.tls) {
            if let Some(content) = content {
                self.tls.insert(format!("{DOCKER}/{name}"), content);
            }
        }
    }

    /// The server that it knows.
    pub(crate) fn docker(&self) -> Endpoint {
        let mut meta = self.meta.clone();
        let docker = field(field(&mut meta, "Endpoints"), DOCKER);
        let host = match docker.take("Host") {
            Some(Tree::String(host)) => host,
            _ => String::new(),
        };
        let skip_tls_verify = docker.take("SkipTLSVerify") == Some(Tree::Bool(true));
        let tls = TLS_FILES.map(|name| self.tls.get(&format!("{DOCKER}/{name}")).cloned());
        Endpoint { host, skip_tls_verify, tls }
    }

    /// Names it.
    pub(crate) fn call(&mut self, name: &str) {
        *field(&mut self.meta, "Name") = Tree::String(name.to_owned());
    }

    /// Keeps it under a name, in the place of what had that name.
    pub(crate) fn write(&mut self, directory: &Path, name: &str) -> Result<(), String> {
        self.call(name);
        let [meta, tls] = places(directory, name);
        self.write_to(&meta, &tls).map_err(|error| format!("write {}: {error}", meta.display()))
    }

    /// What tells of it comes last: a context that is found is whole.
    fn write_to(&self, meta: &Path, tls: &Path) -> io::Result<()> {
        self.write_tls(tls)?;
        std::fs::create_dir_all(meta)?;
        let fresh = meta.join(format!("{META}.{}", std::process::id()));
        write_file(&fresh, json::plain(&self.meta).as_bytes(), 0o644)?;
        std::fs::rename(&fresh, meta.join(META))?;
        if self.tls.is_empty() { take_away(tls) } else { Ok(()) }
    }

    /// Beside what is there, whose place it takes at once: whoever uses the context meanwhile never finds it without
    /// certificates, which would be without TLS.
    fn write_tls(&self, tls: &Path) -> io::Result<()> {
        if self.tls.is_empty() {
            return Ok(());
        }
        let fresh = tls.with_extension(std::process::id().to_string());
        take_away(&fresh)?;
        for (path, content) in &self.tls {
            let file = fresh.join(path);
            let parent = file.parent().unwrap_or(&fresh);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            write_file(&file, content, 0o600)?;
        }
        match renameat_with(CWD, &fresh, CWD, tls, RenameFlags::EXCHANGE) {
            Ok(()) => take_away(&fresh),
            Err(Errno::NOENT) => std::fs::rename(&fresh, tls),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes it down as an archive that Docker reads.
    pub(crate) fn pack(&self, to: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        append(&mut archive, META, Some((json::plain(&self.meta).as_bytes(), 0o644)))?;
        append(&mut archive, "tls/", None)?;
        let mut endpoint = "";
        for (path, content) in &self.tls {
            let parent = path.split_once('/').map_or("", |(parent, _)| parent);
            if parent != endpoint {
                append(&mut archive, &format!("tls/{parent}/"), None)?;
                endpoint = parent;
            }
            append(&mut archive, &format!("tls/{path}"), Some((content, 0o600)))?;
        }
        archive.into_inner()?.flush()
    }

    /// Reads such an archive. What is in it that is no context's is refused.
    pub(crate) fn unpack(from: impl Read) -> Result<Self, String> {
        let broken = |error: io::Error| format!("read the archive: {error}");
        let (mut meta, mut tls) = (None, BTreeMap::new());
        // Docker's own archives end with the last byte of their last file.
        let whole = from.take(4 * LARGEST).chain(io::repeat(0).take(PADDING));
        for entry in tar::Archive::new(whole).entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut content = Vec::new();
            entry.by_ref().take(LARGEST + 1).read_to_end(&mut content).map_err(broken)?;
            if content.len() as u64 > LARGEST {
                return Err(format!("{path} is larger than {LARGEST} bytes"));
            }
            if content.contains(&0) {
                return Err(format!("{path} is no text: is the archive cut off?"));
            }
            match path.strip_prefix("tls/") {
                Some(rest) if is_place(rest) => drop(tls.insert(rest.to_owned(), content)),
                None if path == META => meta = Some(parsed(&content)?),
                _ => return Err(format!("{path}: unexpected context file")),
            }
        }
        let meta = meta.ok_or("invalid context: no metadata found")?;
        Ok(Self { meta, tls })
    }
}

fn take_away(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether it is `ENDPOINT/FILE`, both plain names.
fn is_place(path: &str) -> bool {
    let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('/');
    path.split_once('/').is_some_and(|(endpoint, file)| plain(endpoint) && plain(file))
}

fn parsed(text: &[u8]) -> Result<Tree, String> {
    match Tree::parse(text) {
        Ok(tree @ Tree::Object(_)) => Ok(tree),
        Ok(_) => Err("it is no object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A field of an object. One that is missing, or of something that is no object, is made.
fn field<'t>(tree: &'t mut Tree, name: &str) -> &'t mut Tree {
    if !matches!(tree, Tree::Object(_)) {
        *tree = Tree::Object(Vec::new());
    }
    let Tree::Object(pairs) = tree else { unreachable!("it was made one") };
    let at = pairs.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
        pairs.push((name.to_owned(), Tree::Null));
        pairs.len() - 1
    });
    &mut pairs[at].1
}

fn read_tls(directory: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for endpoint in listed(directory)? {
        for file in listed(&directory.join(&endpoint))? {
            let content = std::fs::read(directory.join(&endpoint).join(&file))?;
            found.insert(format!("{endpoint}/{file}"), content);
        }
    }
    Ok(found)
}

/// The names in a directory, which need not be there.
pub(super) fn listed(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)
}

/// A file with its content and mode, or a directory.
fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    file: Option<(&[u8], u32)>,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    let (content, mode) = file.unwrap_or((&[], 0o700));
    header.set_entry_type(match file {
        Some(_) => tar::EntryType::Regular,
        None => tar::EntryType::Directory,
    });
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn endpoint(host: &str) -> Endpoint {
        let tls = [Some(b"ca".to_vec()), None, Some(b"key".to_vec())];
        Endpoint { host: host.to_owned(), skip_tls_verify: false, tls }
    }

    #[test]
    fn one_is_kept_where_docker_looks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::new();
        kept.set_docker(endpoint("tcp://h:1"));
        kept.describe("a b");
        kept.write(dir.path(), "foo").unwrap();
        // The SHA-256 of `foo`.
        let id = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let meta = dir.path().join("contexts/meta").join(id).join(META);
        assert_eq!(
            std::fs::read_to_string(meta).unwrap(),
            r#"{"Name":"foo","Metadata":{"Description":"a b"},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":false}}}"#
        );
        let key = dir.path().join("contexts/tls").join(id).join("docker/key.pem");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Kept::read(dir.path(), "foo").unwrap(), kept);
        assert_eq!(kept.docker(), endpoint("tcp://h:1"));
        // Certificates go with the server that they were for.
        kept.set_docker(Endpoint { host: "unix:///x".to_owned(), ..Endpoint::default() });
        kept.write(dir.path(), "foo").unwrap();
        assert!(!key.exists());
        remove(dir.path(), "foo").unwrap();
        assert!(!exists(dir.path(), "foo"));
        let gone = Kept::read(dir.path(), "foo").unwrap_err();
        assert_eq!(gone, "context \"foo\": context not found");
    }

    #[test]
    fn an_archive_brings_all_of_it_back_and_nothing_else() {
        let mut kept = Kept::new();
        kept.set_docker(endpoint("tcp://h:1"));
        let mut archive = Vec::new();
        kept.pack(&mut archive).unwrap();
        assert_eq!(Kept::unpack(&archive[..]).unwrap(), kept);
        // As Docker leaves it, and as a full disk does.
        let end = archive.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert_eq!(Kept::unpack(&archive[..end]).unwrap(), kept);
        let cut = Kept::unpack(&archive[..end - 1]).unwrap_err();
        assert_eq!(cut, "tls/docker/key.pem is no text: is the archive cut off?");
        let with = |path: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_old();
            // The crate would not write such a path.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(2);
            header.set_mode(0o600);
            header.set_cksum();
            builder.append(&header, &b"{}"[..]).unwrap();
            Kept::unpack(&builder.into_inner().unwrap()[..])
        };
        for path in [
            "x",
            "tls/../../key.pem",
            "tls/docker/../x",
            "tls/docker",
            "tls/docker/a/b",
            "/meta.json",
        ] {
            let refused = with(path).unwrap_err();
            assert_eq!(refused, format!("{path}: unexpected context file"));
        }
        assert_eq!(with("tls/docker/ca.pem").unwrap_err(), "invalid context: no metadata found");
        with(META).unwrap();
    }

    #[test]
    fn names_are_judged_as_by_docker() {
        for name in ["ab", "a.b+c_d-e", "0x"] {
            assert_eq!(check_name(name), Ok(()));
        }
        assert_eq!(check_name("").unwrap_err(), "context name cannot be empty");
        assert_eq!(check_name("default").unwrap_err(), "\"default\" is a reserved context name");
        for name in ["a", "-a", "a/b", "a b", "../x"] {
            assert!(check_name(name).unwrap_err().contains("is invalid, names are validated"));
        }
    }
}
