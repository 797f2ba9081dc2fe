//! A tree copied as it is, without an archive in between: for a volume that becomes two.
//!
//! Owns what a copy keeps: all that the file system says of a file but the numbers of its inode and
//! the time of its last change. Names mean nothing here, nor do whiteouts and overlayfs's attributes:
//! engines in containers keep theirs in volumes. Content is shared where the file system can do that,
//! else copied run by run, so that holes stay holes. Nothing is synced. Not owned: where the copy is
//! made, and when it is taken for whole.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sys::root::{Root, RootError, open_regular};
use sys::xattr;

use crate::layer::PackError;
use crate::layer::law;
use crate::layer::parents::{Parents, Way};
use crate::layer::walk::Walk;

/// Bytes that go through memory at once, where the kernel cannot copy by itself.
const BUFFER: usize = 256 * 1024;

const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// What a copy has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files, directories, links, devices.
    pub entries: u64,
    /// Files whose content both trees share.
    pub shared: u64,
    /// Sockets, which mean nothing without who listens.
    pub skipped_sockets: u64,
    /// Devices that a user namespace may not make.
    pub skipped_devices: u64,
    /// Attributes that the caller may not give, or the file system cannot hold.
    pub dropped_xattrs: u64,
    /// Files that were deleted while the tree was read.
    pub vanished: u64,
}

