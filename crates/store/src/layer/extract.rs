//! The extractor: makes a tree of an archive's entries.
//!
//! Owns every system call that an archive causes. Follows `law`; adds nothing to it. The tree is a
//! single layer for overlayfs: a whiteout becomes a character device 0:0, an opaque directory gets
//! overlay's attribute. Runs with a umask of 0 (see `unpack`), on a directory that is empty at the
//! start, so that all it meets there it has made itself.
//!
//! Speed: four system calls make a small file. Its directory is open already, the mode is set by
//! creating it, and the owner only if it is not ours.

use std::ffi::{CStr, CString, OsStr};
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sys::root::{Root, RootError};
use sys::xattr;

use crate::tar::{Entry, Kind, Reader, Time, Xattr};

use super::error::{ApplyError, Bytes, Refusal};
use super::law::{self, BadPath, Fate, Role};
use super::parents::Parents;
use super::{Applied, ApplyOptions, Privilege};

/// What stops an entry, before its place is added.
enum Stop {
    Refused(Refusal),
    Os(&'static str, Errno),
    Limit(&'static str, u64),
    Apply(ApplyError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<crate::tar::TarError> for Stop {
    fn from(error: crate::tar::TarError) -> Self {
        Self::Apply(error.into())
    }
}

/// Names the operation that failed.
trait During<T> {
    fn during(self, op: &'static str) -> Result<T, Stop>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, op: &'static str) -> Result<T, Stop> {
        self.map_err(|errno| Stop::Os(op, errno))
    }
}

impl<T> During<T> for Result<T, RootError> {
    fn during(self, op: &'static str) -> Result<T, Stop> {
        self.map_err(|error| Stop::Os(op, error.errno().unwrap_or(Errno::INVAL)))
    }
}

/// What a directory gets when all is in it, since children change the first and inherit the others.
struct LastTouch {
    path: Box<[u8]>,
    time: Time,
    /// Mode with its special bits; `None` if creating the directory has set it.
    mode: Option<u32>,
    acl: Option<Box<[u8]>>,
}

/// Since when a directory exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Its entry has just made it, so that it is ours.
    Now,
    /// It was there, with another owner perhaps.
    Before,
}

/// Applies archives to an empty directory.
pub(super) struct Extractor<'a> {
    dest: &'a Root,
    options: &'a ApplyOptions,
    parents: Parents<'a>,
    /// The plain path of the current entry, with a NUL behind it.
    path: Vec<u8>,
    last: Vec<LastTouch>,
    /// Whom new files belong to.
    ours: (u32, u32),
    /// Whether a directory has been replaced, so that paths in `last` may lead elsewhere now.
    replaced: bool,
    done: Applied,
}

/// Path, name and directory of the current entry; a macro, since a method would borrow all of
/// the extractor.
macro_rules! place {
    ($self:ident) => {{
        let path = &$self.path[..$self.path.len() - 1];
        let (dir, name) = law::split(path);
        let at = path.len() - name.len();
        let name = CStr::from_bytes_with_nul(&$self.path[at..]).unwrap_or_default();
        ($self.parents.get(dir).during("open the directory")?, name)
    }};
}

impl<'a> Extractor<'a> {
    pub(super) fn new(dest: &'a Root, options: &'a ApplyOptions) -> Self {
        let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self {
            dest,
            options,
            parents: Parents::new(dest),
            path: Vec::with_capacity(256),
            last: Vec::new(),
            ours,
            replaced: false,
            done: Applied::default(),
        }
    }

    /// Applies all entries and reads the source to its end.
    pub(super) fn run(mut self, source: impl BufRead) -> Result<Applied, ApplyError> {
        self.prepare()?;
        let mut reader = Reader::new(source);
        let mut entry = Entry::default();
        while reader.next_entry(&mut entry)? {
            if let Err(stop) = self.apply(&mut reader, &entry) {
                return Err(placed(stop, reader.index(), &entry.name));
            }
        }
        reader.drain()?;
        let last = reader.index();
        self.finish().map_err(|stop| placed(stop, last, b""))?;
        Ok(self.done)
    }

    /// A directory below one with a default ACL or the set-group-id bit has got them as well; all
    /// that is unpacked would inherit them from the host.
    fn prepare(&self) -> Result<(), ApplyError> {
        let dest = ApplyError::Destination;
        if !self.dest.read_dir("").map_err(dest)?.is_empty() {
            return Err(ApplyError::NotEmpty);
        }
        self.dest.remove_xattr("", c"system.posix_acl_default").map_err(dest)?;
        let mode = self.dest.metadata("").map_err(dest)?.st_mode;
        if mode & 0o7000 != 0 {
            self.dest.set_mode("", Mode::from_raw_mode(mode & 0o777)).map_err(dest)?;
        }
        Ok(())
    }

    fn apply(&mut self, reader: &mut Reader<impl BufRead>, entry: &Entry) -> Result<(), Stop> {
        self.count(entry)?;
        law::plain_path(&entry.name, &mut self.path).map_err(|bad| match bad {
            BadPath::Outside => Refusal::Outside,
            BadPath::TooLong => Refusal::TooLong,
        })?;
        let role = law::role(&self.path, entry.kind)?;
        self.path.push(0);
        if role == Role::Aufs {
            self.done.skipped_aufs += 1;
            return Ok(());
        }
        if self.path.len() == 1 {
            return self.root(entry);
        }
        self.make_parents()?;
        match role {
            Role::Plain => self.plain(reader, entry),
            Role::Whiteout => self.whiteout(),
            Role::Opaque => self.opaque(),
            Role::Aufs => Ok(()),
        }
    }

    fn count(&mut self, entry: &Entry) -> Result<(), Stop> {
        let limits = &self.options.limits;
        self.done.entries += 1;
        if self.done.entries > limits.entries {
            return Err(Stop::Limit("entries", limits.entries));
        }
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > limits.bytes {
            return Err(Stop::Limit("bytes in files", limits.bytes));
        }
        Ok(())
    }

    fn plain(&mut self, reader: &mut Reader<impl BufRead>, entry: &Entry) -> Result<(), Stop> {
        match entry.kind {
            Kind::File => self.file(reader, entry),
            Kind::Directory => self.directory(entry),
            Kind::Symlink => self.symlink(entry),
            Kind::HardLink => self.hard_link(entry),
            Kind::Char => self.node(entry, FileType::CharacterDevice),
            Kind::Block => self.node(entry, FileType::BlockDevice),
            Kind::Fifo => self.node(entry, FileType::Fifo),
        }
    }

    /// The image's root: its directory exists, its attributes are the entry's.
    fn root(&mut self, entry: &Entry) -> Result<(), Stop> {
        if entry.kind != Kind::Directory {
            return Err(Refusal::Root.into());
        }
        let acl = self.dress_directory(entry, Origin::Before)?;
        self.touch_last(entry, acl, Some(entry.mode));
        Ok(())
    }

    fn file(&mut self, reader: &mut Reader<impl BufRead>, entry: &Entry) -> Result<(), Stop> {
        const NEW: OFlags = OFlags::WRONLY
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        // The special bits wait: writing and changing the owner would clear them again.
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.create("create", |dir, name| rustix::fs::openat(dir, name, NEW, mode))?;
        write_content(&file, reader, entry)?;
        if (entry.uid, entry.gid) != self.ours {
            let (uid, gid) = owner(entry);
            rustix::fs::fchown(&file, uid, gid).during("change the owner")?;
        }
        if entry.mode & 0o7000 != 0 {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::fchmod(&file, mode).during("change the mode")?;
        }
        if !entry.xattrs.is_empty() {
            self.done.dropped_xattrs += set_xattrs(entry, |name, value| {
                rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())
            })?;
        }
        rustix::fs::futimens(&file, &times(entry.mtime)).during("set the times")
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), Stop> {
        let mode = Mode::from_raw_mode(entry.mode & 0o1777);
        let (dir, name) = place!(self);
        let origin = match rustix::fs::mkdirat(dir, name, mode) {
            Ok(()) => Origin::Now,
            Err(Errno::EXIST) => {
                self.directory_again(mode)?;
                Origin::Before
            }
            Err(errno) => return Err(Stop::Os("create directory", errno)),
        };
        let acl = self.dress_directory(entry, origin)?;
        let known = origin == Origin::Now && entry.mode & 0o6000 == 0 && !self.replaced;
        self.touch_last(entry, acl, (!known).then_some(entry.mode));
        Ok(())
    }

    /// Something is where a directory is to be. A directory stays with what is in it and loses its
    /// attributes; anything else goes.
    fn directory_again(&mut self, mode: Mode) -> Result<(), Stop> {
        let (dir, name) = place!(self);
        let stat = stat(dir, name)?;
        if kind_of(&stat) == FileType::Directory {
            return strip_xattrs(dir, name).during("remove attributes");
        }
        let hidden = is_whiteout(&stat);
        self.clear_way()?;
        let (dir, name) = place!(self);
        rustix::fs::mkdirat(dir, name, mode).during("create directory")?;
        if hidden {
            // The layer hides what lower layers have under this name, then has a directory of its
            // own there: nothing of theirs may be seen in it.
            self.mark_opaque()?;
        }
        Ok(())
    }

    /// Owner and attributes of a directory; gives the ACL that has to wait.
    fn dress_directory(
        &mut self,
        entry: &Entry,
        origin: Origin,
    ) -> Result<Option<Box<[u8]>>, Stop> {
        let (dir, name) = place!(self);
        let name = if name.is_empty() { c"." } else { name };
        if origin == Origin::Before || (entry.uid, entry.gid) != self.ours {
            let (uid, gid) = owner(entry);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(dir, name, uid, gid, flags).during("change the owner")?;
        }
        if entry.xattrs.is_empty() {
            return Ok(None);
        }
        let dropped = set_xattrs(entry, |attr, value| xattr::set_at(dir, name, attr, value))?;
        self.done.dropped_xattrs += dropped;
        let waits = |xattr: &&Xattr| law::xattr(&xattr.name, entry.kind) == Fate::KeepForLast;
        let acl = entry.xattrs.iter().rfind(waits);
        Ok(acl.map(|acl| acl.value.as_slice().into()))
    }

    fn touch_last(&mut self, entry: &Entry, acl: Option<Box<[u8]>>, mode: Option<u32>) {
        let path = self.path[..self.path.len() - 1].into();
        self.last.push(LastTouch { path, time: entry.mtime, mode, acl });
    }

    fn symlink(&mut self, entry: &Entry) -> Result<(), Stop> {
        let target = entry.link.as_slice();
        self.create("create symlink", |dir, name| rustix::fs::symlinkat(target, dir, name))?;
        self.dress_node(entry)
    }

    fn node(&mut self, entry: &Entry, kind: FileType) -> Result<(), Stop> {
        let mut device = 0;
        if kind != FileType::Fifo {
            device = law::device(entry.kind, entry.device)?;
            if self.options.privilege == Privilege::UserNamespace {
                self.done.skipped_devices += 1;
                return Ok(());
            }
        }
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.create("create node", |dir, name| rustix::fs::mknodat(dir, name, kind, mode, device))?;
        self.dress_node(entry)
    }

    /// Owner, mode, attributes and times of what has no descriptor of its own.
    fn dress_node(&mut self, entry: &Entry) -> Result<(), Stop> {
        let (dir, name) = place!(self);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if (entry.uid, entry.gid) != self.ours {
            let (uid, gid) = owner(entry);
            rustix::fs::chownat(dir, name, uid, gid, flags).during("change the owner")?;
        }
        if entry.mode & 0o7000 != 0 && entry.kind != Kind::Symlink {
            let mode = Mode::from_raw_mode(entry.mode);
            xattr::chmod_at(dir, name, mode).during("change the mode")?;
        }
        if !entry.xattrs.is_empty() {
            let set = |attr: &CStr, value: &[u8]| xattr::set_at(dir, name, attr, value);
            self.done.dropped_xattrs += set_xattrs(entry, set)?;
        }
        rustix::fs::utimensat(dir, name, &times(entry.mtime), flags).during("set the times")
    }

    /// A second name. Its target is resolved in the root like any path, must be of this layer, and
    /// is linked itself if it is a symlink.
    fn hard_link(&mut self, entry: &Entry) -> Result<(), Stop> {
        let shown = || Bytes(entry.link.clone());
        let mut target = Vec::new();
        law::plain_path(&entry.link, &mut target).map_err(|_| Refusal::LinkOutside(shown()))?;
        let (target_dir, target_name) = law::split(&target);
        if target_name.is_empty() {
            return Err(Refusal::LinkToDirectory(shown()).into());
        }
        let from = match self.parents.get(target_dir) {
            Ok(dir) => rustix::fs::statat(dir, target_name, AtFlags::SYMLINK_NOFOLLOW),
            Err(error) => Err(error.errno().unwrap_or(Errno::INVAL)),
        };
        let from = match from {
            Ok(stat) if is_whiteout(&stat) => return Err(Refusal::LinkMissing(shown()).into()),
            Ok(stat) if kind_of(&stat) == FileType::Directory => {
                return Err(Refusal::LinkToDirectory(shown()).into());
            }
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(Refusal::LinkMissing(shown()).into());
            }
            Err(errno) => return Err(Stop::Os("find the hard link's target", errno)),
        };
        match self.link(target_dir, target_name)? {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => self.link_again(&from, target_dir, target_name, shown),
            Err(errno) => Err(Stop::Os("hard link", errno)),
        }
    }

