//! Archives of trees: of a whole one, or of what an overlay's upper directory adds to its lowers.
//!
//! Owns the translation from file system to archive, the inverse of `extract`. The result depends
//! on the tree alone: sorted, times in whole seconds as Docker writes them, attributes sorted. A
//! tree may be in use while it is packed; a file that grows or shrinks keeps the size announced.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, SeekFrom, Stat};
use rustix::io::Errno;
use sys::root::{Root, open_regular};
use sys::xattr;

use crate::tar::{Entry, Extent, Kind, Time, Writer, Xattr};

mod part;

pub use part::{Part, pack_part};

use super::error::PackError;
use super::law::{self, Fate, Law};
use super::walk::Walk;
use super::{Holes, PackOptions, Packed, Privilege};

const BUFFER: usize = 256 * 1024;

/// What a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// Whole: everything is what it looks like.
    Whole,
    /// An upper directory of overlayfs, with its whiteouts and marks.
    Upper,
}

/// Writes a whole tree, such as a container's merged one, as an archive. The root itself has no
/// entry in it, as in Docker's.
///
/// # Errors
/// The first thing that cannot be read, expressed or written.
pub fn pack(tree: &Root, out: impl Write, options: &PackOptions) -> Result<Packed, PackError> {
    Packer::new(out, View::Whole, *options).run(tree)
}

/// Writes what an overlay's upper directory holds as a layer: whiteouts as `.wh.*`, opaque
/// directories as such. The lower ones need not be looked at, since all in the upper is a change.
///
/// # Errors
/// As [`pack`]; [`PackError::WhiteoutName`] and [`PackError::Reference`] for what no layer can
/// express.
pub fn diff(upper: &Root, out: impl Write, options: &PackOptions) -> Result<Packed, PackError> {
    diff_without(upper, BTreeSet::new(), out, options)
}

/// The same without the entries of some paths. What is below an omitted directory is packed all the
/// same.
///
/// # Errors
/// As [`diff`].
pub fn diff_without(
    upper: &Root,
    omitted: BTreeSet<PathBuf>,
    out: impl Write,
    options: &PackOptions,
) -> Result<Packed, PackError> {
    let mut packer = Packer::new(out, View::Upper, *options);
    packer.omitted = omitted;
    packer.run(upper)
}

struct Packer<W: Write> {
    writer: Writer<BufWriter<W>>,
    view: View,
    options: PackOptions,
    /// What has no entry of its own.
    omitted: BTreeSet<PathBuf>,
    /// What stands in front of paths, in place of their first bytes.
    prefix: Vec<u8>,
    cut: usize,
    /// The device of the tree, and whether it is the kernel's own.
    device: u64,
    in_kernel: bool,
    /// Names of files that have more than one, by device and inode, with how many are to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    entry: Entry,
    buf: Vec<u8>,
    done: Packed,
}

impl<W: Write> Packer<W> {
    fn new(out: W, view: View, options: PackOptions) -> Self {
        Self {
            writer: Writer::new(BufWriter::with_capacity(BUFFER, out)),
            view,
            options,
            omitted: BTreeSet::new(),
            prefix: Vec::new(),
            cut: 0,
            device: 0,
            in_kernel: false,
            links: HashMap::new(),
            entry: Entry::default(),
            buf: vec![0; BUFFER],
            done: Packed::default(),
        }
    }

    fn run(mut self, tree: &Root) -> Result<Packed, PackError> {
        if self.view == View::Upper && self.overlay_mark(tree, c".")? == Some(Mark::Opaque) {
            self.marker(law::OPAQUE.to_vec())?;
        }
        self.walk(Walk::new(tree)?)
    }

    fn walk(mut self, mut walk: Walk<'_>) -> Result<Packed, PackError> {
        while walk.advance()? {
            match self.visit(&mut walk) {
                // Deleted, or replaced by a symlink before it was opened.
                Err(PackError::Os { source: Errno::NOENT | Errno::LOOP, .. }) => {
                    self.done.vanished += 1;
                }
                result => result?,
            }
        }
        self.done.bytes = self.writer.written() + 2 * crate::tar::BLOCK as u64;
        self.writer.finish()?.flush().map_err(crate::tar::WriteError::Io)?;
        Ok(self.done)
    }

    fn visit(&mut self, walk: &mut Walk<'_>) -> Result<(), PackError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(walk.dir(), walk.name(), flags).map_err(os("stat", walk))?;
        if self.view == View::Upper {
            if walk.name().to_bytes().starts_with(law::WHITEOUT) {
                return Err(PackError::WhiteoutName(walk.path().to_owned()));
            }
            if kind_of(&stat) == FileType::CharacterDevice && stat.st_rdev == 0 {
                return self.whiteout(walk);
            }
        }
        if self.omitted.contains(walk.path()) {
            return self.omit(walk, &stat);
        }
        self.set_metadata(walk, &stat);
        match kind_of(&stat) {
            FileType::RegularFile => self.file(walk, &stat),
            FileType::Directory => self.directory(walk, &stat),
            FileType::Symlink => self.symlink(walk, &stat),
            FileType::CharacterDevice => self.node(walk, &stat, Kind::Char),
            FileType::BlockDevice => self.node(walk, &stat, Kind::Block),
            FileType::Fifo => self.node(walk, &stat, Kind::Fifo),
            FileType::Socket | FileType::Unknown => {
                self.done.skipped_sockets += 1;
                Ok(())
            }
        }
    }

