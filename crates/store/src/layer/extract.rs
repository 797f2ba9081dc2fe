//! The extractor: makes a tree of an archive's entries.
//!
//! Owns every system call that an archive causes. Follows `law`; adds nothing to it. The tree is a
//! single layer for overlayfs: a whiteout becomes a character device 0:0, an opaque directory gets
//! overlay's attribute. Runs with a umask of 0 (see `unpack`), on a directory that is empty at the
//! start, so that all it meets there it has made itself; or for `merge` on a tree that others use
//! meanwhile (`tree`).
//!
//! Speed: four system calls make a small file. Its directory is open already, the mode is set by
//! creating it, and the owner only if it is not ours.

mod at;
mod content;
mod names;
mod stop;
mod tree;

use std::ffi::CStr;
use std::io::BufRead;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use sys::failpoint::{Point, pass};
use sys::root::Root;
use sys::xattr;

use crate::tar::{Entry, Kind, Reader, Time, Xattr};

use super::error::{ApplyError, Bytes, Making, Refusal};
use super::law::{self, BadPath, Fate, Law, Role};
use super::merge::MergeOptions;
use super::parents::Way;
use super::{Applied, ApplyOptions, Privilege};

use at::At;
use content::{set_xattrs, strip_xattrs, times, write_content};
use names::{as_path, made};
use stop::{During, Stop, blocked, count_inode, placed};
pub(super) use tree::plain;

/// What a directory gets when all is in it, since children change the first and inherit the others.
struct LastTouch {
    /// The number of its entry.
    entry: u64,
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

/// What is made of an archive.
#[derive(Clone, Copy)]
enum Onto<'a> {
    /// A layer, in an empty directory.
    Layer,
    /// A part of a tree that is in use.
    Tree(&'a MergeOptions),
}

/// Applies archives to an empty directory, or to a tree that is in use.
pub(super) struct Extractor<'a> {
    dest: &'a Root,
    options: &'a ApplyOptions,
    onto: Onto<'a>,
    at: At<'a>,
    last: Vec<LastTouch>,
    /// Whom new files belong to.
    ours: (u32, u32),
    /// Whether a directory has been replaced, so that paths in `last` may lead elsewhere now.
    replaced: bool,
    inodes: u64,
    done: Applied,
}

impl<'a> Extractor<'a> {
    pub(super) fn new(dest: &'a Root, options: &'a ApplyOptions) -> Self {
        Self::onto(dest, options, Onto::Layer)
    }

    pub(super) fn on_tree(dest: &'a Root, options: &'a MergeOptions) -> Self {
        Self::onto(dest, &options.apply, Onto::Tree(options))
    }

    fn onto(dest: &'a Root, options: &'a ApplyOptions, onto: Onto<'a>) -> Self {
        let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let way = match onto {
            Onto::Layer => Way::Open,
            Onto::Tree(_) => Way::Guarded,
        };
        Self {
            dest,
            options,
            onto,
            at: At::new(dest, way),
            last: Vec::new(),
            ours,
            replaced: false,
            inodes: 0,
            done: Applied::default(),
        }
    }

    /// Applies all entries and reads the source to its end.
    pub(super) fn run(mut self, source: impl BufRead) -> Result<Applied, ApplyError> {
        self.prepare()?;
        let mut reader = Reader::new(source);
        let mut entry = Entry::default();
        while reader.next_entry(&mut entry)? {
            let applied = match self.onto {
                Onto::Layer => self.apply(&mut reader, &entry),
                Onto::Tree(rules) => self.merge(&mut reader, &mut entry, rules),
            };
            if let Err(stop) = applied {
                return Err(placed(stop, reader.index(), &entry.name));
            }
            pass(Point::LayerHalf);
        }
        reader.drain()?;
        // Layers have a digest, and programs of others leave their ends out. Of a volume's archive
        // nothing else shows that it is whole: an empty stream has no entry that could fail.
        if self.options.law == Law::Volume && !reader.has_trailer() {
            return Err(ApplyError::Cut);
        }
        self.finish()?;
        Ok(self.done)
    }

