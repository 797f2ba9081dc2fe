//! Archives that are copied into a tree that is in use, for `cp`.
//!
//! Owns which entry goes where and the decompression; `extract` does what is to be done. What differs
//! from a layer: what is there stays, nothing is a whiteout, and the tree may change meanwhile.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use sys::root::Root;
use sys::userns::IdMap;

use crate::tar::{Entry, Kind, Reader, WriteError, Writer};

use super::error::{ApplyError, Bytes, Refusal, UnpackError};
use super::extract::{Extractor, plain};
use super::outer;
use super::{Applied, ApplyOptions};

/// Bytes read and written at once.
const BUFFER: usize = 256 * 1024;

/// How an archive is copied into a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeOptions {
    /// What may be used at most.
    pub apply: ApplyOptions,
    /// The directory in the tree that is copied into: a plain path, empty for the root. Symlinks in
    /// it, and below it, are followed in the tree.
    pub at: Vec<u8>,
    /// What messages call that directory.
    pub shown: PathBuf,
    /// What is called otherwise.
    pub rename: Option<Rename>,
    /// The ids of the host that those of `owners` are; `None`: the same.
    pub ids: Option<IdMap>,
    /// Whom it belongs to.
    pub owners: Owners,
    /// What becomes of directories in the way of others, and the other way round.
    pub clash: Clash,
}

/// Whom a copy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// As the archive has it.
    Archived,
    /// One user and group.
    All {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Whoever copies.
    Ours,
}

/// What becomes of a directory in the way of something else, and of something else in the way of a
/// directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// The copy fails.
    Refuse,
    /// It goes.
    Replace,
}

/// What the one thing in an archive is called in it and shall be called. Anything else in the archive
/// is refused: who asks for one file is not given another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// One component; `.`, `/` or nothing for an archive of what is in a directory.
    pub from: Vec<u8>,
    /// The same.
    pub to: Vec<u8>,
}

/// Where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is the directory that is copied into.
    Itself,
    /// Into it.
    Below,
}

impl Rename {
    fn apply(&self, name: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (name, from, to) = (plain(name)?, plain(&self.from)?, plain(&self.to)?);
        let rest = name
            .strip_prefix(from.as_slice())
            .filter(|rest| from.is_empty() || rest.is_empty() || rest.starts_with(b"/"));
        let rest = rest.ok_or_else(|| Refusal::Foreign(Bytes(self.from.clone())))?;
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        Ok(join(&to, rest))
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match (dir, name) {
        (b"", path) | (path, b"") => path.to_vec(),
        (dir, name) => [dir, b"/", name].concat(),
    }
}

impl MergeOptions {
    /// Rewrites the names of an entry to paths in the tree.
    pub(super) fn place(&self, entry: &mut Entry) -> Result<Placed, Refusal> {
        let name = self.inside(&entry.name)?;
        if name.is_empty() {
            return Ok(Placed::Itself);
        }
        if entry.kind == Kind::HardLink {
            entry.link = join(&self.at, &self.inside(&entry.link)?);
        }
        entry.name = join(&self.at, &name);
        Ok(Placed::Below)
    }

    fn inside(&self, name: &[u8]) -> Result<Vec<u8>, Refusal> {
        match &self.rename {
            Some(rename) => rename.apply(name),
            None => plain(name),
        }
    }
}

/// Copies an archive, plain or compressed, into a tree that is in use. Nothing is synced. On an error
/// what was copied stays, but no half file.
///
/// # Errors
/// The archive's or the law's, with the entry; the compression's; those of reading and writing.
pub fn merge(
    source: impl Read + Send,
    dest: &Root,
    options: &MergeOptions,
) -> Result<Applied, UnpackError> {
    // A thread of its own for a umask of its own.
    std::thread::scope(|scope| {
        let worker = move || merge_here(source, dest, options);
        let worker = std::thread::Builder::new().name("copy".into()).spawn_scoped(scope, worker);
        let worker = worker.map_err(ApplyError::Thread)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn merge_here(
    source: impl Read,
    dest: &Root,
    options: &MergeOptions,
) -> Result<Applied, UnpackError> {
    sys::fs_context::private_umask_zero().map_err(|errno| ApplyError::Thread(errno.into()))?;
    let source = BufReader::with_capacity(BUFFER, outer::open(source, options.apply.limits.ratio)?);
    Ok(Extractor::on_tree(dest, options).run(source)?)
}

/// An archive that could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// It cannot be read.
    #[error(transparent)]
    Tar(#[from] crate::tar::TarError),
    /// It has something in it that nobody asked for.
    #[error("{0}")]
    Refused(Refusal),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Passes an archive on with its one thing called otherwise.
///
/// # Errors
/// [`RenameError`]; what was written is of no use then.
pub fn renamed(source: impl BufRead, out: impl Write, rename: &Rename) -> Result<(), RenameError> {
    let mut reader = Reader::new(source);
    let mut writer = Writer::new(io::BufWriter::with_capacity(BUFFER, out));
    let mut entry = Entry::default();
    while reader.next_entry(&mut entry)? {
        let mut name = rename.apply(&entry.name).map_err(RenameError::Refused)?;
        if entry.kind == Kind::HardLink {
            entry.link = rename.apply(&entry.link).map_err(RenameError::Refused)?;
        }
        if name.is_empty() {
            name.push(b'.');
        }
        if entry.kind == Kind::Directory {
            name.push(b'/');
        }
        entry.name = name;
        writer.begin(&entry)?;
        while let Some(piece) = reader.piece()? {
            let len = piece.bytes.len();
            writer.data(piece.bytes)?;
            reader.consume(len);
        }
    }
    reader.drain()?;
    writer.finish()?.flush().map_err(WriteError::Io)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(from: &str, to: &str, name: &str) -> String {
        let rename = Rename { from: from.into(), to: to.into() };
        match rename.apply(name.as_bytes()) {
            Ok(name) => String::from_utf8(name).unwrap(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn only_the_first_component_is_called_otherwise() {
        assert_eq!(rename("a", "b", "a/a/x"), "b/a/x");
        assert_eq!(rename("a", "b", "a/"), "b");
        assert_eq!(rename(".", "b", "./a"), "b/a");
        assert_eq!(rename(".", "b", "./"), "b");
        assert_eq!(rename("/", "b", "/a"), "b/a");
        assert_eq!(rename("a", ".", "a/x"), "x");
    }

    #[test]
    fn who_asks_for_one_thing_is_not_given_another() {
        let only = "the archive is to hold \"a\" alone";
        assert_eq!(rename("a", "a", "ab"), only);
        assert_eq!(rename("a", "a", ".ssh/authorized_keys"), only);
        assert_eq!(rename("a", "a", "./b"), only);
        assert_eq!(rename("a", "a", "a/../../b"), "the name leads outside the image");
    }
}