    fn link(&mut self, target_dir: &[u8], target: &[u8]) -> Result<Result<(), Errno>, Stop> {
        let (dir, name) = law::split(&self.path[..self.path.len() - 1]);
        let (from, to) = self.parents.pair(target_dir, dir).during("open the directory")?;
        Ok(rustix::fs::linkat(from, target, to, name, AtFlags::empty()))
    }

    /// The name is taken: by the same file, and all is well, or by something that has to go.
    fn link_again(
        &mut self,
        from: &Stat,
        target_dir: &[u8],
        target: &[u8],
        shown: impl Fn() -> Bytes,
    ) -> Result<(), Stop> {
        let (dir, name) = place!(self);
        let there = stat(dir, name)?;
        if (there.st_dev, there.st_ino) == (from.st_dev, from.st_ino) {
            return Ok(());
        }
        self.clear_way()?;
        match self.link(target_dir, target)? {
            // The target was in the directory that had to go.
            Err(Errno::NOENT) => Err(Refusal::LinkMissing(shown()).into()),
            result => result.during("hard link"),
        }
    }

    /// Hides a name of lower layers. What this layer itself has under the name stays: a file hides
    /// theirs anyway, a directory is made opaque.
    fn whiteout(&mut self) -> Result<(), Stop> {
        let (_, name) = law::split(&self.path[..self.path.len() - 1]);
        let at = self.path.len() - 1 - name.len();
        self.path.drain(at..at + law::WHITEOUT.len());
        let (dir, name) = place!(self);
        let kind = FileType::CharacterDevice;
        match rustix::fs::mknodat(dir, name, kind, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let there = stat(dir, name)?;
                if kind_of(&there) == FileType::Directory { self.mark_opaque() } else { Ok(()) }
            }
            Err(errno) => Err(Stop::Os("create whiteout", errno)),
        }
    }

    /// Hides all that lower layers have in the entry's directory.
    fn opaque(&mut self) -> Result<(), Stop> {
        let (dir, _) = law::split(&self.path[..self.path.len() - 1]);
        let len = dir.len();
        self.path.truncate(len);
        self.path.push(0);
        self.done.opaque_root |= len == 0;
        self.mark_opaque()
    }

    /// Marks the directory at the current path.
    fn mark_opaque(&self) -> Result<(), Stop> {
        let path = Path::new(OsStr::from_bytes(&self.path[..self.path.len() - 1]));
        let attr = match self.options.privilege {
            Privilege::Host => c"trusted.overlay.opaque",
            Privilege::UserNamespace => c"user.overlay.opaque",
        };
        self.dest.set_xattr(path, attr, b"y").during("mark the directory opaque")
    }

    /// Creates something under the current path; what is there already goes, since the last entry
    /// of a name counts.
    fn create<T>(
        &mut self,
        op: &'static str,
        make: impl Fn(BorrowedFd<'_>, &CStr) -> Result<T, Errno>,
    ) -> Result<T, Stop> {
        let (dir, name) = place!(self);
        match make(dir, name) {
            Err(Errno::EXIST) => {}
            result => return result.during(op),
        }
        self.clear_way()?;
        let (dir, name) = place!(self);
        make(dir, name).during(op)
    }

    /// Removes whatever is at the current path.
    fn clear_way(&mut self) -> Result<(), Stop> {
        let (dir, name) = place!(self);
        let there = kind_of(&stat(dir, name)?);
        if there == FileType::Directory {
            let path = Path::new(OsStr::from_bytes(&self.path[..self.path.len() - 1]));
            self.dest.remove_tree(path).during("replace the directory")?;
            self.replaced = true;
        } else {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).during("replace")?;
        }
        if matches!(there, FileType::Directory | FileType::Symlink) {
            self.parents.forget();
        }
        Ok(())
    }

    /// Makes sure that the current entry's directory is open.
    fn make_parents(&mut self) -> Result<(), Stop> {
        let (dir, _) = law::split(&self.path[..self.path.len() - 1]);
        match self.parents.get(dir) {
            Ok(_) => return Ok(()),
            Err(error) => match error.errno() {
                Some(Errno::NOENT | Errno::NOTDIR) => {}
                Some(Errno::LOOP) => return Err(Refusal::Parent.into()),
                errno => return Err(Stop::Os("open the directory", errno.unwrap_or(Errno::INVAL))),
            },
        }
        let ends = (1..=dir.len()).filter(|&end| end == dir.len() || dir[end] == b'/');
        let mut hidden = Vec::new();
        for end in ends {
            if self.make_parent(&dir[..end])? {
                hidden.push(end);
            }
        }
        let opened = self.parents.get(dir).map(drop);
        let whole = std::mem::take(&mut self.path);
        for end in hidden {
            self.path = [&whole[..end], &[0]].concat();
            self.mark_opaque()?;
        }
        self.path = whole;
        opened.map_err(|error| match error.errno() {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Refusal::Parent.into(),
            errno => Stop::Os("open the directory", errno.unwrap_or(Errno::INVAL)),
        })
    }

    /// Makes one directory that the archive has no entry for, 0755 and ours, as Docker does. True
    /// if a whiteout was in its place, so that it has to be opaque.
    fn make_parent(&self, path: &[u8]) -> Result<bool, Stop> {
        let path = Path::new(OsStr::from_bytes(path));
        let mode = Mode::from_raw_mode(0o755);
        match self.dest.mkdir(path, mode) {
            Ok(()) => return Ok(false),
            Err(error) => match error.errno() {
                Some(Errno::EXIST) => {}
                Some(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => {
                    return Err(Refusal::Parent.into());
                }
                errno => {
                    return Err(Stop::Os("create directory", errno.unwrap_or(Errno::INVAL)));
                }
            },
        }
        if !is_whiteout(&self.dest.metadata(path).during("look at")?) {
            return Ok(false);
        }
        self.dest.remove(path).during("replace the whiteout")?;
        self.dest.mkdir(path, mode).during("create directory")?;
        Ok(true)
    }

    /// Gives the directories what they could not have before.
    fn finish(&mut self) -> Result<(), Stop> {
        for touch in std::mem::take(&mut self.last) {
            self.path.clear();
            self.path.extend_from_slice(&touch.path);
            self.path.push(0);
            match self.finish_directory(&touch) {
                // Its parent has been replaced by something else since.
                Err(Stop::Os(_, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) if self.replaced => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn finish_directory(&mut self, touch: &LastTouch) -> Result<(), Stop> {
        let (dir, name) = place!(self);
        let name = if name.is_empty() { c"." } else { name };
        if self.replaced && kind_of(&stat(dir, name)?) != FileType::Directory {
            return Ok(());
        }
        if let Some(mode) = touch.mode {
            let mode = Mode::from_raw_mode(mode);
            xattr::chmod_at(dir, name, mode).during("change the mode")?;
        }
        if let Some(acl) = &touch.acl {
            match xattr::set_at(dir, name, c"system.posix_acl_default", acl) {
                Err(Errno::OPNOTSUPP) => self.done.dropped_xattrs += 1,
                Err(Errno::INVAL) => {
                    let name = Bytes(b"system.posix_acl_default".to_vec());
                    return Err(Refusal::Xattr(name).into());
                }
                result => result.during("set an attribute")?,
            }
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(dir, name, &times(touch.time), flags).during("set the times")
    }
}

fn placed(stop: Stop, entry: u64, name: &[u8]) -> ApplyError {
    let name = name.to_vec();
    match stop {
        Stop::Refused(refusal) => ApplyError::Refused { entry, name, refusal },
        Stop::Os(op, source) => ApplyError::Os { entry, name, op, source },
        Stop::Limit(what, limit) => ApplyError::Limit { entry, name, what, limit },
        Stop::Apply(error) => error,
    }
}

/// Copies data from the archive's buffer to a new file; what is between them is left a hole.
fn write_content(
    file: impl AsFd,
    reader: &mut Reader<impl BufRead>,
    entry: &Entry,
) -> Result<(), Stop> {
    let file = file.as_fd();
    while let Some(piece) = reader.piece()? {
        let len = match &entry.sparse {
            None => rustix::io::write(file, piece.bytes),
            Some(_) => rustix::io::pwrite(file, piece.bytes, piece.offset),
        };
        let len = match len {
            Ok(0) => return Err(Stop::Os("write", Errno::IO)),
            Err(Errno::INTR) => 0,
            len => len.during("write")?,
        };
        reader.consume(len);
    }
    if entry.sparse.is_some() {
        rustix::fs::ftruncate(file, entry.size).during("set the size")?;
    }
    Ok(())
}

/// Sets the attributes that the law keeps; returns how many it does not, or the file system cannot
/// hold.
fn set_xattrs(
    entry: &Entry,
    mut set: impl FnMut(&CStr, &[u8]) -> Result<(), Errno>,
) -> Result<u64, Stop> {
    let mut dropped = 0;
    for xattr in &entry.xattrs {
        match law::xattr(&xattr.name, entry.kind) {
            Fate::Keep => {}
            Fate::KeepForLast => continue,
            Fate::Drop => {
                dropped += 1;
                continue;
            }
        }
        let malformed = || Stop::Refused(Refusal::Xattr(Bytes(xattr.name.clone())));
        let name = CString::new(xattr.name.as_slice()).map_err(|_| malformed())?;
        match set(&name, &xattr.value) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => dropped += 1,
            // The kernel takes no value above 64 KiB and no name above 255 bytes.
            Err(Errno::INVAL | Errno::TOOBIG | Errno::RANGE) => return Err(malformed()),
            Err(errno) => return Err(Stop::Os("set an attribute", errno)),
        }
    }
    Ok(dropped)
}

/// Takes away what an earlier entry of the same directory has set, but for overlay's own.
fn strip_xattrs(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    for attr in xattr::list_at(dir, name)? {
        if law::xattr(attr.to_bytes(), Kind::Directory) != Fate::Drop {
            xattr::remove_at(dir, name, &attr)?;
        }
    }
    Ok(())
}

fn stat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Stop> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).during("look at")
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    kind_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// Both times are the archive's, so that unpacking twice gives the same tree.
fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time, last_modification: time }
}