/// A tree was not copied; a part of the copy is there.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The kernel refuses something of the tree that is read.
    #[error("{op} {}: {source}", path.display())]
    Read {
        /// What was tried.
        op: &'static str,
        /// The path in the tree.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// The kernel refuses something of the copy: no space, as a rule.
    #[error("{op} the copy of {}: {source}", path.display())]
    Write {
        /// What was tried.
        op: &'static str,
        /// The path in the tree.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// A directory of the tree cannot be listed.
    #[error(transparent)]
    Walk(#[from] PackError),
    /// A directory of the copy cannot be opened.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Copies all that is in a tree, and what its root directory is, into an empty directory.
///
/// # Errors
/// The first thing that can be read or written no further.
pub fn copy_tree(from: &Root, to: &Root) -> Result<Copied, CopyError> {
    // Children would have it from whoever made the directory above.
    to.remove_xattr("", DEFAULT_ACL)?;
    let mut copier = Copier::new(to);
    let stat = rustix::fs::fstat(from).map_err(|source| read("stat", Path::new("."), source))?;
    copier.directory_later(from.as_fd(), c".", &stat, Vec::new())?;
    let mut walk = Walk::new(from)?;
    while walk.advance()? {
        match copier.entry(&mut walk) {
            // Deleted, or replaced by a symlink before it was opened; a part of it may be copied.
            Err(CopyError::Read { source: Errno::NOENT | Errno::LOOP, .. }) => {
                to.remove_tree(walk.path())?;
                copier.done.vanished += 1;
            }
            done => done?,
        }
    }
    copier.finish()
}

/// Makes a directory like another one, but for what is in it.
///
/// # Errors
/// As [`copy_tree`].
pub fn copy_root(from: &Root, to: &Root) -> Result<(), CopyError> {
    let mut copier = Copier::new(to);
    let stat = rustix::fs::fstat(from).map_err(|source| read("stat", Path::new("."), source))?;
    copier.directory_later(from.as_fd(), c".", &stat, Vec::new())?;
    copier.finish().map(drop)
}

/// Whether files can share their content with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Possible,
    /// The file system has said that it cannot.
    Refused,
}

/// What a directory gets when all is in it, since children change its times and inherit its ACL.
struct LastTouch {
    path: Vec<u8>,
    stat: Stat,
    acl: Option<Vec<u8>>,
}

struct Copier<'a> {
    to: &'a Root,
    parents: Parents<'a>,
    /// Names of files that have more than one, by device and inode, with how many are to come.
    links: HashMap<(u64, u64), (PathBuf, u64)>,
    last: Vec<LastTouch>,
    sharing: Sharing,
    done: Copied,
}

impl<'a> Copier<'a> {
    fn new(to: &'a Root) -> Self {
        Self {
            to,
            parents: Parents::new(to, Way::Open),
            links: HashMap::new(),
            last: Vec::new(),
            sharing: Sharing::Possible,
            done: Copied::default(),
        }
    }
}

impl Copier<'_> {
    fn entry(&mut self, walk: &mut Walk<'_>) -> Result<(), CopyError> {
        let stat = rustix::fs::statat(walk.dir(), walk.name(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(reading("stat", walk))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && self.second_name(walk, &stat)? {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => self.file(walk),
            FileType::Directory => self.directory(walk, &stat),
            FileType::Symlink => self.symlink(walk, &stat),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                self.node(walk, &stat, kind)
            }
            FileType::Socket | FileType::Unknown => {
                self.done.skipped_sockets += 1;
                Ok(())
            }
        }
    }

    /// Where the copy of the current entry is: an open directory and a name in it.
    fn place<'w>(&mut self, walk: &'w Walk<'_>) -> Result<(BorrowedFd<'_>, &'w CStr), CopyError> {
        let (dir, _) = law::split(walk.path().as_os_str().as_bytes());
        Ok((self.parents.get(dir)?, walk.name()))
    }

    /// Links a file that has been copied under another name already; remembers its name otherwise.
    fn second_name(&mut self, walk: &Walk<'_>, stat: &Stat) -> Result<bool, CopyError> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some((first, left)) = self.links.get_mut(&key) else {
            self.links.insert(key, (walk.path().to_owned(), stat.st_nlink - 1));
            return Ok(false);
        };
        match self.to.link(first.as_path(), walk.path()) {
            // What had that name was left out, such as a socket, or has vanished.
            Err(error) if error.not_found() => {
                *first = walk.path().to_owned();
                return Ok(false);
            }
            linked => linked?,
        }
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        self.done.entries += 1;
        Ok(true)
    }

    fn file(&mut self, walk: &Walk<'_>) -> Result<(), CopyError> {
        // It may have become something else since.
        let opened = open_regular(walk.dir(), walk.name()).map_err(reading("open", walk))?;
        let Some((source, stat)) = opened else {
            self.done.vanished += 1;
            return Ok(());
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let (dir, name) = self.place(walk)?;
        let file = rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
            .map_err(writing("create", walk))?;
        self.content(&source, &file, u64::try_from(stat.st_size).unwrap_or(0), walk)?;
        rustix::fs::fchown(&file, Some(uid(&stat)), Some(gid(&stat)))
            .map_err(writing("change the owner of", walk))?;
        self.xattrs(walk)?;
        // Writing and the change of the owner have taken the special bits away.
        rustix::fs::fchmod(&file, mode(&stat)).map_err(writing("change the mode of", walk))?;
        rustix::fs::futimens(&file, &times(&stat)).map_err(writing("set the times of", walk))?;
        self.done.entries += 1;
        Ok(())
    }

    fn content(
        &mut self,
        source: &OwnedFd,
        file: &OwnedFd,
        size: u64,
        walk: &Walk<'_>,
    ) -> Result<(), CopyError> {
        if size == 0 {
            return Ok(());
        }
        if self.sharing == Sharing::Possible {
            match rustix::fs::ioctl_ficlone(file, source) {
                Ok(()) => {
                    self.done.shared += 1;
                    return Ok(());
                }
                // The tree has another file system mounted in it, or there is no such call.
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => {
                    self.sharing = Sharing::Refused;
                }
                Err(_) => {}
            }
        }
        copy_runs(source, file, size).map_err(|(side, errno)| match side {
            Side::From => reading("read", walk)(errno),
            Side::To => writing("write", walk)(errno),
        })
    }

    fn directory(&mut self, walk: &mut Walk<'_>, stat: &Stat) -> Result<(), CopyError> {
        let (dir, name) = self.place(walk)?;
        rustix::fs::mkdirat(dir, name, Mode::RWXU).map_err(writing("create", walk))?;
        let path = walk.path().as_os_str().as_bytes().to_vec();
        self.directory_later(walk.dir(), walk.name(), stat, path)?;
        self.done.entries += 1;
        if !walk.enter()? {
            self.done.vanished += 1;
        }
        Ok(())
    }

    /// Gives a directory its attributes, and notes what it gets last.
    fn directory_later(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        path: Vec<u8>,
    ) -> Result<(), CopyError> {
        let shown = Path::new(OsStr::from_bytes(&path));
        let (parent, _) = law::split(&path);
        let to = self.parents.get(parent)?;
        self.done.dropped_xattrs += copy_xattrs((dir, name), (to, name), shown)?;
        let acl = xattr::get_at(dir, name, DEFAULT_ACL)
            .map_err(|source| read("read an attribute of", shown, source))?;
        self.last.push(LastTouch { path, stat: *stat, acl });
        Ok(())
    }

    fn symlink(&mut self, walk: &Walk<'_>, stat: &Stat) -> Result<(), CopyError> {
        let target = match rustix::fs::readlinkat(walk.dir(), walk.name(), Vec::new()) {
            // It is a symlink no more.
            Err(Errno::INVAL) => {
                self.done.vanished += 1;
                return Ok(());
            }
            target => target.map_err(reading("read link", walk))?,
        };
        let (dir, name) = self.place(walk)?;
        rustix::fs::symlinkat(&target, dir, name).map_err(writing("create", walk))?;
        self.dress(walk, stat)
    }

    fn node(&mut self, walk: &Walk<'_>, stat: &Stat, kind: FileType) -> Result<(), CopyError> {
        let (dir, name) = self.place(walk)?;
        match rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev) {
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.done.skipped_devices += 1;
                return Ok(());
            }
            made => made.map_err(writing("create", walk))?,
        }
        self.dress(walk, stat)
    }

    /// Owner, attributes, mode and times of what is not opened.
    fn dress(&mut self, walk: &Walk<'_>, stat: &Stat) -> Result<(), CopyError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let (dir, name) = self.place(walk)?;
        rustix::fs::chownat(dir, name, Some(uid(stat)), Some(gid(stat)), flags)
            .map_err(writing("change the owner of", walk))?;
        self.xattrs(walk)?;
        let (dir, name) = self.place(walk)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            xattr::chmod_at(dir, name, mode(stat)).map_err(writing("change the mode of", walk))?;
        }
        rustix::fs::utimensat(dir, name, &times(stat), flags)
            .map_err(writing("set the times of", walk))?;
        self.done.entries += 1;
        Ok(())
    }

    fn xattrs(&mut self, walk: &Walk<'_>) -> Result<(), CopyError> {
        let to = self.place(walk)?;
        let dropped = copy_xattrs((walk.dir(), walk.name()), to, walk.path())?;
        self.done.dropped_xattrs += dropped;
        Ok(())
    }

    /// The last directory first: one that loses its rights is passed through no more.
    fn finish(mut self) -> Result<Copied, CopyError> {
        while let Some(touch) = self.last.pop() {
            let path = Path::new(OsStr::from_bytes(&touch.path));
            let (parent, name) = law::split(&touch.path);
            let name = if name.is_empty() { b".".as_slice() } else { name };
            let failed = |op| move |source| CopyError::Write { op, path: path.to_owned(), source };
            let name = CString::new(name).map_err(|_| failed("name")(Errno::INVAL))?;
            let (dir, flags) = (self.parents.get(parent)?, AtFlags::SYMLINK_NOFOLLOW);
            let (uid, gid) = (uid(&touch.stat), gid(&touch.stat));
            rustix::fs::chownat(dir, &name, Some(uid), Some(gid), flags)
                .map_err(failed("change the owner of"))?;
            xattr::chmod_at(dir, &name, mode(&touch.stat)).map_err(failed("change the mode of"))?;
            if let Some(acl) = &touch.acl {
                xattr::set_at(dir, &name, DEFAULT_ACL, acl)
                    .map_err(failed("set an attribute of"))?;
            }
            rustix::fs::utimensat(dir, &name, &times(&touch.stat), flags)
                .map_err(failed("set the times of"))?;
        }
        Ok(self.done)
    }
}

