//! The one pass over an archive: documents are kept, layers are stored and unpacked as they come.
//!
//! What the members are for is said by documents that may come first or last, so every member that
//! can be a layer is taken for one. What turns out not to be needed is thrown away at the end.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use model::Digest;

use super::LoadError;
use crate::layers::LayerError;
use crate::oci::DOCUMENT_MAX;
use crate::operation::Operation;
use crate::operation::receive::{Arrived, BeginNamed};
use crate::tar::{Entry, Kind, Reader, TarError};

const MEMBERS_MAX: usize = 20_000;
const METADATA_MAX: usize = 64 << 20;
const LINKS_MAX: usize = 8;
/// What tells a tar from other files: the magic of ustar, at its place in the first header.
const USTAR: (usize, &[u8]) = (257, b"ustar");
const START: usize = 512;

/// A member of an archive.
#[derive(Debug)]
pub(super) enum Member {
    /// JSON, or what looks like it.
    Document(Vec<u8>),
    /// A layer that is staged, or in the store already.
    Layer(Arrived),
    /// What looked like a layer and is none.
    Unusable(LayerError),
    /// Another name of a member.
    Link(String),
}

/// What an archive has.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: BTreeMap<String, Member>,
    metadata: usize,
}

impl Members {
    /// Reads an archive to its end.
    pub(super) fn read(
        source: impl BufRead,
        operation: &Operation,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, LoadError> {
        let mut members = Self::default();
        let mut reader = Reader::new(source);
        let mut entry = Entry::default();
        while reader.next_entry(&mut entry)? {
            let Some(name) = plain_name(&entry.name) else { continue };
            if let Some(member) = members.take(&name, &entry, &mut reader, operation)? {
                progress(&name);
                members.by_name.insert(name, member);
            }
            if members.by_name.len() > MEMBERS_MAX {
                return Err(LoadError::TooManyMembers(MEMBERS_MAX));
            }
        }
        reader.drain()?;
        Ok(members)
    }

    /// The member of that name, through links.
    pub(super) fn get(&self, name: &str) -> Option<&Member> {
        let mut name = name.to_owned();
        for _ in 0..LINKS_MAX {
            match self.by_name.get(&name)? {
                Member::Link(target) => name.clone_from(target),
                member @ (Member::Document(_) | Member::Layer(_) | Member::Unusable(_)) => {
                    return Some(member);
                }
            }
        }
        None
    }

    /// The document of that name.
    pub(super) fn document(&self, name: &str, by: &'static str) -> Result<&[u8], LoadError> {
        match self.get(name) {
            Some(Member::Document(bytes)) => Ok(bytes),
            Some(Member::Layer(_) | Member::Unusable(_) | Member::Link(_)) => {
                let problem = "no JSON document";
                Err(LoadError::Member { name: name.to_owned(), problem })
            }
            None => Err(LoadError::Missing { name: name.to_owned(), by }),
        }
    }

    /// The layer of that name.
    pub(super) fn layer(&self, name: &str, by: &'static str) -> Result<&Arrived, LoadError> {
        match self.get(name) {
            Some(Member::Layer(arrived)) => Ok(arrived),
            Some(Member::Unusable(error)) => Err(LoadError::BadLayer(crate::layers::chain(error))),
            Some(Member::Document(_) | Member::Link(_)) => {
                Err(LoadError::Member { name: name.to_owned(), problem: "no layer" })
            }
            None => Err(LoadError::Missing { name: name.to_owned(), by }),
        }
    }

    /// Decides what a member is by its name, kind and first bytes. `None`: nothing of interest.
    fn take<R: BufRead>(
        &mut self,
        name: &str,
        entry: &Entry,
        reader: &mut Reader<R>,
        operation: &Operation,
    ) -> Result<Option<Member>, LoadError> {
        match entry.kind {
            Kind::Directory => return Ok(None),
            Kind::Symlink => return Ok(symlink(name, &entry.link).map(Member::Link)),
            Kind::HardLink => return Ok(plain_name(&entry.link).map(Member::Link)),
            Kind::File if entry.sparse.is_none() => {}
            Kind::File | Kind::Char | Kind::Block | Kind::Fifo => {
                let problem = "no regular file";
                return Err(LoadError::Member { name: name.to_owned(), problem });
            }
        }
        let mut content = Content { reader, failed: None };
        let start = content.start(entry.size)?;
        if is_document(name, &start) {
            return self.keep(name, entry.size, start, &mut content).map(Some);
        }
        if !is_layer_name(name) {
            return Ok(None);
        }
        let rest = io::Cursor::new(&start).chain(&mut content);
        let outcome = take_layer(name, entry.size, rest, operation);
        if let Some(error) = content.failed {
            return Err(error.into());
        }
        sort_out(outcome).map(Some)
    }

    fn keep(
        &mut self,
        name: &str,
        size: u64,
        mut bytes: Vec<u8>,
        content: &mut impl Read,
    ) -> Result<Member, LoadError> {
        if size > DOCUMENT_MAX {
            let problem = "larger than 4194304 bytes";
            return Err(LoadError::Member { name: name.to_owned(), problem });
        }
        content.read_to_end(&mut bytes)?;
        self.metadata += bytes.len();
        if self.metadata > METADATA_MAX {
            return Err(LoadError::TooMuchMetadata(METADATA_MAX));
        }
        Ok(Member::Document(bytes))
    }
}

/// A layer that is wrong in itself may be of no importance; what went wrong in the store is.
fn sort_out(outcome: Result<Arrived, LayerError>) -> Result<Member, LoadError> {
    match outcome {
        Ok(arrived) => Ok(Member::Layer(arrived)),
        Err(error) if error.is_about_content() => Ok(Member::Unusable(error)),
        Err(error) => Err(error.into()),
    }
}

fn take_layer(
    name: &str,
    size: u64,
    bytes: impl Read,
    operation: &Operation,
) -> Result<Arrived, LayerError> {
    let Some(digest) = digest_in(name) else {
        return operation.receive(operation.begin_sized_layer(name, size)?, bytes);
    };
    match operation.begin_named_layer(&digest, size)? {
        BeginNamed::Present(arrived) => Ok(arrived),
        BeginNamed::Started(layer) => operation.receive(*layer, bytes),
    }
}

/// `blobs/sha256/<hex>` names its content.
fn digest_in(name: &str) -> Option<Digest> {
    format!("sha256:{}", name.strip_prefix("blobs/sha256/")?).parse().ok()
}

fn is_layer_name(name: &str) -> bool {
    let has_tar_ending =
        [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|ending| name.ends_with(ending));
    name.starts_with("blobs/") || has_tar_ending
}

fn is_document(name: &str, start: &[u8]) -> bool {
    let (at, magic) = USTAR;
    let is_tar = start.get(at..at + magic.len()) == Some(magic);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_well_known = matches!(name, "manifest.json" | "index.json" | "oci-layout");
    is_well_known || !is_tar && matches!(first, Some(b'{' | b'['))
}

/// A name without `.`, doubled slashes and a slash in front; `None` for the root and for names that
/// lead out of the archive, which nothing can refer to.
fn plain_name(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Where a symlink in an archive leads. Old `docker save` made `a/layer.tar -> ../b/layer.tar`.
fn symlink(name: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!target.starts_with('/') && !parts.is_empty()).then(|| parts.join("/"))
}

/// The content of the current entry. Keeps the error of the archive around it, which is another
/// thing than an error in what is read from it.
struct Content<'r, R> {
    reader: &'r mut Reader<R>,
    failed: Option<TarError>,
}

