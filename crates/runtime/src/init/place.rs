//! Places in the root file system, resolved by the kernel below the root's descriptor.
//!
//! The only path walks of the init. Nothing in an image leads out of the root (`RESOLVE_IN_ROOT`)
//! or through a magic link of procfs; where a plan refuses symlinks, one is an error. `sys::root`
//! does the same for everybody who may allocate.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use sys::Errno;

use crate::step::{Place, Symlinks};

/// What to make of a place where there is nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Directory,
    File,
}

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

fn resolve_flags(symlinks: Symlinks) -> ResolveFlags {
    let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match symlinks {
        Symlinks::InRoot | Symlinks::Kernels => flags,
        Symlinks::Refuse => flags | ResolveFlags::NO_SYMLINKS,
    }
}

/// The one place where a path of more than one component meets the kernel.
fn openat2(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, mode, resolve) {
            // The kernel gives up a walk through `..` that raced with a rename anywhere on the
            // machine.
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// What is at a place; an `O_PATH` descriptor.
pub(super) fn open(root: BorrowedFd<'_>, place: &Place) -> Result<OwnedFd, Errno> {
    open_by(root, &place.path, place.symlinks)
}

fn open_by(root: BorrowedFd<'_>, path: &CStr, symlinks: Symlinks) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), resolve_flags(symlinks))
}

/// As [`open`]; `None` if there is nothing. What is reached through a link of the kernel's must be in a
/// file system of the kernel's.
pub(super) fn open_existing(root: BorrowedFd<'_>, place: &Place) -> Result<Option<OwnedFd>, Errno> {
    if place.symlinks == Symlinks::Kernels {
        // A bind of the user's may lie there, without any link on the way.
        match open_by(root, &place.path, Symlinks::Refuse) {
            Err(Errno::LOOP) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => return found.map(Some),
        }
    }
    match open(root, place) {
        Ok(fd) if place.symlinks == Symlinks::Kernels && !is_kernels(fd.as_fd())? => {
            Err(Errno::LOOP)
        }
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether it is in a file system of the kernel's own, where an image makes no links.
fn is_kernels(found: BorrowedFd<'_>) -> Result<bool, Errno> {
    let magic = u64::try_from(rustix::fs::fstatfs(found)?.f_type);
    Ok(magic.is_ok_and(|magic| KERNELS.contains(&magic)))
}

/// `SYSFS_MAGIC`, `TMPFS_MAGIC` (what control groups of version 1 are shown in), `CGROUP_SUPER_MAGIC` and
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const KERNELS: [u64; 4] = [0x6265_6572, 0x0102_1994, 0x0027_e0eb, 0x6367_7270];

/// A directory, for writing or reading by path. Symlinks inside of the root are followed.
pub(super) fn open_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = resolve_flags(Symlinks::InRoot);
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// The container's devpts. Not through a symlink: the path is ours.
pub(super) fn open_terminals(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = resolve_flags(Symlinks::Refuse);
    openat2(root, c"/dev/pts", flags, Mode::empty(), resolve)
}

/// The file on our own `/dev` that a terminal is bound to.
pub(super) fn open_console(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = resolve_flags(Symlinks::Refuse);
    openat2(root, c"/dev/console", flags, Mode::empty(), resolve)
}

/// What is at a place; it is made if it is missing, and so are the directories above it.
pub(super) fn ensure(root: BorrowedFd<'_>, place: &Place, make: Make) -> Result<OwnedFd, Errno> {
    match open(root, place) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    if let Some(made) = ensure_last(root, place, make)? {
        return Ok(made);
    }
    let mut walk = Walk::new(root, &place.path)?;
    while let Some(last) = walk.next_component()? {
        walk.advance(last, make, place.symlinks)?;
    }
    walk.here()
}

/// The same where the last component alone is missing, and there is no symlink on the way: most are a directory of
/// the container's own `/dev`. `None` where it is not that simple.
fn ensure_last(root: BorrowedFd<'_>, place: &Place, make: Make) -> Result<Option<OwnedFd>, Errno> {
    let Ok((above, name)) = split(place) else { return Ok(None) };
    let mut parent = [0; SHORT];
    if name.is_empty() || above.len() >= SHORT {
        return Ok(None);
    }
    parent[..above.len()].copy_from_slice(above);
    let Ok(parent) = CStr::from_bytes_until_nul(&parent) else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let straight = resolve_flags(Symlinks::Refuse);
    let Ok(parent) = openat2(root, parent, flags, Mode::empty(), straight) else {
        return Ok(None);
    };
    match make_in(parent.as_fd(), name, make) {
        // A symlink that leads nowhere, or somebody who was faster.
        Err(Errno::EXIST) => return Ok(None),
        made => made?,
    }
    match open_by(root, &place.path, Symlinks::Refuse) {
        Err(Errno::LOOP) => Ok(None),
        made => made.map(Some),
    }
}

/// What holds a place, with the slash at its end, and the place's name.
fn split(place: &Place) -> Result<(&[u8], &CStr), Errno> {
    let bytes = place.path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
    let (above, name) = bytes.split_at(slash + 1);
    let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
    Ok((above, name))
}

/// Makes what is not there.
fn make_in(above: BorrowedFd<'_>, name: &CStr, make: Make) -> Result<(), Errno> {
    match make {
        Make::Directory => rustix::fs::mkdirat(above, name, DIRECTORY_MODE),
        Make::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(above, name, flags, FILE_MODE).map(drop)
        }
    }
}

/// The directory that holds a place, made if it is missing, and the place's name.
pub(super) fn ensure_parent<'p>(
    root: BorrowedFd<'_>,
    place: &'p Place,
) -> Result<(OwnedFd, &'p CStr), Errno> {
    let (above, name) = split(place)?;
    if name.is_empty() {
        return Err(Errno::INVAL);
    }
    let mut walk = Walk::new_bytes(root, above)?;
    while walk.next_component()?.is_some() {
        walk.advance(Last::No, Make::Directory, place.symlinks)?;
    }
    Ok((walk.here()?, name))
}

const PATH_MAX: usize = 4096;
/// Of paths that are made in one go. Each page of a longer one would be another fault of a process that has just been
/// copied.
const SHORT: usize = 256;
/// As many as the kernel follows.
const MAX_SYMLINKS: u32 = 40;

/// Whether a component is the last one of the path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    Yes,
}