/// Which of the two files fails.
enum Side {
    From,
    To,
}

/// Copies the runs of data of a file; what is between them stays a hole.
fn copy_runs(source: &OwnedFd, file: &OwnedFd, size: u64) -> Result<(), (Side, Errno)> {
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            // Nothing but a hole up to the end.
            Ok(_) | Err(Errno::NXIO) => break,
            // A file system that knows of no holes.
            Err(_) => at,
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        // A file that was cut short meanwhile has no more.
        if end <= start || copy_run(source, file, start, end)? < end {
            break;
        }
        at = end;
    }
    rustix::fs::ftruncate(file, size).map_err(|errno| (Side::To, errno))
}

/// Copies one run; returns up to where there was something.
fn copy_run(source: &OwnedFd, file: &OwnedFd, start: u64, end: u64) -> Result<u64, (Side, Errno)> {
    let mut at = start;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        let (mut from, mut to) = (at, at);
        match rustix::fs::copy_file_range(source, Some(&mut from), file, Some(&mut to), len) {
            // Between these two file systems the kernel does not; or the file ends here, or it is one whose
            // file system answers so although there is more: only who reads it knows.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return copy_through_memory(source, file, at, end);
            }
            Ok(copied) => at += copied as u64,
            Err(Errno::INTR) => {}
            Err(errno) => return Err((Side::To, errno)),
        }
    }
    Ok(at)
}

