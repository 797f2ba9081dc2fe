//! What can go wrong with layers, each with its place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::root::RootError;

use crate::tar::{Place, Quoted, TarError, WriteError};

use super::codec::CodecError;

/// A layer that was not applied. The destination holds a part of it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The archive can be read, but not be allowed.
    #[error("{}: {refusal}", Place(*entry, name))]
    Refused {
        /// The number of the entry, from 1.
        entry: u64,
        /// Its name in the archive.
        name: Vec<u8>,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The kernel refused something that the law allows: no space, no permission.
    #[error("{}: {op}", Place(*entry, name))]
    Os {
        /// The number of the entry, from 1.
        entry: u64,
        /// Its name in the archive.
        name: Vec<u8>,
        /// What was tried.
        op: &'static str,
        /// Why it failed.
        source: Errno,
    },
    /// The archive asks for more than it may.
    #[error("{}: more than {limit} {what}", Place(*entry, name))]
    Limit {
        /// The number of the entry, from 1.
        entry: u64,
        /// Its name in the archive.
        name: Vec<u8>,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The two zero blocks behind the last entry are missing.
    #[error("the archive is cut off: its end is missing")]
    Cut,
    /// The destination already holds something.
    #[error("the directory to unpack into is not empty")]
    NotEmpty,
    /// The destination cannot be used.
    #[error("prepare the directory to unpack into")]
    Destination(#[source] RootError),
    /// No thread, or none with a umask of its own, could be had.
    #[error("start the thread that unpacks")]
    Thread(#[source] io::Error),
}

/// Why an entry is refused. `docs/design/archives.md` has the reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A `..` in the name.
    #[error("the name leads outside the image")]
    Outside,
    /// A component above 255 bytes, or a path above 4095.
    #[error("the name is too long")]
    TooLong,
    /// Something other than a directory is to be the image's root.
    #[error("the root can only be a directory")]
    Root,
    /// `.wh.` with nothing, `.` or `..` behind it.
    #[error("the whiteout names nothing that could be hidden")]
    Whiteout,
    /// A directory, device or fifo named `.wh.*`.
    #[error("names that begin with .wh. are whiteouts, which are plain files")]
    WhiteoutKind,
    /// A character device 0:0, which is overlayfs's own whiteout.
    #[error("a character device 0:0 is overlayfs's whiteout; layers say .wh.NAME")]
    WhiteoutDevice,
    /// A component on the way is a file, or a symlink that leads nowhere.
    #[error("a directory on the way is not a directory")]
    Parent,
    /// A `..` in a hard link's target.
    #[error("hard link target {0} is outside the image")]
    LinkOutside(Bytes),
    /// A hard link to nothing, or to something in a lower layer.
    #[error("hard link target {0} does not exist in this layer")]
    LinkMissing(Bytes),
    /// A hard link to a directory.
    #[error("hard link target {0} is a directory")]
    LinkToDirectory(Bytes),
    /// A device number that Linux does not have.
    #[error("there is no device {0}:{1}")]
    Device(u32, u32),
    /// A directory would replace something else, or the other way round. Docker's words.
    #[error("{}", clash(*.making, path, into))]
    Clash {
        /// What the archive has.
        making: Making,
        /// What is in the way.
        path: PathBuf,
        /// The directory that is copied into.
        into: PathBuf,
    },
    /// The archive of one thing has something else in it.
    #[error("the archive is to hold {0} alone")]
    Foreign(Bytes),
    /// The way leads into procfs, sysfs or the like.
    #[error("nothing can be copied into the kernel's own files")]
    KernelFiles,
    /// An attribute value that the kernel calls malformed, or too long.
    #[error("extended attribute {0} is malformed")]
    Xattr(Bytes),
}

/// What is made of an entry, as far as replacing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

fn clash(making: Making, path: &Path, into: &Path) -> String {
    let (there, new) = match making {
        Making::Directory => ("non-directory", "directory"),
        Making::Other => ("directory", "non-directory"),
    };
    format!("cannot overwrite {there} {path:?} with {new} {into:?}")
}

/// Bytes from an archive, shown quoted and escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Quoted(&self.0), f)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Quoted(&self.0), f)
    }
}

/// A blob that was not unpacked or measured.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The layer in it.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Its compression.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The blob could not be read.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// It unpacks to more than it may.
    #[error("the layer unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It unpacks to far more than it is.
    #[error("decompression bomb: it unpacks to more than {0} times its size")]
    Bomb(u64),
}

/// A tree that was not packed. What was written of it is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The kernel refused.
    #[error("{op} {}", path.display())]
    Os {
        /// What was tried.
        op: &'static str,
        /// The path in the tree.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// A directory cannot be opened or read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The archive cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file whose name would hide another one when the layer is applied.
    #[error("{}: a name that begins with .wh. cannot be in a layer", .0.display())]
    WhiteoutName(PathBuf),
    /// overlayfs keeps part of this file in a lower layer (`redirect_dir` or `metacopy`).
    #[error("{}: overlayfs holds a reference to a lower layer here", .0.display())]
    Reference(PathBuf),
    /// Deeper than a name in an archive may be.
    #[error("{}…: the path is too long for an archive", .0.display())]
    TooLong(PathBuf),
}
