//! What can be wrong with an archive, and where.

use std::fmt;
use std::io;

/// An archive that cannot be read, with the place.
#[derive(Debug)]
pub struct TarError {
    /// The number of the entry, from 1; extension headers count with the entry they belong to.
    pub entry: u64,
    /// Its name, as far as known.
    pub name: Vec<u8>,
    /// What is wrong.
    pub problem: TarProblem,
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarProblem {
    /// The source failed: the file, the network, the decompressor.
    #[error("read")]
    Read(#[source] io::Error),
    /// The archive ends in the middle of something.
    #[error("the archive is truncated")]
    Truncated,
    /// The header's checksum does not match: not a tar, or damaged.
    #[error("not a tar header (wrong checksum)")]
    Checksum,
    /// A number field holds no number, or one out of range.
    #[error("bad {0}")]
    Number(&'static str),
    /// The size field and the type disagree, so readers would disagree about what follows.
    #[error("{0} bytes of data on an entry that has no content")]
    SizeOnHeaderOnly(u64),
    /// No name at all.
    #[error("the entry has no name")]
    NoName,
    /// A link without a target.
    #[error("the link has no target")]
    NoTarget,
    /// A name or link target with a NUL in it.
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    /// A name or link target longer than a path can be.
    #[error("{0} is longer than 4096 bytes")]
    TooLong(&'static str),
    /// A PAX header, long name or sparse map above its limit.
    #[error("{0} is larger than its limit")]
    TooLarge(&'static str),
    /// More extension headers than any writer has reason for.
    #[error("more than 32 extension headers before one entry")]
    Chain,
    /// An extension header with nothing behind it.
    #[error("extension header at the end of the archive")]
    Dangling,
    /// A PAX record that does not parse.
    #[error("malformed PAX record")]
    Pax,
    /// A PAX global header sets what only a single entry can have.
    #[error("PAX global header sets {0:?}")]
    Global(String),
    /// A PAX header and a GNU header give different values.
    #[error("PAX and GNU headers disagree about the {0}")]
    Ambiguous(&'static str),
    /// A sparse map that overlaps, runs backwards, exceeds the size, or does not match the data.
    #[error("bad sparse map")]
    Sparse,
    /// A member type that dhow does not know or does not take.
    #[error("unsupported entry type {0:?}")]
    Kind(char),
    /// One zero block that is followed by more entries; readers disagree whether they count.
    #[error("a lone zero block inside the archive")]
    LoneZeroBlock,
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Place(self.entry, &self.name), self.problem)
    }
}

impl std::error::Error for TarError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// `entry 3 "etc/passwd"`, with the name escaped and cut, since a hostile one would otherwise
/// write to the terminal of whoever reads the error.
pub(crate) struct Place<'a>(pub(crate) u64, pub(crate) &'a [u8]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}", self.0)?;
        if !self.1.is_empty() {
            write!(f, " {}", Quoted(self.1))?;
        }
        Ok(())
    }
}

/// Bytes of an archive for people: quoted, escaped, at most 256 bytes of them.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = match self.0.get(..256) {
            Some(cut) if self.0.len() > 256 => (cut, "…"),
            _ => (self.0, ""),
        };
        write!(f, "\"")?;
        for chunk in shown.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        write!(f, "{more}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_control_characters() {
        let place = Place(3, b"a\x1b[31m\n\xff\"").to_string();
        assert_eq!(place, r#"entry 3 "a\u{1b}[31m\n\xff\"""#);
        assert!(Place(1, &[b'x'; 5000]).to_string().len() < 300);
    }
}