fn copy_through_memory(
    source: &OwnedFd,
    file: &OwnedFd,
    start: u64,
    end: u64,
) -> Result<u64, (Side, Errno)> {
    let mut buffer = vec![0; BUFFER];
    let mut at = start;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let len = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut buffer[..most], at));
        let len = len.map_err(|errno| (Side::From, errno))?;
        if len == 0 {
            break;
        }
        let mut rest = &buffer[..len];
        while !rest.is_empty() {
            let len = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, at));
            let len = len.map_err(|errno| (Side::To, errno))?;
            rest = &rest[len..];
            at += len as u64;
        }
    }
    Ok(at)
}

/// Copies all attributes but the ACL that children would inherit; returns how many could not be given.
fn copy_xattrs(
    (dir, name): (BorrowedFd<'_>, &CStr),
    (to, to_name): (BorrowedFd<'_>, &CStr),
    path: &Path,
) -> Result<u64, CopyError> {
    let mut dropped = 0;
    let names =
        xattr::list_at(dir, name).map_err(|errno| read("list attributes of", path, errno))?;
    for attr in names.iter().filter(|attr| attr.as_c_str() != DEFAULT_ACL) {
        let value = xattr::get_at(dir, name, attr)
            .map_err(|errno| read("read an attribute of", path, errno))?;
        let Some(value) = value else { continue };
        match xattr::set_at(to, to_name, attr, &value) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP) => dropped += 1,
            Err(source) => {
                let op = "set an attribute of";
                return Err(CopyError::Write { op, path: path.to_owned(), source });
            }
        }
    }
    Ok(dropped)
}

fn read(op: &'static str, path: &Path, source: Errno) -> CopyError {
    CopyError::Read { op, path: path.to_owned(), source }
}

fn reading(op: &'static str, walk: &Walk<'_>) -> impl FnOnce(Errno) -> CopyError + use<> {
    let path = walk.path().to_owned();
    move |source| CopyError::Read { op, path, source }
}

fn writing(op: &'static str, walk: &Walk<'_>) -> impl FnOnce(Errno) -> CopyError + use<> {
    let path = walk.path().to_owned();
    move |source| CopyError::Write { op, path, source }
}