    fn omit(&mut self, walk: &mut Walk<'_>, stat: &Stat) -> Result<(), PackError> {
        if kind_of(stat) == FileType::Directory && !walk.enter()? {
            self.done.vanished += 1;
        }
        Ok(())
    }

    fn whiteout(&mut self, walk: &Walk<'_>) -> Result<(), PackError> {
        let path = walk.path().as_os_str().as_bytes();
        let (_, name) = law::split(path);
        let front = &path[..path.len() - name.len()];
        self.marker([front, law::WHITEOUT, name].concat())
    }

    /// An empty file with a meaning. Owner, mode and time are the same everywhere.
    fn marker(&mut self, name: Vec<u8>) -> Result<(), PackError> {
        self.entry = Entry { name, ..Entry::default() };
        self.begin()
    }

    fn begin(&mut self) -> Result<(), PackError> {
        self.writer.begin(&self.entry)?;
        self.done.entries += 1;
        Ok(())
    }

    fn set_metadata(&mut self, walk: &Walk<'_>, stat: &Stat) {
        let entry = &mut self.entry;
        entry.name.clone_from(&self.prefix);
        entry.name.extend_from_slice(&walk.path().as_os_str().as_bytes()[self.cut..]);
        entry.link.clear();
        entry.mode = stat.st_mode & 0o7777;
        let inside = |id| self.options.ids.map_or(id, |ids| ids.inside(id));
        (entry.uid, entry.gid) = (inside(stat.st_uid), inside(stat.st_gid));
        let nanos = match self.options.law {
            Law::Image => 0,
            Law::Volume => u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        };
        entry.mtime = Time { secs: stat.st_mtime, nanos };
        entry.size = 0;
        entry.device = (0, 0);
        entry.xattrs.clear();
        entry.sparse = None;
    }

    fn directory(&mut self, walk: &mut Walk<'_>, stat: &Stat) -> Result<(), PackError> {
        self.entry.kind = Kind::Directory;
        self.entry.name.push(b'/');
        let mark = self.set_xattrs(walk)?;
        self.begin()?;
        if mark == Some(Mark::Opaque) {
            let name = [self.entry.name.as_slice(), law::OPAQUE].concat();
            self.marker(name)?;
        }
        if self.is_kernels(walk, stat) {
            return Ok(());
        }
        if !walk.enter()? {
            self.done.vanished += 1;
        }
        Ok(())
    }

    fn symlink(&mut self, walk: &Walk<'_>, stat: &Stat) -> Result<(), PackError> {
        if self.second_name(stat)? {
            return Ok(());
        }
        self.entry.kind = Kind::Symlink;
        self.set_xattrs(walk)?;
        let target = rustix::fs::readlinkat(walk.dir(), walk.name(), Vec::new());
        let target = match target {
            // It is a symlink no more.
            Err(Errno::INVAL) => {
                self.done.vanished += 1;
                return Ok(());
            }
            target => target.map_err(os("read link", walk))?,
        };
        self.entry.link.extend_from_slice(target.to_bytes());
        self.begin()
    }

    fn node(&mut self, walk: &Walk<'_>, stat: &Stat, kind: Kind) -> Result<(), PackError> {
        if self.second_name(stat)? {
            return Ok(());
        }
        self.entry.kind = kind;
        if kind != Kind::Fifo {
            let device = stat.st_rdev;
            self.entry.device = (rustix::fs::major(device), rustix::fs::minor(device));
        }
        self.set_xattrs(walk)?;
        self.begin()
    }