/// A path under way: what is done is free of symlinks and exists; what is ahead is not looked at
/// yet. Dangling symlinks are followed by making what they name (an image may have
/// `/etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf` and no such directory).
struct Walk<'a> {
    root: BorrowedFd<'a>,
    done: Buffer,
    /// Length of `done` without its newest component.
    parent: usize,
    ahead: Buffer,
    followed: u32,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, path: &CStr) -> Result<Self, Errno> {
        Self::new_bytes(root, path.to_bytes())
    }

    fn new_bytes(root: BorrowedFd<'a>, path: &[u8]) -> Result<Self, Errno> {
        let mut ahead = Buffer::EMPTY;
        ahead.push(path)?;
        let mut done = Buffer::EMPTY;
        done.push(b".")?;
        Ok(Self { root, done, parent: 0, ahead, followed: 0 })
    }

    /// Moves one component from what is ahead to what is done.
    fn next_component(&mut self) -> Result<Option<Last>, Errno> {
        loop {
            let ahead = self.ahead.bytes();
            let start = ahead.iter().position(|b| *b != b'/');
            let Some(start) = start else { return Ok(None) };
            let len = ahead[start..].iter().position(|b| *b == b'/');
            let end = len.map_or(ahead.len(), |len| start + len);
            let (name, rest) = (&ahead[start..end], &ahead[end..]);
            let last = if rest.iter().all(|b| *b == b'/') { Last::Yes } else { Last::No };
            match name {
                b"." => {}
                b".." => self.done.pop_component(),
                _ => {
                    self.parent = self.done.len;
                    self.done.push(b"/")?;
                    self.done.push(name)?;
                    self.ahead.drop_front(end);
                    return Ok(Some(last));
                }
            }
            self.ahead.drop_front(end);
        }
    }

    /// Makes the newest component if it is missing, or follows it if it is a symlink.
    fn advance(&mut self, last: Last, make: Make, symlinks: Symlinks) -> Result<(), Errno> {
        let found = match self.open(OFlags::NOFOLLOW) {
            Err(Errno::NOENT) => {
                self.make(if last == Last::Yes { make } else { Make::Directory })?;
                self.open(OFlags::NOFOLLOW)?
            }
            other => other?,
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
        if kind != FileType::Symlink {
            return Ok(());
        }
        self.followed += 1;
        if symlinks == Symlinks::Refuse || self.followed > MAX_SYMLINKS {
            return Err(Errno::LOOP);
        }
        self.follow(found.as_fd())
    }

    fn follow(&mut self, link: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut target = [0_u8; PATH_MAX];
        let len = rustix::fs::readlinkat_raw(link, c"", &mut target[..])?;
        let target = &target[..len];
        self.ahead.push_front(target)?;
        if target.first() == Some(&b'/') {
            self.done.truncate(1);
        } else {
            self.done.truncate(self.parent);
        }
        Ok(())
    }

    fn make(&self, make: Make) -> Result<(), Errno> {
        let mut above = self.done;
        above.truncate(self.parent);
        let above = open_directory(self.root, above.c_str()?)?;
        let mut name = Buffer::EMPTY;
        name.push(&self.done.bytes()[self.parent + 1..])?;
        let name = name.c_str()?;
        match make_in(above.as_fd(), name, make) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    /// What is done, as a descriptor. Another container may change a shared volume meanwhile, so
    /// the kernel is asked again each time, and it keeps the walk inside of the root.
    fn open(&self, extra: OFlags) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | extra;
        let resolve = resolve_flags(Symlinks::InRoot);
        openat2(self.root, self.done.c_str()?, flags, Mode::empty(), resolve)
    }

    fn here(&self) -> Result<OwnedFd, Errno> {
        self.open(OFlags::NOFOLLOW)
    }
}