fn uid(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |secs, nanos| Timespec { tv_sec: secs, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

    /// What can be seen of a tree without the numbers of its inodes.
    fn seen(dir: &Path) -> Vec<String> {
        let root = Root::open(dir).unwrap();
        let (mut walk, mut lines) = (Walk::new(&root).unwrap(), Vec::new());
        loop {
            let at = dir.join(walk.path());
            let there = std::fs::symlink_metadata(&at).unwrap();
            let content = if there.is_file() { std::fs::read(&at).unwrap() } else { Vec::new() };
            let target = std::fs::read_link(&at).ok();
            let mut xattrs: Vec<_> = xattr::list_at(walk.dir(), walk.name()).unwrap();
            xattrs.sort();
            let hash =
                content.iter().fold(7_u64, |hash, byte| hash * 31 % 1_000_003 + u64::from(*byte));
            lines.push(format!(
                "{} {:o} {}:{} {} {hash} {target:?} {} {} {xattrs:?}",
                walk.path().display(),
                there.mode(),
                there.uid(),
                there.gid(),
                there.len(),
                there.rdev(),
                format_args!("{}.{}", there.mtime(), there.mtime_nsec()),
            ));
            if there.is_dir() && !walk.path().as_os_str().is_empty() {
                walk.enter().unwrap();
            }
            if !walk.advance().unwrap() {
                return lines;
            }
        }
    }

    fn dirs() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        (dir, from, to)
    }

    fn copied(from: &Path, to: &Path) -> Copied {
        copy_tree(&Root::open(from).unwrap(), &Root::open(to).unwrap()).unwrap()
    }

    #[test]
    fn a_copy_looks_like_what_was_copied() {
        let (_dir, from, to) = dirs();
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        for (name, mode) in [("a/file", 0o4751), (".wh.x", 0o600), ("a/b/none", 0)] {
            std::fs::write(from.join(name), name).unwrap();
            std::fs::set_permissions(from.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::hard_link(from.join("a/file"), from.join("z")).unwrap();
        symlink("../nowhere", from.join("a/link")).unwrap();
        let _listens = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let root = Root::open(&from).unwrap();
        root.mknod("fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
        root.set_xattr("a", c"user.k", b"v").unwrap();
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        root.set_times("a", time(5, 7), time(-3, 9)).unwrap();
        std::fs::set_permissions(&from, PermissionsExt::from_mode(0o2750)).unwrap();
        let done = copied(&from, &to);
        assert_eq!((done.skipped_sockets, done.vanished, done.dropped_xattrs), (1, 0, 0));
        std::fs::remove_file(from.join("socket")).unwrap();
        let top = seen(&from)[0].clone();
        // That the socket went has changed the time of its directory.
        for dir in [&from, &to] {
            Root::open(dir).unwrap().set_times("", time(1, 0), time(1, 0)).unwrap();
        }
        assert_ne!(top, seen(&from)[0]);
        assert_eq!(seen(&from), seen(&to));
        let ino = |name: &str| std::fs::metadata(to.join(name)).unwrap().ino();
        assert_eq!(ino("a/file"), ino("z"));
    }

    #[test]
    fn holes_stay_holes_and_so_does_what_ends_in_one() {
        let (_dir, from, to) = dirs();
        let file = std::fs::File::create(from.join("sparse")).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 8 << 20).unwrap();
        file.set_len(64 << 20).unwrap();
        std::fs::File::create(from.join("hole")).unwrap().set_len(16 << 20).unwrap();
        copied(&from, &to);
        for name in ["sparse", "hole"] {
            let of = |dir: &Path| std::fs::metadata(dir.join(name)).unwrap();
            assert_eq!(of(&from).len(), of(&to).len());
            assert!(of(&to).blocks() <= of(&from).blocks().max(8), "{name}: {}", of(&to).blocks());
            assert!(
                std::fs::read(from.join(name)).unwrap() == std::fs::read(to.join(name)).unwrap()
            );
        }
    }

    /// One that was cut short meanwhile, and one whose length is not what it says: the kernel copies nothing of it by
    /// itself, and some versions say that it ends there.
    #[test]
    fn a_file_that_ends_early_is_copied_up_to_its_end() {
        let (_dir, from, to) = dirs();
        std::fs::write(from.join("short"), "ten bytes!").unwrap();
        let open = |path: &Path| OwnedFd::from(std::fs::File::open(path).unwrap());
        let sources = [from.join("short"), PathBuf::from("/sys/class/net/lo/mtu")];
        for (number, source) in sources.iter().enumerate() {
            let text = std::fs::read(source).unwrap();
            assert!((1..=10).contains(&text.len()), "{}", source.display());
            let copy = to.join(number.to_string());
            let file = OwnedFd::from(std::fs::File::create(&copy).unwrap());
            assert!(
                matches!(copy_run(&open(source), &file, 0, 4096), Ok(at) if at == text.len() as u64)
            );
            assert_eq!(std::fs::read(&copy).unwrap(), text);
            // It is as long as it was said to be, as a file that somebody writes again is.
            assert!(copy_runs(&open(source), &file, 4096).is_ok());
            let copied = std::fs::read(&copy).unwrap();
            assert_eq!((copied.len(), &copied[..text.len()]), (4096, &text[..]));
            assert!(copied[text.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn memory_is_the_last_way() {
        let (_dir, from, to) = dirs();
        let text: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(from.join("f"), &text).unwrap();
        let source: OwnedFd = std::fs::File::open(from.join("f")).unwrap().into();
        let file: OwnedFd = std::fs::File::create(to.join("f")).unwrap().into();
        let end = text.len() as u64;
        assert!(matches!(copy_through_memory(&source, &file, 3, end), Ok(at) if at == end));
        assert!(std::fs::read(to.join("f")).unwrap()[3..] == text[3..]);
        // What was cut short meanwhile ends where it ends.
        assert!(matches!(copy_through_memory(&source, &file, 3, end + 9), Ok(at) if at == end));
    }
}
