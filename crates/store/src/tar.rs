//! Tar archives: a streaming reader and a deterministic writer.
//!
//! Owns the byte format and nothing else: ustar, V7, star, PAX and GNU headers in, ustar with PAX
//! where needed out. Touches no file system and knows no layers; what an entry may do is
//! `layer::law`'s matter. The format's law is in `docs/design/archives.md`.
//!
//! Why a reader of our own: the ready-made ones have taken a member's size from the wrong header
//! (CVE-2025-62518, CVE-2026-33055), kept unbounded sparse maps (CVE-2025-58183), and cannot say
//! at which entry they stopped. What is ambiguous is refused here.

mod block;
mod error;
mod extended;
mod number;
mod pax;
mod reader;
mod source;
mod sparse;
mod writer;

pub(crate) use error::{Place, Quoted};
pub use error::{TarError, TarProblem};
pub use reader::{Piece, Reader};
pub use writer::{WriteError, Writer};

/// The unit of the format.
pub const BLOCK: usize = 512;
/// The longest PAX header, GNU long name or sparse map that is read, in bytes.
pub const MAX_EXTENSION: u64 = 1 << 20;
/// The longest name or link target, in bytes (`PATH_MAX` with its NUL).
pub const MAX_NAME: usize = 4096;
/// The most pieces of data that one sparse file may have.
pub const MAX_EXTENTS: usize = 1 << 17;
/// The most extension headers in front of one entry.
pub const MAX_CHAIN: u32 = 32;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// A second name of the earlier entry [`Entry::link`].
    HardLink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// Seconds since 1970, which may be negative, and nanoseconds after them (below 10⁹).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since the epoch.
    pub secs: i64,
    /// Nanoseconds to add.
    pub nanos: u32,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name, such as `user.comment`; no NUL in it.
    pub name: Vec<u8>,
    /// The value; any bytes.
    pub value: Vec<u8>,
}

/// One member of an archive. Reused from entry to entry, so that reading allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The name as the archive has it; bytes, without NUL, never empty.
    pub name: Vec<u8>,
    /// The target of a symlink or hard link; empty otherwise.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The lower twelve mode bits.
    pub mode: u32,
    /// The owner; never `u32::MAX`, which means "unchanged" to the kernel.
    pub uid: u32,
    /// The group; never `u32::MAX`.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// The size of the file's content with its holes; 0 for all but files.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, in the archive's order; names may repeat, the last counts.
    pub xattrs: Vec<Xattr>,
    /// Where the data of a sparse file lie, ascending, not touching backwards; `None` for a file
    /// without holes.
    pub sparse: Option<Vec<Extent>>,
}