/// A path in place of a `Vec`, since the init allocates nothing. There is always a NUL at its end.
#[derive(Clone, Copy)]
struct Buffer {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl Buffer {
    const EMPTY: Self = Self { bytes: [0; PATH_MAX], len: 0 };

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn c_str(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_with_nul(&self.bytes[..=self.len]).map_err(|_| Errno::INVAL)
    }

    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.len + more.len();
        if end >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes[self.len..end].copy_from_slice(more);
        self.truncate(end);
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        self.bytes[len] = 0;
    }

    /// Never goes above the root, which is the leading `.`.
    fn pop_component(&mut self) {
        let slash = self.bytes().iter().rposition(|byte| *byte == b'/');
        self.truncate(slash.unwrap_or(self.len));
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.truncate(self.len - count);
    }

    /// Puts a path in front of what is there, with a slash between them.
    fn push_front(&mut self, path: &[u8]) -> Result<(), Errno> {
        let old = *self;
        self.truncate(0);
        self.push(path)?;
        self.push(b"/")?;
        self.push(old.bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// Ensures a file and tells where below the root it came to be.
    fn ensured(root: &Path, path: &CStr, symlinks: Symlinks) -> Result<(), Errno> {
        let fd = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let place = Place { path: path.to_owned(), symlinks };
        ensure(fd.as_fd(), &place, Make::File).map(drop)
    }

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn missing_directories_are_made() {
        let root = temporary();
        ensured(root.path(), c"/a/b/file", Symlinks::InRoot).unwrap();
        assert!(root.path().join("a/b/file").is_file());
    }

    #[test]
    fn a_place_is_made_whatever_its_slashes() {
        let root = temporary();
        let fd = rustix::fs::open(root.path(), OFlags::PATH, Mode::empty()).unwrap();
        std::fs::create_dir(root.path().join("x".repeat(SHORT - 1))).unwrap();
        std::fs::create_dir(root.path().join("above")).unwrap();
        let long = CString::new(format!("{}/x", "x".repeat(SHORT - 1))).unwrap();
        for path in
            [c"plain", c"/rooted", c"above/relative", c"/above/rooted", c"/above/open/", &long]
        {
            let place = Place { path: path.to_owned(), symlinks: Symlinks::Refuse };
            let found = ensure(fd.as_fd(), &place, Make::Directory).unwrap();
            let there = root.path().join(path.to_str().unwrap().trim_start_matches('/'));
            let there = rustix::fs::stat(there).unwrap();
            assert_eq!(rustix::fs::fstat(found).unwrap().st_ino, there.st_ino, "{path:?}");
        }
    }

    #[test]
    fn a_dangling_symlink_is_completed_inside_of_the_root() {
        let root = temporary();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        symlink("../run/resolve/stub", root.path().join("etc/resolv.conf")).unwrap();
        ensured(root.path(), c"/etc/resolv.conf", Symlinks::InRoot).unwrap();
        assert!(root.path().join("run/resolve/stub").is_file());
    }

    #[test]
    fn nothing_is_made_outside_of_the_root() {
        let outside = temporary();
        let root = outside.path().join("root");
        std::fs::create_dir(&root).unwrap();
        symlink(outside.path(), root.join("absolute")).unwrap();
        symlink("../..", root.join("upwards")).unwrap();
        ensured(&root, c"/absolute/one", Symlinks::InRoot).unwrap();
        ensured(&root, c"/upwards/two", Symlinks::InRoot).unwrap();
        assert!(root.join("two").is_file());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn loops_and_refused_symlinks_end_in_an_error() {
        let root = temporary();
        symlink("loop", root.path().join("loop")).unwrap();
        symlink("elsewhere", root.path().join("dev")).unwrap();
        assert_eq!(ensured(root.path(), c"/loop/x", Symlinks::InRoot), Err(Errno::LOOP));
        assert_eq!(ensured(root.path(), c"/dev/pts", Symlinks::Refuse), Err(Errno::LOOP));
        assert!(!root.path().join("elsewhere").exists());
        // The directory of a node is walked to at once, without asking the kernel for the whole.
        let parent = |path: &CStr, symlinks| {
            let root = rustix::fs::open(root.path(), OFlags::PATH, Mode::empty()).unwrap();
            let place = Place { path: path.to_owned(), symlinks };
            ensure_parent(root.as_fd(), &place).map(drop)
        };
        assert_eq!(parent(c"/loop/x", Symlinks::InRoot), Err(Errno::LOOP));
        assert_eq!(parent(c"/dev/x", Symlinks::Refuse), Err(Errno::LOOP));
        assert!(!root.path().join("elsewhere").exists());
    }
}