    /// A directory below one with a default ACL or the set-group-id bit has got them as well; all
    /// that is unpacked would inherit them from the host.
    fn prepare(&self) -> Result<(), ApplyError> {
        if matches!(self.onto, Onto::Tree(_)) {
            return Ok(());
        }
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
        self.go(entry)?;
        let role = law::role(self.at.path(), entry.kind)?;
        if role == Role::Aufs {
            self.done.skipped_aufs += 1;
            return Ok(());
        }
        if self.at.path().is_empty() {
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

    fn go(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.at.go(&entry.name).map_err(|bad| match bad {
            BadPath::Outside => Refusal::Outside,
            BadPath::TooLong => Refusal::TooLong,
        })
    }

    fn count(&mut self, entry: &Entry) -> Result<(), Stop> {
        let limits = &self.options.limits;
        self.done.entries += 1;
        count_inode(&mut self.inodes, self.options)?;
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > limits.bytes {
            return Err(Stop::Limit("bytes in files", limits.bytes));
        }
        Ok(())
    }

    fn plain(&mut self, reader: &mut Reader<impl BufRead>, entry: &Entry) -> Result<(), Stop> {
        match entry.kind {
            Kind::File if matches!(self.onto, Onto::Tree(_)) => self.tree_file(reader, entry),
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
        self.dress_file(&file, entry)
    }

    /// Owner, mode, attributes and times of a file that is open.
    fn dress_file(&mut self, file: &OwnedFd, entry: &Entry) -> Result<(), Stop> {
        if let Some((uid, gid)) = self.new_owner(entry, Origin::Now)? {
            rustix::fs::fchown(file, uid, gid).during("change the owner")?;
        }
        if matches!(self.onto, Onto::Tree(_)) || entry.mode & 0o7000 != 0 {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::fchmod(file, mode).during("change the mode")?;
        }
        if !entry.xattrs.is_empty() {
            self.done.dropped_xattrs += set_xattrs(entry, self.unheld(), |name, value| {
                rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
            })?;
        }
        rustix::fs::futimens(file, &times(entry.mtime)).during("set the times")
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), Stop> {
        let mode = Mode::from_raw_mode(entry.mode & 0o1777);
        let (dir, name) = self.at.place()?;
        let origin = match rustix::fs::mkdirat(dir, name, mode) {
            Ok(()) => Origin::Now,
            Err(Errno::EXIST) => {
                if self.is_kernels()? {
                    return Ok(());
                }
                self.directory_again(mode)?;
                Origin::Before
            }
            Err(errno) => return Err(Stop::Os("create directory", errno)),
        };
        let acl = self.dress_directory(entry, origin)?;
        let known = origin == Origin::Now
            && entry.mode & 0o6000 == 0
            && !self.replaced
            && matches!(self.onto, Onto::Layer);
        self.touch_last(entry, acl, (!known).then_some(entry.mode));
        Ok(())
    }

    /// Something is where a directory is to be. A directory stays with what is in it and loses its
    /// attributes; anything else goes, and was there to hide what lower layers have under the name.
    /// So nothing of theirs may be seen in the new directory.
    fn directory_again(&mut self, mode: Mode) -> Result<(), Stop> {
        let (dir, name) = self.at.place()?;
        if kind_of(&stat(dir, name)?) == FileType::Directory {
            return match self.onto {
                Onto::Layer => strip_xattrs(dir, name).during("remove attributes"),
                Onto::Tree(_) => Ok(()),
            };
        }
        self.clear_way(Making::Directory)?;
        let (dir, name) = self.at.place()?;
        rustix::fs::mkdirat(dir, name, mode).during("create directory")?;
        match self.onto {
            Onto::Layer => self.mark_opaque(),
            Onto::Tree(_) => Ok(()),
        }
    }

    /// Owner and attributes of a directory; gives the ACL that has to wait.
    fn dress_directory(
        &mut self,
        entry: &Entry,
        origin: Origin,
    ) -> Result<Option<Box<[u8]>>, Stop> {
        let owner = self.new_owner(entry, origin)?;
        let unheld = self.unheld();
        let (dir, name) = self.at.place()?;
        if let Some((uid, gid)) = owner {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(dir, name, uid, gid, flags).during("change the owner")?;
        }
        if entry.xattrs.is_empty() {
            return Ok(None);
        }
        let set = |attr: &CStr, value: &[u8]| xattr::set_at(dir, name, attr, value);
        let dropped = set_xattrs(entry, unheld, set)?;
        self.done.dropped_xattrs += dropped;
        let law = self.options.law;
        let waits = |xattr: &&Xattr| law::xattr(law, &xattr.name, entry.kind) == Fate::KeepForLast;
        let acl = entry.xattrs.iter().rfind(waits);
        Ok(acl.map(|acl| acl.value.as_slice().into()))
    }

    fn touch_last(&mut self, entry: &Entry, acl: Option<Box<[u8]>>, mode: Option<u32>) {
        let path = self.at.path().into();
        self.last.push(LastTouch { entry: self.done.entries, path, time: entry.mtime, mode, acl });
    }

    fn symlink(&mut self, entry: &Entry) -> Result<(), Stop> {
        let target = entry.link.as_slice();
        self.create("create symlink", |dir, name| rustix::fs::symlinkat(target, dir, name))?;
        self.dress_node(entry)
    }

    fn node(&mut self, entry: &Entry, kind: FileType) -> Result<(), Stop> {
        let mut device = 0;
        if kind != FileType::Fifo {
            device = law::device(self.options.law, entry.kind, entry.device)?;
            // A whiteout the kernel lets everybody make.
            if self.options.privilege == Privilege::UserNamespace && device != 0 {
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
        let owner = self.new_owner(entry, Origin::Now)?;
        let unheld = self.unheld();
        let is_whole = matches!(self.onto, Onto::Layer) && entry.mode & 0o7000 == 0;
        let (dir, name) = self.at.place()?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = owner {
            rustix::fs::chownat(dir, name, uid, gid, flags).during("change the owner")?;
        }
        if !is_whole && entry.kind != Kind::Symlink {
            let mode = Mode::from_raw_mode(entry.mode);
            xattr::chmod_at(dir, name, mode).during("change the mode")?;
        }
        if !entry.xattrs.is_empty() {
            let set = |attr: &CStr, value: &[u8]| xattr::set_at(dir, name, attr, value);
            self.done.dropped_xattrs += set_xattrs(entry, unheld, set)?;
        }
        rustix::fs::utimensat(dir, name, &times(entry.mtime), flags).during("set the times")
    }

    /// Creates something under the current path; what is there already goes, since the last entry
    /// of a name counts.
    fn create<T>(
        &mut self,
        op: &'static str,
        make: impl Fn(BorrowedFd<'_>, &CStr) -> Result<T, Errno>,
    ) -> Result<T, Stop> {
        let (dir, name) = self.at.place()?;
        match make(dir, name) {
            Err(Errno::EXIST) => {}
            result => return result.during(op),
        }
        self.clear_way(Making::Other)?;
        let (dir, name) = self.at.place()?;
        make(dir, name).during(op)
    }

    /// Removes whatever is at the current path.
    fn clear_way(&mut self, making: Making) -> Result<(), Stop> {
        let (dir, name) = self.at.place()?;
        let there = kind_of(&stat(dir, name)?);
        self.may_replace(there, making)?;
        let (dir, name) = self.at.place()?;
        if there == FileType::Directory {
            self.dest.remove_tree(as_path(self.at.path())).during("replace the directory")?;
            self.replaced = true;
        } else {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).during("replace")?;
        }
        if matches!(there, FileType::Directory | FileType::Symlink) {
            self.at.forget();
        }
        Ok(())
    }

    /// Makes sure that the current entry's directory is open.
    fn make_parents(&mut self) -> Result<(), Stop> {
        match self.at.open_parent() {
            Ok(()) => return Ok(()),
            // A whiteout on the way is not a directory either, yet.
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR)) => {}
            Err(error) => return Err(blocked("open the directory", &error)),
        }
        let (dir, _) = law::split(self.at.path());
        let ends = (1..=dir.len()).filter(|&end| end == dir.len() || dir[end] == b'/');
        for end in ends {
            if made(self.dest, &dir[..end], self.options.privilege)? == Origin::Now {
                count_inode(&mut self.inodes, self.options)?;
            }
        }
        self.at.open_parent().map_err(|error| blocked("open the directory", &error))
    }

    /// Gives the directories what they could not have before.
    fn finish(&mut self) -> Result<(), ApplyError> {
        for touch in std::mem::take(&mut self.last) {
            self.at.go_back(&touch.path);
            match self.finish_directory(&touch) {
                // Its parent has been replaced by something else since.
                Err(Stop::Os(_, Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
                    if self.replaced || matches!(self.onto, Onto::Tree(_)) => {}
                result => result.map_err(|stop| placed(stop, touch.entry, &touch.path))?,
            }
        }
        Ok(())
    }

    fn finish_directory(&mut self, touch: &LastTouch) -> Result<(), Stop> {
        let (dir, name) = self.at.place()?;
        let may_have_gone = self.replaced || matches!(self.onto, Onto::Tree(_));
        if may_have_gone && kind_of(&stat(dir, name)?) != FileType::Directory {
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

fn stat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Stop> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).during("look at")
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    kind_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// An owner as system calls take it.
type Owner = (Option<Uid>, Option<Gid>);

fn owner((uid, gid): (u32, u32)) -> Owner {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}