    /// Writes a hard link if the file has been written under another name already; remembers its
    /// name otherwise. A name is forgotten with the last of its links.
    fn second_name(&mut self, stat: &Stat) -> Result<bool, PackError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some((first, left)) = self.links.get_mut(&key) else {
            self.links.insert(key, (self.entry.name.clone(), stat.st_nlink - 1));
            return Ok(false);
        };
        self.entry.kind = Kind::HardLink;
        self.entry.link.clone_from(first);
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        self.begin()?;
        Ok(true)
    }

    fn file(&mut self, walk: &Walk<'_>, stat: &Stat) -> Result<(), PackError> {
        if self.second_name(stat)? {
            return Ok(());
        }
        // It may have become something else since.
        let opened = open_regular(walk.dir(), walk.name()).map_err(os("open", walk))?;
        let Some((file, now)) = opened else {
            self.done.vanished += 1;
            return Ok(());
        };
        self.entry.kind = Kind::File;
        self.entry.size = u64::try_from(now.st_size).unwrap_or(0);
        self.set_xattrs(walk)?;
        if self.in_kernel {
            return self.kernel_file(file, walk);
        }
        if self.options.holes == Holes::Keep && blocks_are_missing(&now) {
            self.entry.sparse = extents(&file, self.entry.size).map_err(os("seek", walk))?;
        }
        self.begin()?;
        match self.entry.sparse.take() {
            None => self.copy(&file, Extent { offset: 0, len: self.entry.size }, walk),
            Some(map) => map.iter().try_for_each(|extent| self.copy(&file, *extent, walk)),
        }
    }

    /// Copies a run of data; where the file has become shorter, zeros follow.
    fn copy(&mut self, file: &OwnedFd, run: Extent, walk: &Walk<'_>) -> Result<(), PackError> {
        let (mut offset, end) = (run.offset, run.offset + run.len);
        while offset < end {
            let max = usize::try_from(end - offset).unwrap_or(BUFFER).min(BUFFER);
            let len = match rustix::io::pread(file, &mut self.buf[..max], offset) {
                Ok(0) => {
                    self.buf[..max].fill(0);
                    max
                }
                Err(Errno::INTR) => 0,
                len => len.map_err(os("read", walk))?,
            };
            self.writer.data(&self.buf[..len])?;
            offset += len as u64;
        }
        Ok(())
    }

    /// Sets the entry's attributes; gives overlayfs's mark, if there is one.
    fn set_xattrs(&mut self, walk: &Walk<'_>) -> Result<Option<Mark>, PackError> {
        let (dir, name) = (walk.dir(), walk.name());
        let mut found = None;
        for attr in xattr::list_at(dir, name).map_err(os("list attributes of", walk))? {
            let bytes = attr.to_bytes();
            let law = self.options.law;
            if law == Law::Image
                && let Some(key) = overlay_key(bytes, self.options.privilege)
            {
                let value =
                    xattr::get_at(dir, name, &attr).map_err(os("read attribute of", walk))?;
                found = mark(key, value.as_deref()).or(found);
                continue;
            }
            let expressible = !bytes.contains(&b'=');
            if law::xattr(law, bytes, self.entry.kind) == Fate::Drop || !expressible {
                self.done.dropped_xattrs += 1;
                continue;
            }
            let value = xattr::get_at(dir, name, &attr).map_err(os("read attribute of", walk))?;
            let name = bytes.to_vec();
            self.entry.xattrs.extend(value.map(|value| Xattr { name, value }));
        }
        self.entry.xattrs.sort_unstable();
        match (self.view, found) {
            (View::Whole, _) => Ok(None),
            (View::Upper, Some(Mark::Reference)) => {
                Err(PackError::Reference(walk.path().to_owned()))
            }
            (View::Upper, found) => Ok(found),
        }
    }

    fn overlay_mark(&self, root: &Root, name: &CStr) -> Result<Option<Mark>, PackError> {
        let attr = match self.options.privilege {
            Privilege::Host => c"trusted.overlay.opaque",
            Privilege::UserNamespace => c"user.overlay.opaque",
        };
        let value = xattr::get_at(root, name, attr).map_err(|source| PackError::Os {
            op: "read attribute of",
            path: ".".into(),
            source,
        })?;
        Ok(mark(b"opaque", value.as_deref()))
    }
}

/// What overlayfs has noted at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Lower layers are not seen through this directory.
    Opaque,
    /// A part of this file or directory is in a lower layer, under another name perhaps.
    Reference,
}

fn mark(key: &[u8], value: Option<&[u8]>) -> Option<Mark> {
    match (key, value) {
        (b"opaque", Some(b"y")) => Some(Mark::Opaque),
        (b"redirect" | b"metacopy", Some(_)) => Some(Mark::Reference),
        // `origin`, `impure`, `nlink`, `uuid` and the like only help overlayfs itself.
        _ => None,
    }
}

fn overlay_key(name: &[u8], privilege: Privilege) -> Option<&[u8]> {
    name.strip_prefix(match privilege {
        Privilege::Host => b"trusted.overlay.".as_slice(),
        Privilege::UserNamespace => b"user.overlay.",
    })
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// True if a file has fewer blocks than its size needs, so that looking for holes can pay.
fn blocks_are_missing(stat: &Stat) -> bool {
    stat.st_blocks * 512 < stat.st_size
}

/// The runs of data in a file; `None` if it is one run without holes.
fn extents(file: &OwnedFd, size: u64) -> Result<Option<Vec<Extent>>, Errno> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        // A file cut short meanwhile would not get further here.
        if end <= start || found.len() == crate::tar::MAX_EXTENTS {
            return Ok(None);
        }
        found.push(Extent { offset: start, len: end - start });
        at = end;
    }
    if found == [Extent { offset: 0, len: size }] {
        return Ok(None);
    }
    if at < size || found.is_empty() {
        // GNU tar takes the size of a file that ends in a hole from an empty run at its end.
        found.push(Extent { offset: size, len: 0 });
    }
    Ok(Some(found))
}

fn os(op: &'static str, walk: &Walk<'_>) -> impl FnOnce(Errno) -> PackError {
    let path = walk.path().to_owned();
    move |source| PackError::Os { op, path, source }
}
