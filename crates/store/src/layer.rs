//! Layers as trees and layers as archives: unpacking, packing, and the diff of an overlay.
//!
//! Owns the one extractor of the project and the law that it follows (`law`, in words
//! `docs/design/archives.md`), the decompressors, and the hashing of what passes. Everything is
//! streamed and bounded in memory; nothing is ever synced here. Not owned: where a layer lies, what
//! it is called, and whether its digest is the expected one; the caller compares before it uses.

mod codec;
mod encode;
mod error;
mod extract;
mod hash;
pub(crate) mod law;
mod merge;
pub(crate) mod outer;
mod pack;
pub(crate) mod parents;
mod unpack;
pub(crate) mod walk;

use sys::userns::IdMap;

pub use codec::{CodecError, Compression};
pub use encode::Encoder;
pub use error::{ApplyError, PackError, Refusal, UnpackError};
pub use hash::{Content, HashReader, HashWriter};
pub use law::Law;
pub use merge::{Clash, MergeOptions, Owners, Rename, RenameError, merge, renamed};
pub use pack::{Part, diff, diff_without, pack, pack_part};
pub use unpack::{Measured, Unpacked, apply, measure, unpack};

/// How much an archive may ask for, whatever its size on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes of the archive; and bytes of all files, with their holes.
    pub bytes: u64,
    /// Uncompressed bytes per compressed byte, once [`Limits::RATIO_FROM`] bytes have come out.
    pub ratio: u64,
    /// Entries.
    pub entries: u64,
}

impl Limits {
    /// An honest layer of zeros may compress beyond any ratio while it is small.
    pub const RATIO_FROM: u64 = 1 << 30;
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 40, ratio: 1000, entries: 10_000_000 }
    }
}

/// Whose root unpacks or packs: decides about device nodes and the names of overlay's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privilege {
    /// Root of the host: devices are made, overlay's attributes are `trusted.overlay.*`.
    #[default]
    Host,
    /// Root of a user namespace: the kernel refuses devices there, so they are left out and
    /// counted; overlay's attributes are `user.overlay.*` (mount option `userxattr`).
    UserNamespace,
}

/// How a layer is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyOptions {
    /// What may be used at most.
    pub limits: Limits,
    /// Whose root this is.
    pub privilege: Privilege,
    /// What it is of.
    pub law: Law,
}

/// What applying a layer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of all regular files, holes included.
    pub bytes: u64,
    /// The layer hides everything below it. overlayfs does not look for the mark on a layer's root,
    /// so whoever stacks layers has to end the stack with this one.
    pub opaque_root: bool,
    /// Attributes that were left out: those of overlayfs itself and of the host's policy modules,
    /// and those that the file system or the kind of file cannot hold.
    pub dropped_xattrs: u64,
    /// Device nodes left out in a user namespace.
    pub skipped_devices: u64,
    /// Entries of aufs's own bookkeeping (`.wh..wh.*`).
    pub skipped_aufs: u64,
}

/// What becomes of the holes in sparse files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holes {
    /// They are written as zeros, as the image specification recommends.
    #[default]
    Zeros,
    /// They are kept, in GNU tar's PAX form 1.0.
    Keep,
}

/// What becomes of procfs, sysfs and their like in a tree that is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KernelFiles {
    /// There are none.
    #[default]
    Absent,
    /// Their directories are packed without what is in them, as Docker does. A file of theirs that
    /// is asked for by its name has what can be read from it, whatever its size is said to be.
    Shallow,
}

/// How a tree is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackOptions {
    /// What becomes of holes.
    pub holes: Holes,
    /// What becomes of the kernel's own files.
    pub kernel: KernelFiles,
    /// Whose root this is.
    pub privilege: Privilege,
    /// The ids of the host that the archive's are; `None`: the same.
    pub ids: Option<IdMap>,
    /// What it is of.
    pub law: Law,
}

/// What packing a tree did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Entries in the archive.
    pub entries: u64,
    /// The archive's length in bytes.
    pub bytes: u64,
    /// Sockets, which no archive can hold.
    pub skipped_sockets: u64,
    /// Files that were deleted while the tree was read.
    pub vanished: u64,
    /// Attributes that were left out.
    pub dropped_xattrs: u64,
}