impl<R: BufRead> Content<'_, R> {
    /// The first bytes.
    fn start(&mut self, size: u64) -> Result<Vec<u8>, LoadError> {
        let mut start = Vec::with_capacity(START);
        let read = self.by_ref().take(size.min(START as u64)).read_to_end(&mut start);
        match (read, self.failed.take()) {
            (_, Some(error)) => Err(error.into()),
            (Err(error), None) => Err(error.into()),
            (Ok(_), None) => Ok(start),
        }
    }
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = match self.reader.piece() {
            Ok(None) => return Ok(0),
            Ok(Some(piece)) => {
                let len = piece.bytes.len().min(buffer.len());
                buffer[..len].copy_from_slice(&piece.bytes[..len]);
                len
            }
            Err(error) => {
                let text = error.to_string();
                self.failed = Some(error);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        };
        self.reader.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_but_into_the_archive() {
        assert_eq!(plain_name(b"./a//b/").as_deref(), Some("a/b"));
        assert_eq!(plain_name(b"/a").as_deref(), Some("a"));
        for nothing in [&b"."[..], b"", b"../a", b"a/../../b", b"\xff"] {
            assert_eq!(plain_name(nothing), None);
        }
        assert_eq!(symlink("a/layer.tar", b"../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(symlink("a/layer.tar", b"../../etc/passwd"), None);
        assert_eq!(symlink("a/layer.tar", b"/etc/passwd"), None);
    }

    #[test]
    fn documents_are_told_from_layers() {
        let mut tar = vec![0; START];
        tar[0] = b'{';
        assert!(is_document("blobs/sha256/x", &tar));
        tar[257..262].copy_from_slice(b"ustar");
        assert!(!is_document("blobs/sha256/x", &tar));
        assert!(is_document("manifest.json", b"not even json"));
        assert!(is_layer_name("0a/layer.tar") && is_layer_name("blobs/sha256/x"));
        assert!(!is_layer_name("0a/VERSION"));
    }

    #[test]
    fn links_in_a_circle_end() {
        let mut members = Members::default();
        members.by_name.insert("a".into(), Member::Link("b".into()));
        members.by_name.insert("b".into(), Member::Link("a".into()));
        assert!(members.get("a").is_none());
    }
}
